package server

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/config"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
)

// apiTokens is GET and POST /api/tokens/. The text of a token is shown once,
// by the answer that makes it.
func (s *Server) apiTokens(c echo.Context) error {
	caller, err := s.who(c, catalog.ManageTokens)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodPost {
		return s.newToken(c, caller)
	}
	tokens, err := s.files.Tokens(c.Request().Context(), caller.UserID)
	if err != nil {
		return err
	}
	state := c.QueryParam("state")
	now := s.now()
	shown := []map[string]any{}
	active, expired := 0, 0
	for _, t := range tokens {
		over := now.After(t.Expires)
		if over {
			expired++
		} else {
			active++
		}
		if state == "expired" && !over || state == "" && over {
			continue
		}
		shown = append(shown, map[string]any{"id": t.ID, "expires_at": showTime(t.Expires), "is_expired": over, "key": nil,
			"permissions": showPermissions(func(p catalog.Permission) bool { return slices.Contains(t.Permissions, p) }),
			"notes":       t.Notes, "created_at": showTime(t.Created), "upload_api_version": t.UploadVersion, "quota": t.Quota})
	}
	return c.JSON(http.StatusOK, map[string]any{"tokens": shown, "permissions": showPermissions(caller.Has),
		"totals": map[string]int{"all": active + expired, "active": active, "expired": expired}})
}

const (
	tokenDays    = 365
	maxTokenDays = 10 * 365
)

func (s *Server) newToken(c echo.Context, caller Caller) error {
	wrong := &filter.Errors{Fields: map[string][]string{}}
	var permissions catalog.Permissions
	all := catalog.AllPermissions()
	for _, text := range strings.Split(c.FormValue("permissions"), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > len(all) || !caller.Has(all[n-1].Name) {
			wrong.Fields["permissions"] = []string{"Not a permission of yours: " + strconv.Quote(text)}
			continue
		}
		permissions = append(permissions, all[n-1].Name)
	}
	if slices.Contains(permissions, catalog.UploadSymbols) && slices.Contains(permissions, catalog.UploadTrySymbols) {
		wrong.Fields["permissions"] = []string{"Invalid combination of permissions"}
	}
	days := tokenDays
	if text := c.FormValue("expires"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxTokenDays {
			wrong.Fields["expires"] = []string{"Not a number of days: " + strconv.Quote(text)}
		}
		days = n
	}
	notes := c.FormValue("notes")
	if len(notes) > maxNote {
		wrong.Fields["notes"] = []string{"Too long"}
	}
	version, err := strconv.Atoi(cmp.Or(c.FormValue("upload_api_version"), "0"))
	if err != nil || version < 0 || version > 2 {
		wrong.Fields["upload_api_version"] = []string{"Neither 1 nor 2"}
	}
	quota, err := config.ParseBytes(cmp.Or(c.FormValue("quota"), "0"))
	if err != nil {
		wrong.Fields["quota"] = []string{err.Error()}
	}
	if len(wrong.Fields) > 0 {
		return wrong
	}
	key, err := s.files.CreateToken(c.Request().Context(), catalog.NewToken{User: caller.Email, Permissions: permissions, Notes: notes,
		UploadVersion: version, Quota: int64(quota), Life: time.Duration(days) * 24 * time.Hour})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, map[string]any{"ok": true, "key": key})
}

// apiToken is DELETE /api/tokens/token/<id>.
func (s *Server) apiToken(c echo.Context) error {
	caller, err := s.who(c, catalog.ManageTokens)
	if err != nil {
		return err
	}
	id, err := number(c)
	if err != nil {
		return err
	}
	if err := s.files.DeleteToken(c.Request().Context(), caller.UserID, id); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]bool{"ok": true})
}

// extendToken is POST /api/tokens/token/<id>/extend: lets a token be good for
// so many days more.
func (s *Server) extendToken(c echo.Context) error {
	caller, err := s.who(c, catalog.ManageTokens)
	if err != nil {
		return err
	}
	id, err := number(c)
	if err != nil {
		return err
	}
	days := tokenDays
	if text := c.FormValue("days"); text != "" {
		if days, err = strconv.Atoi(text); err != nil || days < 1 || days > maxTokenDays {
			return &filter.Errors{Fields: map[string][]string{"days": {"Not a number of days: " + strconv.Quote(text)}}}
		}
	}
	until, err := s.files.ExtendToken(c.Request().Context(), caller.UserID, id, time.Duration(days)*24*time.Hour)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"ok": true, "days": days, "expires_at": showTime(until)})
}
