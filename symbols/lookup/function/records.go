package function

import (
	"encoding/binary"

	"mayday/symbols/lookup/packed"
	"mayday/symbols/sym"
)

// The records of an odd function are
//
//	inlines uvarint count and the ranges
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

// Span is one range of an INLINE record.
type Span struct {
	Start, Size        uint64
	Depth              uint32
	Line, File, Origin uint32
	More               bool // a further range of the record before
	order              uint32
}

// Line is one line record.
type Line struct {
	Start, Size uint64
	Line, File  uint32
}

// appendSpans packs the ranges of a function that starts at an address.
func appendSpans(b []byte, spans []Span, start uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(spans)))
	last := &Span{Start: start}
	for i := range spans {
		s := &spans[i]
		var tag byte = 7
		if d := s.Depth - last.Depth + 3; d < 7 {
			tag = byte(d)
		}
		switch {
		case s.More:
			tag |= inlineMore
		case s.File == sym.NoFile:
			tag |= inlineNoFile
		case i > 0 && s.File == last.File:
			tag |= inlineSameFile
		case i > 0 && s.File == spans[0].File:
			tag |= inlineFirst
		}
		b = append(b, tag)
		if tag&inlineDepth == 7 {
			b = binary.AppendUvarint(b, uint64(s.Depth))
		}
		b = packed.AppendZigzag(b, s.Start-last.Start)
		b = binary.AppendUvarint(b, s.Size)
		if !s.More {
			b = binary.AppendUvarint(b, uint64(s.Line))
			if tag&(inlineSameFile|inlineNoFile|inlineFirst) == 0 {
				b = binary.AppendUvarint(b, uint64(s.File))
			}
			b = binary.AppendUvarint(b, uint64(s.Origin))
		}
		last = s
	}
	return b
}

// appendLines packs the lines of a function that starts at an address.
func appendLines(b []byte, lines []Line, start uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(lines)))
	end := start
	var last Line
	for i, l := range lines {
		var tag byte
		switch {
		case i > 0 && l.File == last.File:
		case i > 0 && l.File == lines[0].File:
			tag = lineFileFirst
		default:
			tag = lineFileGiven
		}
		if l.Start != end {
			tag |= lineGap
		}
		if l.Size < 32 {
			tag |= byte(l.Size) << lineSizeBit
		}
		b = append(b, tag)
		if tag&lineGap != 0 {
			b = packed.AppendZigzag(b, l.Start-end)
		}
		if tag>>lineSizeBit == 0 {
			b = binary.AppendUvarint(b, l.Size)
		}
		b = packed.AppendZigzag(b, uint64(int64(int32(l.Line-last.Line))))
		if tag&lineFileMask == lineFileGiven {
			b = binary.AppendUvarint(b, uint64(l.File))
		}
		last, end = l, l.Start+l.Size
	}
	return b
}

// unpack reads all ranges and lines of a function that starts at an address.
func unpack(d *packed.Decoder, start uint64) (spans []Span, lines []Line) {
	s := Span{Start: start}
	for n := d.Uvarint(); n > 0 && !d.Bad; n-- {
		unpackSpan(d, &s, spans)
		if !d.Bad {
			spans = append(spans, s)
		}
	}
	var l Line
	end := start
	for n := d.Uvarint(); n > 0 && !d.Bad; n-- {
		tag := d.Byte()
		l.Start = end
		if tag&lineGap != 0 {
			l.Start += d.Zigzag()
		}
		l.Size = uint64(tag >> lineSizeBit)
		if l.Size == 0 {
			l.Size = d.Uvarint()
		}
		l.Line += uint32(d.Zigzag())
		switch {
		case tag&lineFileMask == lineFileGiven:
			l.File = uint32(d.Uvarint())
		case tag&lineFileMask == lineFileFirst && len(lines) > 0:
			l.File = lines[0].File
		}
		end = l.Start + l.Size
		if !d.Bad {
			lines = append(lines, l)
		}
	}
	return spans, lines
}

// unpackSpan reads the range after s into s.
func unpackSpan(d *packed.Decoder, s *Span, before []Span) {
	tag := d.Byte()
	if v := tag & inlineDepth; v < 7 {
		s.Depth = s.Depth + uint32(v) - 3
	} else {
		s.Depth = uint32(d.Uvarint())
	}
	s.Start += d.Zigzag()
	s.Size = d.Uvarint()
	if s.More = tag&inlineMore != 0; s.More {
		return
	}
	s.Line = uint32(d.Uvarint())
	switch {
	case tag&inlineNoFile != 0:
		s.File = sym.NoFile
	case tag&inlineFirst != 0 && len(before) > 0:
		s.File = before[0].File
	case tag&(inlineSameFile|inlineFirst) == 0:
		s.File = uint32(d.Uvarint())
	}
	s.Origin = uint32(d.Uvarint())
}
