// Package segment is the file of the embedded search index: the columns of some
// thousands of crashes, written once and read in place.
//
//	documents ──▶ Build ──▶ bytes of a file ──▶ Open ──▶ Segment, Column, Dict
//
// Rows are in the order of their dates. A string column is an ordinal a row and
// a dictionary in byte order; stacks are lists of frames (composite values),
// semicolon fields lists of tokens with a table to their lower-cased form;
// numbers are kept as the difference to the least one in 1, 2, 4 or 8 bytes.
// format.go draws the layout. Open checks the frame of a file; what it holds is
// covered by a checksum for each section, and a reader of a damaged file may
// panic with an index out of range, which queries recover.
//
// It knows neither folders nor manifests, and executes no plan.
package segment

import (
	"bytes"
	"hash/crc32"
	"sort"
	"strings"
	"sync/atomic"
	"unsafe"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// Segment is an open segment file: immutable, read in place. Its rows are in
// the order of their dates.
type Segment struct {
	Name    string // file name without extension
	Week    string
	data    []byte
	Release func()
	Footer  *footer
	Crc     uint32
	Cols    []*Column // by field; nil when no row has the field
	IDs     *Column
	Dates   *Column
	Texts   *Column // Dates that are not canonical
	refs    atomic.Int32
	Gone    []func() // run when the last reader left, after unmapping
	// Words finds the entries of text dictionaries by their words; nil while
	// there is no such index.
	Words  atomic.Pointer[text.Index]
	Faulty atomic.Bool // a read went wrong; its checksums want checking
}

// Column is one column of a segment.
type Column struct {
	Meta    *columnMeta
	N       int    // rows
	Data    []byte // secData
	Present Bitmap // nil: all rows
	Dict    Dict
	Folded  Dict // kindToken
	Fold    []uint32
	Starts  []uint32
	// Counts says of each value that facets see in how many rows it is, in
	// CountWidth bytes; empty in files of old.
	Counts     []byte
	CountWidth int
}

// Dict is a sorted dictionary, flat or composite.
type Dict struct {
	N      int
	Hashes []uint64
	offs   []uint32
	arena  []byte
	Sep    string
	PartAt []uint32
	Parts  []uint32
}

// Open checks the frame of a file and finds the columns of fields. A
// column of another storage than the field's now counts as absent and is
// named in stale.
func Open(data []byte, fields []plan.Field) (s *Segment, stale []string, err error) {
	f, crc, err := parseFooter(data)
	if err != nil {
		return nil, nil, err
	}
	s = &Segment{data: data, Footer: f, Crc: crc, Cols: make([]*Column, len(fields))}
	byName := make(map[string]*columnMeta, len(f.Columns))
	for i := range f.Columns {
		byName[f.Columns[i].Name] = &f.Columns[i]
	}
	for i := range fields {
		m := byName[fields[i].Name]
		if m == nil {
			continue
		}
		if plan.Storage(m.Storage) != fields[i].Storage || m.Sep != "" && m.Sep != fields[i].Parts || !fits(m.Kind, &fields[i]) {
			stale = append(stale, fields[i].Name)
			continue
		}
		c := s.column(m)
		s.Cols[i] = c
		switch fields[i].Name {
		case plan.IDField:
			s.IDs = c
		case plan.DateField:
			s.Dates = c
		}
	}
	if m := byName[dateText]; m != nil && m.Kind == KindString {
		s.Texts = s.column(m)
	}
	if s.IDs == nil || s.IDs.Meta.Kind != KindID || s.Dates == nil || s.Dates.Meta.Kind != KindInt || s.Dates.Present != nil {
		return nil, nil, fault.New(fault.Malformed, "segment lacks ids or dates")
	}
	return s, stale, nil
}

// fits says whether a kind of column can hold a field.
func fits(kind string, f *plan.Field) bool {
	switch {
	case f.Name == plan.IDField:
		return kind == KindID
	case f.Storage == plan.Semicolon:
		return kind == KindToken
	case f.Storage.IsString():
		return kind == KindString || kind == KindList
	case f.Storage == plan.Boolean:
		return kind == KindBool
	case f.Storage == plan.Double:
		return kind == KindFloat
	}
	return kind == KindInt
}

func (s *Segment) section(m *columnMeta, name string) []byte {
	sec, ok := m.Sections[name]
	if !ok {
		return nil
	}
	return s.data[sec.Off : sec.Off+sec.Len : sec.Off+sec.Len]
}

func (s *Segment) column(m *columnMeta) *Column {
	c := &Column{Meta: m, N: s.Footer.Rows, Data: s.section(m, secData)}
	if p := s.section(m, secPresent); p != nil {
		c.Present = Bitmap(View[uint64](p))
	}
	c.Starts = View[uint32](s.section(m, secStarts))
	c.Dict = Dict{N: m.Values, Hashes: View[uint64](s.section(m, secHashes)), offs: View[uint32](s.section(m, secOffsets)), arena: s.section(m, secArena),
		Sep: m.Sep, PartAt: View[uint32](s.section(m, secPartAt)), Parts: View[uint32](s.section(m, secParts))}
	if m.Kind == KindToken {
		c.Fold = View[uint32](s.section(m, secFold))
		c.Folded = Dict{N: m.Folded, Hashes: View[uint64](s.section(m, secFoldHas)), offs: View[uint32](s.section(m, secFoldOff)), arena: s.section(m, secFoldAr)}
	}
	if n := c.FacetDict().N; n > 0 {
		c.Counts = s.section(m, secCounts)
		c.CountWidth = len(c.Counts) / n
	}
	return c
}

// CheckSums verifies every section against its checksum.
func (s *Segment) CheckSums() error {
	for i := range s.Footer.Columns {
		m := &s.Footer.Columns[i]
		for name, sec := range m.Sections {
			if got := crc32.Checksum(s.section(m, name), Castagnoli); got != sec.CRC {
				return fault.New(fault.Malformed, "column %s, section %s: checksum is %08x, want %08x", m.Name, name, got, sec.CRC)
			}
		}
	}
	return nil
}

// Acquire takes a reference.
func (s *Segment) Acquire() { s.refs.Add(1) }

// Drop gives a reference back; the last one unmaps the file.
func (s *Segment) Drop() {
	if s.refs.Add(-1) > 0 {
		return
	}
	if s.Release != nil {
		s.Release()
	}
	for _, f := range s.Gone {
		f()
	}
}

// RowID is the id of a row.
func (s *Segment) RowID(row int) (id [16]byte) {
	copy(id[:], s.IDs.Data[row*16:])
	return id
}

// FindRow finds a row by id, -1 when it is not there.
func (s *Segment) FindRow(id [16]byte) int {
	bloom := View[uint64](s.section(s.IDs.Meta, secBloom))
	if word, mask := bloomAt(bloom, id[:]); bloom[word]&mask != mask {
		return -1
	}
	perm := View[uint32](s.section(s.IDs.Meta, secPerm))
	at := sort.Search(len(perm), func(i int) bool {
		p := int(perm[i]) * 16
		return bytes.Compare(s.IDs.Data[p:p+16], id[:]) >= 0
	})
	if at < len(perm) && s.RowID(int(perm[at])) == id {
		return int(perm[at])
	}
	return -1
}

// DateRange gives the rows whose date is in [from, to).
func (s *Segment) DateRange(from, to int64) (lo, hi int) {
	if from > s.Footer.MinDate {
		lo = sort.Search(s.Footer.Rows, func(i int) bool { return s.Dates.Int(i) >= from })
	}
	hi = s.Footer.Rows
	if to <= s.Footer.MaxDate {
		hi = sort.Search(s.Footer.Rows, func(i int) bool { return s.Dates.Int(i) >= to })
	}
	return lo, max(lo, hi)
}

// Has says whether a row has a value in a number or bool column.
func (c *Column) Has(row int) bool { return c.Present == nil || c.Present.Has(row) }

// Int reads a row of an int column.
func (c *Column) Int(row int) int64 {
	var d uint64
	switch c.Meta.Width {
	case 1:
		d = uint64(c.Data[row])
	case 2:
		d = uint64(View[uint16](c.Data)[row])
	case 4:
		d = uint64(View[uint32](c.Data)[row])
	default:
		d = View[uint64](c.Data)[row]
	}
	return int64(uint64(c.Meta.Min) + d)
}

// Float reads a row of a float column.
func (c *Column) Float(row int) float64 { return View[float64](c.Data)[row] }

// Bool reads a row of a bool column.
func (c *Column) Bool(row int) bool { return Bitmap(View[uint64](c.Data)).Has(row) }

// Ord reads the i-th ordinal of the data.
func (c *Column) Ord(i int) uint32 {
	switch c.Meta.Width {
	case 1:
		return uint32(c.Data[i])
	case 2:
		return uint32(View[uint16](c.Data)[i])
	}
	return View[uint32](c.Data)[i]
}

// Value appends dictionary entry v to buf.
func (d *Dict) Value(buf []byte, v uint32) []byte {
	if d.Sep == "" {
		return append(buf, d.Entry(v)...)
	}
	for i, p := range d.Parts[d.PartAt[v]:d.PartAt[v+1]] {
		if i > 0 {
			buf = append(buf, d.Sep...)
		}
		buf = append(buf, d.Entry(p)...)
	}
	return buf
}

// Size is the number of bytes of the entries.
func (d *Dict) Size() int { return len(d.arena) }

// Entry is a flat value or a part, in place.
func (d *Dict) Entry(v uint32) []byte { return d.arena[d.offs[v]:d.offs[v+1]] }

// Entries is the number of flat values or parts.
func (d *Dict) Entries() int { return max(0, len(d.offs)-1) }

// Text gives dictionary entry v as a string that outlives the segment.
func (d *Dict) Text(v uint32) string {
	if d.Sep == "" {
		return string(d.Entry(v))
	}
	return string(d.Value(nil, v))
}

// InPlace gives entry v as a string in the mapped file when it is flat: valid
// while the segment is held.
func (d *Dict) InPlace(v uint32) string {
	if d.Sep != "" {
		return d.Text(v)
	}
	e := d.Entry(v)
	return unsafe.String(unsafe.SliceData(e), len(e))
}

// EntryString is entry as a string in the mapped file.
func (d *Dict) EntryString(v uint32) string {
	e := d.Entry(v)
	return unsafe.String(unsafe.SliceData(e), len(e))
}

// Compare compares entry v with s.
func (d *Dict) Compare(v uint32, s string) int {
	if d.Sep == "" {
		e := d.Entry(v)
		return strings.Compare(unsafe.String(unsafe.SliceData(e), len(e)), s)
	}
	parts := d.Parts[d.PartAt[v]:d.PartAt[v+1]]
	for i, p := range parts {
		if i > 0 {
			if c := comparePrefix(&s, unsafe.Slice(unsafe.StringData(d.Sep), len(d.Sep))); c != 0 {
				return c
			}
		}
		if c := comparePrefix(&s, d.Entry(p)); c != 0 {
			return c
		}
	}
	if s != "" {
		return -1
	}
	return 0
}

// comparePrefix compares e with the front of s and cuts it when they agree.
func comparePrefix(s *string, e []byte) int {
	n := min(len(*s), len(e))
	if c := strings.Compare(unsafe.String(unsafe.SliceData(e), n), (*s)[:n]); c != 0 {
		return c
	}
	*s = (*s)[n:]
	if n < len(e) {
		return 1
	}
	return 0
}

// Search gives the first entry that is not below s.
func (d *Dict) Search(s string) int {
	return sort.Search(d.N, func(i int) bool { return d.Compare(uint32(i), s) >= 0 })
}

// Find gives the entry that is s.
func (d *Dict) Find(s string) (uint32, bool) {
	at := d.Search(s)
	if at < d.N && d.Compare(uint32(at), s) == 0 {
		return uint32(at), true
	}
	return 0, false
}

// span says which ordinals of a list column are a row's. Those of a damaged
// file may end anywhere: like every wrong index they panic, before anybody
// makes room for them.
func (c *Column) span(row int) (lo, hi int) {
	lo, hi = int(c.Starts[row]), int(c.Starts[row+1])
	_ = c.Data[lo*c.Meta.Width : hi*c.Meta.Width]
	return lo, hi
}

// At reads a row's value as in search.Doc. Flat strings stay in the mapped
// file when inPlace is set. The uuid field and the date are not read here.
func (c *Column) At(row int, inPlace bool) any {
	get := c.Dict.Text
	if inPlace {
		get = c.Dict.InPlace
	}
	switch c.Meta.Kind {
	case KindInt:
		if c.Has(row) {
			return c.Int(row)
		}
	case KindFloat:
		if c.Has(row) {
			return c.Float(row)
		}
	case KindBool:
		if c.Has(row) {
			return c.Bool(row)
		}
	case KindString:
		if o := c.Ord(row); o > 0 {
			return get(o - 1)
		}
	case KindList:
		lo, hi := c.span(row)
		switch hi - lo {
		case 0:
			return nil
		case 1:
			return get(c.Ord(lo))
		}
		list := make([]string, 0, hi-lo)
		for i := lo; i < hi; i++ {
			list = append(list, get(c.Ord(i)))
		}
		return list
	case KindToken:
		lo, hi := c.span(row)
		if lo == hi {
			return nil
		}
		var buf []byte
		for i := lo; i < hi; i++ {
			if i > lo {
				buf = append(buf, ';')
			}
			buf = append(buf, c.Dict.Entry(c.Ord(i))...)
		}
		return string(buf)
	}
	return nil
}

// DateText is the date of a row as it was given.
func (s *Segment) DateText(row int) string {
	if s.Texts != nil {
		if o := s.Texts.Ord(row); o > 0 {
			return s.Texts.Dict.Text(o - 1)
		}
	}
	return search.FormatDate(s.Dates.Int(row))
}
