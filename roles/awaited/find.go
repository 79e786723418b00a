package awaited

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/search/plan"
	"mayday/symbols"
)

// missingField lists, as file/version/debug id/code id, the modules that a
// crash lacked the symbols of.
const missingField = "missing_symbols"

// perQuery is how many modules one query names.
const perQuery = 50

// find gives the crashes whose missing_symbols lists the debug id of one of the
// modules, the latest first. One that lacks several may come more than once.
func (a *Awaited) find(ctx context.Context, modules []catalog.Awaited) iter.Seq2[storage.CrashID, error] {
	return func(yield func(storage.CrashID, error) bool) {
		for start := 0; start < len(modules); start += perQuery {
			if !a.ask(ctx, modules[start:min(start+perQuery, len(modules))], yield) {
				return
			}
		}
	}
}

// fewModules are looked for as they are; more are first compared with what
// crashes lack at all.
const fewModules = 10

// narrow leaves out modules that no crash lacks. A bulk upload is mostly of
// such, and one count is cheaper than looking for each.
func (a *Awaited) narrow(ctx context.Context, modules []catalog.Awaited) ([]catalog.Awaited, error) {
	if len(modules) <= fewModules {
		return modules, nil
	}
	q := a.query()
	q.Set("_facets", missingField)
	q.Set("_facets_size", strconv.Itoa(plan.MaxFacets))
	q.Set("_results_number", "0")
	p, err := plan.Parse(q, a.Fields, plan.Viewer{}, plan.Options{Now: time.Now()})
	if err != nil {
		return nil, err
	}
	r, err := a.Index.Search(ctx, p)
	if err != nil {
		return nil, fault.Wrap(err, "count missing symbols")
	}
	facet := r.Facets[missingField]
	if facet == nil || len(facet.Buckets) >= plan.MaxFacets {
		return modules, nil // it does not say all
	}
	lacked := map[string]bool{}
	for _, b := range facet.Buckets {
		term, _ := b.Term.(string)
		for part := range strings.SplitSeq(term, "/") {
			lacked[strings.ToUpper(part)] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(modules), func(m catalog.Awaited) bool { return !lacked[m.DebugID] }), nil
}

// query is what all queries have in common.
func (a *Awaited) query() url.Values {
	span := min(time.Duration(a.Days)*24*time.Hour, plan.MaxSpan-time.Hour)
	return url.Values{"date": {">=" + time.Now().Add(-span).UTC().Format(time.RFC3339)}, "_facets_size": {"0"}}
}

// ask gives the crashes of one query, page by page. Each page continues behind
// the last crash of the one before, so crashes that leave the result meanwhile
// (they were processed again) skip none.
func (a *Awaited) ask(ctx context.Context, modules []catalog.Awaited, yield func(storage.CrashID, error) bool) bool {
	q := a.query()
	q.Set("_columns", plan.IDField)
	q.Set("_sort", "-"+plan.DateField)
	q.Set("_results_number", strconv.Itoa(plan.MaxResults))
	for _, m := range modules {
		// The index holds the parts of such a field in lower case.
		q.Add(missingField, "~/"+strings.ToLower(m.DebugID))
	}
	for cursor := ""; ; {
		q.Set("_cursor", cursor)
		p, err := plan.Parse(q, a.Fields, plan.Viewer{}, plan.Options{Now: time.Now()})
		if err != nil {
			return yield("", err)
		}
		r, err := a.Index.Search(ctx, p)
		if err != nil {
			return yield("", fault.Wrap(err, "find crashes that lack symbols"))
		}
		for _, h := range r.Hits {
			text, _ := h[plan.IDField].(string)
			id, err := storage.ParseCrashID(text)
			if !yield(id, fault.Wrap(err, "search hit")) {
				return false
			}
		}
		if len(r.Hits) < plan.MaxResults || r.Cursor == "" {
			return true
		}
		cursor = r.Cursor
	}
}

// lacking decides which crashes the modules help.
type lacking struct{ arrived map[string]time.Time } // by path

func newLacking(modules []catalog.Awaited) lacking {
	l := lacking{map[string]time.Time{}}
	for _, m := range modules {
		if path, ok := (symbols.ModuleID{DebugFile: m.DebugFile, DebugID: m.DebugID}).Path(); ok {
			l.arrived[path] = m.Arrived
		}
	}
	return l
}

// walkedCrash is what a processed crash tells of its walk.
type walkedCrash struct {
	Started string `json:"started_datetime"`
	Dump    struct {
		Modules []struct {
			DebugFile string `json:"debug_file"`
			DebugID   string `json:"debug_id"`
			CodeFile  string `json:"filename"`
			Missing   bool   `json:"missing_symbols"`
		} `json:"modules"`
	} `json:"json_dump"`
}

// helped reports whether a processed crash lacks one of the modules and was
// walked before its symbols came. One that cannot be read is made anew.
func (l lacking) helped(processed []byte) bool {
	var c walkedCrash
	if err := json.NewDecoder(bytes.NewReader(processed)).Decode(&c); err != nil {
		return true
	}
	started, err := time.Parse(time.RFC3339, c.Started)
	known := err == nil
	for _, m := range c.Dump.Modules {
		if !m.Missing {
			continue
		}
		path, ok := (symbols.ModuleID{DebugFile: m.DebugFile, DebugID: m.DebugID, CodeFile: m.CodeFile}).Path()
		arrived, came := l.arrived[path]
		if ok && came && !(known && started.After(arrived.Add(walked))) {
			return true
		}
	}
	return false
}
