package column

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"mayday/storage/search"
)

// TestQueriesSeeWholeStates asks while crashes are replaced, merged and moved
// between weeks: each is there exactly once, whenever one looks.
func TestQueriesSeeWholeStates(t *testing.T) {
	s := openTest(t, t.TempDir())
	defer s.Close()
	s.opts.disk.noSync = true
	const crashes = 60
	round := func(n int) []search.Doc {
		var docs []search.Doc
		for i := range crashes {
			day := 1 + (i+n*5)%28
			docs = append(docs, testDoc(t, s.opts.Fields, crash(i, fmt.Sprintf("2026-09-%02dT10:00:00Z", day), map[string]any{"version": fmt.Sprint(n)})))
		}
		return docs
	}
	ctx := context.Background()
	if err := s.Index(ctx, round(0)); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	queries := []string{"_facets=version&_facets=signature", "_aggs.product=version&_sort=-signature", "_facets=_cardinality.uuid&_facets=version&proto_signature=base&_sort=uptime"}
	for i := range 3 {
		readers.Go(func() {
			for !stop.Load() {
				res, err := try(s, queries[i])
				if err != nil {
					t.Errorf("%s: %v", queries[i], err)
					return
				}
				if res.Total != crashes || len(res.Hits) != crashes || len(res.Errors) > 0 {
					t.Errorf("%s: total %d, %d hits, errors %v", queries[i], res.Total, len(res.Hits), res.Errors)
					return
				}
				if f := res.Facets["version"]; f != nil && (len(f.Buckets) != 1 || f.Buckets[0].Count != crashes) {
					t.Errorf("%s: a state between batches: %+v", queries[i], f.Buckets)
					return
				}
			}
		})
	}
	for n := 1; n <= 25; n++ {
		if err := s.Index(ctx, round(n)); err != nil {
			t.Fatal(err)
		}
		mergeAll(t, s)
	}
	stop.Store(true)
	readers.Wait()
	if n := len(s.manifest.Segments); n > 5*weekSegments {
		t.Errorf("%d segments are left", n)
	}
}
