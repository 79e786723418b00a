package query

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mayday/storage/search"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/column/values"
	"mayday/storage/search/plan"
)

// keyer numbers the keys of one aggregation: values, or intervals. The numbers
// run over all segments of the query.
type keyer struct {
	q     *query
	field *plan.Field
	index int // of the field
	agg   *plan.Agg
	ids   bool // the uuid field: every row has a key of its own
	base  []int

	// strings
	globals *values.Table
	locals  [][]uint32
	entries []values.Entry
	dicts   []*segment.Dict // that entries stand in

	// numbers
	width  int64 // interval of whole numbers; micros for dates
	shift  int64 // where intervals begin
	floor  int64 // dense: the first key
	dense  int   // dense: how many; 0 means intern
	intern interner
	hashed bool // keys need only differ: hashes take the place of interned numbers
	reals  bool
	real   float64 // interval of floats
	lo, hi int64   // calendar interval found last
	last   uint32
}

// pairs are the keys of a batch of rows: row rows[at[i]] has key id[i].
type pairs struct {
	at, id []uint32
}

// maxDense bounds directly addressed number ranges: counters of 4 bytes, or, to
// know which values there are, bits.
const (
	maxDense     = 1 << 22
	maxDenseBits = 1 << 26
)

// newKeyer prepares the keys of an aggregation over the query's segments.
func (q *query) newKeyer(a *plan.Agg) (*keyer, error) {
	k := &keyer{q: q, field: a.Field, index: q.index(a.Field), agg: a}
	st := a.Field.Storage
	switch {
	case a.Field.Name == plan.IDField:
		k.ids = true
		total := 0
		for _, p := range q.picked {
			k.base = append(k.base, total)
			total += p.Footer.Rows
		}
	case st.IsString():
		return k, k.strings()
	case st == plan.Double:
		k.reals = true
		k.real = a.Interval
	case st == plan.Boolean:
		k.dense = 2
	default:
		k.numbers()
	}
	return k, nil
}

func (k *keyer) strings() (err error) {
	k.globals = k.q.globals(k.index)
	segments := make([]*segment.Segment, len(k.q.picked))
	for i, p := range k.q.picked {
		segments[i] = p.Segment
	}
	k.globals.Expect(k.index, segments)
	for _, p := range k.q.picked {
		var local []uint32
		k.q.visited = p.Segment
		if c := p.Cols[k.index]; c != nil {
			if local, err = k.globals.Segment(p.Segment, c); err != nil {
				k.q.s.Values.Distrust(k.index)
				return err
			}
		}
		k.locals = append(k.locals, local)
	}
	k.entries, k.dicts = k.globals.List()
	return nil
}

const (
	micro = int64(time.Second / time.Microsecond)
	day   = 24 * 3600 * micro
)

// calendarWidth is the length of the calendar intervals that all have one.
var calendarWidth = [...]int64{plan.Minute: 60 * micro, plan.Hour: 3600 * micro, plan.Day: day, plan.Week: 7 * day, plan.Month: 0, plan.Quarter: 0, plan.Year: 0}

func (k *keyer) numbers() {
	k.width = 1
	switch {
	case k.agg.Kind == plan.Histogram && k.field.Storage == plan.Instant:
		k.width = calendarWidth[k.agg.Calendar]
		if k.agg.Calendar == plan.Week {
			k.shift = 4 * day // 1970-01-05 was a Monday
		}
	case k.agg.Kind == plan.Histogram:
		k.width = int64(k.agg.Interval)
	case k.field.Storage == plan.Instant:
		k.width = micro / 1000 // Elasticsearch tells dates apart by the millisecond
	}
	k.lo, k.hi = math.MaxInt64, math.MinInt64
	if k.width == 0 {
		return
	}
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for _, p := range k.q.picked {
		if c := p.Cols[k.index]; c != nil && c.Meta.Kind == segment.KindInt {
			lo, hi = min(lo, c.Meta.Min), max(hi, c.Meta.Max)
		}
	}
	if lo > hi {
		return
	}
	lo, hi = k.key(lo), k.key(hi)
	most := uint64(maxDense)
	if k.agg.Kind == plan.Cardinality {
		most = maxDenseBits
	}
	if n := uint64(hi) - uint64(lo); n < most {
		k.floor, k.dense = lo, int(n)+1
	}
}

// key is the number of the interval that holds v.
func (k *keyer) key(v int64) int64 { return floorDiv(v-k.shift, k.width) }

func floorDiv(a, b int64) int64 {
	d := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		d--
	}
	return d
}

// size is how many keys there are so far.
func (k *keyer) size() int {
	switch {
	case k.ids:
		if n := len(k.base); n > 0 {
			return k.base[n-1] + k.q.picked[n-1].Footer.Rows
		}
		return 0
	case k.globals != nil:
		return len(k.entries)
	case k.dense > 0:
		return k.dense
	}
	return len(k.intern.keys)
}

// fixed says whether size will not grow.
func (k *keyer) fixed() bool { return k.ids || k.globals != nil || k.dense > 0 }

// batch gives the keys of rows of the si-th segment.
func (k *keyer) batch(si int, rows []uint32, out *pairs) {
	out.at, out.id = out.at[:0], out.id[:0]
	s := k.q.picked[si]
	c := s.Cols[k.index]
	if c == nil {
		return
	}
	switch c.Meta.Kind {
	case segment.KindID:
		for i, r := range rows {
			out.at, out.id = append(out.at, uint32(i)), append(out.id, uint32(k.base[si])+r)
		}
	case segment.KindString:
		local := k.locals[si]
		switch c.Meta.Width {
		case 1:
			ordinals(c.Data, local, rows, out)
		case 2:
			ordinals(segment.View[uint16](c.Data), local, rows, out)
		default:
			ordinals(segment.View[uint32](c.Data), local, rows, out)
		}
	case segment.KindList, segment.KindToken:
		k.lists(c, k.locals[si], rows, out)
	case segment.KindBool:
		bits := segment.Bitmap(segment.View[uint64](c.Data))
		for i, r := range rows {
			if c.Has(int(r)) {
				out.at, out.id = append(out.at, uint32(i)), append(out.id, uint32(bits[r>>6]>>(r&63)&1))
			}
		}
	case segment.KindFloat:
		for i, r := range rows {
			if c.Has(int(r)) {
				v := c.Float(int(r))
				if k.agg.Kind == plan.Histogram {
					v = math.Floor(v/k.real) * k.real
				}
				out.at, out.id = append(out.at, uint32(i)), append(out.id, k.number64(int64(math.Float64bits(v+0))))
			}
		}
	case segment.KindInt:
		k.ints(c, rows, out)
	}
}

// ordinals keys a column of one ordinal a row.
func ordinals[T uint8 | uint16 | uint32](data []T, local, rows []uint32, out *pairs) {
	at, id := out.room(len(rows))
	n := 0
	for i, r := range rows {
		if o := data[r]; o > 0 {
			at[n], id[n] = uint32(i), local[o-1]
			n++
		}
	}
	out.at, out.id = at[:n], id[:n]
}

// room gives space for n pairs.
func (p *pairs) room(n int) (at, id []uint32) {
	if cap(p.at) < n || cap(p.id) < n {
		p.at, p.id = make([]uint32, n, max(n, batchRows)), make([]uint32, n, max(n, batchRows))
	}
	return p.at[:n], p.id[:n]
}

// offsets keys a number column whose values are keys themselves, less a base.
func offsets[T uint8 | uint16 | uint32 | uint64](data []T, base uint32, c *segment.Column, rows []uint32, out *pairs) {
	at, id := out.room(len(rows))
	if c.Present == nil {
		for i, r := range rows {
			at[i], id[i] = uint32(i), base+uint32(data[r])
		}
		out.at, out.id = at, id
		return
	}
	n := 0
	for i, r := range rows {
		at[n], id[n] = uint32(i), base+uint32(data[r])
		n += int(c.Present[r>>6] >> (r & 63) & 1)
	}
	out.at, out.id = at[:n], id[:n]
}

// lists keys a column of many values a row, each key of a row once.
func (k *keyer) lists(c *segment.Column, local, rows []uint32, out *pairs) {
	switch c.Meta.Width {
	case 1:
		listed(c.Data, c, local, rows, out)
	case 2:
		listed(segment.View[uint16](c.Data), c, local, rows, out)
	default:
		listed(segment.View[uint32](c.Data), c, local, rows, out)
	}
}

func listed[T uint8 | uint16 | uint32](data []T, c *segment.Column, local, rows []uint32, out *pairs) {
	at, id := out.at[:0], out.id[:0]
	for i, r := range rows {
		first := len(id)
		for _, o := range data[c.Starts[r]:c.Starts[r+1]] {
			v := uint32(o)
			if c.Fold != nil {
				if v = c.Fold[v]; v == 0 {
					continue
				}
				v--
			}
			if key := local[v]; !slices.Contains(id[first:], key) {
				at, id = append(at, uint32(i)), append(id, key)
			}
		}
	}
	out.at, out.id = at, id
}

// ints keys an int column.
func (k *keyer) ints(c *segment.Column, rows []uint32, out *pairs) {
	if k.dense > 0 && k.width == 1 {
		base := uint32(c.Meta.Min - k.shift - k.floor)
		switch c.Meta.Width {
		case 1:
			offsets(c.Data, base, c, rows, out)
		case 2:
			offsets(segment.View[uint16](c.Data), base, c, rows, out)
		case 4:
			offsets(segment.View[uint32](c.Data), base, c, rows, out)
		default:
			offsets(segment.View[uint64](c.Data), base, c, rows, out)
		}
		return
	}
	switch c.Meta.Width {
	case 1:
		intervals(k, c.Data, c, rows, out)
	case 2:
		intervals(k, segment.View[uint16](c.Data), c, rows, out)
	case 4:
		intervals(k, segment.View[uint32](c.Data), c, rows, out)
	default:
		intervals(k, segment.View[uint64](c.Data), c, rows, out)
	}
}

// intervals keys numbers by the interval they are in. Neighbours are often in
// the same one: rows are in the order of their dates.
func intervals[T uint8 | uint16 | uint32 | uint64](k *keyer, data []T, c *segment.Column, rows []uint32, out *pairs) {
	at, id := out.room(len(rows))
	n := 0
	for i, r := range rows {
		if c.Present != nil && !c.Present.Has(int(r)) {
			continue
		}
		v := int64(uint64(c.Meta.Min) + uint64(data[r]))
		if v < k.lo || v >= k.hi {
			k.interval(v)
		}
		at[n], id[n] = uint32(i), k.last
		n++
	}
	out.at, out.id = at[:n], id[:n]
}

// interval finds the interval of v and remembers its bounds.
func (k *keyer) interval(v int64) {
	if k.width == 0 {
		k.lo, k.hi = k.calendar(v)
		k.last = k.number64(k.lo)
		return
	}
	key := k.key(v)
	k.lo = key*k.width + k.shift
	k.hi = k.lo + k.width
	if k.dense > 0 {
		k.last = uint32(key - k.floor)
	} else {
		k.last = k.number64(key)
	}
}

// calendar gives the bounds of a month, quarter or year.
func (k *keyer) calendar(v int64) (lo, hi int64) {
	t := time.UnixMicro(v).UTC()
	y, m := t.Year(), t.Month()
	months := 1
	switch k.agg.Calendar {
	case plan.Quarter:
		m, months = (m-1)/3*3+1, 3
	case plan.Year:
		m, months = 1, 12
	}
	from := time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return from.UnixMicro(), from.AddDate(0, months, 0).UnixMicro()
}

// number64 numbers a value or interval.
func (k *keyer) number64(v int64) uint32 {
	if k.hashed {
		return uint32(mix(uint64(v)) >> 32)
	}
	return k.intern.id(v)
}

// number is the value or the start of the interval of a key.
func (k *keyer) number(id uint32) int64 {
	switch {
	case k.dense > 0:
		return (k.floor+int64(id))*k.width + k.shift
	case k.width == 0:
		return k.intern.keys[id]
	}
	return k.intern.keys[id]*k.width + k.shift
}

// term is a key as the answer shows it, copied out of the segment.
func (k *keyer) term(id uint32) any {
	switch {
	case k.ids:
		s, row := k.rowOf(id)
		return search.FormatID(s.RowID(row))
	case k.globals != nil:
		e := k.entries[id]
		return k.dicts[e.Dict].Text(e.Ord)
	case k.reals:
		return search.Real(math.Float64frombits(uint64(k.intern.keys[id])))
	case k.field.Storage == plan.Boolean:
		return [...]string{"F", "T"}[id]
	case k.field.Storage == plan.Instant:
		return time.UnixMicro(k.number(id)).UTC().Format("2006-01-02T15:04:05Z")
	case k.agg.Kind == plan.Histogram:
		return search.Real(k.number(id))
	}
	return k.number(id)
}

// holding picks the values that hold a text, whatever the case, those that
// begin so first.
func (k *keyer) holding(text string, most int, counts []uint32) []tally {
	low := []byte(strings.ToLower(text))
	begun, others := best{k: k, size: most}, best{k: k, size: most}
	var value []byte
	for id, n := range counts {
		if n < min(begun.least(), others.least()) {
			continue
		}
		e := k.entries[id]
		value = lowered(k.dicts[e.Dict].Value(value[:0], e.Ord))
		switch bytes.Index(value, low) {
		case -1:
		case 0:
			begun.add(tally{uint32(id), n})
		default:
			others.add(tally{uint32(id), n})
		}
	}
	list := append(begun.sorted(), others.sorted()...)
	return list[:min(len(list), most)]
}

// lowered is a text in lower case, in its own place when it is ASCII.
func lowered(s []byte) []byte {
	for i, c := range s {
		switch {
		case c >= utf8.RuneSelf:
			return bytes.ToLower(s)
		case 'A' <= c && c <= 'Z':
			s[i] = c + 'a' - 'A'
		}
	}
	return s
}

func (k *keyer) rowOf(id uint32) (*segment.Segment, int) {
	i, ok := slices.BinarySearch(k.base, int(id))
	if !ok {
		i--
	}
	return k.q.picked[i].Segment, int(id) - k.base[i]
}

// less orders keys as terms: strings by bytes, numbers by value.
func (k *keyer) less(a, b uint32) bool {
	switch {
	case k.ids:
		sa, ra := k.rowOf(a)
		sb, rb := k.rowOf(b)
		return bytes.Compare(sa.IDs.Data[ra*16:ra*16+16], sb.IDs.Data[rb*16:rb*16+16]) < 0
	case k.globals != nil:
		x, y := k.entries[a], k.entries[b]
		p, q := k.dicts[x.Dict], k.dicts[y.Dict]
		switch {
		case p == q: // dictionaries are sorted
			return x.Ord < y.Ord
		case p.Sep == "" && q.Sep == "":
			return bytes.Compare(p.Entry(x.Ord), q.Entry(y.Ord)) < 0
		}
		return p.Compare(x.Ord, q.Text(y.Ord)) < 0
	case k.reals:
		return math.Float64frombits(uint64(k.intern.keys[a])) < math.Float64frombits(uint64(k.intern.keys[b]))
	case k.dense > 0:
		return a < b
	}
	return k.intern.keys[a] < k.intern.keys[b]
}

// interner numbers 64-bit keys in the order met.
type interner struct {
	table []uint32 // key's number + 1
	keys  []int64
}

func (n *interner) id(key int64) uint32 {
	if len(n.keys)*2 >= len(n.table) {
		n.grow()
	}
	mask := uint64(len(n.table) - 1)
	for i := mix(uint64(key)) & mask; ; i = (i + 1) & mask {
		e := n.table[i]
		if e == 0 {
			n.keys = append(n.keys, key)
			n.table[i] = uint32(len(n.keys))
			return uint32(len(n.keys) - 1)
		}
		if n.keys[e-1] == key {
			return e - 1
		}
	}
}

func (n *interner) grow() {
	size := max(256, len(n.table)*2)
	n.table = make([]uint32, size)
	mask := uint64(size - 1)
	for at, key := range n.keys {
		i := mix(uint64(key)) & mask
		for n.table[i] != 0 {
			i = (i + 1) & mask
		}
		n.table[i] = uint32(at + 1)
	}
}

// mix spreads the bits of a key (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
