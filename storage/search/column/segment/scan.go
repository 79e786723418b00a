package segment

import (
	"bytes"
	"math"
	"sort"
	"strings"

	"mayday/storage/search/plan"
)

// RowsOf turns a set of ordinals into the rows that have one of them.
func (c *Column) RowsOf(ords Bitmap) Bitmap {
	out := NewBitmap(c.N)
	switch c.Meta.Width {
	case 1:
		var table [256]uint64
		ords.Each(func(i int) {
			if i < 256 {
				table[i] = 1
			}
		})
		for i, o := range c.Data {
			out[i>>6] |= table[o] << (i & 63)
		}
	case 2:
		for i, o := range View[uint16](c.Data) {
			out[i>>6] |= (ords[o>>6] >> (o & 63) & 1) << (i & 63)
		}
	default:
		for i, o := range View[uint32](c.Data) {
			out[i>>6] |= (ords[o>>6] >> (o & 63) & 1) << (i & 63)
		}
	}
	return out
}

// Numbers tests an int, float or bool column.
func (c *Column) Numbers(e *plan.Expr, out Bitmap) {
	switch {
	case e.Op == plan.Null:
		if c.Present != nil {
			copy(out, c.Present)
			out.Not(c.N)
		}
		return
	case e.Op == plan.IsBool && c.Meta.Kind == KindBool:
		copy(out, Bitmap(View[uint64](c.Data)))
		if !e.Bool {
			out.Not(c.N)
		}
	case e.Op == plan.IntRange && c.Meta.Kind == KindInt:
		c.intRange(max(e.Lo, c.Meta.Min), min(e.Hi, c.Meta.Max), out)
	case e.Op == plan.Real && c.Meta.Kind == KindFloat:
		for i, v := range View[float64](c.Data) {
			if (v > e.FLo || v == e.FLo && !e.OpenLo) && (v < e.FHi || v == e.FHi && !e.OpenHi) {
				out.Set(i)
			}
		}
	}
	if c.Present != nil {
		out.And(c.Present)
	}
}

func (c *Column) intRange(lo, hi int64, out Bitmap) {
	if lo > hi {
		return
	}
	// Both bounds are within the column's own range now, so differences fit.
	a, span := uint64(lo)-uint64(c.Meta.Min), uint64(hi)-uint64(lo)
	switch c.Meta.Width {
	case 1:
		between(c.Data, uint8(a), uint8(span), out)
	case 2:
		between(View[uint16](c.Data), uint16(a), uint16(span), out)
	case 4:
		between(View[uint32](c.Data), uint32(a), uint32(span), out)
	default:
		between(View[uint64](c.Data), a, span, out)
	}
}

// between sets the rows with a ≤ v ≤ a+span, one comparison each.
func between[T uint8 | uint16 | uint32 | uint64](data []T, a, span T, out Bitmap) {
	for i, v := range data {
		if v-a <= span {
			out[i>>6] |= 1 << (i & 63)
		}
	}
}

// HasPrefix says whether entry v begins with prefix.
func (d *Dict) HasPrefix(v uint32, prefix string) bool {
	if d.Sep == "" {
		e := d.Entry(v)
		return len(e) >= len(prefix) && string(e[:len(prefix)]) == prefix
	}
	return strings.HasPrefix(d.Text(v), prefix)
}

// Containing finds the flat entries that hold lit by one search of the arena.
func (d *Dict) Containing(lit []byte, hit func(uint32)) {
	n := d.Entries()
	for from := 0; ; {
		at := bytes.Index(d.arena[from:], lit)
		if at < 0 {
			return
		}
		at += from
		v := sort.Search(n, func(i int) bool { return int(d.offs[i+1]) > at })
		if v >= n {
			return
		}
		if end := int(d.offs[v+1]); at+len(lit) <= end {
			hit(uint32(v))
			from = end
		} else {
			from = at + 1
		}
	}
}

// ValuesWith finds the composite values that have one of parts.
func (d *Dict) ValuesWith(parts Bitmap, hit func(uint32)) {
	for v := range d.N {
		for _, p := range d.Parts[d.PartAt[v]:d.PartAt[v+1]] {
			if parts.Has(int(p)) {
				hit(uint32(v))
				break
			}
		}
	}
}

// Overlaps says whether a segment can hold a date of the plan.
func (s *Segment) Overlaps(p *plan.Plan) bool {
	return s.Footer.MaxDate >= p.From && s.Footer.MinDate < p.To && p.From != math.MaxInt64
}

// FacetDict is the dictionary that queries and facets see.
func (c *Column) FacetDict() *Dict {
	if c.Meta.Kind == KindToken {
		return &c.Folded
	}
	return &c.Dict
}

// Extreme is the least value of a row of a list column, or the greatest; -1 when
// it has none.
func (c *Column) Extreme(greatest bool, row int) int64 {
	found := int64(-1)
	for i := c.Starts[row]; i < c.Starts[row+1]; i++ {
		v := int64(c.Ord(int(i)))
		if c.Fold != nil {
			v = int64(c.Fold[v]) - 1
		}
		if v >= 0 && (found < 0 || greatest && v > found || !greatest && v < found) {
			found = v
		}
	}
	return found
}
