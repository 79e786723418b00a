package query

import (
	"bytes"
	"mayday/storage/search/column/segment"
	"sync"
	"sync/atomic"
)

// globals numbers the distinct values of one string field across segments, so
// that counts of different segments can be added. It grows with each new
// Segment it is asked for and holds a reference to every segment it has seen,
// as its entries point into their dictionaries.
type globals struct {
	refs    atomic.Int32
	mu      sync.Mutex
	table   []uint64 // open addressing: upper half of the hash, entry + 1
	entries []globalEntry
	locals  map[*segment.Segment][]uint32 // segment's ordinal → entry
	bytes   int64
	used    int64 // for eviction, under globalsCache.mu
}

type globalEntry struct {
	hash uint64
	dict *segment.Dict
	ord  uint32
}

// Segment gives the table from a segment's ordinals to entries.
func (g *globals) segment(s *segment.Segment, c *segment.Column) []uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l, ok := g.locals[s]; ok {
		return l
	}
	d := c.FacetDict()
	local := make([]uint32, d.N)
	for v := range local {
		local[v] = g.intern(d, uint32(v))
	}
	s.Acquire()
	g.locals[s] = local
	g.bytes = int64(len(g.table))*8 + int64(cap(g.entries))*24
	for _, l := range g.locals {
		g.bytes += int64(len(l)) * 4
	}
	return local
}

func (g *globals) intern(d *segment.Dict, v uint32) uint32 {
	if len(g.entries)*2 >= len(g.table) {
		g.grow()
	}
	h := d.Hashes[v]
	mask := uint64(len(g.table) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		e := uint32(g.table[i])
		if e == 0 {
			g.entries = append(g.entries, globalEntry{h, d, v})
			g.table[i] = h>>32<<32 | uint64(len(g.entries))
			return uint32(len(g.entries) - 1)
		}
		if g.table[i]>>32 != h>>32 {
			continue
		}
		if old := &g.entries[e-1]; old.hash == h && sameValue(old.dict, old.ord, d, v) {
			return e - 1
		}
	}
}

func (g *globals) grow() {
	size := max(1024, len(g.table)*2)
	g.table = make([]uint64, size)
	mask := uint64(size - 1)
	for n, e := range g.entries {
		i := e.hash & mask
		for g.table[i] != 0 {
			i = (i + 1) & mask
		}
		g.table[i] = e.hash>>32<<32 | uint64(n+1)
	}
}

func sameValue(a *segment.Dict, i uint32, b *segment.Dict, j uint32) bool {
	if a.Sep == "" && b.Sep == "" {
		return bytes.Equal(a.Entry(i), b.Entry(j))
	}
	if a.Sep != b.Sep {
		return a.Compare(i, b.Text(j)) == 0
	}
	p, q := a.Parts[a.PartAt[i]:a.PartAt[i+1]], b.Parts[b.PartAt[j]:b.PartAt[j+1]]
	if len(p) != len(q) {
		return false
	}
	for n := range p {
		if !bytes.Equal(a.Entry(p[n]), b.Entry(q[n])) {
			return false
		}
	}
	return true
}

// list is the entries so far; the ones there are never change.
func (g *globals) list() []globalEntry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.entries
}

func (g *globals) drop() {
	if g.refs.Add(-1) > 0 {
		return
	}
	for s := range g.locals {
		s.Drop()
	}
}

// globalsCache keeps the tables of the fields asked for last.
type globalsCache struct {
	mu      sync.Mutex
	byField map[int]*globals
	clock   int64
}

// maxGlobals bounds all tables together; a field past it is numbered anew by
// each query.
const maxGlobals = 128 << 20

// get gives the table of a field, with a reference for the caller.
func (c *globalsCache) get(field int) *globals {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byField == nil {
		c.byField = map[int]*globals{}
	}
	g := c.byField[field]
	if g == nil {
		g = &globals{locals: map[*segment.Segment][]uint32{}}
		g.refs.Store(1)
		c.byField[field] = g
	}
	c.clock++
	g.used = c.clock
	g.refs.Add(1)
	return g
}

// trim evicts the tables used longest ago while all are past the bound.
func (c *globalsCache) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		total, oldest := int64(0), -1
		for field, g := range c.byField {
			g.mu.Lock()
			total += g.bytes
			g.mu.Unlock()
			if oldest < 0 || g.used < c.byField[oldest].used {
				oldest = field
			}
		}
		if total <= maxGlobals || oldest < 0 {
			return
		}
		c.byField[oldest].drop()
		delete(c.byField, oldest)
	}
}

// forget drops the tables that hold more dead segments than living ones.
func (c *globalsCache) forget(alive map[*segment.Segment]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for field, g := range c.byField {
		g.mu.Lock()
		dead := 0
		for s := range g.locals {
			if !alive[s] {
				dead++
			}
		}
		drop := dead*2 > len(g.locals)
		g.mu.Unlock()
		if drop {
			g.drop()
			delete(c.byField, field)
		}
	}
}

// Forget drops what was kept for segments that are mostly gone; alive are those
// of the new snapshot.
func (s *Searcher) Forget(alive map[*segment.Segment]bool) { s.globals.forget(alive) }

// Warm numbers the values of new segments in the fields that queries ask for,
// so that the next query need not.
func (s *Searcher) Warm(parts []Part) {
	s.globals.mu.Lock()
	held := make(map[int]*globals, len(s.globals.byField))
	for field, g := range s.globals.byField {
		g.refs.Add(1)
		held[field] = g
	}
	s.globals.mu.Unlock()
	for field, g := range held {
		for _, p := range parts {
			if c := p.Cols[field]; c != nil {
				g.segment(p.Segment, c)
			}
		}
		g.drop()
	}
	s.globals.trim()
}
