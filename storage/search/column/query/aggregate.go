package query

import (
	"iter"
	"math/bits"
	"sort"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/values"
	"mayday/storage/search/plan"
)

// relation says which bucket of the level above each row of a segment is in; a
// row may be in several. A nil rows means the query's selection, all in
// bucket 0.
type relation struct {
	rows    []uint32
	buckets []uint32
}

// batchRows is how many rows are keyed at a time, so that the pairs stay in
// the first-level cache.
const batchRows = 1024

// each calls f with batches of a segment's rows and their buckets.
func (q *query) each(si int, rel *relation, f func(rows, buckets []uint32)) {
	if rel.rows != nil {
		for lo := 0; lo < len(rel.rows); lo += batchRows {
			hi := min(lo+batchRows, len(rel.rows))
			f(rel.rows[lo:hi], rel.buckets[lo:hi])
		}
		return
	}
	var rows [batchRows]uint32
	n := 0
	for w, word := range q.picked[si].selected {
		for word != 0 {
			rows[n] = uint32(w<<6 + bits.TrailingZeros64(word))
			word &= word - 1
			n++
		}
		if n > batchRows-64 {
			f(rows[:n], zeros[:n])
			n = 0
		}
	}
	if n > 0 {
		f(rows[:n], zeros[:n])
	}
}

var zeros [batchRows]uint32

// counter counts pairs of bucket and key: in an array while that is small, in
// an open-addressed table otherwise.
type counter struct {
	q     *query
	nb    int
	width int      // keys; the array is nb × width, or grows when nb is 1
	dense []uint32 // nil: sparse
	keys  []uint64 // sparse: bucket<<32 | key, plus one
	count []uint32
	used  int
}

// maxCells bounds the array of one level to 16 MB.
const maxCells = 4 << 20

func (q *query) newCounter(nb int, k *keyer) (*counter, error) {
	c := &counter{q: q, nb: nb, width: k.size()}
	if nb == 1 || k.fixed() && nb*c.width <= q.s.cells() {
		c.dense = make([]uint32, nb*c.width)
		return c, q.take(int64(len(c.dense)) * 4)
	}
	return c, c.grow()
}

func (c *counter) add(buckets []uint32, p *pairs) error {
	switch {
	case c.dense != nil && c.nb == 1:
		for _, id := range p.id {
			for int(id) >= len(c.dense) {
				if err := c.q.take(int64(cap(c.dense))*4 + 4096); err != nil {
					return err
				}
				c.dense = append(c.dense, make([]uint32, len(c.dense)+1024)...)
			}
			c.dense[id]++
		}
	case c.dense != nil:
		w := uint32(c.width)
		for i, id := range p.id {
			c.dense[buckets[p.at[i]]*w+id]++
		}
	default:
		for i, id := range p.id {
			if c.used*2 >= len(c.keys) {
				if err := c.grow(); err != nil {
					return err
				}
			}
			c.slot(uint64(buckets[p.at[i]])<<32 | uint64(id))
		}
	}
	return nil
}

func (c *counter) slot(key uint64) {
	mask := uint64(len(c.keys) - 1)
	for i := mix(key) & mask; ; i = (i + 1) & mask {
		switch c.keys[i] {
		case key + 1:
			c.count[i]++
			return
		case 0:
			c.keys[i], c.count[i] = key+1, 1
			c.used++
			return
		}
	}
}

func (c *counter) grow() error {
	size := max(4096, len(c.keys)*2)
	if err := c.q.take(int64(size) * 12); err != nil {
		return err
	}
	keys, count := c.keys, c.count
	c.keys, c.count = make([]uint64, size), make([]uint32, size)
	mask := uint64(size - 1)
	for j, key := range keys {
		if key == 0 {
			continue
		}
		i := mix(key-1) & mask
		for c.keys[i] != 0 {
			i = (i + 1) & mask
		}
		c.keys[i], c.count[i] = key, count[j]
	}
	c.q.give(int64(len(keys)) * 12)
	return nil
}

// each calls f with every counted pair.
func (c *counter) each(f func(bucket, id, n uint32)) {
	if c.dense == nil {
		for i, key := range c.keys {
			if key != 0 {
				f(uint32((key-1)>>32), uint32(key-1), c.count[i])
			}
		}
		return
	}
	if c.nb == 1 {
		for id, n := range c.dense {
			if n > 0 {
				f(0, uint32(id), n)
			}
		}
		return
	}
	for b := range c.nb {
		for id, n := range c.dense[b*c.width : (b+1)*c.width] {
			if n > 0 {
				f(uint32(b), uint32(id), n)
			}
		}
	}
}

func (c *counter) release() {
	c.q.give(int64(cap(c.dense))*4 + int64(len(c.keys))*12)
}

// tally is a key and its count.
type tally struct{ id, n uint32 }

// best keeps the first size tallies in the order of answers: count downwards,
// then term upwards.
type best struct {
	k    *keyer
	size int
	heap []tally // worst on top
}

func (b *best) before(x, y tally) bool {
	if x.n != y.n {
		return x.n > y.n
	}
	return b.k.less(x.id, y.id)
}

func (b *best) add(t tally) {
	if len(b.heap) < b.size {
		b.heap = append(b.heap, t)
		for i := len(b.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if b.before(b.heap[i], b.heap[up]) {
				break
			}
			b.heap[i], b.heap[up] = b.heap[up], b.heap[i]
			i = up
		}
		return
	}
	if top := b.heap[0]; t.n < top.n || !b.before(t, top) {
		return
	}
	b.heap[0] = t
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(b.heap) {
			return
		}
		if down+1 < len(b.heap) && b.before(b.heap[down], b.heap[down+1]) {
			down++
		}
		if b.before(b.heap[i], b.heap[down]) {
			b.heap[i], b.heap[down] = b.heap[down], b.heap[i]
			i = down
			continue
		}
		return
	}
}

// addAll adds the counts of all keys. Most are too small, which one comparison
// tells.
func (b *best) addAll(counts []uint32) {
	least := uint32(1)
	for id, n := range counts {
		if n < least {
			continue
		}
		b.add(tally{uint32(id), n})
		least = b.least()
	}
}

// least is the count below which nothing is kept any more.
func (b *best) least() uint32 {
	if len(b.heap) < b.size {
		return 1
	}
	return max(b.heap[0].n, 1)
}

func (b *best) sorted() []tally {
	sort.Slice(b.heap, func(i, j int) bool { return b.before(b.heap[i], b.heap[j]) })
	return b.heap
}

// aggregate answers one aggregation for each of nb buckets of the level above.
func (q *query) aggregate(a *plan.Agg, rels []relation, nb int) ([]*search.Facet, error) {
	if a.Kind == plan.Cardinality {
		return q.cardinality(a, rels, nb)
	}
	k, err := q.newKeyer(a)
	if err != nil {
		return nil, err
	}
	if err := q.ctx.Err(); err != nil {
		return nil, err
	}
	tops, large, err := q.largeNested(k, rels, nb)
	if err == nil && !large {
		tops, err = q.counted(a, k, rels, nb)
	}
	if err == nil {
		err = q.settleTops(k, tops)
	}
	if err != nil {
		return nil, err
	}
	facets := make([]*search.Facet, nb)
	children := 0
	for b, list := range tops {
		f := &search.Facet{Buckets: make([]search.Bucket, len(list))}
		for i, t := range list {
			f.Buckets[i] = search.Bucket{Term: k.term(t.id), Count: int64(t.n)}
		}
		facets[b] = f
		children += len(list)
	}
	if len(a.Subs) == 0 || children == 0 {
		return facets, nil
	}
	return facets, q.nested(a, k, rels, tops, facets, children)
}

// counted picks the buckets after counting all pairs of bucket and key.
func (q *query) counted(a *plan.Agg, k *keyer, rels []relation, nb int) ([][]tally, error) {
	c, err := q.newCounter(nb, k)
	if err != nil {
		return nil, err
	}
	defer c.release()
	if err := q.count(k, rels, c); err != nil {
		return nil, err
	}
	return q.top(a, k, c, nb)
}

// count counts the keys of every row of every segment.
func (q *query) count(k *keyer, rels []relation, c *counter) (err error) {
	var p pairs
	for si := range q.picked {
		if err := q.alive(); err != nil {
			return err
		}
		q.visited = q.picked[si].Segment
		if k.count(si, &rels[si], c) {
			continue
		}
		q.each(si, &rels[si], func(rows, buckets []uint32) {
			if err == nil {
				k.batch(si, rows, &p)
				err = c.add(buckets, &p)
			}
		})
		if err == nil {
			err = q.settle(k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scan keys every row of every segment.
func (q *query) scan(k *keyer, rels []relation, f func(si int, rows, buckets []uint32, p *pairs) error) (err error) {
	var p pairs
	for si := range q.picked {
		if err := q.alive(); err != nil {
			return err
		}
		q.visited = q.picked[si].Segment
		q.each(si, &rels[si], func(rows, buckets []uint32) {
			if err == nil {
				k.batch(si, rows, &p)
				err = f(si, rows, buckets, &p)
			}
		})
		if err == nil {
			err = q.settle(k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// top picks the buckets of an aggregation in the order of the answer.
func (q *query) top(a *plan.Agg, k *keyer, c *counter, nb int) ([][]tally, error) {
	tops := make([][]tally, nb)
	if a.Kind == plan.Histogram {
		total := 0
		c.each(func(b, id, n uint32) {
			if total++; total <= q.s.Buckets {
				tops[b] = append(tops[b], tally{id, n})
			}
		})
		for _, list := range tops {
			sort.Slice(list, func(i, j int) bool { return k.less(list[i].id, list[j].id) })
		}
		if total > q.s.Buckets {
			return nil, q.countBuckets(total)
		}
		return tops, nil
	}
	heaps := make([]best, nb)
	for b := range heaps {
		heaps[b] = best{k: k, size: q.plan.FacetSize}
	}
	if nb == 1 && c.dense != nil && a.Holding != "" && k.globals != nil {
		return [][]tally{k.holding(a.Holding, a.Most, c.dense)}, nil
	}
	if nb == 1 && c.dense != nil {
		heaps[0].addAll(c.dense)
	} else {
		c.each(func(b, id, n uint32) { heaps[b].add(tally{id, n}) })
	}
	for b := range heaps {
		tops[b] = heaps[b].sorted()
	}
	return tops, nil
}

// settleTops checks the buckets of an answer: that the values counted together
// are the same, and that there are not too many.
func (q *query) settleTops(k *keyer, tops [][]tally) error {
	total := 0
	for _, list := range tops {
		total += len(list)
	}
	if k.globals != nil && !k.globals.Certain(shown(tops)) {
		q.s.Values.Distrust(k.index)
		return values.ErrCollision
	}
	return q.countBuckets(total)
}

// shown are the keys of the buckets of an answer.
func shown(tops [][]tally) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, list := range tops {
			for _, t := range list {
				if !yield(t.id) {
					return
				}
			}
		}
	}
}

func (q *query) countBuckets(n int) error {
	if q.buckets += n; q.buckets > q.s.Buckets {
		return fault.New(fault.Invalid, "the answer has more than %d buckets: ask for fewer facets or longer intervals", q.s.Buckets)
	}
	return nil
}

// nested answers the aggregations inside the buckets just made.
func (q *query) nested(a *plan.Agg, k *keyer, rels []relation, tops [][]tally, facets []*search.Facet, children int) error {
	child := newChildren(tops, k.size())
	if err := q.take(child.bytes()); err != nil {
		return err
	}
	defer q.give(child.bytes())
	inner, taken, err := q.relate(k, rels, child)
	defer func() { q.give(taken) }()
	if err != nil {
		return err
	}
	for si := range inner {
		if inner[si].rows == nil { // nil would mean the whole selection
			inner[si].rows = []uint32{}
		}
	}
	for i := range a.Subs {
		sub, err := q.aggregate(&a.Subs[i], inner, children)
		if err != nil {
			return err
		}
		at := 0
		for _, f := range facets {
			for j := range f.Buckets {
				if f.Buckets[j].Facets == nil {
					f.Buckets[j].Facets = search.Facets{}
				}
				f.Buckets[j].Facets[a.Subs[i].Name] = sub[at]
				at++
			}
		}
	}
	return nil
}

// relate says for the rows of the kept buckets which of them each is in.
func (q *query) relate(k *keyer, rels []relation, child *children) (inner []relation, taken int64, err error) {
	inner = make([]relation, len(q.picked))
	var p pairs
	for si := range q.picked {
		if err := q.alive(); err != nil {
			return nil, taken, err
		}
		q.visited = q.picked[si].Segment
		in := &inner[si]
		if rels[si].rows != nil || !k.relate(si, child, in) {
			q.each(si, &rels[si], func(rows, buckets []uint32) {
				k.batch(si, rows, &p)
				for i, id := range p.id {
					if c := child.of(buckets[p.at[i]], id); c >= 0 {
						in.rows = append(in.rows, rows[p.at[i]])
						in.buckets = append(in.buckets, uint32(c))
					}
				}
			})
		}
		grown := int64(cap(in.rows)+cap(in.buckets)) * 4
		if err := q.take(grown); err != nil {
			return nil, taken, err
		}
		taken += grown
	}
	return inner, taken, q.settle(k)
}

// children numbers the kept buckets of a level.
type children struct {
	width int
	dense []int32
	table map[uint64]int32
}

func newChildren(tops [][]tally, width int) *children {
	c := &children{width: width}
	if len(tops)*width <= maxCells {
		c.dense = make([]int32, len(tops)*width)
		for i := range c.dense {
			c.dense[i] = -1
		}
	} else {
		c.table = map[uint64]int32{}
	}
	n := int32(0)
	for b, list := range tops {
		for _, t := range list {
			if c.dense != nil {
				c.dense[b*width+int(t.id)] = n
			} else {
				c.table[uint64(b)<<32|uint64(t.id)] = n
			}
			n++
		}
	}
	return c
}

func (c *children) of(bucket, id uint32) int32 {
	if c.dense != nil {
		return c.dense[int(bucket)*c.width+int(id)]
	}
	if n, ok := c.table[uint64(bucket)<<32|uint64(id)]; ok {
		return n
	}
	return -1
}

func (c *children) bytes() int64 { return int64(len(c.dense))*4 + int64(len(c.table))*32 }
