package server

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
	"mayday/symbols/quality"
	"mayday/symbols/server/download"
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
		"token_expires_at": caller.Expires.Unix(), "upload_api_version": s.uploadVersion(caller)}
	if caller.Expires.IsZero() {
		answer["token_expires_at"] = nil
	}
	return c.JSON(http.StatusOK, answer)
}

// uploadVersion is the protocol that a caller's client shall speak.
func (s *Server) uploadVersion(c Caller) int {
	if c.UploadVersion != 0 {
		return c.UploadVersion
	}
	return min(max(s.o.Config.UploadVersion, 1), 2)
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
		out["files_faulty_count"], out["protocol"], out["pin"] = u.Faulty, nullable(u.Protocol), showPin(u)
	}
	return out
}

// showPin is who keeps an upload from growing old, and why; nil for nobody.
func showPin(u catalog.SymbolUpload) any {
	if !u.Pinned() {
		return nil
	}
	return map[string]any{"user": u.Pin.Who, "note": u.Pin.Note, "created_at": showTime(u.Pin.Created)}
}

// pinUpload is POST and DELETE /api/uploads/upload/<id>/pin: keeps an upload
// whatever its age, with a note why; or lets it grow old again.
func (s *Server) pinUpload(c echo.Context) error {
	caller, err := s.who(c, catalog.UploadSymbols, catalog.UploadTrySymbols)
	if err != nil {
		return err
	}
	u, err := s.ownUpload(c, caller)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if c.Request().Method == http.MethodDelete {
		err = s.files.UnpinSymbolUpload(ctx, u.ID)
	} else {
		note := c.FormValue("note")
		if len(note) > maxNote {
			return fault.New(fault.Invalid, "the note has more than %d bytes", maxNote)
		}
		err = s.files.PinSymbolUpload(ctx, u.ID, catalog.Pin{Who: caller.Email, Note: note, Created: s.now()})
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]bool{"ok": true})
}

// maxNote is the longest note that people leave.
const maxNote = 1000

// bucketName is what answers call the one bucket.
func (s *Server) bucketName() string { return "symbols" }

func (s *Server) showFile(f catalog.SymbolFile) map[string]any {
	return map[string]any{"id": f.ID, "bucket_name": s.bucketName(), "key": f.Key, "update": f.Updated, "compressed": f.Compressed,
		"size": f.Size, "size_unpacked": f.TextSize, "completed_at": showTime(f.Completed), "created_at": showTime(f.Created),
		"debug_filename": nullable(f.DebugFile), "debug_id": nullable(f.DebugID), "code_file": nullable(f.CodeFile), "code_id": nullable(f.CodeID),
		"generator": nullable(f.Generator), "kind": nullable(f.Kind), "md5_hash": nullable(f.MD5), "quality": showFaults(f.Quality)}
}

func showFaults(list []quality.Fault) []quality.Fault {
	if list == nil {
		return []quality.Fault{}
	}
	return list
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
	if out["conversions"], err = s.conversions(c.Request().Context(), u.ID); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"upload": out})
}

// conversions are the builds that an upload has raw debug files of, and what
// became of making symbols of them.
func (s *Server) conversions(ctx context.Context, upload int64) ([]map[string]any, error) {
	list, err := s.files.ConversionsOfUpload(ctx, upload)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, v := range list {
		out = append(out, map[string]any{"code_id": v.CodeID, "try_symbols": v.Try, "state": v.State, "reason": nullable(v.Reason),
			"keys": listed(slices.Sorted(maps.Keys(v.Made))), "changed_at": showTime(v.Changed)})
	}
	return out, nil
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
	out["url"] = download.Address(s.base(c), f.Key, f.Try, "")
	return c.JSON(http.StatusOK, map[string]any{"file": out})
}

// nullable shows "" as null.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
