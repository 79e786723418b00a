// Package web shows crashes to people: server-rendered pages with charts as
// SVG, readable without JavaScript, in dark and light, on a phone. Each page is
// one noun: report.go, templates/report.html, report_test.go.
//
// A page is built in three steps: what the viewer may see is read and redacted
// by the field table (storage/schema), a page struct is filled with exactly
// what the template shows, and the template renders it. Templates decide
// nothing about permissions.
//
// The JSON APIs are in web/api, who asks is found out by web/auth.
package web

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/schema"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

//go:embed templates static
var files embed.FS

// index is what pages ask of the search index.
type index interface {
	Search(ctx context.Context, p *plan.Plan) (*search.Result, error)
}

// Options is what the pages are built on.
type Options struct {
	Crashes  *storage.Crashes
	Index    index
	Fields   *plan.Fields
	Schema   *schema.Table
	Catalog  *catalog.DB
	Auth     *auth.Auth
	Products config.Products
	Config   config.Web
	Symbols  config.Symbols
	// Prioritise asks for a crash to be processed next.
	Prioritise func(context.Context, storage.CrashID) error
	Log        *zap.Logger
	Version    string
}

// Site serves the pages.
type Site struct {
	Options
	pages  map[string]*template.Template
	static map[string]asset // by path below /static/
	hashes map[string]string
	asked  recentAsks
	now    func() time.Time
}

// asset is one static file.
type asset struct {
	body []byte
	kind string
}

// New reads the templates and static files.
func New(o Options) (*Site, error) {
	s := &Site{Options: o, static: map[string]asset{}, hashes: map[string]string{}, now: time.Now}
	if err := s.readStatic(); err != nil {
		return nil, err
	}
	return s, s.readTemplates()
}

func (s *Site) readStatic() error {
	return fs.WalkDir(files, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		name := p[len("static/"):]
		sum := sha256.Sum256(body)
		hash := hex.EncodeToString(sum[:6])
		s.hashes[name] = hash
		s.static[hash+"/"+name] = asset{body, mime.TypeByExtension(path.Ext(name))}
		return nil
	})
}

// route is one page: its method, path and handler, and what it is for.
type route struct {
	method, path, doc string
	handle            echo.HandlerFunc
}

// routes lists every page; `mayday routes` prints it.
func (s *Site) routes() []route {
	return []route{
		{"GET", "/", "Products, crashes by day, top signatures.", s.home},
		{"GET", "/search/", "Search with facets.", s.search},
		{"GET", "/search/quick/", "Goes to a crash by its id, else to a search for the signature.", s.quick},
		{"GET", "/signature/", "One signature: trend, versions, platforms, reports.", s.signature},
		{"GET", "/report/index/:id", "One crash report.", s.report},
		{"GET", "/home/product/:product", "One product's crashes.", s.product},
		{"GET", "/verdicts/", "Crashes that were given up, for administrators.", s.verdicts},
		{"GET", "/documentation/", "The query language, the APIs and every field.", s.documentation},
		{"GET", "/api/", "The APIs.", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/documentation/#api") }},
		{"GET", "/uploads/", "Uploads of symbols.", s.uploads},
		{"GET", "/uploads", "Uploads of symbols.", s.uploads},
		{"GET", "/uploads/upload/", "A form to upload symbols by.", s.newUpload},
		{"GET", "/uploads/upload", "A form to upload symbols by.", s.newUpload},
		{"GET", "/uploads/upload/:id", "One upload of symbols.", s.upload},
		{"POST", "/uploads/upload/:id/pin", "Keeps an upload whatever its age, or no longer.", s.pinUpload},
		{"GET", "/uploads/files/", "Files of all uploads.", s.symbolFiles},
		{"GET", "/uploads/files", "Files of all uploads.", s.symbolFiles},
		{"GET", "/uploads/files/file/:id", "One file.", s.symbolFile},
		{"GET", "/uploads/missing/", "Symbols that were asked for in vain.", s.missing},
		{"POST", "/uploads/missing/ignore", "Leaves modules out of the missing symbols, or no longer.", s.ignoreMissing},
		{"GET", "/tokens/", "One's API tokens.", s.tokens},
		{"GET", "/tokens", "One's API tokens.", s.tokens},
		{"POST", "/tokens/", "Makes an API token.", s.newToken},
		{"POST", "/tokens/:id/:what", "Extends or deletes an API token.", s.changeToken},
		{"GET", "/login/", "How to sign in.", s.login},
		{"GET", "/login/link", "Asks before a sign-in link is used up.", s.login},
		{"POST", "/login/link", "Signs in with a one-use link.", s.useLink},
		{"POST", "/logout/", "Signs out.", s.logout},
		{"GET", "/static/*", "Style sheet and pictures.", s.serveStatic},
		{"GET", "/robots.txt", "Keeps robots out.", s.robots},
	}
}

// Mount adds the pages.
func (s *Site) Mount(e *echo.Echo) {
	for _, r := range s.routes() {
		e.Add(r.method, r.path, r.handle, s.guard, s.Auth.Recognise, s.admit)
	}
}

// guard sets the headers that keep a page from being misused, and shows errors
// as pages.
func (s *Site) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		err := next(c)
		if err == nil || c.Response().Committed {
			return err
		}
		return s.failed(c, err)
	}
}

// admit sends strangers to the sign-in page on an instance that shows them
// nothing.
func (s *Site) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.Config.Anonymous == "none" && !auth.From(c).Known() && !open(c.Path()) {
			return c.Redirect(http.StatusSeeOther, "/login/")
		}
		return next(c)
	}
}

// open reports whether everybody may see a path, whatever the instance shows.
func open(path string) bool {
	return path == "/login/" || path == "/login/link" || path == "/static/*" || path == "/robots.txt"
}

// failed shows an error as a page. What went wrong inside is logged, not shown.
func (s *Site) failed(c echo.Context, err error) error {
	p := fault.Of(err).Policy()
	page := errorPage{Heading: http.StatusText(p.Status), Text: err.Error()}
	if p.Level == fault.Error || p.Level == fault.Warn {
		s.Log.Error("page failed", zap.String("path", c.Request().URL.Path), zap.String("kind", p.Name), zap.Error(err))
		page.Text = "Something went wrong on our side; the log of the server says what."
	}
	if page.Heading == "" {
		page.Heading = "Error"
	}
	return s.render(c, p.Status, "error", page.Heading, "", page)
}

type errorPage struct{ Heading, Text string }

func (s *Site) serveStatic(c echo.Context) error {
	a, ok := s.static[c.Param("*")]
	if !ok {
		return fault.New(fault.NotFound, "no file %s", c.Param("*"))
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return c.Blob(http.StatusOK, a.kind, a.body)
}

func (s *Site) robots(c echo.Context) error {
	return c.String(http.StatusOK, "User-agent: *\nDisallow: /\n")
}
