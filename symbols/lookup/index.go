package lookup

import (
	"encoding/binary"
	"math"
	"sort"
)

const (
	// groupSize is how many entries of an index lie together, so that the keys of
	// a group are a line of a processor's cache, and the values the line after.
	groupSize = 16
	// maxChunk is how many entries a chunk has at most. The lists of chunks and
	// of the first keys of groups stay in the processor's cache even where there
	// are a million entries.
	maxChunk = 32 * groupSize
	// cacheLine is what chunks are aligned to.
	cacheLine = 64
)

// chunk is a run of entries of an index within one block. It lies there in
// groups: the keys of a group, counted from base, and then its values, of four
// bytes each.
type chunk struct {
	first  uint32 // position of its first entry in the index
	count  uint32
	sample uint32 // position of its first sample
	at     ref
}

// groups is how many groups a chunk has.
func (c *chunk) groups() int { return (int(c.count) + groupSize - 1) / groupSize }

// index maps sorted keys to values: addresses or ids to references. A key may
// stand several times.
type index struct {
	bases  []uint64 // the first key of each chunk
	chunks []chunk
	// samples are the first keys of all groups, each of four bytes and counted
	// from the base of its chunk.
	samples []byte
	count   uint32
}

// entry is one entry of an index.
type entry struct {
	key uint64
	val uint32
}

// find returns the last entry whose key is not above key, and its position.
func (x *index) find(s *blockStore, key uint64) (e entry, pos int, ok bool) {
	n := len(x.bases)
	if n == 0 || x.bases[0] > key {
		return entry{}, 0, false
	}
	at := 0
	for n > 1 { // without branches on the keys, which nobody can predict
		half := n >> 1
		if x.bases[at+half] <= key {
			at += half
		}
		n -= half
	}
	c := &x.chunks[at]
	base := x.bases[at]
	want := uint32(min(key-base, math.MaxUint32))
	samples := x.samples[4*c.sample:]
	g := last(samples, c.groups(), want)
	keys, vals := c.group(s, g)
	if keys == nil {
		return entry{}, 0, false
	}
	i := last(keys, len(keys)/4, want)
	return entry{base + uint64(key32(keys, i)), key32(vals, i)}, int(c.first) + g*groupSize + i, true
}

// last is the place of the last of n sorted numbers that is not above want,
// the first of which is not.
func last(b []byte, n int, want uint32) int {
	at := 0
	for n > 1 {
		half := n >> 1
		if key32(b, at+half) <= want {
			at += half
		}
		n -= half
	}
	return at
}

// get returns the last entry whose key is key.
func (x *index) get(s *blockStore, key uint64) (uint32, bool) {
	if val, ok := x.guess(s, key); ok {
		return val, true
	}
	e, _, ok := x.find(s, key)
	return e.val, ok && e.key == key
}

// guess is get for keys without gaps, such as most ids are: it looks where the
// key is if there are none before it. It may find nothing where get would.
func (x *index) guess(s *blockStore, key uint64) (uint32, bool) {
	n := len(x.bases)
	if n == 0 || key < x.bases[0] {
		return 0, false
	}
	at := int(min((key-x.bases[0])/maxChunk, uint64(n-1)))
	c := &x.chunks[at]
	want := key - x.bases[at]
	if key < x.bases[at] || want >= uint64(c.count) {
		return 0, false
	}
	g, i := int(want/groupSize), int(want%groupSize)
	keys, vals := c.group(s, g)
	if i >= len(keys)/4 || uint64(key32(keys, i)) != want {
		return 0, false
	}
	// Of equal keys the last counts, which may be the next one.
	switch {
	case i+1 < len(keys)/4:
		if uint64(key32(keys, i+1)) == want {
			return 0, false
		}
	case g+1 < c.groups():
		if uint64(key32(x.samples[4*c.sample:], g+1)) == want {
			return 0, false
		}
	case at+1 < n && x.bases[at+1] == key:
		return 0, false
	}
	return key32(vals, i), true
}

// at returns the entry at a position.
func (x *index) at(s *blockStore, pos int) (entry, bool) {
	if pos < 0 || uint64(pos) >= uint64(x.count) {
		return entry{}, false
	}
	n := sort.Search(len(x.chunks), func(i int) bool { return uint64(x.chunks[i].first) > uint64(pos) })
	if n == 0 {
		return entry{}, false
	}
	i := pos - int(x.chunks[n-1].first)
	keys, vals := x.chunks[n-1].group(s, i/groupSize)
	if i %= groupSize; i >= len(keys)/4 {
		return entry{}, false
	}
	return entry{x.bases[n-1] + uint64(key32(keys, i)), key32(vals, i)}, true
}

// all calls f for each entry in order until it returns false.
func (x *index) all(s *blockStore, f func(pos int, e entry) bool) {
	for n := range x.chunks {
		c := &x.chunks[n]
		for g := range c.groups() {
			keys, vals := c.group(s, g)
			for i := range len(keys) / 4 {
				if !f(int(c.first)+g*groupSize+i, entry{x.bases[n] + uint64(key32(keys, i)), key32(vals, i)}) {
					return
				}
			}
		}
	}
}

// group returns the keys and the values of a group, nil when they are damaged.
func (c *chunk) group(s *blockStore, g int) (keys, vals []byte) {
	b := s.from(c.at)
	n := min(int(c.count)-g*groupSize, groupSize) * 4
	from := g * groupSize * 8
	if n <= 0 || len(b) < from+2*n {
		return nil, nil
	}
	return b[from : from+n : from+n], b[from+n : from+2*n : from+2*n]
}

func key32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i*4:]) }

// indexWriter writes an index of entries that come sorted by key.
type indexWriter struct {
	w       *blockWriter
	x       index
	pending []entry
	buf     []byte
}

// add takes the next entry.
func (o *indexWriter) add(key uint64, val uint32) {
	if o.pending == nil {
		o.pending = make([]entry, 0, maxChunk)
	}
	o.pending = append(o.pending, entry{key, val})
	if len(o.pending) == maxChunk {
		o.chunk()
	}
}

// chunk writes a chunk of what is pending.
func (o *indexWriter) chunk() {
	w, x := o.w, &o.x
	w.align(cacheLine)
	limit := min(w.room()/8, maxChunk)
	if limit < maxChunk/8 { // the rest of the block is not worth it
		limit = maxChunk
	}
	base := o.pending[0].key
	n := 0
	for n < len(o.pending) && n < limit && o.pending[n].key-base <= math.MaxUint32 {
		n++
	}
	o.buf = o.buf[:0]
	c := chunk{first: x.count, count: uint32(n), sample: uint32(len(x.samples) / 4)}
	for g := 0; g < n; g += groupSize {
		group := o.pending[g:min(g+groupSize, n)]
		x.samples = binary.LittleEndian.AppendUint32(x.samples, uint32(group[0].key-base))
		for _, e := range group {
			o.buf = binary.LittleEndian.AppendUint32(o.buf, uint32(e.key-base))
		}
		for _, e := range group {
			o.buf = binary.LittleEndian.AppendUint32(o.buf, e.val)
		}
	}
	c.at = w.add(o.buf)
	x.bases, x.chunks = append(x.bases, base), append(x.chunks, c)
	x.count += uint32(n)
	o.pending = o.pending[:copy(o.pending, o.pending[n:])]
}

// end writes the rest.
func (o *indexWriter) end() index {
	for len(o.pending) > 0 {
		o.chunk()
	}
	o.pending, o.buf = nil, nil
	return o.x
}
