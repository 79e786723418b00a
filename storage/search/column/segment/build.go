package segment

import (
	"encoding/binary"
	"math"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// Source is what a segment is built from: documents, or rows of other
// segments. Rows come in the order of their dates.
type Source interface {
	// Rows is their number.
	Rows() int
	// ID is the crash id of a row.
	ID(row int) [16]byte
	// Date is a row's date, in microseconds since 1970.
	Date(row int) int64
	// Value is as in search.Doc; the date's is its text, nil when canonical.
	Value(row, field int) any
}

// maxArena bounds one dictionary so that its offsets fit 32 bits.
const maxArena = math.MaxUint32 - plan.MaxText

// DocSource is a batch of documents.
type DocSource []*search.Doc

// Rows is part of Source.
func (d DocSource) Rows() int { return len(d) }

// ID is part of Source.
func (d DocSource) ID(row int) [16]byte { return d[row].ID }

// Date is part of Source.
func (d DocSource) Date(row int) int64 { return d[row].Date }

// Value is part of Source.
func (d DocSource) Value(row, field int) any { return d[row].Values[field] }

// builder writes one segment.
type builder struct {
	w   *fileWriter
	src Source
	n   int
}

// dateText is the column that keeps dates whose text is not canonical.
const dateText = "date text"

// Build makes the bytes of a segment file.
func Build(src Source, fields []plan.Field) (data []byte, crc uint32, err error) {
	b := &builder{w: newFileWriter(), src: src, n: src.Rows()}
	if b.n < 1 || b.n > MaxRows {
		return nil, 0, fault.New(fault.TooLarge, "segment of %d rows", b.n)
	}
	b.w.footer.Rows = b.n
	b.w.footer.MinDate, b.w.footer.MaxDate = src.Date(0), src.Date(b.n-1)
	for i := range fields {
		f := &fields[i]
		switch {
		case f.Name == plan.IDField:
			b.ids(f)
		case f.Name == plan.DateField:
			b.dates(f, i)
		case f.Storage == plan.Boolean:
			b.bools(f, i)
		case f.Storage == plan.Double:
			b.floats(f, i)
		case f.Storage.IsString():
			err = b.strings(f, i)
		default:
			b.ints(f, func(row int) (int64, bool) { v, ok := src.Value(row, i).(int64); return v, ok })
		}
		if err != nil {
			return nil, 0, fault.Wrap(err, "column %s", f.Name)
		}
	}
	return b.w.finish()
}

func (b *builder) put(m columnMeta) { b.w.footer.Columns = append(b.w.footer.Columns, m) }

func (b *builder) ids(f *plan.Field) {
	m := columnMeta{Name: f.Name, Kind: KindID, Storage: uint8(f.Storage)}
	data := make([]byte, 0, b.n*16)
	perm := make([]uint32, b.n)
	for i := range perm {
		id := b.src.ID(i)
		data = append(data, id[:]...)
		perm[i] = uint32(i)
	}
	sort.Slice(perm, func(x, y int) bool {
		p, q := int(perm[x])*16, int(perm[y])*16
		return string(data[p:p+16]) < string(data[q:q+16])
	})
	bloom := make([]uint64, b.n*bloomBits/64+1)
	for i := range b.n {
		word, mask := bloomAt(bloom, data[i*16:i*16+16])
		bloom[word] |= mask
	}
	b.w.add(&m, secData, data)
	b.w.add(&m, secPerm, Raw(perm))
	b.w.add(&m, secBloom, Raw(bloom))
	b.put(m)
}

// bloomBits is the filter's size for each id; with four bits in one word about
// one foreign id in fifty passes.
const bloomBits = 16

func bloomAt(bloom []uint64, id []byte) (word uint64, mask uint64) {
	h := xxhash.Sum64(id)
	return (h >> 32) % uint64(len(bloom)), 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63)
}

func (b *builder) dates(f *plan.Field, field int) {
	b.ints(f, func(row int) (int64, bool) { return b.src.Date(row), true })
	odd := make([]any, b.n)
	any := false
	for i := range odd {
		if s, ok := b.src.Value(i, field).(string); ok && s != search.FormatDate(b.src.Date(i)) {
			odd[i], any = s, true
		}
	}
	if any {
		tmp := builder{w: b.w, src: oneColumn{b.src, odd}, n: b.n}
		_ = tmp.strings(&plan.Field{Name: dateText}, 0) // Date texts are far below the arena's bound
	}
}

// oneColumn replaces the values of a source.
type oneColumn struct {
	Source
	values []any
}

func (o oneColumn) Value(row, _ int) any { return o.values[row] }

func (b *builder) ints(f *plan.Field, get func(row int) (int64, bool)) {
	m := columnMeta{Name: f.Name, Kind: KindInt, Storage: uint8(f.Storage), Min: math.MaxInt64, Max: math.MinInt64}
	values := make([]int64, b.n)
	present := NewBitmap(b.n)
	count := 0
	for i := range values {
		if v, ok := get(i); ok {
			values[i] = v
			present.Set(i)
			m.Min, m.Max = min(m.Min, v), max(m.Max, v)
			count++
		}
	}
	if count == 0 {
		return
	}
	var data []byte
	span := uint64(m.Max) - uint64(m.Min)
	switch {
	case span <= math.MaxUint8:
		m.Width = 1
	case span <= math.MaxUint16:
		m.Width = 2
	case span <= math.MaxUint32:
		m.Width = 4
	default:
		m.Width = 8
	}
	for i, v := range values {
		d := uint64(v) - uint64(m.Min)
		if !present.Has(i) {
			d = 0
		}
		switch m.Width {
		case 1:
			data = append(data, byte(d))
		case 2:
			data = binary.LittleEndian.AppendUint16(data, uint16(d))
		case 4:
			data = binary.LittleEndian.AppendUint32(data, uint32(d))
		default:
			data = binary.LittleEndian.AppendUint64(data, d)
		}
	}
	b.w.add(&m, secData, data)
	b.present(&m, present, count)
	b.put(m)
}

func (b *builder) present(m *columnMeta, present Bitmap, count int) {
	if count < b.n {
		b.w.add(m, secPresent, Raw([]uint64(present)))
	}
}

func (b *builder) floats(f *plan.Field, field int) {
	m := columnMeta{Name: f.Name, Kind: KindFloat, Storage: uint8(f.Storage)}
	values := make([]float64, b.n)
	present := NewBitmap(b.n)
	count := 0
	for i := range values {
		if v, ok := b.src.Value(i, field).(float64); ok {
			values[i] = v
			present.Set(i)
			count++
		}
	}
	if count > 0 {
		b.w.add(&m, secData, Raw(values))
		b.present(&m, present, count)
		b.put(m)
	}
}

func (b *builder) bools(f *plan.Field, field int) {
	m := columnMeta{Name: f.Name, Kind: KindBool, Storage: uint8(f.Storage)}
	values, present := NewBitmap(b.n), NewBitmap(b.n)
	count := 0
	for i := range b.n {
		if v, ok := b.src.Value(i, field).(bool); ok {
			if v {
				values.Set(i)
			}
			present.Set(i)
			count++
		}
	}
	if count > 0 {
		b.w.add(&m, secData, Raw([]uint64(values)))
		b.present(&m, present, count)
		b.put(m)
	}
}

// dictionary collects distinct values.
type dictionary struct {
	index  map[string]uint32
	values []string
	bytes  int
}

func newDictionary() *dictionary { return &dictionary{index: map[string]uint32{}} }

func (d *dictionary) add(s string) uint32 {
	if id, ok := d.index[s]; ok {
		return id
	}
	id := uint32(len(d.values))
	d.values = append(d.values, s)
	d.index[s] = id
	d.bytes += len(s)
	return id
}

// sorted gives the place of each value in byte order, and puts the values so.
func (d *dictionary) sorted() (place []uint32) {
	order := make([]uint32, len(d.values))
	for i := range order {
		order[i] = uint32(i)
	}
	sort.Slice(order, func(i, j int) bool { return d.values[order[i]] < d.values[order[j]] })
	place = make([]uint32, len(order))
	values := make([]string, len(order))
	for at, id := range order {
		place[id] = uint32(at)
		values[at] = d.values[id]
	}
	d.values = values
	return place
}

// strings writes a string column: one value a row, or lists.
func (b *builder) strings(f *plan.Field, field int) error {
	dict := newDictionary()
	starts := make([]uint32, 1, b.n+1)
	ords := make([]uint32, 0, b.n)
	single := f.Storage != plan.Semicolon
	for i := range b.n {
		value := b.src.Value(i, field)
		if list, ok := value.([]string); ok && f.Storage == plan.Semicolon && len(list) > 0 {
			value = strings.Join(list, ";")
		}
		switch v := value.(type) {
		case string:
			if f.Storage != plan.Semicolon {
				ords = append(ords, dict.add(v))
				break
			}
			for {
				head, rest, more := strings.Cut(v, ";")
				ords = append(ords, dict.add(head))
				if !more {
					break
				}
				v = rest
			}
		case []string:
			for _, s := range v {
				ords = append(ords, dict.add(s))
			}
			single = single && len(v) < 2
		}
		starts = append(starts, uint32(len(ords)))
	}
	if len(ords) == 0 {
		return nil
	}
	if dict.bytes > maxArena {
		return fault.New(fault.TooLarge, "%d bytes of distinct values", dict.bytes)
	}
	place := dict.sorted()
	for i, o := range ords {
		ords[i] = place[o]
	}
	m := columnMeta{Name: f.Name, Kind: KindList, Storage: uint8(f.Storage), Values: len(dict.values), Width: width(len(dict.values) + 1)}
	switch {
	case f.Storage == plan.Semicolon:
		m.Kind = KindToken
	case single:
		m.Kind = KindString
	}
	if m.Kind == KindString {
		flat := make([]uint32, b.n)
		for i := range flat {
			if starts[i+1] > starts[i] {
				flat[i] = ords[starts[i]] + 1
			}
		}
		b.w.add(&m, secData, narrow(flat, m.Width))
	} else {
		b.w.add(&m, secStarts, Raw(starts))
		b.w.add(&m, secData, narrow(ords, m.Width))
	}
	b.hashes(&m, secHashes, dict.values)
	if m.Kind == KindString && f.Parts != "" {
		m.Sep = f.Parts
		b.composite(&m, dict.values)
	} else {
		b.arena(&m, secOffsets, secArena, dict.values)
	}
	var fold []uint32
	faceted := len(dict.values)
	if m.Kind == KindToken {
		fold = b.fold(&m, dict.values)
		faceted = m.Folded
	}
	b.counts(&m, starts, ords, fold, faceted)
	b.put(m)
	return nil
}

// counts writes in how many rows each of n values is; fold leads to them.
func (b *builder) counts(m *columnMeta, starts, ords, fold []uint32, n int) {
	counts, last := make([]uint32, n), make([]uint32, n)
	most := uint32(0)
	for row := range b.n {
		for _, o := range ords[starts[row]:starts[row+1]] {
			if fold != nil {
				if fold[o] == 0 {
					continue
				}
				o = fold[o] - 1
			}
			if last[o] != uint32(row)+1 {
				last[o] = uint32(row) + 1
				counts[o]++
				most = max(most, counts[o])
			}
		}
	}
	b.w.add(m, secCounts, narrow(counts, width(int(most)+1)))
}

func width(n int) int {
	switch {
	case n <= math.MaxUint8+1:
		return 1
	case n <= math.MaxUint16+1:
		return 2
	}
	return 4
}

func narrow(ords []uint32, width int) []byte {
	out := make([]byte, 0, len(ords)*width)
	for _, o := range ords {
		switch width {
		case 1:
			out = append(out, byte(o))
		case 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(o))
		default:
			out = binary.LittleEndian.AppendUint32(out, o)
		}
	}
	return out
}

func (b *builder) hashes(m *columnMeta, name string, values []string) {
	h := make([]uint64, len(values))
	for i, v := range values {
		h[i] = xxhash.Sum64String(v)
	}
	b.w.add(m, name, Raw(h))
}

func (b *builder) arena(m *columnMeta, offsets, arena string, values []string) {
	offs := make([]uint32, 1, len(values)+1)
	size := 0
	for _, v := range values {
		size += len(v)
		offs = append(offs, uint32(size))
	}
	data := make([]byte, 0, size)
	for _, v := range values {
		data = append(data, v...)
	}
	b.w.add(m, offsets, Raw(offs))
	b.w.add(m, arena, data)
}

// composite writes values as lists of parts.
func (b *builder) composite(m *columnMeta, values []string) {
	parts := newDictionary()
	at := make([]uint32, 1, len(values)+1)
	var ords []uint32
	for _, v := range values {
		for more := true; more; {
			var head string
			head, v, more = strings.Cut(v, m.Sep)
			ords = append(ords, parts.add(head))
		}
		at = append(at, uint32(len(ords)))
	}
	place := parts.sorted()
	for i, o := range ords {
		ords[i] = place[o]
	}
	m.Parts = len(parts.values)
	b.w.add(m, secPartAt, Raw(at))
	b.w.add(m, secParts, Raw(ords))
	b.arena(m, secOffsets, secArena, parts.values)
}

// fold writes the lower-cased tokens, which queries and facets see, and gives
// the table to them.
func (b *builder) fold(m *columnMeta, values []string) []uint32 {
	folded := newDictionary()
	table := make([]uint32, len(values))
	for i, v := range values {
		if v != "" {
			table[i] = folded.add(text.Lower(v)) + 1
		}
	}
	place := folded.sorted()
	for i, o := range table {
		if o > 0 {
			table[i] = place[o-1] + 1
		}
	}
	m.Folded = len(folded.values)
	b.w.add(m, secFold, Raw(table))
	b.hashes(m, secFoldHas, folded.values)
	b.arena(m, secFoldOff, secFoldAr, folded.values)
	return table
}
