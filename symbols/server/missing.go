package server

import (
	"encoding/csv"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
)

// missingCSV is GET /missingsymbols.csv: what was asked for in vain in the last
// 24 hours, or today, of Windows modules.
func (s *Server) missingCSV(c echo.Context) error {
	ctx := c.Request().Context()
	now := s.now().UTC()
	since := now.Add(-24 * time.Hour)
	if c.QueryParam("today") != "" {
		since = now.Truncate(24 * time.Hour)
	}
	if err := s.missing.Flush(ctx); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", "text/csv")
	h.Set("Content-Disposition", `attachment; filename="missing-symbols-`+now.Format(time.DateOnly)+`.csv"`)
	w := csv.NewWriter(c.Response())
	_ = w.Write([]string{"debug_file", "debug_id", "code_file", "code_id"}) // Flush tells
	const batch = 1000
	for last := int64(0); ; {
		list, err := s.files.Missing(ctx, catalog.Page{OrderBy: "id", Limit: batch, Where: []catalog.Condition{
			{SQL: "id > ? AND modified >= ? AND debug_file LIKE '%.pdb' AND filename LIKE '%.sym'", Args: []any{last, catalog.Stamp(since)}}}})
		if err != nil {
			return err
		}
		for _, m := range list {
			last = m.ID
			_ = w.Write([]string{m.DebugFile, m.DebugID, m.CodeFile, m.CodeID}) // Flush tells
		}
		w.Flush()
		if len(list) < batch || w.Error() != nil {
			return nil // a client that left needs no answer
		}
	}
}

const missingBatch = 100

// missingJSON is GET /missingsymbols/.
func (s *Server) missingJSON(c echo.Context) error {
	ctx := c.Request().Context()
	if err := s.missing.Flush(ctx); err != nil {
		return err
	}
	f := filter.New(c.QueryParams(), s.now())
	f.Contains("symbol", "debug_file")
	f.Contains("debugid", "debug_id")
	f.Contains("filename", "filename")
	f.Dates("created_at", "created")
	f.Dates("modified_at", "modified")
	order, reverse := f.Order("modified_at", map[string]string{"modified_at": "modified", "created_at": "created", "count": "count",
		"symbol": "debug_file", "debugid": "debug_id", "filename": "filename"})
	page := f.Page()
	if err := f.Err(); err != nil {
		return err
	}
	total, err := s.files.CountMissing(ctx, f.Where)
	if err != nil {
		return err
	}
	list, err := s.files.Missing(ctx, catalog.Page{Where: f.Where, OrderBy: order.Column, Reverse: reverse, Offset: (page - 1) * missingBatch, Limit: missingBatch})
	if err != nil {
		return err
	}
	records := make([]map[string]any, 0, len(list))
	for _, m := range list {
		records = append(records, map[string]any{"id": m.ID, "symbol": m.DebugFile, "debugid": m.DebugID, "filename": m.Filename, "code_file": nullable(m.CodeFile),
			"code_id": nullable(m.CodeID), "count": m.Count, "modified_at": showTime(m.Modified), "created_at": showTime(m.Created)})
	}
	return c.JSON(http.StatusOK, map[string]any{"order_by": map[string]any{"sort": order.Name, "reverse": reverse}, "batch_size": missingBatch,
		"page": page, "total_count": total, "records": records})
}

// ignoreMissing is GET, POST and DELETE /missingsymbols/ignore/: the rules that
// keep modules out of the list.
func (s *Server) ignoreMissing(c echo.Context) error {
	caller, err := s.who(c, catalog.UploadSymbols)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	switch c.Request().Method {
	case http.MethodPost:
		note := c.FormValue("note")
		if len(note) > maxNote {
			return fault.New(fault.Invalid, "the note has more than %d bytes", maxNote)
		}
		err = s.files.IgnoreMissing(ctx, catalog.MissingIgnore{Pattern: c.FormValue("pattern"), Note: note, Who: caller.Email, Created: s.now()})
	case http.MethodDelete:
		err = s.files.UnignoreMissing(ctx, c.QueryParam("pattern"))
	default:
		return s.listIgnores(c)
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]bool{"ok": true})
}

func (s *Server) listIgnores(c echo.Context) error {
	list, err := s.files.MissingIgnores(c.Request().Context())
	if err != nil {
		return err
	}
	rules := []map[string]any{}
	for _, p := range s.o.Config.MissingIgnore {
		rules = append(rules, map[string]any{"pattern": p, "note": nil, "user": nil, "created_at": nil})
	}
	for _, i := range list {
		rules = append(rules, map[string]any{"pattern": i.Pattern, "note": nullable(i.Note), "user": i.Who, "created_at": showTime(i.Created)})
	}
	return c.JSON(http.StatusOK, map[string]any{"rules": rules})
}

// showTime is how times stand in answers; nil for none.
func showTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000+00:00")
}

// notFound is the answer about a thing that is not there.
func notFound(what string) error { return fault.New(fault.NotFound, "%s", what) }
