package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/web/auth"
)

// view is what every template gets; Page is the page's own struct.
type view struct {
	Title   string
	Section string // part of the navigation the page belongs to
	Viewer  auth.Viewer
	Version string
	Symbols string // where the pages about symbols begin for the viewer
	Page    any
}

func (s *Site) readTemplates() error {
	entries, err := files.ReadDir("templates")
	if err != nil {
		return fault.Wrap(err, "templates")
	}
	s.pages = map[string]*template.Template{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "base" || name == "partials" {
			continue
		}
		t, err := template.New("base.html").Funcs(s.funcs()).ParseFS(files, "templates/base.html", "templates/partials.html", path.Join("templates", e.Name()))
		if err != nil {
			return fault.Wrap(err, "template %s", name)
		}
		s.pages[name] = t
	}
	return nil
}

// funcs are the functions of templates.
func (s *Site) funcs() template.FuncMap {
	return template.FuncMap{
		"static": func(name string) string { return "/static/" + s.hashes[name] + "/" + name },
		"num":    func(n any) string { return thousands(fmt.Sprint(n)) },
		"plural": func(n any, one, many string) string {
			if fmt.Sprint(n) == "1" {
				return one
			}
			return many
		},
	}
}

// thousands puts a thin space between groups of three digits.
func thousands(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// render answers with a page. The page is built in memory first, so that an
// error in a template becomes an error page and not half a page.
func (s *Site) render(c echo.Context, status int, name, title, section string, page any) error {
	t := s.pages[name]
	if s.Config.Dev {
		fresh, err := template.New("base.html").Funcs(s.funcs()).ParseFS(os.DirFS("web"), "templates/base.html", "templates/partials.html", "templates/"+name+".html")
		if err != nil {
			return fault.Wrap(err, "template %s", name)
		}
		t = fresh
	}
	viewer := auth.From(c)
	symbols := "/uploads/missing/"
	if tabsFor(viewer, "").Uploads {
		symbols = "/uploads/"
	}
	var out bytes.Buffer
	if err := t.Execute(&out, view{Title: title, Section: section, Viewer: viewer, Version: s.Version, Symbols: symbols, Page: page}); err != nil {
		return fault.Wrap(err, "template %s", name)
	}
	c.Response().Header().Set("Cache-Control", "private, no-store")
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(out.Len()))
	return c.HTMLBlob(status, out.Bytes())
}

// base is how people reach this instance.
func (s *Site) base(c echo.Context) string {
	if s.Config.BaseURL != "" {
		return strings.TrimSuffix(s.Config.BaseURL, "/")
	}
	return c.Scheme() + "://" + c.Request().Host
}

func (s *Site) login(c echo.Context) error {
	return s.render(c, http.StatusOK, "login", "Sign in", "", struct{ Key string }{c.QueryParam("key")})
}

func (s *Site) useLink(c echo.Context) error {
	if err := s.Auth.SignIn(c, c.FormValue("key")); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func (s *Site) logout(c echo.Context) error {
	if err := s.Auth.SignOut(c); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/")
}
