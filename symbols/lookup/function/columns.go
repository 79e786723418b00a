package function

import (
	"encoding/binary"
	"math"

	"mayday/symbols"
	"mayday/symbols/lookup/packed"
)

// The columns are
//
//	shape   byte: shapeWide …
//	widths  byte: two bits each, how many bytes less one the fields of that
//	        name have: line of a line, line of a call, origin, file id
//	spans, lines, files   uvarint counts
//	files   the ids of the files that lines and calls name; those name them by
//	        their place in this list
//	spans   start, size and up of each INLINE range; sorted by start and depth
//	calls   line, file, origin of each range
//	starts  of the lines, ascending
//	sizes   of the lines, with shapeSizes; else each line ends where the next one
//	        starts, the last with the function
//	rows    line and file of each line
//	order   place of each range among the INLINE records, with shapeOrder
//
// Starts count from the start of the function. Starts, sizes, up and order have
// two bytes, with shapeWide four. Up is how many ranges before this one the
// range lies that it is nested in, 0 for none; its top bit says that the range
// is a further one of its record. Files have one byte, with shapeFiles two.
const (
	shapeWide = 1 << iota
	shapeSizes
	shapeOrder
	shapeFiles
	shapeQuiet // no code of inlined calls has a line
)

const (
	// maxNesting is the deepest nesting of inlined calls that columns hold; none
	// of a compiler comes near.
	maxNesting = 255
	// maxShort is the largest number of two bytes.
	maxShort = math.MaxUint16
	// maxFiles is how many files columns can name.
	maxFiles = 1 << 16
)

// layers are ranges that nest and lines that follow one another.
type layers struct {
	spans []Span
	lines []Line
	shape byte
}

// nest reports whether the ranges, sorted, nest as they should: each within
// one of the depth above, beside its siblings, all in the function.
func (l *layers) nest(start, size uint64) bool {
	var ends [maxNesting + 1]uint64 // end of the open range at each depth, from start
	depth := -1
	for i := range l.spans {
		r := &l.spans[i]
		off := r.Start - start
		if r.Size == 0 || off >= size || r.Size > size-off || int64(r.Depth) > int64(depth)+1 || r.Depth > maxNesting {
			return false
		}
		d := int(r.Depth)
		if d > 0 && (off >= ends[d-1] || off+r.Size > ends[d-1]) {
			return false
		}
		if d <= depth && off < ends[d] {
			return false
		}
		ends[d] = off + r.Size
		depth = d
	}
	return l.fitting()
}

// fitting reports whether there are few enough ranges and lines to count.
func (l *layers) fitting() bool {
	return len(l.spans) < math.MaxInt32 && len(l.lines) < math.MaxInt32
}

// fit reports whether the layers fit columns, and chooses the shape of these.
func (l *layers) fit(start, size uint64) bool {
	reach := size
	l.shape = 0
	for i := range l.spans {
		s := &l.spans[i]
		if s.Depth > maxNesting {
			return false
		}
		reach = max(reach, s.Start-start+s.Size)
		if s.order != uint32(i) {
			l.shape |= shapeOrder
		}
	}
	if reach > math.MaxUint32 || start+reach < start || !l.fitting() {
		return false
	}
	if l.quiet() {
		l.shape |= shapeQuiet
	}
	if reach > maxShort || len(l.spans) > maxShort/2 {
		l.shape |= shapeWide
	}
	for i := range l.lines {
		end := start + size
		if i+1 < len(l.lines) {
			end = l.lines[i+1].Start
		}
		if l.lines[i].Start+l.lines[i].Size != end {
			l.shape |= shapeSizes
			break
		}
	}
	return true
}

// quiet reports whether the inlined calls have neither lines nor calls in them.
func (l *layers) quiet() bool {
	line := 0
	for i := range l.spans {
		s := &l.spans[i]
		if s.Depth > 0 {
			return false
		}
		for line < len(l.lines) && l.lines[line].Start+l.lines[line].Size <= s.Start {
			line++
		}
		if line < len(l.lines) && l.lines[line].Start < s.Start+s.Size {
			return false
		}
	}
	return true
}

// fileTable numbers the files of one function.
type fileTable struct {
	ids    []uint32
	places map[uint32]uint32 // of ids, once there are many
	rows   []uint32          // place of the file of each line
	calls  []uint32          // and of each range
}

// manyFiles is from how many files on a map finds them.
const manyFiles = 24

// fill numbers the files of the lines and ranges; false when there are more
// than columns can name.
func (f *fileTable) fill(l *layers) bool {
	f.ids, f.rows, f.calls = f.ids[:0], f.rows[:0], f.calls[:0]
	if len(f.places) > 0 {
		f.places = nil
	}
	last := uint32(0)
	for i := range l.lines {
		last = f.place(l.lines[i].File, last)
		f.rows = append(f.rows, last)
	}
	for i := range l.spans {
		last = f.place(l.spans[i].File, last)
		f.calls = append(f.calls, last)
	}
	if len(f.ids) > 1<<8 {
		l.shape |= shapeFiles
	}
	return len(f.ids) <= maxFiles
}

// place is where a file is in the table; it is likely to be at last.
func (f *fileTable) place(id, last uint32) uint32 {
	if int(last) < len(f.ids) && f.ids[last] == id {
		return last
	}
	if len(f.ids) < manyFiles {
		for i, x := range f.ids {
			if x == id {
				return uint32(i)
			}
		}
		f.ids = append(f.ids, id)
		return uint32(len(f.ids) - 1)
	}
	if len(f.places) == 0 {
		f.places = make(map[uint32]uint32, 2*manyFiles)
		for i, x := range f.ids {
			f.places[x] = uint32(i)
		}
	}
	at, ok := f.places[id]
	if !ok {
		at = uint32(len(f.ids))
		f.ids = append(f.ids, id)
		f.places[id] = at
	}
	return at
}

// width is how many bytes v takes.
func width(v uint32) byte {
	switch {
	case v < 1<<8:
		return 1
	case v < 1<<16:
		return 2
	case v < 1<<24:
		return 3
	}
	return 4
}

// appendField appends the low n bytes of v.
func appendField(b []byte, v uint32, n byte) []byte {
	switch n {
	case 1:
		return append(b, byte(v))
	case 2:
		return append(b, byte(v), byte(v>>8))
	case 3:
		return append(b, byte(v), byte(v>>8), byte(v>>16))
	}
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// append packs the layers of a function of start and size.
func (l *layers) append(b []byte, files *fileTable, start, size uint64) []byte {
	var line, call, origin, file uint32 // the largest of each
	for i := range l.lines {
		line = max(line, l.lines[i].Line)
	}
	for i := range l.spans {
		call, origin = max(call, l.spans[i].Line), max(origin, l.spans[i].Origin)
	}
	for _, id := range files.ids {
		file = max(file, id)
	}
	wLine, wCall, wOrigin, wFile := width(line), width(call), width(origin), width(file)
	b = append(b, l.shape, wLine-1|(wCall-1)<<2|(wOrigin-1)<<4|(wFile-1)<<6)
	for _, n := range []int{len(l.spans), len(l.lines), len(files.ids)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, id := range files.ids {
		b = appendField(b, id, wFile)
	}
	var short, index byte = 2, 1
	if l.shape&shapeWide != 0 {
		short = 4
	}
	if l.shape&shapeFiles != 0 {
		index = 2
	}
	b = l.appendSpans(b, start, short)
	for i := range l.spans {
		s := &l.spans[i]
		b = appendField(b, s.Line, wCall)
		b = appendField(b, files.calls[i], index)
		b = appendField(b, s.Origin, wOrigin)
	}
	for i := range l.lines {
		b = appendField(b, uint32(l.lines[i].Start-start), short)
	}
	if l.shape&shapeSizes != 0 {
		for i := range l.lines {
			b = appendField(b, uint32(l.lines[i].Size), short)
		}
	}
	for i := range l.lines {
		b = appendField(b, l.lines[i].Line, wLine)
		b = appendField(b, files.rows[i], index)
	}
	if l.shape&shapeOrder != 0 {
		for i := range l.spans {
			b = appendField(b, l.spans[i].order, short)
		}
	}
	return b
}

// appendSpans packs start, size and up of the ranges.
func (l *layers) appendSpans(b []byte, start uint64, short byte) []byte {
	var open [maxNesting + 1]int // the last range at each depth
	more := uint32(1) << (8*short - 1)
	for i := range l.spans {
		s := &l.spans[i]
		open[s.Depth] = i
		up := uint32(0)
		if s.Depth > 0 {
			up = uint32(i - open[s.Depth-1])
		}
		if s.More {
			up |= more
		}
		b = appendField(b, uint32(s.Start-start), short)
		b = appendField(b, uint32(s.Size), short)
		b = appendField(b, up, short)
	}
	return b
}

// columns are where the columns of a packed function lie.
type columns struct {
	b     []byte
	shape byte
	short int // bytes of starts, sizes, up and order
	index int // bytes of a place in files
	// Widths of fields, and how many bytes a call and a row have.
	wLine, wCall, wOrigin, wFile int
	callSize, rowSize            int
	nSpans, nLines, nFiles       int
	files, spans, calls          int
	starts, sizes, rows, order   int
	end                          int
}

// read finds the columns that start at i. It reports false when they are not
// whole.
func (c *columns) read(b []byte, i int) bool {
	if i < 0 || i > len(b)-5 { // two bytes and three counts at least
		return false
	}
	c.b, c.shape = b, b[i]
	w := int(b[i+1])
	c.wLine, c.wCall, c.wOrigin, c.wFile = w&3+1, w>>2&3+1, w>>4&3+1, w>>6+1
	var spans, lines, files uint64
	spans, i = packed.Number(b, i+2)
	lines, i = packed.Number(b, i)
	files, i = packed.Number(b, i)
	limit := uint64(len(b))
	if spans > limit || lines > limit || files > limit {
		return false
	}
	c.nSpans, c.nLines, c.nFiles = int(spans), int(lines), int(files)
	c.short, c.index = 2, 1
	if c.shape&shapeWide != 0 {
		c.short = 4
	}
	if c.shape&shapeFiles != 0 {
		c.index = 2
	}
	c.callSize, c.rowSize = c.wCall+c.index+c.wOrigin, c.wLine+c.index
	c.files = i
	c.spans = c.files + c.nFiles*c.wFile
	c.calls = c.spans + c.nSpans*3*c.short
	c.starts = c.calls + c.nSpans*c.callSize
	c.sizes = c.starts + c.nLines*c.short
	c.rows = c.sizes
	if c.shape&shapeSizes != 0 {
		c.rows += c.nLines * c.short
	}
	c.order = c.rows + c.nLines*c.rowSize
	c.end = c.order
	if c.shape&shapeOrder != 0 {
		c.end += c.nSpans * c.short
	}
	return c.end <= len(b)
}

// masks keep the bytes of a field of one to four bytes.
var masks = [5]uint32{0, 0xff, 0xffff, 0xffffff, 0xffffffff}

// field is the number of n bytes at i.
func field(b []byte, i, n int) uint32 {
	if i+4 <= len(b) {
		return binary.LittleEndian.Uint32(b[i:]) & masks[n]
	}
	var v uint32
	for k := 0; k < n && i+k < len(b); k++ {
		v |= uint32(b[i+k]) << (8 * k)
	}
	return v
}

// number is the i-th of the short numbers at a place.
func (c *columns) number(at, i int) uint32 {
	if c.short == 2 {
		return uint32(binary.LittleEndian.Uint16(c.b[at+i*2:]))
	}
	return binary.LittleEndian.Uint32(c.b[at+i*4:])
}

// file is the id of the file at a place of the list.
func (c *columns) file(place uint32) uint32 {
	if int(place) >= c.nFiles {
		return 0
	}
	return field(c.b, c.files+int(place)*c.wFile, c.wFile)
}

// until counts the short numbers at a place, ascending and stride apart, that
// are not above off. It takes no branches on them, which nobody can predict.
func (c *columns) until(at, stride, n int, off uint32) int {
	if n == 0 || c.number(at, 0) > off {
		return 0
	}
	lo := 0
	if c.short == 2 {
		b := c.b[at:]
		step := 2 * stride
		for n > 1 {
			half := n >> 1
			if uint32(binary.LittleEndian.Uint16(b[(lo+half)*step:])) <= off {
				lo += half
			}
			n -= half
		}
		return lo + 1
	}
	for n > 1 {
		half := n >> 1
		if c.number(at, (lo+half)*stride) <= off {
			lo += half
		}
		n -= half
	}
	return lo + 1
}

// answer fills in what is known at an offset from the start of a function of
// a size; see Function.Answer.
func (c *columns) answer(h *Hit, offset, size uint64, r symbols.Reading) bool {
	off := uint32(min(offset, math.MaxUint32))
	before := noCall
	if c.nSpans > 0 {
		before = c.nested(h, off)
	}
	n := c.until(c.starts, 1, c.nLines, off)
	var start, end uint32 // of the last line at or before off
	if n > 0 {
		start = c.number(c.starts, n-1)
		lines := c.lineSize(n-1, start, size)
		if end = start + lines; off-start < lines {
			c.setRow(h, n-1)
			return true
		}
	}
	switch calls := len(h.Calls); {
	case r == symbols.Parity || r == symbols.Best && calls > 0:
	case calls > 0:
		site := h.Calls[calls-1]
		h.Calls = h.Calls[:calls-1]
		h.setLine(site.Line, site.File)
	case before == noCall:
		if n > 0 {
			c.setRow(h, n-1)
		}
	default:
		left := c.number(c.spans, 3*before) + c.number(c.spans, 3*before+1)
		switch {
		case n > 0 && (start >= left || end > left):
			c.setRow(h, n-1)
		case c.shape&shapeQuiet != 0:
			site := c.call(before)
			h.setLine(site.Line, site.File)
		default:
			return false
		}
	}
	return true
}

// setRow notes the i-th line.
func (c *columns) setRow(h *Hit, i int) {
	row := c.rows + i*c.rowSize
	h.setLine(field(c.b, row, c.wLine), c.file(field(c.b, row+c.wLine, c.index)))
}

// call is the site of the i-th range.
func (c *columns) call(i int) Call {
	at := c.calls + i*c.callSize
	return Call{Line: field(c.b, at, c.wCall), File: c.file(field(c.b, at+c.wCall, c.index)), Origin: field(c.b, at+c.wCall+c.index, c.wOrigin)}
}

// lineSize is the size of the i-th line, which starts at start.
func (c *columns) lineSize(i int, start uint32, size uint64) uint32 {
	switch {
	case c.shape&shapeSizes != 0:
		return c.number(c.sizes, i)
	case i+1 < c.nLines:
		return c.number(c.starts, i+1) - start
	}
	return uint32(size) - start
}

// noCall stands for no range.
const noCall = -1

// nested notes the calls that cover off. It returns the last range of depth 0
// that ends at or before off if none covers it.
func (c *columns) nested(h *Hit, off uint32) (before int) {
	i := c.until(c.spans, 3, c.nSpans, off) - 1
	more := uint32(1) << (8*c.short - 1)
	before = noCall
	for steps := 0; i >= 0 && steps <= maxNesting; steps++ {
		start := c.number(c.spans, 3*i)
		if size := c.number(c.spans, 3*i+1); off-start < size {
			h.Calls = append(h.Calls, c.call(i))
		} else {
			before = i
		}
		up := int(c.number(c.spans, 3*i+2) &^ more)
		if up == 0 || up > i {
			break
		}
		i -= up
	}
	for a, b := 0, len(h.Calls)-1; a < b; a, b = a+1, b-1 {
		h.Calls[a], h.Calls[b] = h.Calls[b], h.Calls[a]
	}
	return before
}

// records are the ranges and lines in the order of the file.
func (c *columns) records(start, size uint64) (spans []Span, lines []Line) {
	spans = make([]Span, c.nSpans)
	more := uint32(1) << (8*c.short - 1)
	depths := make([]uint32, c.nSpans)
	for i := range spans {
		up := c.number(c.spans, 3*i+2)
		if u := int(up &^ more); u > 0 && u <= i {
			depths[i] = depths[i-u] + 1
		}
		site := c.call(i)
		s := Span{Start: start + uint64(c.number(c.spans, 3*i)), Size: uint64(c.number(c.spans, 3*i+1)), Depth: depths[i],
			Line: site.Line, File: site.File, Origin: site.Origin, More: up&more != 0, order: uint32(i)}
		if c.shape&shapeOrder != 0 {
			s.order = c.number(c.order, i)
		}
		if int(s.order) < len(spans) {
			spans[s.order] = s
		}
	}
	lines = make([]Line, c.nLines)
	for i := range lines {
		from := c.number(c.starts, i)
		row := c.rows + i*c.rowSize
		lines[i] = Line{Start: start + uint64(from), Size: uint64(c.lineSize(i, from, size)),
			Line: field(c.b, row, c.wLine), File: c.file(field(c.b, row+c.wLine, c.index))}
	}
	return spans, lines
}
