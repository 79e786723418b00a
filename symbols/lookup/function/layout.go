package function

import (
	"cmp"
	"slices"
)

// The rules by which the INLINE and line records of one function are laid out
// when they overlap, leave the function or come out of order. Functions whose
// records nest as they should, which is nearly all, never come here.

// maxPlaced bounds how many pieces the ranges of one function may be cut into
// beyond their number: n ranges over n others would make n² of them.
const maxPlaced = 64 << 10

// place lays the ranges out as symbolic does: taken by address, depth and
// order; within its parent, which cuts it and passes the rest on to the
// parent's next sibling; behind its own sibling. Ranges of depth 0 may leave
// the function. It looks at no more than so many pieces; whole says that these
// were all.
func place(spans []Span, start uint64, pieces int) (out []Span, whole bool) {
	queue := make(spanQueue, 0, len(spans))
	for i, s := range spans {
		queue.push(queued{Span: s, at: i})
	}
	type open struct {
		end       uint64
		childrens uint64 // where its last child ends
	}
	var stack []open
	top := open{childrens: start}
	for ; len(queue) > 0 && pieces > 0; pieces-- {
		q := queue.pop()
		begin, end := q.Start, q.Start+q.Size
		if q.Size == 0 || end < begin || begin < start || uint64(q.Depth) > uint64(len(stack)) {
			continue
		}
		parent := &top
		if q.Depth > 0 {
			parent = &stack[q.Depth-1]
			if begin >= parent.end {
				continue
			}
			if end > parent.end {
				rest := q
				rest.Start, rest.Size = parent.end, end-parent.end
				queue.push(rest)
				end = parent.end
			}
		}
		if begin < parent.childrens {
			if end <= parent.childrens {
				continue
			}
			begin = parent.childrens
		}
		parent.childrens = end
		stack = append(stack[:q.Depth], open{end: end, childrens: begin})
		out = append(out, Span{Start: begin, Size: end - begin, Depth: q.Depth, Line: q.Line, File: q.File, Origin: q.Origin, order: uint32(len(out))})
	}
	return out, len(queue) == 0
}

// keepLines lays the lines out as symbolic does: those that start outside of
// the function or within the line before are dropped, one that leaves the
// function is cut.
func keepLines(lines []Line, start, size uint64) []Line {
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Start, b.Start) })
	out := lines[:0]
	var end uint64
	for _, l := range lines {
		off := l.Start - start
		if l.Size == 0 || l.Start < start || off >= size || len(out) > 0 && l.Start < end {
			continue
		}
		l.Size = min(l.Size, size-off)
		end = l.Start + l.Size
		out = append(out, l)
	}
	return out
}

// layOut answers for p by ranges and lines that were laid out; see
// Function.Answer for what a mark is.
func layOut(h *Hit, inlines []Span, lines []Line, start, p uint64) bool {
	mark, end := start, false
	for _, s := range inlines {
		if s.Start <= p && s.Start > mark {
			mark, end = s.Start, false
		}
		if e := s.Start + s.Size; e <= p && e > mark {
			mark, end = e, true
		}
	}
	for _, l := range lines {
		if l.Start <= p && l.Start >= mark {
			mark, end = l.Start, false
		}
	}
	for _, l := range lines {
		if l.Start <= mark && mark-l.Start < l.Size {
			h.setLine(l.Line, l.File)
		}
	}
	for _, s := range inlines {
		if s.Start <= mark && mark-s.Start < s.Size {
			h.setCall(s.Depth, Call{Line: s.Line, File: s.File, Origin: s.Origin})
		}
	}
	return !end || h.HasLine || len(h.Calls) > 0
}

// layOutParity answers for p inside a function by the rules of
// minidump-stackwalk: lines that start within another are dropped; at each
// depth the last INLINE range that starts at or before p counts if it covers p.
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
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Start, b.Start))
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

// queued is an INLINE range that waits to be placed.
type queued struct {
	Span
	at int
}

// spanQueue is a heap of ranges by address, depth and order.
type spanQueue []queued

func (q spanQueue) before(i, j int) bool {
	a, b := &q[i], &q[j]
	switch {
	case a.Start != b.Start:
		return a.Start < b.Start
	case a.Depth != b.Depth:
		return a.Depth < b.Depth
	}
	return a.at < b.at
}

func (q *spanQueue) push(s queued) {
	*q = append(*q, s)
	for i := len(*q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			return
		}
		(*q)[i], (*q)[up] = (*q)[up], (*q)[i]
		i = up
	}
}

func (q *spanQueue) pop() queued {
	s := *q
	first := s[0]
	n := len(s) - 1
	s[0] = s[n]
	s = s[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s.before(c+1, c) {
			c++
		}
		if !s.before(c, i) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*q = s
	return first
}
