package column

import (
	"context"
	"runtime"
	"sync"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/query"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
)

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
	st := &query.State{Parts: snap.parts(), Broken: snap.broken, Stale: snap.stale, Skip: map[*segment.Segment]bool{}}
	for {
		res, broken, err := s.searcher.Search(ctx, p, st)
		if broken == nil {
			if err != nil && ctx.Err() != nil {
				return nil, s.late(ctx)
			}
			return res, err
		}
		s.suspect(broken, err)
		st.Skip[broken] = true // answer the rest
	}
}

// late words the end of a query's time.
func (s *Store) late(ctx context.Context) error {
	if ctx.Err() == context.Canceled {
		return fault.As(fault.Canceled, ctx.Err(), "search")
	}
	return fault.New(fault.Timeout, "the search took longer than %s (search.timeout): narrow the dates or ask for less", s.opts.QueryTime)
}

// faults holds the segments that failed under a query.
type faults struct {
	mu   sync.Mutex
	list map[*segment.Segment]error
}

// suspect notes a segment whose reading went wrong; Run checks it.
func (s *Store) suspect(seg *segment.Segment, err error) {
	if seg.Faulty.CompareAndSwap(false, true) {
		s.opts.Log.Error("search skips a segment", zap.String("week", seg.Week), zap.String("segment", seg.Name), zap.Error(err))
		s.faults.mu.Lock()
		if s.faults.list == nil {
			s.faults.list = map[*segment.Segment]error{}
		}
		s.faults.list[seg] = err
		s.faults.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// segments lists the segments without their deleted rows.
func (n *snapshot) segments() []*segment.Segment {
	out := make([]*segment.Segment, len(n.segs))
	for i, l := range n.segs {
		out[i] = l.Segment
	}
	return out
}

// parts lists the segments for a query.
func (n *snapshot) parts() []query.Part {
	out := make([]query.Part, len(n.segs))
	for i, l := range n.segs {
		out[i] = l.Part
	}
	return out
}
