package lookup

import (
	"cmp"
	"slices"
)

// The rules by which the INLINE and line records of one function are laid out
// when they overlap, leave the function or come out of order. Functions whose
// records nest as they should, which is nearly all, never come here.

// placed is an INLINE range after it was laid out.
type placed struct {
	start, end         uint64
	depth              uint32
	line, file, origin uint32
}

// maxPlaced bounds how many pieces the ranges of one function may be cut into
// beyond their number: n ranges over n others would make n² of them.
const maxPlaced = 64 << 10

// unpack reads all ranges and lines of a packed function.
func unpack(d *decoder, h head, start uint64) (spans []span, lines []srcLine) {
	if h.flags&funcInlines != 0 {
		r := spanReader{d: d, s: span{start: start}}
		for n := d.uvarint(); n > 0 && !d.bad; n-- {
			if s := r.next(); !d.bad {
				spans = append(spans, *s)
			}
		}
	}
	r := lineReader{d: d, end: start}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		if l := r.next(); !d.bad {
			lines = append(lines, *l)
		}
	}
	return spans, lines
}

// place lays the ranges out as symbolic does: taken by address, depth and
// order; within its parent, which cuts it and passes the rest on to the
// parent's next sibling; behind its own sibling. Ranges of depth 0 may leave
// the function.
func place(spans []span, start uint64) []placed {
	queue := make(spanQueue, 0, len(spans))
	for i, s := range spans {
		queue.push(queued{span: s, order: i})
	}
	type open struct {
		end       uint64
		childrens uint64 // where its last child ends
	}
	var out []placed
	var stack []open
	top := open{childrens: start}
	for budget := len(spans) + maxPlaced; len(queue) > 0 && budget > 0; budget-- {
		q := queue.pop()
		begin, end := q.start, q.start+q.size
		if q.size == 0 || end < begin || begin < start || uint64(q.depth) > uint64(len(stack)) {
			continue
		}
		parent := &top
		if q.depth > 0 {
			parent = &stack[q.depth-1]
			if begin >= parent.end {
				continue
			}
			if end > parent.end {
				rest := q
				rest.start, rest.size = parent.end, end-parent.end
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
		stack = append(stack[:q.depth], open{end: end, childrens: begin})
		out = append(out, placed{begin, end, q.depth, q.line, q.file, q.origin})
	}
	return out
}

// keepLines lays the lines out as symbolic does: those that start outside of
// the function or within the line before are dropped, one that leaves the
// function is cut.
func keepLines(lines []srcLine, start, size uint64) []srcLine {
	slices.SortStableFunc(lines, func(a, b srcLine) int { return cmp.Compare(a.start, b.start) })
	out := lines[:0]
	var end uint64
	for _, l := range lines {
		off := l.start - start
		if l.size == 0 || l.start < start || off >= size || len(out) > 0 && l.start < end {
			continue
		}
		l.size = min(l.size, size-off)
		end = l.start + l.size
		out = append(out, l)
	}
	return out
}

// layOut answers for p inside a function by symbolic's rules. See quick for
// what a mark is.
func layOut(h *Hit, d *decoder, hd head, start, p uint64) bool {
	spans, lines := unpack(d, hd, start)
	inlines := place(spans, start)
	lines = keepLines(lines, start, hd.size)
	mark, end := start, false
	for _, s := range inlines {
		if s.start <= p && s.start > mark {
			mark, end = s.start, false
		}
		if s.end <= p && s.end > mark {
			mark, end = s.end, true
		}
	}
	for _, l := range lines {
		if l.start <= p && l.start >= mark {
			mark, end = l.start, false
		}
	}
	for _, l := range lines {
		if l.start <= mark && mark-l.start < l.size {
			h.setLine(l.line, l.file)
		}
	}
	for _, s := range inlines {
		if s.start <= mark && mark < s.end {
			h.setCall(s.depth, Call{Line: s.line, File: s.file, Origin: s.origin})
		}
	}
	return !end || h.HasLine || len(h.Calls) > 0
}

// marks lists the addresses at which the answer changes within a function,
// unsorted.
func marks(d *decoder, hd head, start uint64) []uint64 {
	spans, lines := unpack(d, hd, start)
	out := []uint64{start}
	for _, s := range place(spans, start) {
		out = append(out, s.start, s.end)
	}
	for _, l := range keepLines(lines, start, hd.size) {
		out = append(out, l.start)
	}
	return out
}

// layOutParity answers for p inside a function by the rules of
// minidump-stackwalk: lines that start within another are dropped; at each
// depth the last INLINE range that starts at or before p counts if it covers p.
func layOutParity(h *Hit, d *decoder, hd head, start, p uint64) {
	spans, lines := unpack(d, hd, start)
	slices.SortStableFunc(lines, func(a, b srcLine) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.start+a.size, b.start+b.size))
	})
	var last uint64
	for i, l := range lines {
		e := l.start + l.size - 1
		if l.size == 0 || e < l.start || i > 0 && last > 0 && l.start <= last {
			continue
		}
		last = e
		if l.start <= p && p <= e {
			h.setLine(l.line, l.file)
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.start, b.start))
	})
	depth := uint32(0)
	for i := 0; i < len(spans) && spans[i].depth == depth; depth++ {
		best := -1
		for ; i < len(spans) && spans[i].depth == depth; i++ {
			if spans[i].start <= p {
				best = i
			}
		}
		if best < 0 || p-spans[best].start >= spans[best].size {
			return
		}
		s := spans[best]
		h.setCall(depth, Call{Line: s.line, File: s.file, Origin: s.origin})
	}
}

// queued is an INLINE range that waits to be placed.
type queued struct {
	span
	order int
}

// spanQueue is a heap of ranges by address, depth and order.
type spanQueue []queued

func (q spanQueue) before(i, j int) bool {
	a, b := &q[i], &q[j]
	switch {
	case a.start != b.start:
		return a.start < b.start
	case a.depth != b.depth:
		return a.depth < b.depth
	}
	return a.order < b.order
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
