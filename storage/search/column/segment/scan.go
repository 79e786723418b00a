package segment

import (
	"bytes"
	"encoding/binary"
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
	if !parts.Any() {
		return
	}
	table := make([]uint8, d.Entries()) // a byte each is quicker to look at than a bit
	parts.Each(func(p int) { table[p] = 1 })
	all, v := d.Parts, 0
	for i := 0; i < len(all); i++ {
		for i+8 <= len(all) { // most stretches have none
			p := all[i : i+8 : i+8]
			if table[p[0]]|table[p[1]]|table[p[2]]|table[p[3]]|table[p[4]]|table[p[5]]|table[p[6]]|table[p[7]] != 0 {
				break
			}
			i += 8
		}
		if i >= len(all) || table[all[i]] == 0 {
			continue
		}
		for int(d.PartAt[v+1]) <= i {
			v++
		}
		hit(uint32(v))
		i = int(d.PartAt[v+1]) - 1 // on with the next value
	}
}

// wordChunk is how many bytes are searched for all words before the next ones:
// they stay in the first-level cache.
const wordChunk = 16 << 10

// Word is a lower-case word to look for.
type Word struct {
	Text string
	Open bool // longer words that begin so will do
}

// uncut is up to what length of an entry its words are whole: longer words are
// cut in pieces.
const uncut = 255

// MayHold finds the flat entries or parts that may hold one of some words:
// those in which one stands, whatever the case of ASCII letters, between other
// characters than letters and digits; and those that are not ASCII, as they want
// to be looked at closely. It may find one twice.
func (d *Dict) MayHold(words []Word, hit func(uint32)) {
	n := d.Entries()
	for lo := 0; lo < n; {
		hi := lo + 1
		for hi < n && d.offs[hi+1]-d.offs[lo] <= wordChunk {
			hi++
		}
		chunk := d.arena[d.offs[lo]:d.offs[hi]]
		if !isASCII(chunk) {
			for v := lo; v < hi; v++ {
				if !isASCII(d.Entry(uint32(v))) {
					hit(uint32(v))
				}
			}
		}
		for _, w := range words {
			d.holding(chunk, lo, hi, w, hit)
		}
		lo = hi
	}
}

// holding finds the entries from lo to hi, which are chunk, in which a word
// stands. It goes from one place of the word's rarest letter to the next.
func (d *Dict) holding(chunk []byte, lo, hi int, w Word, hit func(uint32)) {
	first, size := int(d.offs[lo]), len(w.Text)
	k := rarest(w.Text)
	small, large := w.Text[k], w.Text[k]
	if small >= 'a' && small <= 'z' {
		large -= 'a' - 'A'
	}
	nextSmall, nextLarge := -1, -1
	if large == small {
		nextLarge = len(chunk)
	}
	for from := 0; ; {
		if nextSmall < from {
			nextSmall = find(chunk, from, small)
		}
		if nextLarge < from {
			nextLarge = find(chunk, from, large)
		}
		place := min(nextSmall, nextLarge)
		if place >= len(chunk) {
			return
		}
		from = place + 1
		at := place - k
		if at < 0 || at+size > len(chunk) || !folds(chunk[at:at+size], w.Text) {
			continue
		}
		lo += sort.Search(hi-lo-1, func(i int) bool { return int(d.offs[lo+i+1])-first > at })
		begin, end, next := int(d.offs[lo])-first, int(d.offs[lo+1])-first, at+size
		if next > end || end-begin <= uncut && (at > begin && inWord(chunk[at-1]) || !w.Open && next < end && inWord(chunk[next])) {
			continue
		}
		hit(uint32(lo))
		from = max(from, end)
	}
}

// find gives the next place of c, the length of b when there is none.
func find(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}

// rarity lists characters of words, the rarest in names of functions and the
// like first.
const rarity = "'qzjx9876543kw2yvb10hgfpmud,;_lc.sonrat:ie"

// rarest is the place of the rarest character of a word.
func rarest(word string) int {
	best, rank := 0, len(rarity)
	for i := range len(word) {
		if r := strings.IndexByte(rarity, word[i]); r < rank {
			best, rank = i, r
		}
	}
	return best
}

// folds says whether b is a lower-case text but for the case of its ASCII
// letters.
func folds(b []byte, lower string) bool {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// inWord says whether a character beside another such one is in the same word.
func inWord(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c-'0' <= 9 || c == '_' }

func isASCII(b []byte) bool {
	high := uint64(0)
	for ; len(b) >= 8; b = b[8:] {
		high |= binary.LittleEndian.Uint64(b)
	}
	for _, c := range b {
		high |= uint64(c)
	}
	return high&0x8080808080808080 == 0
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
	lo, hi := c.span(row)
	for i := lo; i < hi; i++ {
		v := int64(c.Ord(i))
		if c.Fold != nil {
			v = int64(c.Fold[v]) - 1
		}
		if v >= 0 && (found < 0 || greatest && v > found || !greatest && v < found) {
			found = v
		}
	}
	return found
}
