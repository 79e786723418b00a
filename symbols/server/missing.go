package server

import (
	"context"
	"encoding/csv"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols/server/filter"
)

const (
	// missingMemory is how long the same question is not counted again.
	missingMemory = 24 * time.Hour
	// missingLife is how long a file that nobody asks for stays listed.
	missingLife = 30 * 24 * time.Hour
	// missingEvery is how often what was counted is written.
	missingEvery = 10 * time.Second
	// maxAsked bounds the questions remembered, maxMissing those not written.
	maxAsked   = 200_000
	maxMissing = 20_000
	// maxMissingField drops longer names.
	maxMissingField = 150
)

// missing counts symbol files that were asked for in vain. Writes are batched:
// a crash of an unknown build asks for hundreds of files.
type missing struct {
	db  *catalog.DB
	now func() time.Time

	mu     sync.Mutex
	asked  map[question]time.Time // guarded by mu
	counts map[question]*catalog.MissingSymbol
}

type question struct{ debugFile, debugID, filename, codeFile, codeID string }

func newMissing(db *catalog.DB, now func() time.Time) *missing {
	return &missing{db: db, now: now, asked: map[question]time.Time{}, counts: map[question]*catalog.MissingSymbol{}}
}

func (m *missing) record(debugFile, debugID, filename, codeFile, codeID string) {
	q := question{debugFile, debugID, filename, strings.ToValidUTF8(codeFile, ""), strings.ToUpper(strings.ToValidUTF8(codeID, ""))}
	for _, f := range []string{q.debugFile, q.debugID, q.filename, q.codeFile, q.codeID} {
		if len(f) > maxMissingField || strings.ContainsAny(f, "\x00\r\n") {
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if at, ok := m.asked[q]; ok && now.Sub(at) < missingMemory {
		return
	}
	if len(m.counts) >= maxMissing {
		return // written soon; until then more are not worth their memory
	}
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
	m.asked[q] = now
	r := m.counts[q]
	if r == nil {
		r = &catalog.MissingSymbol{DebugFile: q.debugFile, DebugID: q.debugID, Filename: q.filename, CodeFile: q.codeFile, CodeID: q.codeID}
		m.counts[q] = r
	}
	r.Count++
	r.Modified = now
}

// found forgets questions about a module whose symbols came.
func (m *missing) found(debugFile, debugID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for q := range m.counts {
		if q.debugFile == debugFile && q.debugID == debugID {
			delete(m.counts, q)
		}
	}
	for q := range m.asked {
		if q.debugFile == debugFile && q.debugID == debugID {
			delete(m.asked, q)
		}
	}
}

// flush writes what was counted.
func (m *missing) flush(ctx context.Context) error {
	m.mu.Lock()
	list := make([]catalog.MissingSymbol, 0, len(m.counts))
	for _, r := range m.counts {
		list = append(list, *r)
	}
	clear(m.counts)
	m.mu.Unlock()
	return m.db.RecordMissing(ctx, list)
}

func (m *missing) run(ctx context.Context, log *zap.Logger) error {
	tick := time.NewTicker(missingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was counted last is worth a moment more.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := m.flush(last); err != nil {
				log.Warn("missing symbols", zap.Error(err))
			}
			return nil
		case <-tick.C:
			if err := m.flush(ctx); err != nil && ctx.Err() == nil {
				log.Warn("missing symbols", zap.Error(err))
			}
		}
	}
}

// missingCSV is GET /missingsymbols.csv: what was asked for in vain in the last
// 24 hours, or today, of Windows modules.
func (s *Server) missingCSV(c echo.Context) error {
	ctx := c.Request().Context()
	now := s.now().UTC()
	since := now.Add(-24 * time.Hour)
	if c.QueryParam("today") != "" {
		since = now.Truncate(24 * time.Hour)
	}
	if err := s.missing.flush(ctx); err != nil {
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
	if err := s.missing.flush(ctx); err != nil {
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

// showTime is how times stand in answers; nil for none.
func showTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000+00:00")
}

// notFound is the answer about a thing that is not there.
func notFound(what string) error { return fault.New(fault.NotFound, "%s", what) }
