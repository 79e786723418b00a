// Package values numbers the distinct values of string fields across the
// segments of an index, so that what is counted in one can be added to what is
// counted in another.
//
// A Cache holds a Table for each field that was asked for, or that has so many
// values that the first to ask would wait. Kept are such tables in a file, which
// makes them last over a start; it holds numbers alone. The package reads no
// rows and answers no queries: package query does.
package values

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"mayday/app/fault"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
	"mayday/storage/search/sketch"
)

// Table numbers the distinct values of one string field across segments, so
// that counts of different segments can be added. It grows with each new
// segment it is asked for and holds a reference to every segment it has seen,
// as its entries point into their dictionaries.
//
// Values are told apart by their 64-bit hashes, which costs a tenth of
// comparing strings that lie all over the mapped files. Whatever an answer shows
// is compared in full before (certain); should two values ever share a hash, the
// field's table is made anew, comparing every one.
type Table struct {
	refs    atomic.Int32
	careful bool
	mu      sync.Mutex
	slots   []slot // open addressing, of the entries that base has not
	base    *keptHashes
	kept    *Kept // that locals, entries and base stand in; nil when they do not
	entries []Entry
	dicts   []*segment.Dict
	locals  map[*segment.Segment]numbered
	touched uint32         // keeps the compiler from dropping the looks ahead
	sure    segment.Bitmap // entries all of whose values were compared
	bytes   int64
	used    int64 // for eviction, under Cache.mu
}

// numbered is a segment's dictionary and the entry of each of its ordinals.
type numbered struct {
	dict    *segment.Dict
	entries []uint32
}

// slot holds no pointers, as Entry: the garbage collector passes them by.
type slot struct {
	hash uint64
	id   uint32 // entry + 1
	_    uint32
}

// Entry is a value: where it was met first.
type Entry struct {
	Dict uint32 // in the list of dictionaries
	Ord  uint32
}

// ErrCollision says that two values of a field have the same hash.
var ErrCollision = fault.New(fault.Internal, "two values have the same hash")

// Segment gives the table from a segment's ordinals to entries.
func (g *Table) Segment(s *segment.Segment, c *segment.Column) ([]uint32, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l, ok := g.locals[s]; ok {
		return l.entries, nil
	}
	d := c.FacetDict()
	g.room(d.N)
	g.dicts = append(g.dicts, d)
	local := make([]uint32, d.N)
	mask := uint64(len(g.slots) - 1)
	touched := uint32(0)
	for v := 0; v < d.N; v += ahead {
		hashes := d.Hashes[v:min(v+ahead, d.N)]
		for _, h := range hashes { // so that the memory is on its way for all of them at once
			touched |= g.slots[h&mask].id
		}
		for i, h := range hashes {
			id, ok := g.intern(h, mask, d, uint32(v+i))
			if !ok {
				return nil, ErrCollision
			}
			local[v+i] = id
		}
	}
	g.touched = touched
	s.Acquire()
	g.locals[s] = numbered{d, local}
	g.bytes = int64(len(g.slots))*16 + int64(cap(g.entries))*8 + int64(g.base.size())*12
	for _, l := range g.locals {
		g.bytes += int64(len(l.entries)) * 4
	}
	return local, nil
}

// ahead is how many places of the table are looked at before they are needed.
const ahead = 16

// intern finds the entry of a value or makes one.
func (g *Table) intern(h, mask uint64, d *segment.Dict, v uint32) (id uint32, ok bool) {
	for i := h & mask; ; i = (i + 1) & mask {
		s := &g.slots[i]
		if s.id == 0 {
			if id, ok := g.base.find(h); ok {
				return id, g.holds(id, d, v)
			}
			g.entries = append(g.entries, Entry{uint32(len(g.dicts) - 1), v})
			s.hash, s.id = h, uint32(len(g.entries))
			return s.id - 1, true
		}
		if s.hash != h {
			continue
		}
		if same := g.holds(s.id-1, d, v); same || !g.careful {
			return s.id - 1, same
		}
	}
}

// holds compares a value with that of an entry whose hash it has, where that is
// asked for: each one by a careful table, by others those that answers showed.
func (g *Table) holds(id uint32, d *segment.Dict, v uint32) bool {
	if !g.careful && !(int(id) < len(g.sure)*64 && g.sure.Has(int(id))) {
		return true
	}
	e := g.entries[id]
	return sameValue(g.dicts[e.Dict], e.Ord, d, v)
}

// Expect makes place at once for the values of segments that are new to the
// table: growing again and again takes longer than filling it. A sketch tells
// how many different ones there are.
func (g *Table) Expect(field int, parts []*segment.Segment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var registers [1 << 12]uint8 // 1.6 % off
	all, most := 0, 0
	for _, s := range parts {
		if c := s.Cols[field]; c != nil {
			if _, ok := g.locals[s]; !ok {
				d := c.FacetDict()
				all, most = all+d.N, max(most, d.N)
				for _, h := range d.Hashes {
					sketch.Add(registers[:], h)
				}
			}
		}
	}
	if all > most { // room is made for one segment anyway
		g.room(min(all, int(sketch.Estimate(registers[:])*17/16)+most))
	}
}

// room makes place for n more entries, all of which may be new.
func (g *Table) room(n int) {
	if g.slots == nil && g.base != nil && !g.base.read() {
		g.base = nil // every entry goes into the slots
	}
	size := max(1024, len(g.slots))
	for (len(g.entries)-g.base.size()+n)*4 > size*3 {
		size *= 2
	}
	if free := cap(g.entries) - len(g.entries); free < n {
		g.entries = slices.Grow(g.entries, max(n, cap(g.entries)/4))
	}
	if size == len(g.slots) {
		return
	}
	old := g.slots
	g.slots = make([]slot, size)
	mask := uint64(size - 1)
	put := func(s slot) {
		i := s.hash & mask
		for g.slots[i].id != 0 {
			i = (i + 1) & mask
		}
		g.slots[i] = s
	}
	for _, s := range old {
		if s.id != 0 {
			put(s)
		}
	}
	if old == nil && g.base == nil { // the entries of a table that was kept on disk
		for i, e := range g.entries {
			put(slot{hash: g.dicts[e.Dict].Hashes[e.Ord], id: uint32(i + 1)})
		}
	}
}

// Certain compares every value that was counted under the entries of an answer
// with the one that the answer shows, each entry once.
func (g *Table) Certain(shown iter.Seq[uint32]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.careful {
		return true
	}
	if n := (len(g.entries) + 63) / 64; n > len(g.sure) {
		g.sure = append(g.sure, make(segment.Bitmap, n-len(g.sure))...)
	}
	asked, any := segment.NewBitmap(len(g.entries)), false
	for id := range shown {
		if !g.sure.Has(int(id)) {
			asked.Set(int(id))
			any = true
		}
	}
	if !any {
		return true
	}
	for _, l := range g.locals {
		for v, id := range l.entries {
			if asked[id>>6]>>(id&63)&1 == 0 {
				continue
			}
			if e := g.entries[id]; !sameValue(g.dicts[e.Dict], e.Ord, l.dict, uint32(v)) {
				return false
			}
		}
	}
	g.sure.Or(asked)
	return true
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

// List is the entries so far and the dictionaries they stand in; the ones there
// are never change.
func (g *Table) List() ([]Entry, []*segment.Dict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.entries, g.dicts
}

// Drop gives a reference back.
func (g *Table) Drop() {
	if g.refs.Add(-1) > 0 {
		return
	}
	for s := range g.locals {
		s.Drop()
	}
	if g.kept != nil {
		g.kept.drop()
	}
}

// Cache keeps the tables of the fields asked for last.
type Cache struct {
	Fields *plan.Fields
	Slow   int // values of a field that is numbered before anybody asks; 0 takes slowValues

	mu      sync.Mutex
	byField map[int]*Table
	careful map[int]bool // fields of which two values have the same hash
	kept    *Kept        // tables from the disk, while their segments are there
	clock   int64
}

// maxTables bounds all tables together; a field past it is numbered anew by
// each query.
const maxTables = 128 << 20

// Get gives the table of a field, with a reference for the caller.
func (c *Cache) Get(field int) *Table {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byField == nil {
		c.byField = map[int]*Table{}
	}
	g := c.byField[field]
	if g == nil {
		g = &Table{locals: map[*segment.Segment]numbered{}, careful: c.careful[field]}
		if c.kept != nil && !g.careful && !c.kept.table(field, c.name(field), g) {
			c.kept.lost = c.kept.lost || c.kept.field(c.name(field)) != nil
		}
		g.refs.Store(1)
		c.byField[field] = g
	}
	c.clock++
	g.used = c.clock
	g.refs.Add(1)
	return g
}

// Distrust has the table of a field made anew, comparing whole values.
func (c *Cache) Distrust(field int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.careful == nil {
		c.careful = map[int]bool{}
	}
	c.careful[field] = true
	if g := c.byField[field]; g != nil {
		g.Drop()
		delete(c.byField, field)
	}
}

// Trim evicts the tables used longest ago while all are past the bound.
func (c *Cache) Trim() {
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
		if total <= maxTables || oldest < 0 {
			return
		}
		c.byField[oldest].Drop()
		delete(c.byField, oldest)
	}
}

// Forget drops the tables that hold more dead segments than living ones.
func (c *Cache) Forget(alive map[*segment.Segment]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil && !c.kept.alive(alive) {
		c.use(nil)
	}
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
			g.Drop()
			delete(c.byField, field)
		}
	}
}

func (c *Cache) name(field int) string { return c.Fields.All()[field].Name }

// Warm numbers the values of new segments in the fields that queries ask for,
// and in those that would keep a first query waiting.
func (c *Cache) Warm(parts []*segment.Segment) {
	c.mu.Lock()
	fields, bytes := []int{}, int64(0)
	for field, g := range c.byField {
		fields = append(fields, field)
		g.mu.Lock()
		bytes += g.bytes
		g.mu.Unlock()
	}
	c.mu.Unlock()
	for _, field := range fields {
		c.warm(field, parts)
	}
	for _, slow := range c.slow(parts) {
		if slices.Contains(fields, slow.field) {
			continue
		}
		if bytes+int64(slow.values)*valueBytes > maxWarm {
			break
		}
		bytes += c.warm(slow.field, parts)
	}
	c.Trim()
}

// warm numbers the values of one field; bytes is what its table takes.
func (c *Cache) warm(field int, parts []*segment.Segment) (bytes int64) {
	g := c.Get(field)
	defer g.Drop()
	var list []*segment.Segment
	for _, p := range parts {
		if isNumbered(p.Cols[field]) {
			list = append(list, p)
		}
	}
	g.Expect(field, list)
	for _, p := range list {
		if _, err := g.Segment(p, p.Cols[field]); err != nil { // the next query sees to it
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes
}

// isNumbered says whether a column has values that tables are about.
func isNumbered(c *segment.Column) bool {
	return c != nil && (c.Meta.Kind == segment.KindString || c.Meta.Kind == segment.KindList || c.Meta.Kind == segment.KindToken)
}

const (
	// slowValues is how many values take a query a tenth of a second or so to
	// number.
	slowValues = 200_000
	// valueBytes is what a value of a segment takes in a table, about, when
	// half of them are met in another as well.
	valueBytes = 20
	// maxWarm bounds the tables made before anybody asks, so that they do not
	// put out those that somebody asked for.
	maxWarm = maxTables * 3 / 4
)

type slowField struct{ field, values int }

// slow lists the fields that have many values, those with the fewest first.
func (c *Cache) slow(parts []*segment.Segment) (out []slowField) {
	for i := range c.Fields.All() {
		n := 0
		for _, p := range parts {
			if col := p.Cols[i]; col != nil && col.Meta.Kind == segment.KindString {
				n += col.Dict.N
			}
		}
		if n >= cmp.Or(c.Slow, slowValues) {
			out = append(out, slowField{i, n})
		}
	}
	slices.SortFunc(out, func(a, b slowField) int { return a.values - b.values })
	return out
}
