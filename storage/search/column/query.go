package column

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// query is one running search.
type query struct {
	s       *Store
	ctx     context.Context
	plan    *plan.Plan
	filter  *filter
	picked  []*selection
	held    map[int]*globals
	bytes   int64 // accounted
	buckets int
	visited *segment // being read, for the case of a fault
	missing []string // weeks that could not be read
}

// selection is a segment and its rows that pass the filters.
type selection struct {
	*live
	selected bitmap
	count    int
}

func defaultRunning() int { return 2 * runtime.GOMAXPROCS(0) }

// Search implements search.Engine.
func (s *Store) Search(ctx context.Context, p *plan.Plan) (_ *search.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.QueryTime)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, s.late(ctx)
	}
	snap := s.pin()
	defer snap.release()
	skip := map[*segment]bool{}
	for {
		q := &query{s: s, ctx: ctx, plan: p, held: map[int]*globals{}, filter: s.newFilter()}
		res, broken, err := q.run(snap, skip)
		q.release()
		if broken == nil {
			if err != nil && ctx.Err() != nil {
				return nil, s.late(ctx)
			}
			return res, err
		}
		s.suspect(broken, err)
		skip[broken] = true // answer the rest
	}
}

// late words the end of a query's time.
func (s *Store) late(ctx context.Context) error {
	if ctx.Err() == context.Canceled {
		return fault.As(fault.Canceled, ctx.Err(), "search")
	}
	return fault.New(fault.Timeout, "the search took longer than %s (search.timeout): narrow the dates or ask for less", s.opts.QueryTime)
}

func (s *Store) newFilter() *filter {
	f := &filter{fields: make(map[*plan.Field]int, len(s.fields)), patterns: map[*plan.Expr]*pattern{}}
	for i := range s.fields {
		f.fields[s.opts.Fields.Get(s.fields[i].Name)] = i
	}
	return f
}

// run answers the plan. When reading a segment faults, broken is that segment
// and err says what happened.
func (q *query) run(snap *snapshot, skip map[*segment]bool) (res *search.Result, broken *segment, err error) {
	defer panicOnFault()()
	defer func() {
		if r := recover(); r != nil {
			if q.visited == nil {
				panic(r)
			}
			broken, err = q.visited, fault.New(fault.Malformed, "reading segment %s of week %s: %v", q.visited.name, q.visited.week, r)
		}
	}()
	res = &search.Result{Hits: []search.Hit{}, Facets: search.Facets{}, Errors: []search.Error{}}
	q.reportMissing(snap, skip, res)
	for _, l := range snap.segs {
		if skip[l.segment] || !l.overlaps(q.plan) {
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
	for name := range snap.stale {
		if q.uses(name) {
			res.Warnings = append(res.Warnings, "field "+name+" has another type in some weeks and counts as absent there: reindex")
		}
	}
	return res, nil, err
}

// reportMissing names the weeks in the plan's range that lost a segment.
func (q *query) reportMissing(snap *snapshot, skip map[*segment]bool, res *search.Result) {
	lost := map[string]bool{}
	for _, w := range snap.broken {
		lost["socorro"+strings.ReplaceAll(w, "/", "")] = true
	}
	for s := range skip {
		lost["socorro"+strings.ReplaceAll(s.week, "/", "")] = true
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
func (q *query) selectRows(l *live) (*selection, error) {
	q.visited = l.segment
	n := l.footer.Rows
	if err := q.take(int64(n) / 8); err != nil {
		return nil, err
	}
	rows := newBitmap(n)
	lo, hi := l.dateRange(q.plan.From, q.plan.To)
	rows.fill(lo, hi)
	if l.dead != nil {
		rows.andNot(l.dead)
	}
	for _, e := range q.plan.Filters {
		b, err := q.filter.rows(l.segment, e)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "super search")
		}
		rows.and(b)
	}
	return &selection{l, rows, rows.count()}, nil
}

// alive ends a query whose request or time is over.
func (q *query) alive() error { return q.ctx.Err() }

// take accounts memory that the query is about to use.
func (q *query) take(n int64) error {
	if q.bytes += n; q.bytes > q.s.opts.QueryBytes {
		return fault.New(fault.TooLarge, "the search needs more than %d MiB (search.memory): narrow the dates or ask for less", q.s.opts.QueryBytes>>20)
	}
	return nil
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
func (q *query) globals(field int) *globals {
	if g := q.held[field]; g != nil {
		return g
	}
	g := q.s.globals.get(field)
	q.held[field] = g
	return g
}

func (q *query) release() {
	for _, g := range q.held {
		g.drop()
	}
	if len(q.held) > 0 {
		q.s.globals.trim()
	}
}

// faults holds the segments that failed under a query.
type faults struct {
	mu   sync.Mutex
	list map[*segment]error
}

// suspect notes a segment whose reading went wrong; Run checks it.
func (s *Store) suspect(seg *segment, err error) {
	if seg.faulty.CompareAndSwap(false, true) {
		s.opts.Log.Error("search skips a segment", zap.String("week", seg.week), zap.String("segment", seg.name), zap.Error(err))
		s.faults.mu.Lock()
		if s.faults.list == nil {
			s.faults.list = map[*segment]error{}
		}
		s.faults.list[seg] = err
		s.faults.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// panicOnFault has page faults of this goroutine panic; the function it gives
// ends that.
func panicOnFault() (restore func()) {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
