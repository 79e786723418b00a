package lookup

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct {
		name  string
		count int
		key   func(i int) uint64
	}{
		{"dense", 20_000, func(i int) uint64 { return uint64(i) }},
		{"even", 20_000, func(i int) uint64 { return uint64(i)*64 + r.Uint64N(64) }},
		{"uneven", 5_000, func(i int) uint64 { return uint64(i) * uint64(i) * uint64(i) }},
		{"equal", 3_000, func(i int) uint64 { return uint64(i / 100) }},
		{"dense with equal ones", 20_000, func(i int) uint64 { return uint64(i - i%31/30) }},
		{"dense with gaps", 20_000, func(i int) uint64 { return uint64(i + i/1000) }},
		{"all of 64 bits", 2_000, func(i int) uint64 { return uint64(i) << 53 }},
		{"random", 10_000, func(int) uint64 { return r.Uint64N(1 << 34) }},
		{"one", 1, func(int) uint64 { return 77 }},
		{"none", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := make([]entry, c.count)
			for i := range list {
				list[i] = entry{c.key(i), uint32(i) * 3}
			}
			slices.SortStableFunc(list, func(x, y entry) int { return cmp.Compare(x.key, y.key) })
			var m memory
			w := blockWriter{to: &m}
			w.add(make([]byte, 40_000)) // so that the first chunk is cut
			o := indexWriter{w: &w}
			for _, e := range list {
				o.add(e.key, e.val)
			}
			x := o.end()
			w.flush()
			s := blockStore{blocks: m.blocks}
			check := func(key uint64) {
				t.Helper()
				want := sort.Search(len(list), func(i int) bool { return list[i].key > key }) - 1
				e, pos, ok := x.find(&s, key)
				if ok != (want >= 0) || ok && (pos != want || e != list[want]) {
					t.Fatalf("find %#x: got %v at %d, %v; want position %d", key, e, pos, ok, want)
				}
				there := want >= 0 && list[want].key == key
				if val, ok := x.get(&s, key); ok != there || ok && val != list[want].val {
					t.Fatalf("get %#x: got %d, %v; want position %d", key, val, ok, want)
				}
			}
			for i, e := range list {
				check(e.key)
				check(e.key + 1)
				check(e.key - 1)
				if got, ok := x.at(&s, i); !ok || got != e {
					t.Fatalf("at %d: got %v %v, want %v", i, got, ok, e)
				}
			}
			check(0)
			check(1<<64 - 1)
			if _, ok := x.at(&s, c.count); ok {
				t.Error("an entry past the end is there")
			}
		})
	}
}
