package function

import (
	"cmp"
	"slices"
)

// layOutParity answers for p inside a function by the rules of
// minidump-stackwalk: lines that start within another are dropped; at each
// depth the last INLINE range that starts at or before p counts if it covers p;
// of several with one start the longest, then the one with the highest numbers.
func layOutParity(h *Hit, spans []Span, lines []Line, p uint64) {
	slices.SortStableFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Start+a.Size, b.Start+b.Size))
	})
	var last uint64
	for i, l := range lines {
		e := l.Start + l.Size - 1
		if l.Size == 0 || e < l.Start || i > 0 && last > 0 && l.Start <= last {
			continue
		}
		last = e
		if l.Start <= p && p <= e {
			h.setLine(l.Line, l.File)
		}
	}
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Size, b.Size),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Origin, b.Origin))
	})
	depth := uint32(0)
	for i := 0; i < len(spans) && spans[i].Depth == depth; depth++ {
		best := -1
		for ; i < len(spans) && spans[i].Depth == depth; i++ {
			if spans[i].Start <= p {
				best = i
			}
		}
		if best < 0 || p-spans[best].Start >= spans[best].Size {
			return
		}
		s := spans[best]
		h.setCall(depth, Call{Line: s.Line, File: s.File, Origin: s.Origin})
	}
}
