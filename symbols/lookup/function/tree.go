package function

import (
	"cmp"
	"math"
	"slices"
)

// How symbolic lays out the INLINE and line records of one function, however
// odd they are. It makes a tree of the inlined calls, gives each line to the
// call that it belongs to, and notes at which addresses the answer changes. For
// functions whose records nest as they should the columns answer the same
// without a tree.

// maxPlaced bounds how many pieces the ranges of one function may be cut into
// beyond their number: n ranges over n others would make n² of them.
const maxPlaced = 64 << 10

// place makes the ranges nest, as symbolic does: taken by address and depth,
// one that starts within its sibling before it starts where that ends, one that
// reaches beyond its parent is cut and its rest may continue in the parent's
// next sibling. Ranges of depth 0 may leave the function. It looks at no more
// than so many pieces; whole says that these were all.
func place(spans []Span, start uint64, pieces int) (out []Span, whole bool) {
	queue := make(spanQueue, 0, len(spans))
	for _, s := range spans {
		if s.Start >= start {
			queue.push(s)
		}
	}
	var ends []uint64 // of the last range at each depth
	for ; len(queue) > 0 && pieces > 0; pieces-- {
		s := queue.pop()
		end, depth := s.Start+s.Size, int64(s.Depth)
		if end < s.Start || depth > int64(len(ends)) {
			continue
		}
		if depth < int64(len(ends)) {
			before := ends[depth]
			if end <= before {
				continue
			}
			if s.Start < before {
				s.Start, s.Size = before, end-before
				queue.push(s)
				continue
			}
		}
		ends = ends[:depth]
		if depth > 0 {
			caller := ends[depth-1]
			if s.Start >= caller {
				continue
			}
			if end > caller {
				rest := s
				rest.Start, rest.Size = caller, end-caller
				queue.push(rest)
				s.Size, end = caller-s.Start, caller
			}
		}
		out, ends = append(out, s), append(ends, end)
	}
	return out, len(queue) == 0
}

// node is the function or a call inlined in it.
type node struct {
	start, end uint64
	origin     uint32
	lines      []Line // and call sites, which cover the calls
	children   []int
}

// grow makes the tree of ranges that nest and of lines. The first node is the
// function. A line belongs to the innermost call and is split where a call
// starts or ends.
func grow(spans []Span, lines []Line, start, size uint64) []node {
	end := start + size
	if end < start {
		end = math.MaxUint64
	}
	nodes := []node{{start: start, end: end}}
	open := []int{0}
	close := func(until uint64) {
		for len(open) > 1 && nodes[open[len(open)-1]].end <= until {
			open = open[:len(open)-1]
		}
	}
	var split []Line // the rest of a line, which comes before other lines
	for {
		var l Line
		switch {
		case len(split) > 0:
			l = split[0]
		case len(lines) > 0:
			l = lines[0]
		}
		haveLine := len(split)+len(lines) > 0
		if len(spans) > 0 && (!haveLine || spans[0].Start <= l.Start) {
			s := spans[0]
			spans = spans[1:]
			close(s.Start)
			open = open[:min(len(open), int(s.Depth)+1)]
			if s.Start >= end {
				return nodes
			}
			parent := &nodes[open[len(open)-1]]
			parent.lines = append(parent.lines, Line{Start: s.Start, Size: s.Size, Line: s.Line, File: s.File})
			parent.children = append(parent.children, len(nodes))
			open = append(open, len(nodes))
			nodes = append(nodes, node{start: s.Start, end: s.Start + s.Size, origin: s.Origin})
			continue
		}
		if !haveLine {
			return nodes
		}
		close(l.Start)
		if l.Start >= end {
			return nodes
		}
		if len(split) > 0 {
			split = split[:0]
		} else {
			lines = lines[1:]
		}
		inner := &nodes[open[len(open)-1]]
		cut := inner.end
		if len(spans) > 0 {
			cut = min(cut, spans[0].Start)
		}
		if last := saturated(l.Start, l.Size); cut < last {
			rest := l
			rest.Start, rest.Size = cut, last-cut
			split = append(split, rest)
			l.Size = cut - l.Start
		}
		inner.lines = append(inner.lines, l)
	}
}

// saturated is where something of a size ends.
func saturated(start, size uint64) uint64 {
	if end := start + size; end >= start {
		return end
	}
	return math.MaxUint64
}

// What an address means where functions meet: of several marks at one address
// the last MarkLine counts, else the first MarkStart.
const (
	MarkEnd   = iota // nothing is known from here on
	MarkStart        // the function starts and has no line here
	MarkLine
)

// Mark is an address from which on there is another answer.
type Mark struct {
	At    uint64
	Kind  uint8
	place int // of a layout, for MarkLine
}

// spot is a line or a call site of a function or an inlined call.
type spot struct {
	line, file uint32
	origin     uint32 // of the call, when into is one
	into       int    // the spot where the call stands, noSpot in the function
}

const noSpot = -1

// layout is what is known at each address.
type layout struct {
	marks []Mark // by address, one each
	spots []spot
}

// layOut lays out the records of a function, which has a size. It cuts ranges
// into no more than so many pieces; whole says that these were all.
func layOut(spans []Span, lines []Line, start, size uint64, pieces int) (l layout, whole bool) {
	if size == 0 {
		return l, true
	}
	placed, whole := place(spans, start, pieces)
	lines = slices.DeleteFunc(slices.Clone(lines), func(l Line) bool { return l.Size == 0 || l.Start < start })
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Start, b.Start) })
	l.walk(grow(placed, lines, start, size))
	slices.SortStableFunc(l.marks, func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Kind, b.Kind))
	})
	kept := l.marks[:0]
	for i, m := range l.marks {
		if i+1 == len(l.marks) || l.marks[i+1].At != m.At {
			kept = append(kept, m)
		}
	}
	l.marks = kept
	return l, whole
}

// callSite is from where on the calls of a node stand at a spot.
type callSite struct {
	from uint64
	spot int
}

// walk notes the marks of all nodes, each before its children, and its end
// after them.
func (l *layout) walk(nodes []node) {
	type step struct {
		node  int
		sites []callSite // of the node's children
		next  int
	}
	var path []step
	enter := func(n int, sites []callSite) {
		path = append(path, step{node: n, sites: l.visit(nodes, n, sites)})
	}
	enter(0, []callSite{{0, noSpot}})
	for len(path) > 0 {
		s := &path[len(path)-1]
		n := &nodes[s.node]
		if len(s.sites) > 0 && s.next < len(n.children) {
			child := n.children[s.next]
			s.next++
			if nodes[child].end > nodes[child].start {
				enter(child, s.sites)
			}
			continue
		}
		l.marks = append(l.marks, Mark{At: n.end, Kind: MarkEnd})
		path = path[:len(path)-1]
	}
}

// visit notes the marks of one node: its lines where none of a child is. It
// returns where the calls of its children stand.
func (l *layout) visit(nodes []node, at int, sites []callSite) (callees []callSite) {
	n := &nodes[at]
	var inner []Line // of the children
	for _, c := range n.children {
		inner = append(inner, nodes[c].lines...)
	}
	slices.SortStableFunc(inner, func(a, b Line) int { return cmp.Compare(a.Start, b.Start) })
	site := 0
	var done uint64
	for i, line := range n.lines {
		if i > 0 && line.Start < done {
			continue
		}
		for site+1 < len(sites) && sites[site+1].from <= line.Start {
			site++
		}
		l.spots = append(l.spots, spot{line: line.Line, file: line.File, origin: n.origin, into: sites[site].spot})
		here := len(l.spots) - 1
		end := saturated(line.Start, line.Size)
		for done = line.Start; done < end; {
			if len(inner) == 0 || inner[0].Start > done {
				l.marks = append(l.marks, Mark{At: done, Kind: MarkLine, place: here})
			}
			if len(inner) == 0 || inner[0].Start >= end {
				done = end
				continue
			}
			callees = append(callees, callSite{inner[0].Start, here})
			done = saturated(inner[0].Start, inner[0].Size)
			inner = inner[1:]
		}
	}
	if at == 0 {
		l.marks = append(l.marks, Mark{At: n.start, Kind: MarkStart})
	}
	return callees
}

// reach is the last address that the function or an inlined call reaches, where
// last is that of the function, and whether it is beyond.
func (l *layout) reach(last uint64) (uint64, bool) {
	if n := len(l.marks); n > 0 && l.marks[n-1].At > last+1 {
		return l.marks[n-1].At - 1, true
	}
	return last, false
}

// answer fills in what is known at p.
func (l *layout) answer(h *Hit, p uint64) bool {
	i, found := slices.BinarySearchFunc(l.marks, p, func(m Mark, p uint64) int { return cmp.Compare(m.At, p) })
	if !found {
		i--
	}
	if i < 0 || l.marks[i].Kind == MarkEnd {
		return false
	}
	if l.marks[i].Kind == MarkLine {
		h.setSpot(l.marks[i].place, func(i int) spot { return l.spots[i] })
	}
	return true
}

// setSpot notes the line of a spot and the calls that lead there.
func (h *Hit) setSpot(at int, spotAt func(int) spot) {
	s := spotAt(at)
	h.setLine(s.line, s.file)
	for steps := 0; s.into != noSpot && steps < MaxRanges; steps++ {
		outer := spotAt(s.into)
		h.Calls = append(h.Calls, Call{Line: outer.line, File: outer.file, Origin: s.origin})
		s = outer
	}
	slices.Reverse(h.Calls)
	h.Calls = h.Calls[:min(len(h.Calls), maxNesting+1)]
}

// spanQueue is a heap of ranges by address and depth. Which of two that are
// alike comes first is up to how the standard library of Rust keeps its heap,
// since symbolic leaves it to that.
type spanQueue []Span

func (q spanQueue) before(a, b *Span) bool {
	return a.Start < b.Start || a.Start == b.Start && a.Depth < b.Depth
}

func (q *spanQueue) push(s Span) {
	*q = append(*q, s)
	q.up(len(*q) - 1)
}

func (q spanQueue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.before(&q[i], &q[parent]) {
			return
		}
		q[i], q[parent] = q[parent], q[i]
		i = parent
	}
}

func (q *spanQueue) pop() Span {
	s := *q
	n := len(s) - 1
	first := s[0]
	s[0] = s[n]
	s = s[:n]
	*q = s
	// The last one goes down all the way, and then up to where it belongs.
	i := 0
	for child := 1; child < n; child = 2*i + 1 {
		if child+1 < n && !s.before(&s[child], &s[child+1]) {
			child++
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	if n > 0 {
		s.up(i)
	}
	return first
}
