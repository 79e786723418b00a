package search

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Form is how a result is downloaded.
type Form struct {
	Name  string // csv or ndjson
	Table string // a facet's name in the answer, or hits; "" is hits
}

// Bounds of a download.
const (
	// MaxExport is how many crashes one download holds: a file of some hundred
	// MB, past which an index is the better tool.
	MaxExport = 1_000_000
	// exportPage is how many crashes are found and written at a time.
	exportPage = 5_000
)

// ContentType is what a form is sent as; "" is no form.
func (f Form) ContentType() string {
	switch f.Name {
	case "csv":
		return "text/csv; charset=utf-8"
	case "ndjson":
		return "application/x-ndjson; charset=utf-8"
	}
	return ""
}

// Export executes a request and writes its table, page after page as it is
// found: all crashes that match, up to _results_number or MaxExport of them, or
// the buckets of one facet. Nothing is written when the request is refused;
// status and body then say why. begin is called before the first byte. An error
// after that leaves a table that is cut short. What the viewer may not read is
// left out as in every other answer.
func Export(ctx context.Context, engine Engine, fields *plan.Fields, rq Request, form Form, begin func() io.Writer) (status int, body []byte, err error) {
	if status, body := refuseUnredacted(rq); status != 0 {
		return status, body, nil
	}
	rq.Options.Unredacted = rq.Unredacted
	rq.Options.MostResults = MaxExport
	p, err := plan.Parse(rq.Values, fields, rq.Viewer, rq.Options)
	if err == nil && form.ContentType() == "" {
		err = fault.As(fault.Invalid, &plan.Error{Param: "_format", Message: "Bad value for parameter _format: not json, csv or ndjson"}, "super search")
	}
	if err != nil {
		return failure(err)
	}
	e := &export{engine: engine, plan: p, form: form, begin: begin}
	if form.Table == "" || form.Table == "hits" {
		err = e.hits(ctx, rq.Values.Has("_results_number"))
	} else {
		err = e.facet(ctx)
	}
	if err != nil && e.w == nil {
		return failure(err)
	}
	return http.StatusOK, nil, err
}

// export is one download.
type export struct {
	engine Engine
	plan   *plan.Plan
	form   Form
	begin  func() io.Writer
	w      io.Writer // nil before the first byte
	buf    bytes.Buffer
	csv    *csv.Writer
}

// hits writes pages of crashes, each going on where the last one ended.
func (e *export) hits(ctx context.Context, bounded bool) error {
	p := e.plan
	left := MaxExport
	if bounded {
		left = p.Number
	}
	p.Aggs, p.WantCursor = nil, true
	head := make([]string, len(p.Columns))
	for i, c := range p.Columns {
		head[i] = c.Name
	}
	for first := true; ; first = false {
		p.Number = min(left, exportPage)
		r, err := e.engine.Search(ctx, p)
		if err != nil {
			return err
		}
		if len(r.Errors) > 0 && first {
			return fault.New(fault.Unavailable, "the week %s cannot be searched now", r.Errors[0].Index)
		}
		if first {
			e.start(head)
		}
		for _, h := range r.Hits {
			e.hit(head, h)
		}
		if err := e.flush(); err != nil {
			return err
		}
		left -= len(r.Hits)
		if left <= 0 || len(r.Hits) < p.Number || r.Cursor == "" {
			return nil
		}
		p.Cursor, p.Offset = r.Cursor, 0
	}
}

func (e *export) start(head []string) {
	e.w = e.begin()
	e.csv = csv.NewWriter(&e.buf)
	if e.form.Name == "csv" {
		_ = e.csv.Write(head) // into memory
	}
}

func (e *export) hit(head []string, h Hit) {
	if e.form.Name == "ndjson" {
		e.buf.Write(append(appendHit(e.buf.AvailableBuffer(), h), '\n'))
		return
	}
	row := make([]string, len(head))
	for i, name := range head {
		row[i] = cell(h[name])
	}
	_ = e.csv.Write(row) // into memory
}

func (e *export) flush() error {
	e.csv.Flush()
	_, err := e.w.Write(e.buf.Bytes())
	e.buf.Reset()
	return fault.As(fault.Canceled, err, "send the table")
}

// facet writes the buckets of one aggregation. As csv each bucket is a row with
// the terms of the buckets around it, a column for every aggregation.
func (e *export) facet(ctx context.Context) error {
	p := e.plan
	i := slices.IndexFunc(p.Aggs, func(a plan.Agg) bool { return a.Name == e.form.Table })
	if i < 0 {
		return fault.As(fault.Invalid, &plan.Error{Param: "_table", Message: fmt.Sprintf("Bad value for parameter _table: the answer has no facet '%.100s'", e.form.Table)}, "super search")
	}
	p.Aggs, p.Number = p.Aggs[i:i+1], 0
	r, err := e.engine.Search(ctx, p)
	if err != nil {
		return err
	}
	head := aggNames(nil, p.Aggs)
	e.start(append(slices.Clone(head), "count"))
	f := r.Facets[e.form.Table]
	if e.form.Name == "ndjson" {
		if f.IsNumber {
			e.buf.Write(append(appendFacet(e.buf.AvailableBuffer(), f), '\n'))
		}
		for i := range f.Buckets {
			one := appendFacet(nil, &Facet{Buckets: f.Buckets[i : i+1]})
			e.buf.Write(append(one[1:len(one)-1], '\n'))
		}
	} else {
		e.buckets(head, p.Aggs[0].Name, f, make([]string, len(head)+1))
	}
	return e.flush()
}

// aggNames lists the names of aggregations, those inside others after them;
// there are four levels at most.
func aggNames(out []string, list []plan.Agg) []string {
	for i := range list {
		if !slices.Contains(out, list[i].Name) {
			out = append(out, list[i].Name)
		}
		out = aggNames(out, list[i].Subs)
	}
	return out
}

func (e *export) buckets(head []string, name string, f *Facet, row []string) {
	at := slices.Index(head, name)
	before := row[at]
	defer func() { row[at], row[len(head)] = before, "" }()
	if f.IsNumber {
		row[at], row[len(head)] = fmt.Sprint(f.Cardinality), ""
		_ = e.csv.Write(row) // into memory
		return
	}
	for i := range f.Buckets {
		b := &f.Buckets[i]
		row[at], row[len(head)] = cell(b.Term), fmt.Sprint(b.Count)
		_ = e.csv.Write(row) // into memory
		for _, sub := range head {
			if inner := b.Facets[sub]; inner != nil {
				e.buckets(head, sub, inner, row)
			}
		}
	}
}

// cell writes a value for a table. Anybody can send a crash whose values a
// spreadsheet would run as formulas; an apostrophe in front keeps them texts.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if v != "" && strings.IndexByte("=+-@\t\r", v[0]) >= 0 {
			return "'" + v
		}
		return v
	case []string:
		return cell(strings.Join(v, "; "))
	}
	return string(appendValue(nil, v))
}
