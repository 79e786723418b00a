package lookup

import (
	"encoding/binary"

	"mayday/symbols/sym"
)

// A function is packed as
//
//	flags   byte: funcMultiple, funcOdd, funcParams, funcInlines
//	size    uvarint
//	params  uvarint, with funcParams
//	name    uint32, the reference of its text
//	inlines uvarint count and the ranges, with funcInlines
//	lines   uvarint count and the lines
//
// A range of an INLINE record is
//
//	tag     byte: low bits depth − depth before + 3, or 7 and the depth follows;
//	        inlineMore: a further range of the record before
//	        inlineSameFile, inlineFirst: the call file is that of the record before,
//	        of the first record
//	start   zigzag, from the start of the range before, or the function
//	size    uvarint
//	line, file, origin of the call, unless inlineMore
//
// A line is
//
//	tag     byte: two bits which file: that before, the first one, or it follows
//	        lineGap: it does not start where the one before ended
//	        high five bits the size, or 0 and the size follows
//	gap, size, line − line before (zigzag), file
const (
	funcMultiple = 1 << iota
	funcOdd      // its ranges overlap or leave the function: the slow rules apply
	funcParams
	funcInlines
)

const (
	inlineDepth    = 7
	inlineMore     = 1 << 3
	inlineSameFile = 1 << 4
	inlineNoFile   = 1 << 5 // the old form: no call file
	inlineFirst    = 1 << 6 // the call file is that of the function's first record
)

const (
	lineFileSame = iota
	lineFileFirst
	lineFileGiven
	lineFileMask = 3
	lineGap      = 1 << 2
	lineSizeBit  = 3
)

// head is the front of a packed function, where a decoder starts.
type head struct {
	flags byte
	size  uint64
	param uint32
	name  ref
}

func (d *decoder) head() head {
	b := d.b
	if len(b) == 0 {
		d.bad = true
		return head{}
	}
	h := head{flags: b[0]}
	var i int
	h.size, i = number(b, 1)
	if h.flags&funcParams != 0 {
		var v uint64
		v, i = number(b, i)
		h.param = uint32(v)
	}
	if i > len(b)-4 {
		d.bad = true
		return head{}
	}
	h.name = ref(binary.LittleEndian.Uint32(b[i:]))
	d.i = i + 4
	return h
}

// span is one range of an INLINE record.
type span struct {
	start, size        uint64
	depth              uint32
	line, file, origin uint32
	more               bool // a further range of the record before
}

// srcLine is one line record.
type srcLine struct {
	start, size uint64
	line, file  uint32
}

// spanReader steps through the INLINE ranges of a packed function. The caller
// counts.
type spanReader struct {
	d     *decoder
	s     span
	first uint32 // call file of the first record
	begun bool
}

func (r *spanReader) next() *span {
	d, s := r.d, &r.s
	tag := d.byte()
	if v := tag & inlineDepth; v < 7 {
		s.depth = s.depth + uint32(v) - 3
	} else {
		s.depth = uint32(d.uvarint())
	}
	s.start += d.zigzag()
	s.size = d.uvarint()
	s.more = tag&inlineMore != 0
	if !s.more {
		s.line = uint32(d.uvarint())
		switch {
		case tag&inlineNoFile != 0:
			s.file = sym.NoFile
		case tag&inlineFirst != 0:
			s.file = r.first
		case tag&inlineSameFile == 0:
			s.file = uint32(d.uvarint())
		}
		if !r.begun {
			r.begun, r.first = true, s.file
		}
		s.origin = uint32(d.uvarint())
	}
	return s
}

// lineReader steps through the lines of a packed function.
type lineReader struct {
	d     *decoder
	l     srcLine
	end   uint64
	first uint32
	begun bool
}

func (r *lineReader) next() *srcLine {
	d, l := r.d, &r.l
	tag := d.byte()
	l.start = r.end
	if tag&lineGap != 0 {
		l.start += d.zigzag()
	}
	l.size = uint64(tag >> lineSizeBit)
	if l.size == 0 {
		l.size = d.uvarint()
	}
	l.line += uint32(d.zigzag())
	switch tag & lineFileMask {
	case lineFileFirst:
		l.file = r.first
	case lineFileGiven:
		l.file = uint32(d.uvarint())
		if !r.begun {
			r.first = l.file
		}
	}
	r.begun = true
	r.end = l.start + l.size
	return l
}

// packer packs one function at a time.
type packer struct {
	address       uint64
	head          head
	inlines       []byte
	inlineCount   int
	lastSpan      span
	firstCallFile uint32
	lines         []byte
	lineCount     int
	lastLine      srcLine
	lineEnd       uint64
	firstFile     uint32
	regularLines  bool
	spans         []span // to see whether they nest
	out           []byte
}

// begin starts a function.
func (p *packer) begin(r *sym.Record, name ref) {
	p.address = r.Address
	p.head = head{size: r.Size, param: r.ParamSize, name: name}
	if r.Multiple {
		p.head.flags |= funcMultiple
	}
	p.inlines, p.inlineCount, p.lastSpan = p.inlines[:0], 0, span{start: r.Address}
	p.lines, p.lineCount, p.lastLine, p.lineEnd = p.lines[:0], 0, srcLine{}, r.Address
	p.spans = p.spans[:0]
	p.regularLines = true
}

func (p *packer) inline(r *sym.Record) {
	for i, g := range r.Ranges {
		last := &p.lastSpan
		s := span{start: g.Address, size: g.Size, depth: r.Depth, line: r.Line, file: r.File, origin: r.Origin, more: i > 0}
		var tag byte = 7
		if d := s.depth - last.depth + 3; d < 7 {
			tag = byte(d)
		}
		switch {
		case s.more:
			tag |= inlineMore
		case r.OldInline:
			tag |= inlineNoFile
		case s.file == last.file && p.inlineCount > 0:
			tag |= inlineSameFile
		case s.file == p.firstCallFile && p.inlineCount > 0:
			tag |= inlineFirst
		}
		if p.inlineCount == 0 {
			p.firstCallFile = s.file
		}
		b := append(p.inlines, tag)
		if tag&inlineDepth == 7 {
			b = binary.AppendUvarint(b, uint64(s.depth))
		}
		b = appendZigzag(b, s.start-last.start)
		b = binary.AppendUvarint(b, s.size)
		if !s.more {
			b = binary.AppendUvarint(b, uint64(s.line))
			if tag&(inlineSameFile|inlineNoFile|inlineFirst) == 0 {
				b = binary.AppendUvarint(b, uint64(s.file))
			}
			b = binary.AppendUvarint(b, uint64(s.origin))
		}
		p.inlines, p.lastSpan = b, s
		p.inlineCount++
		p.spans = append(p.spans, s)
	}
}

func (p *packer) line(r *sym.Record) {
	var tag byte
	switch {
	case p.lineCount > 0 && r.File == p.lastLine.file:
	case p.lineCount > 0 && r.File == p.firstFile:
		tag = lineFileFirst
	default:
		tag = lineFileGiven
	}
	if p.lineCount == 0 {
		p.firstFile = r.File
	}
	if r.Address != p.lineEnd {
		tag |= lineGap
		if r.Address-p.address < p.lineEnd-p.address {
			p.regularLines = false
		}
	}
	if r.Size < 32 {
		tag |= byte(r.Size) << lineSizeBit
	}
	b := append(p.lines, tag)
	if tag&lineGap != 0 {
		b = appendZigzag(b, r.Address-p.lineEnd)
	}
	if tag>>lineSizeBit == 0 {
		b = binary.AppendUvarint(b, r.Size)
	}
	b = appendZigzag(b, uint64(int64(int32(r.Line-p.lastLine.line))))
	if tag&lineFileMask == lineFileGiven {
		b = binary.AppendUvarint(b, uint64(r.File))
	}
	p.lines = b
	p.lastLine = srcLine{r.Address, r.Size, r.Line, r.File}
	p.lineEnd = r.Address + r.Size
	if r.Size == 0 || r.Address-p.address >= p.head.size || r.Size > p.head.size-(r.Address-p.address) {
		p.regularLines = false
	}
	p.lineCount++
}

// end packs the function and tells the last address that it or one of its
// INLINE ranges reaches, and whether the slow rules apply.
func (p *packer) end() (packed []byte, last uint64, odd bool) {
	last = p.address + p.head.size - 1
	odd = !p.regularLines
	for _, s := range p.spans {
		if e := s.start + s.size - 1; s.size > 0 && e >= s.start && s.start >= p.address && e > last {
			last = e
		}
	}
	if !odd && !nested(p.spans, p.address, p.head.size) {
		odd = true
	}
	h := p.head
	if odd {
		h.flags |= funcOdd
	}
	if h.param != 0 {
		h.flags |= funcParams
	}
	if p.inlineCount > 0 {
		h.flags |= funcInlines
	}
	b := append(p.out[:0], h.flags)
	b = binary.AppendUvarint(b, h.size)
	if h.param != 0 {
		b = binary.AppendUvarint(b, uint64(h.param))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(h.name))
	if p.inlineCount > 0 {
		b = binary.AppendUvarint(b, uint64(p.inlineCount))
		b = append(b, p.inlines...)
	}
	b = binary.AppendUvarint(b, uint64(p.lineCount))
	p.out = append(b, p.lines...)
	return p.out, last, odd
}

// maxNesting is the deepest nesting of inlined calls that the quick rules take.
const maxNesting = 255

// nested reports whether the ranges nest as they should: each within one of
// the depth above, beside its siblings, all in the function. It sorts them.
func nested(s []span, start, size uint64) bool {
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && spanBefore(&s[j], &s[j-1]); j-- {
			s[j], s[j-1] = s[j-1], s[j]
			if i-j > 64 { // far out of order: leave it to the slow rules
				return false
			}
		}
	}
	var ends [maxNesting + 1]uint64 // end of the open range at each depth, from start
	depth := -1
	for i := range s {
		r := &s[i]
		off := r.start - start
		if r.size == 0 || off >= size || r.size > size-off || int64(r.depth) > int64(depth)+1 || r.depth > maxNesting {
			return false
		}
		d := int(r.depth)
		if d > 0 && (off >= ends[d-1] || off+r.size > ends[d-1]) {
			return false
		}
		if d <= depth && off < ends[d] {
			return false
		}
		ends[d] = off + r.size
		depth = d
	}
	return true
}

// spanBefore orders ranges by address and then depth.
func spanBefore(a, b *span) bool {
	return a.start < b.start || a.start == b.start && a.depth < b.depth
}
