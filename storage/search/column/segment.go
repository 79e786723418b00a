package column

import (
	"bytes"
	"hash/crc32"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// segment is an open segment file: immutable, read in place. Its rows are in
// the order of their dates.
type segment struct {
	name    string // file name without extension
	week    string
	data    []byte
	release func()
	footer  *footer
	crc     uint32
	cols    []*columnData // by field; nil when no row has the field
	ids     *columnData
	dates   *columnData
	texts   *columnData // dates that are not canonical
	refs    atomic.Int32
	gone    []func() // run when the last reader left, after unmapping
	words   wordCache
	faulty  atomic.Bool // a read went wrong; its checksums want checking
}

// columnData is one column of a segment.
type columnData struct {
	meta    *columnMeta
	n       int    // rows
	data    []byte // secData
	present bitmap // nil: all rows
	dict    dict
	folded  dict // kindToken
	fold    []uint32
	starts  []uint32
}

// dict is a sorted dictionary, flat or composite.
type dict struct {
	n      int
	hashes []uint64
	offs   []uint32
	arena  []byte
	sep    string
	partAt []uint32
	parts  []uint32
}

// openSegment checks the frame of a file and finds the columns of fields. A
// column of another storage than the field's now counts as absent and is
// named in stale.
func openSegment(data []byte, fields []plan.Field) (s *segment, stale []string, err error) {
	f, crc, err := parseFooter(data)
	if err != nil {
		return nil, nil, err
	}
	s = &segment{data: data, footer: f, crc: crc, cols: make([]*columnData, len(fields))}
	byName := make(map[string]*columnMeta, len(f.Columns))
	for i := range f.Columns {
		byName[f.Columns[i].Name] = &f.Columns[i]
	}
	for i := range fields {
		m := byName[fields[i].Name]
		if m == nil {
			continue
		}
		if plan.Storage(m.Storage) != fields[i].Storage || m.Sep != "" && m.Sep != fields[i].Parts {
			stale = append(stale, fields[i].Name)
			continue
		}
		c := s.column(m)
		s.cols[i] = c
		switch fields[i].Name {
		case plan.IDField:
			s.ids = c
		case plan.DateField:
			s.dates = c
		}
	}
	if m := byName[dateText]; m != nil && m.Kind == kindString {
		s.texts = s.column(m)
	}
	if s.ids == nil || s.ids.meta.Kind != kindID || s.dates == nil || s.dates.meta.Kind != kindInt || s.dates.present != nil {
		return nil, nil, fault.New(fault.Malformed, "segment lacks ids or dates")
	}
	return s, stale, nil
}

func (s *segment) section(m *columnMeta, name string) []byte {
	sec, ok := m.Sections[name]
	if !ok {
		return nil
	}
	return s.data[sec.Off : sec.Off+sec.Len : sec.Off+sec.Len]
}

func (s *segment) column(m *columnMeta) *columnData {
	c := &columnData{meta: m, n: s.footer.Rows, data: s.section(m, secData)}
	if p := s.section(m, secPresent); p != nil {
		c.present = bitmap(view[uint64](p))
	}
	c.starts = view[uint32](s.section(m, secStarts))
	c.dict = dict{n: m.Values, hashes: view[uint64](s.section(m, secHashes)), offs: view[uint32](s.section(m, secOffsets)), arena: s.section(m, secArena),
		sep: m.Sep, partAt: view[uint32](s.section(m, secPartAt)), parts: view[uint32](s.section(m, secParts))}
	if m.Kind == kindToken {
		c.fold = view[uint32](s.section(m, secFold))
		c.folded = dict{n: m.Folded, hashes: view[uint64](s.section(m, secFoldHas)), offs: view[uint32](s.section(m, secFoldOff)), arena: s.section(m, secFoldAr)}
	}
	return c
}

// checkSums verifies every section against its checksum.
func (s *segment) checkSums() error {
	for i := range s.footer.Columns {
		m := &s.footer.Columns[i]
		for name, sec := range m.Sections {
			if got := crc32.Checksum(s.section(m, name), castagnoli); got != sec.CRC {
				return fault.New(fault.Malformed, "column %s, section %s: checksum is %08x, want %08x", m.Name, name, got, sec.CRC)
			}
		}
	}
	return nil
}

func (s *segment) acquire() { s.refs.Add(1) }

// drop gives a reference back; the last one unmaps the file.
func (s *segment) drop() {
	if s.refs.Add(-1) > 0 {
		return
	}
	if s.release != nil {
		s.release()
	}
	for _, f := range s.gone {
		f()
	}
}

// rowID is the id of a row.
func (s *segment) rowID(row int) (id [16]byte) {
	copy(id[:], s.ids.data[row*16:])
	return id
}

// findRow finds a row by id, -1 when it is not there.
func (s *segment) findRow(id [16]byte) int {
	bloom := view[uint64](s.section(s.ids.meta, secBloom))
	if word, mask := bloomAt(bloom, id[:]); bloom[word]&mask != mask {
		return -1
	}
	perm := view[uint32](s.section(s.ids.meta, secPerm))
	at := sort.Search(len(perm), func(i int) bool {
		p := int(perm[i]) * 16
		return bytes.Compare(s.ids.data[p:p+16], id[:]) >= 0
	})
	if at < len(perm) && s.rowID(int(perm[at])) == id {
		return int(perm[at])
	}
	return -1
}

// dateRange gives the rows whose date is in [from, to).
func (s *segment) dateRange(from, to int64) (lo, hi int) {
	if from > s.footer.MinDate {
		lo = sort.Search(s.footer.Rows, func(i int) bool { return s.dates.int(i) >= from })
	}
	hi = s.footer.Rows
	if to <= s.footer.MaxDate {
		hi = sort.Search(s.footer.Rows, func(i int) bool { return s.dates.int(i) >= to })
	}
	return lo, max(lo, hi)
}

// has says whether a row has a value in a number or bool column.
func (c *columnData) has(row int) bool { return c.present == nil || c.present.has(row) }

// int reads a row of an int column.
func (c *columnData) int(row int) int64 {
	var d uint64
	switch c.meta.Width {
	case 1:
		d = uint64(c.data[row])
	case 2:
		d = uint64(view[uint16](c.data)[row])
	case 4:
		d = uint64(view[uint32](c.data)[row])
	default:
		d = view[uint64](c.data)[row]
	}
	return int64(uint64(c.meta.Min) + d)
}

func (c *columnData) float(row int) float64 { return view[float64](c.data)[row] }

func (c *columnData) bool(row int) bool { return bitmap(view[uint64](c.data)).has(row) }

// ord reads the i-th ordinal of the data.
func (c *columnData) ord(i int) uint32 {
	switch c.meta.Width {
	case 1:
		return uint32(c.data[i])
	case 2:
		return uint32(view[uint16](c.data)[i])
	}
	return view[uint32](c.data)[i]
}

// value appends dictionary entry v to buf.
func (d *dict) value(buf []byte, v uint32) []byte {
	if d.sep == "" {
		return append(buf, d.entry(v)...)
	}
	for i, p := range d.parts[d.partAt[v]:d.partAt[v+1]] {
		if i > 0 {
			buf = append(buf, d.sep...)
		}
		buf = append(buf, d.entry(p)...)
	}
	return buf
}

// entry is a flat value or a part, in place.
func (d *dict) entry(v uint32) []byte { return d.arena[d.offs[v]:d.offs[v+1]] }

// entries is the number of flat values or parts.
func (d *dict) entries() int { return max(0, len(d.offs)-1) }

// text gives dictionary entry v as a string that outlives the segment.
func (d *dict) text(v uint32) string { return string(d.value(nil, v)) }

// inPlace gives entry v as a string in the mapped file when it is flat: valid
// while the segment is held.
func (d *dict) inPlace(v uint32) string {
	if d.sep != "" {
		return d.text(v)
	}
	e := d.entry(v)
	return unsafe.String(unsafe.SliceData(e), len(e))
}

// entryString is entry as a string in the mapped file.
func (d *dict) entryString(v uint32) string {
	e := d.entry(v)
	return unsafe.String(unsafe.SliceData(e), len(e))
}

// compare compares entry v with s.
func (d *dict) compare(v uint32, s string) int {
	if d.sep == "" {
		e := d.entry(v)
		return strings.Compare(unsafe.String(unsafe.SliceData(e), len(e)), s)
	}
	parts := d.parts[d.partAt[v]:d.partAt[v+1]]
	for i, p := range parts {
		if i > 0 {
			if c := comparePrefix(&s, unsafe.Slice(unsafe.StringData(d.sep), len(d.sep))); c != 0 {
				return c
			}
		}
		if c := comparePrefix(&s, d.entry(p)); c != 0 {
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

// search gives the first entry that is not below s.
func (d *dict) search(s string) int {
	return sort.Search(d.n, func(i int) bool { return d.compare(uint32(i), s) >= 0 })
}

// find gives the entry that is s.
func (d *dict) find(s string) (uint32, bool) {
	at := d.search(s)
	if at < d.n && d.compare(uint32(at), s) == 0 {
		return uint32(at), true
	}
	return 0, false
}

// at reads a row's value as in search.Doc. Flat strings stay in the mapped
// file when inPlace is set. The uuid field and the date are not read here.
func (c *columnData) at(row int, inPlace bool) any {
	get := c.dict.text
	if inPlace {
		get = c.dict.inPlace
	}
	switch c.meta.Kind {
	case kindInt:
		if c.has(row) {
			return c.int(row)
		}
	case kindFloat:
		if c.has(row) {
			return c.float(row)
		}
	case kindBool:
		if c.has(row) {
			return c.bool(row)
		}
	case kindString:
		if o := c.ord(row); o > 0 {
			return get(o - 1)
		}
	case kindList:
		lo, hi := int(c.starts[row]), int(c.starts[row+1])
		switch hi - lo {
		case 0:
			return nil
		case 1:
			return get(c.ord(lo))
		}
		list := make([]string, 0, hi-lo)
		for i := lo; i < hi; i++ {
			list = append(list, get(c.ord(i)))
		}
		return list
	case kindToken:
		lo, hi := int(c.starts[row]), int(c.starts[row+1])
		if lo == hi {
			return nil
		}
		var buf []byte
		for i := lo; i < hi; i++ {
			if i > lo {
				buf = append(buf, ';')
			}
			buf = append(buf, c.dict.entry(c.ord(i))...)
		}
		return string(buf)
	}
	return nil
}

// dateText is the date of a row as it was given.
func (s *segment) dateText(row int) string {
	if s.texts != nil {
		if o := s.texts.ord(row); o > 0 {
			return s.texts.dict.text(o - 1)
		}
	}
	return search.FormatDate(s.dates.int(row))
}

// wordCache holds what the words of a segment's dictionaries are, once asked.
type wordCache struct {
	mu     sync.Mutex
	byName map[string]map[string][]uint32
}
