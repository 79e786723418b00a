package signature

import (
	"strconv"
	"sync"
	"testing"
)

// Many goroutines on a cache that always overflows see what no cache gives.
func TestCacheIsTransparent(t *testing.T) {
	inputs := madeStacks(200)
	lists := Default()
	want := make([]string, len(inputs))
	for i, in := range inputs {
		want[i] = Generate(in, lists).Signature
	}
	cached := lists.WithCache(2 * cacheShards)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, in := range inputs {
				if got := Generate(in, cached).Signature; got != want[i] {
					t.Errorf("%d: got %q, want %q", i, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	const size = 1000
	lists := Default().WithCache(size)
	for i := range 5 * size {
		Generate(Input{Threads: []Thread{{Frames: []Frame{{Function: "f" + strconv.Itoa(i)}}}}}, lists)
	}
	n := 0
	for i := range lists.cache.shards {
		n += len(lists.cache.shards[i].young) + len(lists.cache.shards[i].old)
	}
	if n > size || n < size/4 {
		t.Errorf("%d entries in a cache of %d", n, size)
	}
}
