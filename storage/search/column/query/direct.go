package query

import (
	"math"
	"math/bits"
	"slices"

	"mayday/storage/search/column/segment"
)

// The loops here count what most queries ask for without writing down pairs of
// row and key first: one value of a row at a time goes from the mapped column
// to its counter.

// count counts the keys of all rows of a segment in an array of counters. It
// reports false, having done nothing, when the column or the counter is of
// another sort.
func (k *keyer) count(si int, rel *relation, c *counter) bool {
	s := k.q.picked[si]
	col := s.Cols[k.index]
	switch {
	case col == nil:
		return true // no row has a key
	case c.dense == nil || !k.fixed() || k.ids:
		return false
	case rel.rows != nil:
		return k.countRelated(si, col, rel, c)
	case c.nb != 1:
		return false
	}
	switch col.Meta.Kind {
	case segment.KindString, segment.KindList, segment.KindToken:
		k.countValues(s, col, k.locals[si], c.dense)
	case segment.KindInt:
		d, ok := k.divider(col)
		if !ok {
			return false
		}
		switch col.Meta.Width {
		case 1:
			countNumbers(col.Data, d, col, s.selected, c.dense)
		case 2:
			countNumbers(segment.View[uint16](col.Data), d, col, s.selected, c.dense)
		case 4:
			countNumbers(segment.View[uint32](col.Data), d, col, s.selected, c.dense)
		default:
			return false
		}
	default:
		return false
	}
	return true
}

// countValues counts the values of the selected rows of a segment. When those
// are most of its rows, it begins with the counts that the segment knows, and
// takes away the other rows.
func (k *keyer) countValues(s *selection, col *segment.Column, local, dense []uint32) {
	rows, n, by := s.selected, s.count, uint32(1)
	if col.CountWidth > 0 && n*2 > s.Footer.Rows {
		switch col.CountWidth {
		case 1:
			addCounts(col.Counts, local, dense)
		case 2:
			addCounts(segment.View[uint16](col.Counts), local, dense)
		default:
			addCounts(segment.View[uint32](col.Counts), local, dense)
		}
		if n == s.Footer.Rows {
			return
		}
		rows = slices.Clone(rows)
		rows.Not(s.Footer.Rows)
		n, by = s.Footer.Rows-n, math.MaxUint32 // which is -1
	}
	single := col.Meta.Kind == segment.KindString
	switch {
	case col.Meta.Width == 1 && single:
		countOrdinals(col.Data, local, rows, n, by, dense)
	case col.Meta.Width == 1:
		countListed(col.Data, col, local, rows, by, dense)
	case col.Meta.Width == 2 && single:
		countOrdinals(segment.View[uint16](col.Data), local, rows, n, by, dense)
	case col.Meta.Width == 2:
		countListed(segment.View[uint16](col.Data), col, local, rows, by, dense)
	case single:
		countOrdinals(segment.View[uint32](col.Data), local, rows, n, by, dense)
	default:
		countListed(segment.View[uint32](col.Data), col, local, rows, by, dense)
	}
}

// addCounts adds what a segment knows of all its rows.
func addCounts[T uint8 | uint16 | uint32](counts []T, local, dense []uint32) {
	counts = counts[:len(local)]
	for v, id := range local {
		dense[id] += uint32(counts[v])
	}
}

// countOrdinals counts the values of n rows, by one or by minus one. While there
// are fewer values than rows they are counted as the segment numbers them, and
// added up afterwards.
func countOrdinals[T uint8 | uint16 | uint32](data []T, local []uint32, rows segment.Bitmap, n int, by uint32, dense []uint32) {
	if len(local)*2 > n {
		for w, word := range rows {
			for base := w << 6; word != 0; word &= word - 1 {
				if o := data[base+bits.TrailingZeros64(word)]; o > 0 {
					dense[local[o-1]] += by
				}
			}
		}
		return
	}
	counts := make([]uint32, len(local)+1)
	if n == len(data) {
		for _, o := range data {
			counts[o]++
		}
	} else {
		for w, word := range rows {
			for base := w << 6; word != 0; word &= word - 1 {
				counts[data[base+bits.TrailingZeros64(word)]]++
			}
		}
	}
	for o, n := range counts[1:] {
		if n > 0 {
			dense[local[o]] += n * by
		}
	}
}

// countListed counts each value once in a row, by one or by minus one. A mark
// for every value holds the row that had it last.
func countListed[T uint8 | uint16 | uint32](data []T, c *segment.Column, local []uint32, rows segment.Bitmap, by uint32, dense []uint32) {
	// Marks and counts lie side by side: one place of memory for each value.
	type cell struct{ last, n uint32 }
	cells := make([]cell, len(local)+1)
	starts, fold := c.Starts, c.Fold
	for w, word := range rows {
		for base := w << 6; word != 0; word &= word - 1 {
			r := base + bits.TrailingZeros64(word)
			mark := uint32(r) + 1
			for _, o := range data[starts[r]:starts[r+1]] {
				v := uint32(o) + 1
				if fold != nil {
					v = fold[o]
				}
				if at := &cells[v]; at.last != mark {
					at.last = mark
					at.n++
				}
			}
		}
	}
	for v, at := range cells[1:] {
		if at.n > 0 {
			dense[local[v]] += at.n * by
		}
	}
}

// divider turns the stored differences of a number column into keys.
type divider struct {
	base  uint64 // added to what is stored, so that intervals begin at 0
	magic uint64 // 2^64 / width, rounded up; 0: the width is 1
	first uint32 // key of interval 0
}

// divider makes the divider of a column of at most 32 bits. The product of a
// 33-bit number with the rounded inverse is exact in its upper half.
func (k *keyer) divider(c *segment.Column) (divider, bool) {
	if c.Meta.Width > 4 || k.dense == 0 || k.width < 1 || k.width > math.MaxInt32 {
		return divider{}, false
	}
	low := k.key(c.Meta.Min)
	d := divider{base: uint64(c.Meta.Min - k.shift - low*k.width), first: uint32(low - k.floor)}
	if k.width > 1 {
		d.magic = math.MaxUint64/uint64(k.width) + 1
	}
	return d, true
}

func countNumbers[T uint8 | uint16 | uint32](data []T, d divider, c *segment.Column, sel segment.Bitmap, dense []uint32) {
	dense = dense[d.first:]
	for w, word := range sel {
		if c.Present != nil {
			word &= c.Present[w]
		}
		base := w << 6
		if d.magic == 0 {
			for ; word != 0; word &= word - 1 {
				dense[uint64(data[base+bits.TrailingZeros64(word)])+d.base]++
			}
			continue
		}
		for ; word != 0; word &= word - 1 {
			hi, _ := bits.Mul64(uint64(data[base+bits.TrailingZeros64(word)])+d.base, d.magic)
			dense[hi]++
		}
	}
}

// countRelated counts single values in the buckets of the level above.
func (k *keyer) countRelated(si int, col *segment.Column, rel *relation, c *counter) bool {
	if col.Meta.Kind != segment.KindString {
		return false
	}
	width := 0
	if c.nb > 1 {
		width = c.width
	}
	switch col.Meta.Width {
	case 1:
		countInBuckets(col.Data, k.locals[si], rel, width, c.dense)
	case 2:
		countInBuckets(segment.View[uint16](col.Data), k.locals[si], rel, width, c.dense)
	default:
		countInBuckets(segment.View[uint32](col.Data), k.locals[si], rel, width, c.dense)
	}
	return true
}

func countInBuckets[T uint8 | uint16 | uint32](data []T, local []uint32, rel *relation, width int, dense []uint32) {
	buckets := rel.buckets[:len(rel.rows)]
	for i, r := range rel.rows {
		if o := data[r]; o > 0 {
			dense[int(buckets[i])*width+int(local[o-1])]++
		}
	}
}

// relate finds the rows of the kept buckets of the uppermost level, when that
// counts single values: one look in a table for each row. It reports false when
// the column is of another sort.
func (k *keyer) relate(si int, child *children, in *relation) bool {
	s := k.q.picked[si]
	col := s.Cols[k.index]
	if col == nil {
		return true
	}
	if col.Meta.Kind != segment.KindString {
		return false
	}
	to := make([]int32, len(k.locals[si])+1)
	to[0] = -1
	for o, id := range k.locals[si] {
		to[o+1] = child.of(0, id)
	}
	in.rows, in.buckets = slices.Grow(in.rows, s.count), slices.Grow(in.buckets, s.count)
	switch col.Meta.Width {
	case 1:
		relateOrdinals(col.Data, to, s.selected, in)
	case 2:
		relateOrdinals(segment.View[uint16](col.Data), to, s.selected, in)
	default:
		relateOrdinals(segment.View[uint32](col.Data), to, s.selected, in)
	}
	return true
}

func relateOrdinals[T uint8 | uint16 | uint32](data []T, to []int32, sel segment.Bitmap, in *relation) {
	n := 0
	rows, buckets := in.rows[:cap(in.rows)], in.buckets[:cap(in.buckets)]
	for w, word := range sel {
		for base := w << 6; word != 0; word &= word - 1 {
			r := base + bits.TrailingZeros64(word)
			if c := to[data[r]]; c >= 0 {
				rows[n], buckets[n] = uint32(r), uint32(c)
				n++
			}
		}
	}
	in.rows, in.buckets = rows[:n], buckets[:n]
}
