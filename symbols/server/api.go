package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
)

const (
	uploadBatch = 20
	fileBatch   = 40
	// totalUnknown is what clients know as "many" where nobody counted.
	totalUnknown = 1_000_000
)

// codename is how Tecken's clients know a permission.
func codename(p catalog.Permission) string {
	switch p {
	case catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads:
		return "upload." + string(p)
	case catalog.ManageTokens:
		return "tokens." + string(p)
	}
	return string(p)
}

// showPermissions numbers permissions by their place in the catalog's list.
func showPermissions(has func(catalog.Permission) bool) []map[string]any {
	out := []map[string]any{}
	for i, r := range catalog.AllPermissions() {
		if has(r.Name) {
			out = append(out, map[string]any{"id": i + 1, "codename": codename(r.Name), "name": r.Title})
		}
	}
	return out
}

// apiAuth is GET /api/_auth/.
func (s *Server) apiAuth(c echo.Context) error {
	caller, err := s.callers.Caller(c, "")
	if err != nil {
		return err
	}
	if caller.Email == "" {
		return c.JSON(http.StatusOK, map[string]any{"user": nil, "sign_in_url": s.base(c) + "/login/"})
	}
	return c.JSON(http.StatusOK, map[string]any{"sign_out_url": s.base(c) + "/logout/", "user": map[string]any{"email": caller.Email, "is_active": true,
		"is_superuser": caller.Has(catalog.Admin), "permissions": showPermissions(caller.Has)}})
}

// authInfo is POST /upload/auth_info/: what a token may do, and which protocol
// its client should speak.
func (s *Server) authInfo(c echo.Context) error {
	caller, err := s.uploader(c, "")
	if err != nil {
		return err
	}
	answer := map[string]any{"email": caller.Email, "user_id": caller.UserID, "try_symbols": !caller.Has(catalog.UploadSymbols),
		"token_expires_at": caller.Expires.Unix(), "upload_api_version": 1 + min(max(s.o.Config.UploadVersion-1, 0), 1)}
	if caller.Expires.IsZero() {
		answer["token_expires_at"] = nil
	}
	return c.JSON(http.StatusOK, answer)
}

// apiStats is GET /api/stats/: the caller's own uploads.
func (s *Server) apiStats(c echo.Context) error {
	caller, err := s.who(c)
	if err != nil {
		return err
	}
	now := s.now().UTC()
	today := now.Truncate(24 * time.Hour)
	own := catalog.Condition{SQL: "user_id = ?", Args: []any{caller.UserID}}
	between := func(from, to time.Time) catalog.Condition {
		return catalog.Condition{SQL: "created >= ? AND created < ?", Args: []any{catalog.Stamp(from), catalog.Stamp(to)}}
	}
	tomorrow := today.AddDate(0, 0, 1)
	out := map[string]any{}
	for name, conditions := range map[string][]catalog.Condition{
		"all_uploads":  {own},
		"today":        {own, between(today, tomorrow)},
		"yesterday":    {own, between(today.AddDate(0, 0, -1), today)},
		"last_30_days": {own, between(today.AddDate(0, 0, -30), tomorrow)},
	} {
		count, size, err := s.files.CountSymbolUploads(c.Request().Context(), conditions)
		if err != nil {
			return err
		}
		out[name] = map[string]int64{"count": count, "total_size": size}
	}
	return c.JSON(http.StatusOK, map[string]any{"stats": map[string]any{"uploads": out}})
}

func listed(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// showUpload is an upload in the words of the API; listing adds what lists
// show.
func (s *Server) showUpload(u catalog.SymbolUpload, listing bool) map[string]any {
	out := map[string]any{"id": u.ID, "size": u.Size, "filename": u.Filename, "bucket": s.bucketName(), "download_url": nullable(u.DownloadURL),
		"try_symbols": u.Try, "redirect_urls": listed(u.RedirectURLs), "completed_at": showTime(u.Completed), "created_at": showTime(u.Created),
		"user": u.Email, "skipped_keys": listed(u.Skipped)}
	if listing {
		delete(out, "bucket")
		out["bucket_name"], out["user"], out["ignored_keys"] = s.bucketName(), map[string]string{"email": u.Email}, listed(u.Ignored)
		out["files_count"], out["files_incomplete_count"], out["error"] = u.Files, u.Incomplete, nullable(u.Error)
	}
	return out
}

// bucketName is what answers call the one bucket.
func (s *Server) bucketName() string { return "symbols" }

func (s *Server) showFile(f catalog.SymbolFile) map[string]any {
	return map[string]any{"id": f.ID, "bucket_name": s.bucketName(), "key": f.Key, "update": f.Updated, "compressed": f.Compressed,
		"size": f.Size, "size_unpacked": f.TextSize, "completed_at": showTime(f.Completed), "created_at": showTime(f.Created),
		"debug_filename": nullable(f.DebugFile), "debug_id": nullable(f.DebugID), "code_file": nullable(f.CodeFile), "code_id": nullable(f.CodeID),
		"generator": nullable(f.Generator)}
}

// apiUploads is GET /api/uploads/.
func (s *Server) apiUploads(c echo.Context) error {
	caller, err := s.permit(c, "", catalog.UploadSymbols, catalog.UploadTrySymbols, catalog.ViewAllUploads)
	if err != nil {
		return err
	}
	all := caller.Has(catalog.ViewAllUploads)
	f := filter.New(c.QueryParams(), s.now())
	if all {
		f.Match("user", "email")
	} else {
		f.Add("user_id = ?", caller.UserID)
	}
	f.Sizes("size", "size")
	f.Dates("created_at", "created")
	f.Dates("completed_at", "completed")
	order, reverse := f.Order("created_at", map[string]string{"created_at": "created", "size": "size", "completed_at": "completed"})
	page := f.Page()
	if err := f.Err(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	list, err := s.files.SymbolUploads(ctx, catalog.Page{Where: f.Where, OrderBy: order.Column, Reverse: reverse, Offset: (page - 1) * uploadBatch, Limit: uploadBatch + 1})
	if err != nil {
		return err
	}
	total := int64(totalUnknown)
	if filtered := len(f.Where) > 1 || all && len(f.Where) > 0; filtered {
		if total, _, err = s.files.CountSymbolUploads(ctx, f.Where); err != nil {
			return err
		}
	}
	more := len(list) > uploadBatch
	shown := []map[string]any{}
	for _, u := range list[:min(len(list), uploadBatch)] {
		shown = append(shown, s.showUpload(u, true))
	}
	return c.JSON(http.StatusOK, map[string]any{"can_view_all": all, "uploads": shown, "batch_size": uploadBatch,
		"order_by": map[string]any{"sort": order.Name, "reverse": reverse}, "has_next": more, "total": total})
}

// number reads the last part of a path.
func number(c echo.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return 0, notFound("Not Found")
	}
	return id, nil
}

// ownUpload finds the upload of a path that the caller may see.
func (s *Server) ownUpload(c echo.Context, caller Caller) (catalog.SymbolUpload, error) {
	id, err := number(c)
	if err != nil {
		return catalog.SymbolUpload{}, err
	}
	u, err := s.files.SymbolUpload(c.Request().Context(), id)
	if err == nil && u.UserID != caller.UserID && !caller.Has(catalog.ViewAllUploads) {
		err = fault.New(fault.Forbidden, "Insufficient access to view this upload")
	}
	return u, err
}

// apiUpload is GET /api/uploads/upload/<id>.
func (s *Server) apiUpload(c echo.Context) error {
	caller, err := s.who(c)
	if err != nil {
		return err
	}
	u, err := s.ownUpload(c, caller)
	if err != nil {
		return err
	}
	files, err := s.files.FilesOfUpload(c.Request().Context(), u.ID)
	if err != nil {
		return err
	}
	list := []map[string]any{}
	for _, f := range files {
		list = append(list, s.showFile(f))
	}
	out := s.showUpload(u, true)
	out["file_uploads"] = list
	return c.JSON(http.StatusOK, map[string]any{"upload": out})
}

// apiFiles is GET /api/uploads/files/.
func (s *Server) apiFiles(c echo.Context) error {
	if _, err := s.who(c, catalog.ViewAllUploads); err != nil {
		return err
	}
	f := filter.New(c.QueryParams(), s.now())
	f.Contains("key", "key")
	f.Sizes("size", "size")
	f.Dates("created_at", "created")
	f.Dates("completed_at", "completed")
	f.Truth("update", "updated")
	f.Truth("compressed", "compressed")
	switch c.QueryParam("upload_type") {
	case "":
	case "try":
		f.Add("try = 1")
	case "regular":
		f.Add("try = 0")
	default:
		f.Fail("upload_type", "Neither try nor regular.")
	}
	for _, name := range f.Terms("bucket_name") { // there is one bucket
		rest, not := strings.CutPrefix(name, "!")
		if (rest == s.bucketName()) == not {
			f.Add("0")
		}
	}
	order, reverse := f.Order("created_at", map[string]string{"created_at": "created", "size": "size", "completed_at": "completed", "key": "key"})
	page := f.Page()
	if err := f.Err(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	files, err := s.files.SymbolFiles(ctx, catalog.Page{Where: f.Where, OrderBy: order.Column, Reverse: reverse, Offset: (page - 1) * fileBatch, Limit: fileBatch + 1})
	if err != nil {
		return err
	}
	total := int64(totalUnknown)
	if len(f.Where) > 0 {
		if total, _, err = s.files.CountSymbolFiles(ctx, f.Where); err != nil {
			return err
		}
	}
	more := len(files) > fileBatch
	shown := []map[string]any{}
	for _, one := range files[:min(len(files), fileBatch)] {
		out, err := s.withUpload(c, one)
		if err != nil {
			return err
		}
		shown = append(shown, out)
	}
	return c.JSON(http.StatusOK, map[string]any{"files": shown, "batch_size": fileBatch, "order_by": map[string]any{"sort": order.Name, "reverse": reverse},
		"has_next": more, "total": total})
}

func (s *Server) withUpload(c echo.Context, f catalog.SymbolFile) (map[string]any, error) {
	u, err := s.files.SymbolUpload(c.Request().Context(), f.UploadID)
	if err != nil {
		return nil, err
	}
	out := s.showFile(f)
	out["upload"] = map[string]any{"id": u.ID, "user": map[string]string{"email": u.Email}, "created_at": showTime(u.Created), "try_symbols": u.Try}
	return out, nil
}

// apiFile is GET /api/uploads/files/file/<id>.
func (s *Server) apiFile(c echo.Context) error {
	caller, err := s.who(c)
	if err != nil {
		return err
	}
	id, err := number(c)
	if err != nil {
		return err
	}
	f, err := s.files.SymbolFile(c.Request().Context(), id)
	if err != nil {
		return err
	}
	u, err := s.files.SymbolUpload(c.Request().Context(), f.UploadID)
	if err != nil {
		return err
	}
	if u.UserID != caller.UserID && !caller.Has(catalog.ViewAllUploads) {
		return fault.New(fault.Forbidden, "Insufficient access to view this file")
	}
	out, err := s.withUpload(c, f)
	if err != nil {
		return err
	}
	out["url"] = keyAddress(s.base(c), f.Key, f.Try, "")
	return c.JSON(http.StatusOK, map[string]any{"file": out})
}

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
			"notes":       t.Notes, "created_at": showTime(t.Created)})
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
	if len(notes) > 1000 {
		wrong.Fields["notes"] = []string{"Too long"}
	}
	if len(wrong.Fields) > 0 {
		return wrong
	}
	key, err := s.files.CreateToken(c.Request().Context(), catalog.NewToken{User: caller.Email, Permissions: permissions, Notes: notes, Life: time.Duration(days) * 24 * time.Hour})
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
