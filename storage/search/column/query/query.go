// Package query executes Super Search plans over the segments of one snapshot.
//
// Package filter picks rows. Aggregations number their keys (keys.go,
// package values) and count pairs of bucket and key, level by level: the buckets of
// a level are fixed before the next one is counted, so every count is exact
// (aggregate.go; nested.go where there are very many keys). hits.go sorts and
// copies the page asked for.
//
// Memory is accounted, time comes from the context. Strings in mapped files are
// copied into the answer, never kept.
package query

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/filter"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/column/values"
	"mayday/storage/search/plan"
)

// query is one running search.
type query struct {
	s        *Searcher
	ctx      context.Context
	plan     *plan.Plan
	filter   *filter.Filter
	picked   []*selection
	held     map[int]*values.Table
	bytes    int64 // accounted
	buckets  int
	warnings []string
	visited  *segment.Segment // being read, for the case of a fault
}

// index is a field's place in the table; every field of a plan is in it.
func (q *query) index(f *plan.Field) int {
	i, _ := q.filter.Index(f)
	return i
}

// selection is a segment and its rows that pass the filters.
type selection struct {
	Part
	selected segment.Bitmap
	count    int
}

// Part is a segment and its deleted rows, as one snapshot has them.
type Part struct {
	*segment.Segment
	Dead segment.Bitmap // nil: none
}

// State is what a query sees of the index.
type State struct {
	Parts  []Part
	Broken []string                  // weeks that lost a segment
	Stale  map[string]bool           // fields whose stored type differs in some segment
	Skip   map[*segment.Segment]bool // segments that failed under this query before
}

// Searcher executes plans over the segments it is given. It keeps the tables
// of global ordinals between queries.
type Searcher struct {
	Table   *plan.Fields
	Bytes   int64 // a query's accounted memory
	Buckets int   // of one answer
	Secret  []byte
	Cells   int // counters in one array; 0 takes maxCells
	Values  values.Cache
}

func (s *Searcher) cells() int {
	if s.Cells > 0 {
		return s.Cells
	}
	return maxCells
}

// Search answers a plan. When reading a segment faults, broken is that segment
// and err says what happened; the caller asks again without it.
func (s *Searcher) Search(ctx context.Context, p *plan.Plan, st *State) (res *search.Result, broken *segment.Segment, err error) {
	for {
		q := &query{s: s, ctx: ctx, plan: p, held: map[int]*values.Table{}, filter: filter.New(s.Table)}
		res, broken, err = q.run(st)
		q.release()
		if !errors.Is(err, values.ErrCollision) { // each field collides once at most
			return res, broken, err
		}
	}
}

// run answers the plan. When reading a segment faults, broken is that segment
// and err says what happened.
func (q *query) run(st *State) (res *search.Result, broken *segment.Segment, err error) {
	defer PanicOnFault()()
	defer func() {
		if r := recover(); r != nil {
			if q.visited == nil {
				panic(r)
			}
			broken, err = q.visited, fault.New(fault.Malformed, "reading segment %s of week %s: %v", q.visited.Name, q.visited.Week, r)
		}
	}()
	res = &search.Result{Hits: []search.Hit{}, Facets: search.Facets{}, Errors: []search.Error{}}
	q.reportMissing(st, res)
	for _, l := range st.Parts {
		if st.Skip[l.Segment] || !l.Overlaps(q.plan) {
			continue
		}
		if err := q.alive(); err != nil {
			return nil, nil, err
		}
		sel, err := q.selectRows(l)
		if err != nil {
			return nil, nil, err
		}
		if sel.count > 0 {
			q.picked = append(q.picked, sel)
			res.Total += int64(sel.count)
		}
	}
	rels := make([]relation, len(q.picked))
	for i := range q.plan.Aggs {
		a := &q.plan.Aggs[i]
		facets, err := q.aggregate(a, rels, 1)
		if err != nil {
			return nil, nil, err
		}
		res.Facets[a.Name] = facets[0]
	}
	err = q.hits(res)
	q.visited = nil
	res.Warnings = append(res.Warnings, q.warnings...)
	for name := range st.Stale {
		if q.uses(name) {
			res.Warnings = append(res.Warnings, "field "+name+" has another type in some weeks and counts as absent there: reindex")
		}
	}
	return res, nil, err
}

// reportMissing names the weeks in the plan's range that lost a segment.
func (q *query) reportMissing(st *State, res *search.Result) {
	lost := map[string]bool{}
	for _, w := range st.Broken {
		lost["socorro"+strings.ReplaceAll(w, "/", "")] = true
	}
	for s := range st.Skip {
		lost["socorro"+strings.ReplaceAll(s.Week, "/", "")] = true
	}
	if len(lost) == 0 {
		return
	}
	for _, w := range q.plan.Weeks() {
		if lost[w] {
			res.Errors = append(res.Errors, search.Error{Type: "missing_index", Index: w})
		}
	}
}

// uses says whether the plan reads a field.
func (q *query) uses(name string) bool {
	for _, c := range q.plan.Columns {
		if c.Name == name {
			return true
		}
	}
	for _, e := range q.plan.Filters {
		for e.Op <= plan.Not && len(e.Args) > 0 {
			e = e.Args[0]
		}
		if e.Field != nil && e.Field.Name == name {
			return true
		}
	}
	for i := range q.plan.Aggs {
		for list := q.plan.Aggs[i : i+1]; len(list) > 0; list = list[0].Subs {
			for j := range list {
				if list[j].Field.Name == name {
					return true
				}
			}
		}
	}
	return false
}

// selectRows evaluates the filters on one segment.
func (q *query) selectRows(l Part) (*selection, error) {
	q.visited = l.Segment
	n := l.Footer.Rows
	if err := q.take(int64(n) / 8); err != nil {
		return nil, err
	}
	rows := segment.NewBitmap(n)
	lo, hi := l.DateRange(q.plan.From, q.plan.To)
	rows.Fill(lo, hi)
	if l.Dead != nil {
		rows.AndNot(l.Dead)
	}
	for _, e := range q.plan.Filters {
		b, err := q.filter.Rows(l.Segment, e)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "super search")
		}
		rows.And(b)
	}
	return &selection{l, rows, rows.Count()}, nil
}

// alive ends a query whose request or time is over.
func (q *query) alive() error { return q.ctx.Err() }

// take accounts memory that the query is about to use.
func (q *query) take(n int64) error {
	if q.bytes+n > q.s.Bytes {
		return fault.New(fault.TooLarge, "the search needs more than %d MiB (search.memory): narrow the dates or ask for less", q.s.Bytes>>20)
	}
	q.bytes += n
	return nil
}

// warn adds a line to the answer, once.
func (q *query) warn(line string) {
	if !slices.Contains(q.warnings, line) {
		q.warnings = append(q.warnings, line)
	}
}

func (q *query) give(n int64) { q.bytes -= n }

// settle accounts what a keyer interned.
func (q *query) settle(k *keyer) error {
	n := int64(len(k.intern.table))*4 + int64(cap(k.intern.keys))*8
	if err := q.take(n); err != nil {
		return err
	}
	q.give(n) // its life ends with the aggregation
	return nil
}

// globals gives the table of a string field for the length of the query.
func (q *query) globals(field int) *values.Table {
	if g := q.held[field]; g != nil {
		return g
	}
	g := q.s.Values.Get(field)
	q.held[field] = g
	return g
}

func (q *query) release() {
	for _, g := range q.held {
		g.Drop()
	}
	if len(q.held) > 0 {
		q.s.Values.Trim()
	}
}

// PanicOnFault has page faults of this goroutine panic; the function it gives
// ends that.
func PanicOnFault() (restore func()) {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
