package values

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"mayday/app/fault"
	"mayday/storage/search/column/segment"
)

// Kept are tables of values that were written to a file, so that the first
// question after a start need not make them:
//
//	for each field: the entry of every ordinal, segment by segment (u32 each),
//	                of every entry a segment and an ordinal (u32 each),
//	                the hashes of the entries in order (u64), and whose they are (u32)
//	JSON (keptFile) · its length and CRC32C (u32 each) · keptMagic
//
// It holds numbers only, no values. Checksums are looked at when a table is
// asked for.
type Kept struct {
	data     []byte // the file, mapped
	refs     atomic.Int32
	release  func() // run when nobody reads data any more
	file     keptFile
	segments []*segment.Segment
	lost     bool // a table that cannot be trusted was met; under Cache.mu
}

// keptFile says what stands where.
type keptFile struct {
	Format   int           `json:"format"`
	Segments []keptSegment `json:"segments"`
	Fields   []keptField   `json:"fields"`
}

type keptSegment struct {
	Name   string `json:"name"`
	Footer uint32 `json:"footer"`
}

type keptField struct {
	Name    string `json:"name"`
	Offset  int64  `json:"offset"`
	Values  []int  `json:"values"` // of each segment
	Entries int    `json:"entries"`
	CRC     uint32 `json:"crc"`        // of the first two
	HashCRC uint32 `json:"hashes_crc"` // of the others
}

// bytes is the size of a field's table without the hashes.
func (f *keptField) bytes() int64 {
	n := int64(f.Entries) * 8
	for _, v := range f.Values {
		n += int64(v) * 4
	}
	return n
}

// hashesAt is where the hashes begin: at a multiple of eight.
func (f *keptField) hashesAt() int64 { return f.Offset + (f.bytes()+7)&^7 }

// end is where the table ends, at a multiple of eight.
func (f *keptField) end() int64 { return f.hashesAt() + (int64(f.Entries)*12+7)&^7 }

const (
	keptMagic   = "MAYVALS\n"
	keptTrailer = 8 + len(keptMagic)
	keptFormat  = 1
	// maxKept bounds the JSON of a file: a hundred fields of ten thousand
	// segments.
	maxKept = 16 << 20
)

// Open reads what tables there are in a file that is mapped, or aligned to
// eight. All their segments must be among parts. release is run when the tables
// are out of use, unless there is an error.
func Open(data []byte, release func(), parts []*segment.Segment) (*Kept, error) {
	k := &Kept{data: data, release: release}
	k.refs.Store(1)
	at := len(data) - keptTrailer
	if at < 0 {
		return nil, fault.New(fault.Malformed, "tables of values in %d bytes", len(data))
	}
	trailer := data[at:]
	n, sum := int64(binary.LittleEndian.Uint32(trailer)), binary.LittleEndian.Uint32(trailer[4:])
	if string(trailer[8:]) != keptMagic || n > min(maxKept, int64(at)) {
		return nil, fault.New(fault.Malformed, "tables of values have the bad ending %x", trailer)
	}
	text, size := data[at-int(n):at], int64(at)-n
	if crc32.Checksum(text, segment.Castagnoli) != sum {
		return nil, fault.New(fault.Malformed, "tables of values: checksum")
	}
	if err := json.Unmarshal(text, &k.file); err != nil || k.file.Format != keptFormat {
		return nil, fault.New(fault.Malformed, "tables of values of format %d: %v", k.file.Format, err)
	}
	byName := make(map[string]*segment.Segment, len(parts))
	for _, p := range parts {
		byName[p.Name] = p
	}
	for _, one := range k.file.Segments {
		s := byName[one.Name]
		if s == nil || s.Crc != one.Footer {
			return nil, fault.New(fault.NotFound, "tables of values: segment %s is gone", one.Name)
		}
		k.segments = append(k.segments, s)
	}
	for i := range k.file.Fields {
		f := &k.file.Fields[i]
		most := size / 4
		ok := len(f.Values) == len(k.segments) && f.Entries >= 0 && int64(f.Entries) <= most && f.Offset >= 0 && f.Offset <= size && f.Offset%8 == 0
		for _, v := range f.Values {
			ok = ok && v >= 0 && int64(v) <= most
		}
		if !ok || f.end() > size {
			return nil, fault.New(fault.Malformed, "tables of values: field %s", f.Name)
		}
	}
	return k, nil
}

// alive says whether all segments of the file are.
func (k *Kept) alive(alive map[*segment.Segment]bool) bool {
	return !slices.ContainsFunc(k.segments, func(s *segment.Segment) bool { return !alive[s] })
}

func (k *Kept) field(name string) *keptField {
	for i := range k.file.Fields {
		if k.file.Fields[i].Name == name {
			return &k.file.Fields[i]
		}
	}
	return nil
}

// table reads the table of a field into g, which is empty; false when the file
// has none, or none that can be trusted.
func (k *Kept) table(field int, name string, g *Table) bool {
	f := k.field(name)
	if f == nil {
		return false
	}
	data := k.data[f.Offset : f.Offset+f.bytes()]
	if crc32.Checksum(data, segment.Castagnoli) != f.CRC {
		return false
	}
	words := segment.View[uint32](data)
	locals := map[*segment.Segment]numbered{}
	dicts := make([]*segment.Dict, len(k.segments))
	for i, s := range k.segments {
		c := s.Cols[field]
		if !isNumbered(c) {
			if f.Values[i] > 0 {
				return false
			}
			continue
		}
		dicts[i] = c.FacetDict()
		ids := words[:f.Values[i]:f.Values[i]]
		words = words[f.Values[i]:]
		if len(ids) != dicts[i].N || len(ids) > 0 && int(slices.Max(ids)) >= f.Entries {
			return false
		}
		locals[s] = numbered{dicts[i], ids}
	}
	entries := unsafe.Slice((*Entry)(unsafe.Pointer(unsafe.SliceData(words))), len(words)/2)
	for _, e := range entries {
		if int(e.Dict) >= len(dicts) || dicts[e.Dict] == nil || int(e.Ord) >= dicts[e.Dict].N {
			return false
		}
	}
	for s := range locals {
		s.Acquire()
	}
	k.refs.Add(1)
	g.locals, g.dicts, g.entries, g.kept = locals, dicts, entries, k
	g.base = &keptHashes{kept: k, field: f}
	g.bytes = f.bytes()
	return true
}

// keptHashes finds the entries of a table from the disk by their hashes. They
// are read when a segment is met that the table lacks.
type keptHashes struct {
	kept   *Kept
	field  *keptField
	hashes []uint64 // in order
	ids    []uint32
	starts []uint32 // of the hashes that begin with the same bits
	shift  int
}

// hashesEach is how many hashes begin with the same bits, about.
const hashesEach = 8

// read reads the hashes; false when they cannot be trusted.
func (x *keptHashes) read() bool {
	n := x.field.Entries
	data := x.kept.data[x.field.hashesAt():][:n*12]
	if crc32.Checksum(data, segment.Castagnoli) != x.field.HashCRC {
		return false
	}
	hashes, ids := segment.View[uint64](data[:n*8]), segment.View[uint32](data[n*8:])
	if n == 0 || int(slices.Max(ids)) >= n {
		return n == 0
	}
	x.shift = 64 - bits.Len(uint(n/hashesEach))
	x.starts = make([]uint32, 1<<(64-x.shift)+1)
	at := 0
	for i := range x.starts {
		for at < n && hashes[at]>>x.shift < uint64(i) {
			at++
		}
		x.starts[i] = uint32(at)
	}
	x.hashes, x.ids = hashes, ids
	return true
}

// size is how many entries can be found.
func (x *keptHashes) size() int {
	if x == nil {
		return 0
	}
	return x.field.Entries
}

func (x *keptHashes) find(h uint64) (id uint32, ok bool) {
	if x == nil || len(x.hashes) == 0 {
		return 0, false
	}
	b := h >> x.shift
	lo, hi := x.starts[b], x.starts[b+1]
	at, ok := slices.BinarySearch(x.hashes[lo:hi], h)
	if !ok {
		return 0, false
	}
	return x.ids[int(lo)+at], true
}

// Keep writes the tables that warming made, as far as they are about these
// segments; false when there is nothing to write.
func (c *Cache) Keep(w io.Writer, parts []*segment.Segment) (bool, error) {
	file := keptFile{Format: keptFormat}
	for _, p := range parts {
		file.Segments = append(file.Segments, keptSegment{p.Name, p.Crc})
	}
	offset := int64(0)
	for _, slow := range c.slow(parts) {
		words, f, ok := c.renumbered(slow.field, parts)
		if !ok {
			continue
		}
		hashes := byHash(words[len(words)-2*f.Entries:], slow.field, parts)
		data := segment.Raw(words)
		f.Name, f.Offset = c.name(slow.field), offset
		f.CRC, f.HashCRC = crc32.Checksum(data, segment.Castagnoli), crc32.Checksum(hashes, segment.Castagnoli)
		for _, block := range [][]byte{data, make([]byte, -len(data)&7), hashes, make([]byte, -len(hashes)&7)} {
			if _, err := w.Write(block); err != nil {
				return false, err
			}
		}
		offset = f.end()
		file.Fields = append(file.Fields, f)
	}
	if len(file.Fields) == 0 {
		return false, nil
	}
	text, err := json.Marshal(file)
	if err != nil {
		return false, err
	}
	sum := crc32.Checksum(text, segment.Castagnoli)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(text)))
	text = binary.LittleEndian.AppendUint32(text, sum)
	_, err = w.Write(append(text, keptMagic...))
	return true, err
}

// renumbered is the table of a field as if these segments were all there are.
func (c *Cache) renumbered(field int, parts []*segment.Segment) (words []uint32, f keptField, ok bool) {
	c.mu.Lock()
	g := c.byField[field]
	c.mu.Unlock()
	if g == nil || g.careful {
		return nil, f, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var homes []Entry
	numbers := make([]uint32, len(g.entries)) // 1 + the new number
	for i, p := range parts {
		l, known := g.locals[p]
		if !known && isNumbered(p.Cols[field]) {
			return nil, f, false // not warm yet
		}
		for ord, id := range l.entries {
			if numbers[id] == 0 {
				homes = append(homes, Entry{uint32(i), uint32(ord)})
				numbers[id] = uint32(len(homes))
			}
			words = append(words, numbers[id]-1)
		}
		f.Values = append(f.Values, len(l.entries))
	}
	f.Entries = len(homes)
	for _, e := range homes {
		words = append(words, e.Dict, e.Ord)
	}
	return words, f, true
}

// byHash lists the hashes of entries in order, then whose they are.
func byHash(homes []uint32, field int, parts []*segment.Segment) []byte {
	type one struct {
		hash uint64
		id   uint32
	}
	list := make([]one, len(homes)/2)
	for i := range list {
		list[i] = one{parts[homes[2*i]].Cols[field].FacetDict().Hashes[homes[2*i+1]], uint32(i)}
	}
	slices.SortFunc(list, func(a, b one) int { return cmp.Compare(a.hash, b.hash) })
	hashes, ids := make([]uint64, len(list)), make([]uint32, len(list))
	for i, e := range list {
		hashes[i], ids[i] = e.hash, e.id
	}
	return append(segment.Raw(hashes), segment.Raw(ids)...)
}

// Use has tables taken from a file while all its segments are there, nil
// for none.
func (c *Cache) Use(k *Kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(k)
}

// use puts one file in the place of another, under c.mu.
func (c *Cache) use(k *Kept) {
	if c.kept != nil {
		c.kept.drop()
	}
	c.kept = k
}

// drop gives a reference back.
func (k *Kept) drop() {
	if k.refs.Add(-1) == 0 {
		k.release()
	}
}

// UsesKept says whether there is a file in use.
func (c *Cache) UsesKept() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept != nil
}

// IsKept says whether the file in use has sound tables of these segments.
func (c *Cache) IsKept(parts []*segment.Segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept
	return k != nil && !k.lost && len(parts) == len(k.segments) && !slices.ContainsFunc(parts, func(p *segment.Segment) bool { return !slices.Contains(k.segments, p) })
}
