package query

import (
	"bytes"
	"encoding/binary"
	"slices"

	"mayday/storage/search/column/segment"
)

// Facets of a field with very many values, such as addresses, inside the buckets
// of another: as many counters as buckets times values would be too many, and a
// table of the pairs that occur is slow, as every row is a look into memory that
// no cache holds. Here the rows are brought into the order of their buckets and
// counted bucket by bucket, in one array. Values of equal count come in the
// order of their text; a segment's own numbers say that order for its values,
// so that few texts are read.

// maxRuns bounds the places, one for each bucket and segment, at which runs of
// rows begin.
const maxRuns = 1 << 20

// byBucket are the values of rows, those of a bucket together, and in it those
// of a segment.
type byBucket struct {
	starts []uint32 // by bucket and segment; one more at the end
	ids    []uint32
	ords   []uint32 // the segment's numbers, from 0
}

// largeNested picks the buckets of a facet of many values for each bucket of the
// level above. It reports false when it is of no use there.
func (q *query) largeNested(k *keyer, rels []relation, nb int) (tops [][]tally, ok bool, err error) {
	runs := nb * len(q.picked)
	if k.globals == nil || nb < 2 || nb*k.size() <= q.s.cells() || runs > maxRuns || q.plan.FacetSize == 0 {
		return nil, false, nil
	}
	rows := 0
	for si, s := range q.picked {
		if c := s.Cols[k.index]; c != nil && c.Meta.Kind != segment.KindString || rels[si].rows == nil {
			return nil, false, nil
		}
		rows += len(rels[si].rows)
	}
	bytes := int64(rows)*8 + int64(runs)*8 + int64(k.size())*4
	if q.take(bytes) != nil { // the usual way may do with less
		return nil, false, nil
	}
	defer q.give(bytes)
	b, err := q.sortByBucket(k, rels, nb, rows)
	if err != nil {
		return nil, false, err
	}
	order := newValueOrder(k)
	counts := make([]uint32, k.size())
	tops = make([][]tally, nb)
	var list ranking
	for bucket := range tops {
		if bucket%64 == 0 {
			if err := q.alive(); err != nil {
				return nil, false, err
			}
		}
		list.start(order, q.plan.FacetSize)
		first := bucket * len(q.picked)
		for _, id := range b.ids[b.starts[first]:b.starts[first+len(q.picked)]] {
			counts[id]++
		}
		for si := range q.picked {
			q.visited = q.picked[si].Segment
			lo, hi := b.starts[first+si], b.starts[first+si+1]
			list.segment(si, b.ids[lo:hi], b.ords[lo:hi], counts)
		}
		tops[bucket] = list.tallies()
	}
	return tops, true, nil
}

// sortByBucket brings the values of rows into the order of their buckets.
func (q *query) sortByBucket(k *keyer, rels []relation, nb, rows int) (*byBucket, error) {
	n := len(q.picked)
	b := &byBucket{starts: make([]uint32, nb*n+1), ids: make([]uint32, rows), ords: make([]uint32, rows)}
	for si := range q.picked {
		if q.picked[si].Cols[k.index] == nil {
			continue
		}
		for _, bucket := range rels[si].buckets[:len(rels[si].rows)] {
			b.starts[int(bucket)*n+si]++
		}
	}
	sum := uint32(0)
	for i, rows := range b.starts {
		b.starts[i] = sum
		sum += rows
	}
	// Rows without a value leave a gap at the end of their run; ends says where.
	ends := slices.Clone(b.starts)
	for si, s := range q.picked {
		if err := q.alive(); err != nil {
			return nil, err
		}
		q.visited = s.Segment
		col := s.Cols[k.index]
		if col == nil {
			continue
		}
		switch col.Meta.Width {
		case 1:
			scatter(col.Data, k.locals[si], &rels[si], b, ends[si:], n)
		case 2:
			scatter(segment.View[uint16](col.Data), k.locals[si], &rels[si], b, ends[si:], n)
		default:
			scatter(segment.View[uint32](col.Data), k.locals[si], &rels[si], b, ends[si:], n)
		}
	}
	b.closeGaps(ends)
	return b, nil
}

// scatter puts the values of a segment's rows to their buckets; ends holds the
// place for the next one of each bucket, n apart.
func scatter[T uint8 | uint16 | uint32](data []T, local []uint32, rel *relation, b *byBucket, ends []uint32, n int) {
	buckets := rel.buckets[:len(rel.rows)]
	for i, r := range rel.rows {
		if o := data[r]; o > 0 {
			end := &ends[int(buckets[i])*n]
			b.ids[*end], b.ords[*end] = local[o-1], uint32(o)-1
			*end++
		}
	}
}

// closeGaps moves runs together where some end before the next one starts.
func (b *byBucket) closeGaps(ends []uint32) {
	at := uint32(0)
	for i := range len(b.starts) - 1 {
		from, to := b.starts[i], ends[i]
		b.starts[i] = at
		if from != at {
			copy(b.ids[at:], b.ids[from:to])
			copy(b.ords[at:], b.ords[from:to])
		}
		at += to - from
	}
	b.starts[len(b.starts)-1] = at
}

// valueOrder compares values of different segments by sixteen bytes each, as far
// as those tell.
type valueOrder struct {
	k    *keyer
	skip int // bytes that all values have in common
	buf  []byte
}

func newValueOrder(k *keyer) *valueOrder {
	o := &valueOrder{k: k}
	var common []byte
	first := true
	for _, p := range k.q.picked {
		c := p.Cols[k.index]
		if c == nil || c.Dict.N == 0 {
			continue
		}
		k.q.visited = p.Segment
		for _, v := range []uint32{0, uint32(c.Dict.N - 1)} { // a dictionary is sorted
			o.buf = c.Dict.Value(o.buf[:0], v)
			if first {
				common, first = bytes.Clone(o.buf), false
			}
			n := 0
			for n < len(common) && n < len(o.buf) && common[n] == o.buf[n] {
				n++
			}
			common = common[:n]
		}
	}
	o.skip = len(common)
	return o
}

// valueKey is the sixteen bytes of a value after those that all have in common.
type valueKey struct{ first, second uint64 }

func (o *valueOrder) key(d *segment.Dict, v uint32) valueKey {
	var bytes [16]byte
	if d.Sep == "" {
		copy(bytes[:], d.Entry(v)[o.skip:])
	} else {
		o.buf = d.Value(o.buf[:0], v)
		copy(bytes[:], o.buf[o.skip:])
	}
	return valueKey{binary.BigEndian.Uint64(bytes[:]), binary.BigEndian.Uint64(bytes[8:])}
}

// contender is a value that may be among the first.
type contender struct {
	tally
	key valueKey
}

// ranking picks the first values of one bucket, segment by segment.
type ranking struct {
	o      *valueOrder
	size   int
	top    []contender // sorted
	merged []contender // room for the next top
	fresh  []uint64    // of one segment: count reversed, ordinal
}

func (r *ranking) start(o *valueOrder, size int) {
	r.o, r.size, r.top = o, size, r.top[:0]
}

func (r *ranking) before(a, b *contender) bool {
	switch {
	case a.n != b.n:
		return a.n > b.n
	case a.key.first != b.key.first:
		return a.key.first < b.key.first
	case a.key.second != b.key.second:
		return a.key.second < b.key.second
	}
	return r.o.k.less(a.id, b.id)
}

// segment takes the values of one segment that no earlier one had, and clears
// their counts.
func (r *ranking) segment(si int, ids, ords, counts []uint32) {
	r.fresh = r.fresh[:0]
	full, least, bound := len(r.top) >= r.size, uint32(0), int64(-1)
	if full {
		least = r.top[len(r.top)-1].n
	}
	for i, id := range ids {
		n := counts[id]
		if n == 0 {
			continue
		}
		counts[id] = 0
		if full && n <= least {
			if n == least && bound < 0 {
				bound = r.bound(si)
			}
			if n < least || int64(ords[i]) >= bound {
				continue
			}
		}
		r.fresh = append(r.fresh, uint64(^n)<<32|uint64(ords[i]))
	}
	if len(r.fresh) > 0 {
		r.merge(si)
	}
}

// bound is where the last of the first so far would stand in a segment.
func (r *ranking) bound(si int) int64 {
	k := r.o.k
	last := k.entries[r.top[len(r.top)-1].id]
	return int64(k.q.picked[si].Cols[k.index].Dict.Search(k.dicts[last.Dict].InPlace(last.Ord)))
}

// merge joins what a segment brought with the first so far.
func (r *ranking) merge(si int) {
	slices.Sort(r.fresh)
	k := r.o.k
	d := &k.q.picked[si].Cols[k.index].Dict
	r.merged = r.merged[:0]
	at := 0
	for _, f := range r.fresh[:min(len(r.fresh), r.size)] {
		ord := uint32(f)
		one := contender{tally{k.locals[si][ord], ^uint32(f >> 32)}, r.o.key(d, ord)}
		for at < len(r.top) && r.before(&r.top[at], &one) {
			r.merged = append(r.merged, r.top[at])
			at++
		}
		if r.merged = append(r.merged, one); len(r.merged) >= r.size {
			break
		}
	}
	r.merged = append(r.merged, r.top[at:]...)
	r.top, r.merged = r.merged[:min(len(r.merged), r.size)], r.top
}

func (r *ranking) tallies() []tally {
	out := make([]tally, len(r.top))
	for i := range r.top {
		out[i] = r.top[i].tally
	}
	return out
}
