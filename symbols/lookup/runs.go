package lookup

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"mayday/app/fault"
)

// What a symbol file has most of are records that must be put in the order of
// their addresses. A sorter does so in little memory: sorted pieces go to a
// scratch and are merged when they are read back. Nearly all files are in order
// already; then there is one run, however many pieces.

const (
	// maxSorting is how many items a sorter holds before it writes them: 1 MiB.
	maxSorting = 32 << 10
	// readItems is how many items of a run are read at a time; there may be some
	// thousand runs.
	readItems = 128
	itemSize  = 32
)

// Spill is what a Builder may write on and read back, such as a temporary
// file. Writes append.
type Spill interface {
	io.Writer
	io.ReaderAt
}

// item is a record while a table is built: what it is sorted by, and where it
// is packed. The names of the fields are those of functions.
type item struct {
	start, size uint64
	last        uint64 // that it or an INLINE range of it reaches
	at          ref
	length      uint32 // how many bytes are packed there; itemLeaves
}

// itemLeaves says in an item's length that an INLINE range reaches beyond it.
const itemLeaves = 1 << 31

// packedLength is how many bytes the item has where it is packed.
func (it *item) packedLength() int { return int(it.length &^ itemLeaves) }

// put writes the item to b, which has room for it.
func (it *item) put(b []byte) {
	binary.LittleEndian.PutUint64(b, it.start)
	binary.LittleEndian.PutUint64(b[8:], it.size)
	binary.LittleEndian.PutUint64(b[16:], it.last)
	binary.LittleEndian.PutUint32(b[24:], uint32(it.at))
	binary.LittleEndian.PutUint32(b[28:], it.length)
}

// get reads what put wrote.
func (it *item) get(b []byte) {
	it.start = binary.LittleEndian.Uint64(b)
	it.size = binary.LittleEndian.Uint64(b[8:])
	it.last = binary.LittleEndian.Uint64(b[16:])
	it.at = ref(binary.LittleEndian.Uint32(b[24:]))
	it.length = binary.LittleEndian.Uint32(b[28:])
}

// spool is the scratch that the sorters of a builder share.
type spool struct {
	to   Spill
	size int64
	buf  []byte
	err  error
}

// write appends items and returns where.
func (s *spool) write(items []item) part {
	p := part{s.size, len(items)}
	if s.err != nil {
		return p
	}
	s.buf = slices.Grow(s.buf[:0], len(items)*itemSize)[:len(items)*itemSize]
	for i := range items {
		items[i].put(s.buf[i*itemSize:])
	}
	_, err := s.to.Write(s.buf)
	s.fail(err)
	s.size += int64(len(s.buf))
	return p
}

// read reads items back.
func (s *spool) read(p part, n int, buf []byte) []byte {
	buf = buf[:n*itemSize]
	if s.err != nil {
		return nil
	}
	if got, err := s.to.ReadAt(buf, p.at); got < len(buf) {
		s.fail(err)
		return nil
	}
	return buf
}

func (s *spool) fail(err error) {
	if err != nil && s.err == nil {
		s.err = fault.As(fault.Unavailable, err, "scratch of %d bytes", s.size)
	}
}

// part is a row of items in the spool, run the parts of a sorted sequence.
type part struct {
	at    int64
	count int
}

type run struct {
	parts []part
	last  item
}

// sorter puts items in order; equal ones stay in the order they came.
type sorter struct {
	spool *spool // nil: all stays in memory
	// byLast sorts those of one start by last.
	byLast bool
	// fold keeps the last alone of those that have the same start; it may keep
	// others too.
	fold  bool
	limit int // of items in memory; 0 is maxSorting
	count int // of all items
	buf   []item
	runs  []run
}

// compare says which of two items comes first.
func (s *sorter) compare(a, b *item) int {
	if c := cmp.Compare(a.start, b.start); c != 0 || !s.byLast {
		return c
	}
	return cmp.Compare(a.last, b.last)
}

// add takes an item.
func (s *sorter) add(it item) {
	s.count++
	s.buf = append(s.buf, it)
	if s.spool != nil && len(s.buf) >= cmp.Or(s.limit, maxSorting) {
		s.spill()
	}
}

// sort puts what is in memory in order.
func (s *sorter) sort() {
	inOrder := true
	for i := 1; i < len(s.buf) && inOrder; i++ {
		inOrder = s.compare(&s.buf[i-1], &s.buf[i]) <= 0
	}
	if !inOrder {
		slices.SortStableFunc(s.buf, func(a, b item) int { return s.compare(&a, &b) })
	}
	if !s.fold {
		return
	}
	kept := s.buf[:0]
	for _, it := range s.buf {
		if n := len(kept); n > 0 && kept[n-1].start == it.start {
			kept[n-1] = it
			continue
		}
		kept = append(kept, it)
	}
	s.buf = kept
}

// spill writes what is in memory, as a run or behind the last one.
func (s *sorter) spill() {
	s.sort()
	if len(s.buf) == 0 {
		return
	}
	p := s.spool.write(s.buf)
	n := len(s.runs)
	if n == 0 || s.compare(&s.runs[n-1].last, &s.buf[0]) > 0 {
		s.runs = append(s.runs, run{})
		n++
	}
	r := &s.runs[n-1]
	r.parts, r.last = append(r.parts, p), s.buf[len(s.buf)-1]
	s.buf = s.buf[:0]
}

// clear drops all items; the sorter can be used again.
func (s *sorter) clear() { s.count, s.buf, s.runs = 0, s.buf[:0], nil }

// all starts reading the items in order. Nothing may be added from then on.
func (s *sorter) all() *ordered {
	if len(s.runs) == 0 {
		s.sort()
		return &ordered{rest: s.buf}
	}
	s.spill()
	s.buf = nil
	m := &ordered{sorter: s}
	for i := range s.runs {
		r := &runReader{sorter: s, parts: s.runs[i].parts, at: i, buf: make([]byte, readItems*itemSize)}
		if r.next() {
			m.push(r)
		}
	}
	return m
}

// ordered reads the items of a sorter in order.
type ordered struct {
	rest   []item // when nothing was spilled
	sorter *sorter
	heap   []*runReader
	ahead  item
	peeked bool
}

// next returns the next item.
func (m *ordered) next() (it item, ok bool) {
	if m.peeked {
		m.peeked = false
		return m.ahead, true
	}
	if len(m.rest) > 0 {
		it = m.rest[0]
		m.rest = m.rest[1:]
		return it, true
	}
	if len(m.heap) == 0 {
		return it, false
	}
	it = m.heap[0].item
	if !m.heap[0].next() {
		n := len(m.heap) - 1
		m.heap[0] = m.heap[n]
		m.heap = m.heap[:n]
	}
	m.down()
	return it, true
}

// peek returns what next will.
func (m *ordered) peek() (item, bool) {
	if !m.peeked {
		m.ahead, m.peeked = m.next()
	}
	return m.ahead, m.peeked
}

// before says which run the next item is taken from.
func (m *ordered) before(a, b *runReader) bool {
	return cmp.Or(m.sorter.compare(&a.item, &b.item), cmp.Compare(a.at, b.at)) < 0
}

func (m *ordered) push(r *runReader) {
	m.heap = append(m.heap, r)
	for i := len(m.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !m.before(m.heap[i], m.heap[up]) {
			return
		}
		m.heap[i], m.heap[up] = m.heap[up], m.heap[i]
		i = up
	}
}

// down puts the first run where it belongs.
func (m *ordered) down() {
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(m.heap) {
			return
		}
		if c+1 < len(m.heap) && m.before(m.heap[c+1], m.heap[c]) {
			c++
		}
		if !m.before(m.heap[c], m.heap[i]) {
			return
		}
		m.heap[i], m.heap[c] = m.heap[c], m.heap[i]
		i = c
	}
}

// runReader reads one run.
type runReader struct {
	sorter *sorter
	parts  []part // after now
	now    part   // what is left of the present one
	at     int    // which run it is
	buf    []byte
	rest   []byte
	item   item
}

// next reads the next item of the run; false at its end.
func (r *runReader) next() bool {
	if len(r.rest) == 0 {
		if r.now.count == 0 {
			if len(r.parts) == 0 {
				return false
			}
			r.now, r.parts = r.parts[0], r.parts[1:]
		}
		n := min(r.now.count, readItems)
		if r.rest = r.sorter.spool.read(r.now, n, r.buf); r.rest == nil {
			return false
		}
		r.now.at, r.now.count = r.now.at+int64(n*itemSize), r.now.count-n
	}
	r.item.get(r.rest)
	r.rest = r.rest[itemSize:]
	return true
}
