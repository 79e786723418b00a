package query

import (
	"math/bits"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
	"mayday/storage/search/sketch"
)

// cardinality counts the distinct keys in each bucket: exactly while the
// query's memory lasts, else by HyperLogLog, which the answer says.
func (q *query) cardinality(a *plan.Agg, rels []relation, nb int) ([]*search.Facet, error) {
	if err := q.countBuckets(nb); err != nil {
		return nil, err
	}
	facets, err := q.distinct(a, rels, nb)
	if !fault.Is(err, fault.TooLarge) {
		return facets, err
	}
	if facets, err = q.sketches(a, rels, nb); err == nil {
		q.warn("cardinality of " + a.Field.Name + " is approximate: counting it exactly needs more memory than a search may use (search.memory)")
	}
	return facets, err
}

func numbers(nb int) []*search.Facet {
	facets := make([]*search.Facet, nb)
	for b := range facets {
		facets[b] = &search.Facet{IsNumber: true}
	}
	return facets
}

// distinct counts exactly.
func (q *query) distinct(a *plan.Agg, rels []relation, nb int) ([]*search.Facet, error) {
	k, err := q.newKeyer(a)
	if err != nil {
		return nil, err
	}
	facets := numbers(nb)
	if k.globals != nil && nb == 1 {
		if n, ok, err := q.distinctValues(k, rels); ok || err != nil {
			facets[0].Cardinality = n
			return facets, err
		}
	}
	if k.fixed() && nb*k.size() <= q.s.cells()*64 {
		return facets, q.distinctBits(k, rels, nb, facets)
	}
	if nb == 1 && !k.fixed() { // the interned keys are the distinct ones
		err := q.scan(k, rels, func(int, []uint32, []uint32, *pairs) error { return nil })
		facets[0].Cardinality = int64(len(k.intern.keys))
		return facets, err
	}
	c := &counter{q: q, nb: max(nb, 2)}
	if err := c.grow(); err != nil {
		return nil, err
	}
	defer c.release()
	if err := q.scan(k, rels, func(_ int, _, buckets []uint32, p *pairs) error { return c.add(buckets, p) }); err != nil {
		return nil, err
	}
	c.each(func(b, _, _ uint32) { facets[b].Cardinality++ })
	return facets, nil
}

// distinctValues counts the different values of the query's rows. It reports
// false when rows were picked by a level above.
func (q *query) distinctValues(k *keyer, rels []relation) (n int64, ok bool, err error) {
	bytes := int64(k.size()+63) / 64 * 8
	if err := q.take(bytes); err != nil {
		return 0, false, err
	}
	defer q.give(bytes)
	seen := segment.NewBitmap(k.size())
	for si, s := range q.picked {
		if err := q.alive(); err != nil {
			return 0, false, err
		}
		q.visited = s.Segment
		col, local := s.Cols[k.index], k.locals[si]
		switch {
		case col == nil:
		case rels[si].rows != nil:
			return 0, false, nil
		case s.count == s.Footer.Rows: // each value is in some row
			for _, id := range local {
				seen[id>>6] |= 1 << (id & 63)
			}
		default:
			valuesOf(col, s.selected, len(local)).Each(func(v int) { seen.Set(int(local[v])) })
		}
	}
	return int64(seen.Count()), true, nil
}

// valuesOf marks which of a column's n values rows have.
func valuesOf(col *segment.Column, rows segment.Bitmap, n int) segment.Bitmap {
	switch col.Meta.Width {
	case 1:
		return markValues(col.Data, col, rows, n)
	case 2:
		return markValues(segment.View[uint16](col.Data), col, rows, n)
	}
	return markValues(segment.View[uint32](col.Data), col, rows, n)
}

func markValues[T uint8 | uint16 | uint32](data []T, col *segment.Column, rows segment.Bitmap, n int) segment.Bitmap {
	out := segment.NewBitmap(n)
	single, fold := col.Meta.Kind == segment.KindString, col.Fold
	for w, word := range rows {
		for base := w << 6; word != 0; word &= word - 1 {
			r := base + bits.TrailingZeros64(word)
			if single {
				if o := data[r]; o > 0 {
					out.Set(int(o - 1))
				}
				continue
			}
			for _, o := range data[col.Starts[r]:col.Starts[r+1]] {
				v := uint32(o)
				if fold != nil {
					if v = fold[o]; v == 0 {
						continue
					}
					v--
				}
				out.Set(int(v))
			}
		}
	}
	return out
}

// distinctBits marks keys in a bit array of buckets × keys.
func (q *query) distinctBits(k *keyer, rels []relation, nb int, facets []*search.Facet) error {
	width := k.size()
	bytes := int64(nb*width+63) / 64 * 8
	if err := q.take(bytes); err != nil {
		return err
	}
	defer q.give(bytes)
	seen := segment.NewBitmap(nb * width)
	return q.scan(k, rels, func(_ int, _, buckets []uint32, p *pairs) error {
		for i, id := range p.id {
			b := buckets[p.at[i]]
			bit := int(b)*width + int(id)
			if !seen.Has(bit) {
				seen.Set(bit)
				facets[b].Cardinality++
			}
		}
		return nil
	})
}

// A sketch is 2^p registers of one byte. With p = 16 the standard error is
// 0.4 %; many buckets in little memory get fewer registers.
const (
	mostSketch  = 16
	leastSketch = 9
)

// sketches counts by HyperLogLog.
func (q *query) sketches(a *plan.Agg, rels []relation, nb int) ([]*search.Facet, error) {
	k, err := q.newKeyer(a)
	if err != nil {
		return nil, err
	}
	k.hashed = true
	p := mostSketch
	for p > leastSketch && int64(nb)<<p > q.s.Bytes-q.bytes {
		p--
	}
	if err := q.take(int64(nb) << p); err != nil {
		return nil, err
	}
	defer q.give(int64(nb) << p)
	registers := make([]uint8, nb<<p)
	err = q.scan(k, rels, func(_ int, _, buckets []uint32, pr *pairs) error {
		for i, id := range pr.id {
			b := int(buckets[pr.at[i]])
			sketch.Add(registers[b<<p:(b+1)<<p], mix(uint64(id)<<32|uint64(id)^0x9e3779b97f4a7c15))
		}
		return nil
	})
	facets := numbers(nb)
	for b := range facets {
		facets[b].Cardinality = sketch.Estimate(registers[b<<p : (b+1)<<p])
	}
	return facets, err
}
