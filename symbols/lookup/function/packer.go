package function

import (
	"encoding/binary"
	"slices"

	"mayday/symbols/sym"
)

// A small file must not become large, so a layout is kept only where the ranges
// of an odd function are cut into few pieces, and it has few marks and spots.
// These numbers are times the ranges or the lines. Three of a line, and nine of
// a range, are as many as there can be when nothing overlaps.
const (
	maxGrowth  = 3
	rangeMarks = 9
	lineMarks  = 4
)

// A function is packed in memory, and an odd one laid out in memory when it is
// asked for; so its records have limits. The largest functions of compilers,
// interpreters and tables that were generated, have some ten thousands.
const (
	MaxLines  = 1 << 18 // line records of a function
	MaxRanges = 1 << 16 // ranges of its INLINE records
)

// Packer packs one function at a time.
type Packer struct {
	head    Head
	address uint64
	spans   []Span
	lines   []Line
	lineEnd uint64
	// regular says that each line starts where the one before ended or later,
	// and lies within the function.
	regular bool
	sorted  []Span
	files   fileTable
	out     []byte
}

// Begin starts a function whose name is kept at name.
func (p *Packer) Begin(r *sym.Record, name uint32) {
	p.address = r.Address
	p.head = Head{Size: r.Size, ParamSize: r.ParamSize, Name: name}
	if r.Multiple {
		p.head.Flags |= Multiple
	}
	p.spans, p.lines = p.spans[:0], p.lines[:0]
	p.lineEnd, p.regular = r.Address, true
}

// Inline adds an INLINE record. It reports false for one too many.
func (p *Packer) Inline(r *sym.Record) bool {
	if len(r.Ranges) > MaxRanges-len(p.spans) {
		return false
	}
	for i, g := range r.Ranges {
		p.spans = append(p.spans, Span{Start: g.Address, Size: g.Size, Depth: r.Depth, Line: r.Line, File: r.File, Origin: r.Origin, More: i > 0})
	}
	return true
}

// Line adds a line record. It reports false for one too many.
func (p *Packer) Line(r *sym.Record) bool {
	if len(p.lines) == MaxLines {
		return false
	}
	off := r.Address - p.address
	if r.Size == 0 || off < p.lineEnd-p.address || off >= p.head.Size || r.Size > p.head.Size-off {
		p.regular = false
	}
	p.lines = append(p.lines, Line{r.Address, r.Size, r.Line, r.File})
	p.lineEnd = r.Address + r.Size
	return true
}

// Packed is a packed function and what the table needs to know of it.
type Packed struct {
	Bytes []byte // valid until the packer is used again
	// Start and Size are those of the FUNC record, Last is the last address that
	// the function or one of its inlined calls reaches.
	Start, Size, Last uint64
	// Leaves says that an inlined call reaches beyond the function.
	Leaves bool
}

// End packs the function.
func (p *Packer) End() Packed {
	h := p.head
	out := Packed{Start: p.address, Size: h.Size, Last: p.address + h.Size - 1}
	for i := range p.spans {
		s := &p.spans[i]
		if e := s.Start + s.Size - 1; s.Size > 0 && e >= s.Start && s.Start >= p.address && e > out.Last {
			out.Last, out.Leaves = e, true
		}
	}
	cols := layers{lines: p.lines}
	odd := !p.regular
	if !odd {
		cols.spans = p.sort()
		odd = !cols.nest(p.address, h.Size)
	}
	b := p.appendHead(h, odd)
	whole := false
	switch {
	case odd:
		var l layout
		if l, whole = layOut(p.spans, p.lines, p.address, h.Size, maxGrowth*(len(p.spans)+1)); whole {
			out.Last, out.Leaves = l.reach(p.address + h.Size - 1)
			b, whole = l.append(b, p.address, rangeMarks*(len(p.spans)+1)+lineMarks*(len(p.lines)+1))
		}
	case cols.fit(p.address, h.Size) && p.files.fill(&cols):
		b, whole = cols.append(b, &p.files, p.address, h.Size), true
	}
	if !whole {
		odd = true
		b[0] |= flagBare | flagOdd
	}
	if odd {
		b = appendSpans(b, p.spans, p.address)
		b = appendLines(b, p.lines, p.address)
	}
	p.out, out.Bytes = b, b
	return out
}

func (p *Packer) appendHead(h Head, odd bool) []byte {
	if odd {
		h.Flags |= flagOdd
	}
	if h.ParamSize != 0 {
		h.Flags |= flagParams
	}
	b := append(p.out[:0], h.Flags)
	b = binary.AppendUvarint(b, h.Size)
	if h.ParamSize != 0 {
		b = binary.AppendUvarint(b, uint64(h.ParamSize))
	}
	return binary.LittleEndian.AppendUint32(b, h.Name)
}

// sort returns the ranges by address and depth, each with its place in the
// file.
func (p *Packer) sort() []Span {
	before := func(a, b *Span) bool { return a.Start < b.Start || a.Start == b.Start && a.Depth < b.Depth }
	inOrder := true
	for i := range p.spans {
		p.spans[i].order = uint32(i)
		inOrder = inOrder && (i == 0 || !before(&p.spans[i], &p.spans[i-1]))
	}
	if inOrder {
		return p.spans
	}
	p.sorted = append(p.sorted[:0], p.spans...)
	slices.SortStableFunc(p.sorted, func(a, b Span) int {
		switch {
		case before(&a, &b):
			return -1
		case before(&b, &a):
			return 1
		}
		return 0
	})
	return p.sorted
}
