package segment

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"unsafe"

	"mayday/app/fault"
)

// A segment file is
//
//	magic "MDAYSEG1"            8 bytes
//	sections                    each at a multiple of 8, zero padding between
//	footer                      JSON: rows, dates, columns → sections
//	trailer                     footer's offset u64, length u64, CRC-32C u32, magic "1GES"
//
// Numbers are little-endian. Sections are arrays that a query reads in place.
const (
	magic       = "MDAYSEG1"
	endMagic    = "1GES"
	trailerSize = 24
	// maxFooter bounds the JSON that opening a file parses: a footer is about
	// 200 bytes a column, and there are a few hundred columns.
	maxFooter = 16 << 20
	// MaxRows keeps row numbers, and offsets of list columns, within 32 bits.
	MaxRows = 1 << 24
)

// Castagnoli is the polynomial of all checksums of the index.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// section is a stretch of the file.
type section struct {
	Off uint64 `json:"o"`
	Len uint64 `json:"l"`
	CRC uint32 `json:"c"`
}

// The kinds of columns.
const (
	KindString = "str"   // one ordinal a row
	KindList   = "list"  // any number of ordinals a row
	KindToken  = "tok"   // the same, with a table to lower-cased ordinals
	KindInt    = "int"   // frame of reference
	KindFloat  = "float" // 8 bytes
	KindBool   = "bool"  // two bit planes
	KindID     = "id"    // 16 bytes, sorted permutation, bloom filter
)

// The sections of a column.
const (
	secData    = "data"    // ordinals, numbers, bits or ids
	secPresent = "present" // bits of the rows with a value; all of them when it is missing
	secStarts  = "starts"  // list: u32 offset of each row's first ordinal, rows+1
	secOffsets = "offsets" // dictionary: u32 offset of each value, n+1
	secArena   = "arena"   // dictionary: the values
	secHashes  = "hashes"  // dictionary: u64 of each value
	secPartAt  = "partat"  // composite: u32 offset of each value's first part, n+1
	secParts   = "parts"   // composite: u32 ordinals of parts
	secCounts  = "counts"  // dictionary that facets see: in how many rows each value is, in 1, 2 or 4 bytes; files of old lack it
	secFold    = "fold"    // token: u32 lower-cased ordinal + 1 of each token, 0 for the empty token
	secFoldOff = "foldoff" // token: dictionary of lower-cased tokens
	secFoldAr  = "foldar"
	secFoldHas = "foldhash"
	secPerm    = "perm"  // id: u32 rows in the order of ids
	secBloom   = "bloom" // id: u64 words
)

// columnMeta describes one column in the footer.
type columnMeta struct {
	Name     string             `json:"name"`
	Kind     string             `json:"kind"`
	Storage  uint8              `json:"storage"` // plan.Storage it was built for
	Width    int                `json:"width,omitempty"`
	Min      int64              `json:"min,omitempty"`
	Max      int64              `json:"max,omitempty"`
	Values   int                `json:"values,omitempty"` // distinct, in the dictionary
	Parts    int                `json:"parts,omitempty"`  // distinct parts
	Sep      string             `json:"sep,omitempty"`    // between parts
	Folded   int                `json:"folded,omitempty"`
	Sections map[string]section `json:"sections"`
}

// footer describes a segment.
type footer struct {
	Rows    int          `json:"rows"`
	MinDate int64        `json:"min_date"`
	MaxDate int64        `json:"max_date"`
	Columns []columnMeta `json:"columns"`
}

// fileWriter lays sections into a buffer that becomes a segment file.
type fileWriter struct {
	buf    []byte
	footer footer
}

func newFileWriter() *fileWriter { return &fileWriter{buf: []byte(magic)} }

// add appends a section.
func (w *fileWriter) add(m *columnMeta, name string, data []byte) {
	if m.Sections == nil {
		m.Sections = map[string]section{}
	}
	for len(w.buf)%8 != 0 {
		w.buf = append(w.buf, 0)
	}
	m.Sections[name] = section{Off: uint64(len(w.buf)), Len: uint64(len(data)), CRC: crc32.Checksum(data, Castagnoli)}
	w.buf = append(w.buf, data...)
}

// finish appends footer and trailer; crc is the footer's.
func (w *fileWriter) finish() (data []byte, crc uint32, err error) {
	foot, err := json.Marshal(w.footer)
	if err != nil {
		return nil, 0, fault.As(fault.Internal, err, "footer of a segment")
	}
	off := len(w.buf)
	w.buf = append(w.buf, foot...)
	crc = crc32.Checksum(foot, Castagnoli)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(off))
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(len(foot)))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, crc)
	w.buf = append(w.buf, endMagic...)
	return w.buf, crc, nil
}

// parseFooter reads and checks what a query relies on without looking again:
// every section lies within the file, aligned, and is as long as rows and
// dictionary sizes demand. Contents are checked by checkContents.
func parseFooter(data []byte) (*footer, uint32, error) {
	bad := func(format string, args ...any) (*footer, uint32, error) {
		return nil, 0, fault.New(fault.Malformed, format, args...)
	}
	if len(data) < len(magic)+trailerSize || string(data[:len(magic)]) != magic || string(data[len(data)-4:]) != endMagic {
		return bad("not a segment file: %d bytes", len(data))
	}
	t := data[len(data)-trailerSize:]
	off, size, crc := binary.LittleEndian.Uint64(t), binary.LittleEndian.Uint64(t[8:]), binary.LittleEndian.Uint32(t[16:])
	room := uint64(len(data) - trailerSize)
	if off > room || size != room-off || size > maxFooter {
		return bad("footer at %d of %d bytes does not fit %d", off, size, len(data))
	}
	foot := data[off : off+size]
	if got := crc32.Checksum(foot, Castagnoli); got != crc {
		return bad("footer's checksum is %08x, want %08x", got, crc)
	}
	f := new(footer)
	if err := json.Unmarshal(foot, f); err != nil {
		return nil, 0, fault.As(fault.Malformed, err, "footer")
	}
	if f.Rows < 1 || f.Rows > MaxRows || f.MinDate > f.MaxDate {
		return bad("footer has %d rows from %d to %d", f.Rows, f.MinDate, f.MaxDate)
	}
	seen := map[string]bool{}
	for i := range f.Columns {
		c := &f.Columns[i]
		if seen[c.Name] {
			return bad("column %.40q is there twice", c.Name)
		}
		seen[c.Name] = true
		if err := c.check(f.Rows, off); err != nil {
			return nil, 0, fault.Wrap(err, "column %.40q", c.Name)
		}
	}
	return f, crc, nil
}

// check verifies the sizes of a column's sections; end is where sections stop.
func (c *columnMeta) check(rows int, end uint64) error {
	for name, s := range c.Sections {
		if s.Off%8 != 0 || s.Off < uint64(len(magic)) || s.Off > end || s.Len > end-s.Off {
			return fault.New(fault.Malformed, "section %.20q of %d bytes at %d ends outside", name, s.Len, s.Off)
		}
	}
	const most = math.MaxInt32
	if c.Values < 0 || c.Values > most || c.Parts < 0 || c.Parts > most || c.Folded < 0 || c.Folded > most {
		return fault.New(fault.Malformed, "dictionary of %d values, %d parts, %d folded", c.Values, c.Parts, c.Folded)
	}
	n, words := uint64(rows), uint64(rows+63)/64*8
	want := func(name string, size uint64) error {
		if s, ok := c.Sections[name]; !ok || s.Len != size {
			return fault.New(fault.Malformed, "section %q has %d bytes, want %d", name, s.Len, size)
		}
		return nil
	}
	if _, ok := c.Sections[secPresent]; ok {
		if err := want(secPresent, words); err != nil {
			return err
		}
	}
	var err error
	switch c.Kind {
	case KindInt:
		if c.Width != 1 && c.Width != 2 && c.Width != 4 && c.Width != 8 {
			return fault.New(fault.Malformed, "width %d", c.Width)
		}
		return want(secData, n*uint64(c.Width))
	case KindFloat:
		return want(secData, n*8)
	case KindBool:
		return want(secData, words)
	case KindID:
		if s := c.Sections[secBloom]; s.Len == 0 || s.Len%8 != 0 {
			return fault.New(fault.Malformed, "bloom filter of %d bytes", s.Len)
		}
		if err = want(secPerm, n*4); err == nil {
			err = want(secData, n*16)
		}
		return err
	case KindString:
		err = want(secData, n*uint64(c.Width))
	case KindList, KindToken:
		if err = want(secStarts, n*4+4); err == nil && c.Width > 0 && c.Sections[secData].Len%uint64(c.Width) != 0 {
			err = fault.New(fault.Malformed, "list of %d bytes, width %d", c.Sections[secData].Len, c.Width)
		}
	default:
		return fault.New(fault.Unsupported, "kind %.20q", c.Kind)
	}
	if err != nil {
		return err
	}
	return c.checkDictionary(want)
}

func (c *columnMeta) checkDictionary(want func(string, uint64) error) error {
	if c.Width != 1 && c.Width != 2 && c.Width != 4 {
		return fault.New(fault.Malformed, "width %d", c.Width)
	}
	if err := want(secHashes, uint64(c.Values)*8); err != nil {
		return err
	}
	entries := c.Values
	if c.Sep != "" {
		if err := want(secPartAt, uint64(c.Values)*4+4); err != nil {
			return err
		}
		if c.Sections[secParts].Len%4 != 0 {
			return fault.New(fault.Malformed, "parts of %d bytes", c.Sections[secParts].Len)
		}
		entries = c.Parts
	}
	faceted := uint64(c.Values)
	if c.Kind == KindToken {
		faceted = uint64(c.Folded)
	}
	if s, ok := c.Sections[secCounts]; ok && s.Len != faceted && s.Len != faceted*2 && s.Len != faceted*4 {
		return fault.New(fault.Malformed, "counts of %d bytes for %d values", s.Len, faceted)
	}
	if err := want(secOffsets, uint64(entries)*4+4); err != nil || c.Kind != KindToken {
		return err
	}
	if err := want(secFold, uint64(c.Values)*4); err != nil {
		return err
	}
	if err := want(secFoldOff, uint64(c.Folded)*4+4); err != nil {
		return err
	}
	return want(secFoldHas, uint64(c.Folded)*8)
}

// The files are read in place, so the machine must be little-endian; Go's
// ports that are not do not run Mayday's embedded index.
var LittleEndian = *(*byte)(unsafe.Pointer(&[]uint16{1}[0])) == 1

// View reads a section as numbers. Sections are aligned to 8 and the file's
// start to a page, or to 8 when it was read into memory.
func View[T uint8 | uint16 | uint32 | uint64 | int64 | float64](data []byte) []T {
	var zero T
	n := len(data) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}

// Raw is the opposite of view.
func Raw[T uint8 | uint16 | uint32 | uint64 | int64 | float64](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}
