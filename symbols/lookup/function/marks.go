package function

import (
	"encoding/binary"
	"math"

	"mayday/symbols/lookup/packed"
)

// The layout of an odd function is
//
//	marks, spots   uvarint counts
//	marks          of eight bytes, by address: offset from the start of the
//	               function, and what is there: markNothing, markStart or a spot
//	spots          of sixteen bytes: line, file, origin, and the spot where the
//	               call stands; spots are counted from 1, 0 is none
const (
	markSize = 8
	spotSize = 16

	markNothing = 0
	markStart   = math.MaxUint32
)

// append packs the layout of a function that starts at an address. It reports
// false when it does not fit or has more than so many marks and spots.
func (l *layout) append(b []byte, start uint64, limit int) ([]byte, bool) {
	n := len(l.marks)
	if n+len(l.spots) > limit || n > 0 && l.marks[n-1].At-start > math.MaxUint32 {
		return b, false
	}
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(len(l.spots)))
	for _, m := range l.marks {
		what := uint32(markNothing)
		switch m.Kind {
		case MarkStart:
			what = markStart
		case MarkLine:
			what = uint32(m.place) + 1
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(m.At-start))
		b = binary.LittleEndian.AppendUint32(b, what)
	}
	for _, s := range l.spots {
		for _, v := range []uint32{s.line, s.file, s.origin, uint32(s.into + 1)} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	return b, true
}

// laid is where a packed layout lies.
type laid struct {
	b            []byte
	marks, spots int
	nMarks       int
	nSpots       int
	end          int
}

// readLaid finds the layout that starts at i. It reports false when it is not
// whole.
func readLaid(b []byte, i int) (l laid, ok bool) {
	marks, i := packed.Number(b, i)
	spots, i := packed.Number(b, i)
	if i > len(b) || marks > uint64(len(b)) || spots > uint64(len(b)) {
		return l, false
	}
	l = laid{b: b, nMarks: int(marks), nSpots: int(spots), marks: i}
	l.spots = l.marks + l.nMarks*markSize
	l.end = l.spots + l.nSpots*spotSize
	return l, l.end <= len(b)
}

// answer fills in what is known at an offset from the start of the function.
func (l *laid) answer(h *Hit, offset uint64) bool {
	off := uint32(min(offset, math.MaxUint32))
	lo, n := 0, l.nMarks
	if n == 0 || l.number(l.marks, 0) > off {
		return false
	}
	for n > 1 {
		half := n >> 1
		if l.number(l.marks, (lo+half)*2) <= off {
			lo += half
		}
		n -= half
	}
	switch what := l.number(l.marks, lo*2+1); what {
	case markNothing:
		return false
	case markStart:
		return true
	default:
		h.setSpot(int(what)-1, l.spot)
		return true
	}
}

// number is the i-th number at a place.
func (l *laid) number(at, i int) uint32 { return binary.LittleEndian.Uint32(l.b[at+i*4:]) }

// spot is the spot with a number, an empty one when there is none.
func (l *laid) spot(i int) spot {
	if i < 0 || i >= l.nSpots {
		return spot{into: noSpot}
	}
	return spot{l.number(l.spots, 4*i), l.number(l.spots, 4*i+1), l.number(l.spots, 4*i+2), int(l.number(l.spots, 4*i+3)) - 1}
}
