package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/web/auth"
)

type tokensPage struct {
	Tabs        symbolTabs
	Tokens      []tokenRow
	Permissions []permissionBox
	New         string // the text of a token that was just made
	Error       string
	Days        int
}

type tokenRow struct {
	ID                              int64
	Notes, Permissions, Since, Ends string
	Version, Quota                  string
	Expired                         bool
}

type permissionBox struct {
	Name, Title, Doc string
}

const (
	// tokenDays is how long a token is good, and extended, unless one says
	// otherwise.
	tokenDays    = 365
	maxTokenDays = int(catalog.MaxTokenLife / (24 * time.Hour))
)

// tokens lists the viewer's API tokens.
func (s *Site) tokens(c echo.Context) error {
	if err := need(auth.From(c), catalog.ManageTokens); err != nil {
		return err
	}
	return s.showTokens(c, http.StatusOK, "", "")
}

func (s *Site) showTokens(c echo.Context, status int, fresh, wrong string) error {
	v := auth.From(c)
	page := tokensPage{Tabs: tabsFor(v, "tokens"), New: fresh, Error: wrong, Days: tokenDays}
	list, err := s.Catalog.Tokens(c.Request().Context(), v.UserID)
	if err != nil {
		return err
	}
	now := s.now()
	for _, t := range list {
		row := tokenRow{ID: t.ID, Notes: t.Notes, Permissions: t.Permissions.String(), Since: clock(t.Created), Ends: clock(t.Expires), Expired: now.After(t.Expires)}
		if t.UploadVersion != 0 {
			row.Version = "v" + strconv.Itoa(t.UploadVersion)
		}
		if t.Quota != 0 {
			row.Quota = size(t.Quota)
		}
		page.Tokens = append(page.Tokens, row)
	}
	for _, r := range catalog.AllPermissions() {
		if v.Has(r.Name) {
			page.Permissions = append(page.Permissions, permissionBox{string(r.Name), r.Title, r.Doc})
		}
	}
	return s.render(c, status, "tokens", "API tokens", "symbols", page)
}

// newToken makes a token and shows its text, this once.
func (s *Site) newToken(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.ManageTokens); err != nil {
		return err
	}
	n, err := tokenForm(c, v)
	var key string
	if err == nil {
		key, err = s.Catalog.CreateToken(c.Request().Context(), n)
	}
	if fault.Is(err, fault.Invalid) {
		return s.showTokens(c, http.StatusBadRequest, "", err.Error())
	}
	if err != nil {
		return err
	}
	return s.showTokens(c, http.StatusOK, key, "")
}

// tokenForm reads what a token shall be.
func tokenForm(c echo.Context, v auth.Viewer) (n catalog.NewToken, err error) {
	form, err := c.FormParams()
	if err != nil {
		return n, fault.As(fault.Invalid, err, "form")
	}
	n.User = v.Email
	for _, name := range form["permission"] {
		p := catalog.Permission(name)
		if _, err := catalog.ParsePermissions(name); err != nil || p == "" || !v.Has(p) {
			return n, fault.New(fault.Invalid, "%q is no permission of yours", name)
		}
		n.Permissions = append(n.Permissions, p)
	}
	if slices.Contains(n.Permissions, catalog.UploadSymbols) && slices.Contains(n.Permissions, catalog.UploadTrySymbols) {
		return n, fault.New(fault.Invalid, "a token uploads either regular or try symbols")
	}
	if n.Notes = form.Get("notes"); len(n.Notes) > maxNote {
		return n, fault.New(fault.Invalid, "the notes have more than %d bytes", maxNote)
	}
	if n.Life, err = days(form.Get("days")); err != nil {
		return n, err
	}
	if text := form.Get("upload_version"); text != "" {
		if n.UploadVersion, err = strconv.Atoi(text); err != nil {
			return n, fault.New(fault.Invalid, "upload version %q is neither 1 nor 2", text)
		}
	}
	if text := form.Get("quota"); text != "" {
		q, err := config.ParseBytes(text)
		if err != nil {
			return n, fault.New(fault.Invalid, "quota: %v", err)
		}
		n.Quota = int64(q)
	}
	return n, nil
}

// days reads a number of days.
func days(text string) (time.Duration, error) {
	n, err := strconv.Atoi(text)
	if text == "" {
		n, err = tokenDays, nil
	}
	if err != nil || n < 1 || n > maxTokenDays {
		return 0, fault.New(fault.Invalid, "%q is no number of days up to %d", text, maxTokenDays)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

// changeToken extends or deletes a token of the viewer's.
func (s *Site) changeToken(c echo.Context) error {
	v := auth.From(c)
	if err := need(v, catalog.ManageTokens); err != nil {
		return err
	}
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return fault.New(fault.NotFound, "no token %q", c.Param("id"))
	}
	ctx := c.Request().Context()
	switch c.Param("what") {
	case "delete":
		err = s.Catalog.DeleteToken(ctx, v.UserID, id)
	case "extend":
		var by time.Duration
		if by, err = days(c.FormValue("days")); err == nil {
			_, err = s.Catalog.ExtendToken(ctx, v.UserID, id, by)
		}
	default:
		err = fault.New(fault.NotFound, "a token cannot be %q", c.Param("what"))
	}
	if fault.Is(err, fault.Invalid) {
		return s.showTokens(c, http.StatusBadRequest, "", err.Error())
	}
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/tokens/")
}
