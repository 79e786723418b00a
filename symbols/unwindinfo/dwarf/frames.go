// Package dwarf reads DWARF call frame information (DWARF 5, section 6.4) in
// its two forms: .debug_frame, and .eh_frame as the Linux Standard Base
// describes it, with the search table .eh_frame_hdr.
//
// It reads what frames are about and nothing else of DWARF. The expressions of
// the format are turned into those of STACK CFI records; what these have no
// word for is worked out where it does not depend on registers, as it is in the
// stubs that call other libraries, and makes the rule fail elsewhere.
package dwarf

import (
	"cmp"
	"slices"
	"sync"

	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// The limits on DWARF frame tables. The largest real .eh_frame have some tens of
// megabytes and a million entries.
const (
	maxEntry      = 64 << 10 // bytes of one entry
	maxFrameTable = 64 << 20 // bytes of a table that is read whole
	maxEntries    = 1 << 20  // entries of an index that is made here
)

// Frames is a table of DWARF call frame information: .eh_frame or .debug_frame.
type Frames struct {
	image   *executable.Image
	section *executable.Section // nil when only the header of it is known
	header  *executable.Section // .eh_frame_hdr, nil without one
	eh      bool                // the form of .eh_frame
	address uint64              // of the table
	size    uint64

	once  sync.Once
	whole []byte  // of a compressed table
	index []entry // by start, when there is no header
}

// entry is where the description of a piece of code lies.
type entry struct {
	start, end uint64 // addresses
	offset     uint64 // in the table
}

// New finds the table of that name, and its header; nil when there is
// none.
func New(im *executable.Image, name, header string) *Frames {
	f := &Frames{image: im, section: im.Section(name), eh: name != ".debug_frame"}
	if header != "" {
		f.header = im.Section(header)
	}
	if f.section == nil {
		if f.header == nil || !f.fromHeader() {
			return nil
		}
		return f
	}
	f.address, f.size = f.section.Address, f.section.FileSize
	if f.header != nil && f.header.FileSize == 0 {
		f.header = nil
	}
	if f.size == 0 {
		return nil
	}
	return f
}

// fromHeader finds the table by the pointer in its header, for files without
// section headers. Its size is not known; it ends with its segment at the
// latest.
func (f *Frames) fromHeader() bool {
	b := f.image.Read(f.header, 0, 16)
	if b == nil || b[0] != 1 {
		return false
	}
	r := &reader{b: b[4:], order: f.image.Order}
	at, ok := f.pointer(r, b[1], f.header.Address+4)
	if !ok {
		return false
	}
	for i := range f.image.Segments {
		s := &f.image.Segments[i]
		if at >= s.Address && at-s.Address < s.FileSize {
			f.address, f.size = at, s.FileSize-(at-s.Address)
			f.section = &executable.Section{Name: ".eh_frame", Address: at, Size: f.size, Offset: s.Offset + at - s.Address, FileSize: f.size}
			return true
		}
	}
	return false
}

// read returns n bytes of the table.
func (f *Frames) read(offset uint64, n int) []byte {
	if !f.section.Compressed {
		return f.image.Read(f.section, offset, n)
	}
	if offset > uint64(len(f.whole)) || uint64(n) > uint64(len(f.whole))-offset {
		return nil
	}
	return f.whole[offset : offset+uint64(n)]
}

// Rules are the rules in force at a place; false when the table says nothing of
// it.
func (f *Frames) Rules(q rule.Query) (rule.Set, bool) {
	address := f.image.Base + q.Offset
	offset, ok := f.find(address)
	if !ok {
		return rule.Set{}, false
	}
	return f.At(offset, address, q)
}

// At are the rules by the entry at an offset of the table, if it covers
// address.
func (f *Frames) At(offset, address uint64, q rule.Query) (rule.Set, bool) {
	fde, ok := f.fde(offset, nil)
	if !ok || address < fde.start || address >= fde.end {
		return rule.Set{}, false
	}
	cost := rule.Set{Cost: len(fde.cie.program) + len(fde.program)}
	m := newProgram(f.image, &fde.cie, q)
	if !m.run(fde.cie.program, ^uint64(0), fde.start) {
		return cost, false
	}
	m.initial = m.state.clone()
	if !m.run(fde.program, address, fde.start) {
		return cost, false
	}
	text, ok := m.text(fde.cie.signal)
	if !ok {
		return cost, false
	}
	cfi := symbols.CFI{Start: fde.start - f.image.Base, Size: fde.end - fde.start, Init: text}
	return rule.Set{CFI: cfi, Interrupted: fde.cie.signal, Cost: cost.Cost}, true
}

// find is where the entry for an address lies.
func (f *Frames) find(address uint64) (uint64, bool) {
	if f.header != nil {
		if offset, ok, usable := f.search(address); usable {
			return offset, ok
		}
	}
	f.once.Do(f.scan)
	i, ok := slices.BinarySearchFunc(f.index, address, func(e entry, a uint64) int { return cmp.Compare(e.start, a) })
	if !ok {
		i--
	}
	if i < 0 || address >= f.index[i].end {
		return 0, false
	}
	return f.index[i].offset, true
}

// search uses the sorted table of .eh_frame_hdr: pairs of the start of a
// function and its entry, both relative to the header. usable is false where
// the table has another form.
func (f *Frames) search(address uint64) (offset uint64, ok, usable bool) {
	h := f.image.Read(f.header, 0, int(min(f.header.FileSize, 32)))
	const pairs = encodingDataRelative | encodingSigned4
	if len(h) < 12 || h[0] != 1 || h[3] != pairs {
		return 0, false, false
	}
	r := &reader{b: h[4:], order: f.image.Order}
	if _, ok := f.pointer(r, h[1], f.header.Address+4); !ok {
		return 0, false, false
	}
	at := f.header.Address + uint64(len(h)-len(r.b))
	count, ok := f.pointer(r, h[2], at)
	first := uint64(len(h) - len(r.b))
	if !ok || count > (f.header.FileSize-first)/8 {
		return 0, false, false
	}
	o := f.image.Order
	low, high := uint64(0), count
	for low < high { // the last one that starts at or before address
		mid := (low + high) / 2
		b := f.image.Read(f.header, first+8*mid, 4)
		if b == nil {
			return 0, false, false
		}
		if f.header.Address+uint64(int64(int32(o.Uint32(b)))) <= address {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0, false, true
	}
	b := f.image.Read(f.header, first+8*(low-1)+4, 4)
	if b == nil {
		return 0, false, false
	}
	return f.header.Address + uint64(int64(int32(o.Uint32(b)))) - f.address, true, true
}

// scan makes an index of a table that has none.
func (f *Frames) scan() {
	if f.section.Compressed {
		whole, err := f.image.Content(f.section, maxFrameTable)
		if err != nil {
			return // then nothing is found
		}
		f.whole, f.size = whole, uint64(len(whole))
	}
	var known knownCIE
	for at := uint64(0); at < f.size && len(f.index) < maxEntries; {
		head, ok := f.head(at)
		if !ok {
			break
		}
		if !head.cie {
			if fde, ok := f.fde(at, &known); ok && fde.end > fde.start {
				f.index = append(f.index, entry{fde.start, fde.end, at})
			}
		}
		at = head.next
	}
	slices.SortFunc(f.index, func(a, b entry) int { return cmp.Compare(a.start, b.start) })
}

// head is how an entry begins.
type head struct {
	cie        bool
	cieAt      uint64 // of an FDE, where its CIE lies
	body, next uint64
	wide       bool // the 64-bit form of DWARF
}

func (f *Frames) head(at uint64) (h head, ok bool) {
	o := f.image.Order
	b := f.read(at, 4)
	if b == nil {
		return h, false
	}
	length, body := uint64(o.Uint32(b)), at+4
	if length == 0xffff_ffff {
		if b = f.read(at+4, 8); b == nil {
			return h, false
		}
		length, body, h.wide = o.Uint64(b), at+12, true
	}
	if length == 0 && f.eh || length > f.size-body {
		return h, false // the end, or nonsense
	}
	h.next, h.body = body+length, body+4
	id, all := uint64(0), uint64(0xffff_ffff)
	if h.wide && !f.eh {
		if b = f.read(body, 8); b == nil {
			return h, false
		}
		id, all, h.body = o.Uint64(b), ^uint64(0), body+8
	} else if b = f.read(body, 4); b != nil {
		id = uint64(o.Uint32(b))
	} else {
		return h, false
	}
	if h.body > h.next {
		return h, false
	}
	if f.eh {
		h.cie, h.cieAt = id == 0, body-id
	} else {
		h.cie, h.cieAt = id == all, id
	}
	return h, true
}

// cie is what entries have in common.
type cie struct {
	codeAlign    uint64
	dataAlign    int64
	returnColumn uint64
	encoding     byte // of addresses
	sized        bool // entries have augmentation data
	signal       bool
	addressSize  int
	program      []byte
}

// fde describes the code from start to end.
type fde struct {
	cie
	start, end uint64
	program    []byte
}

// entryReader reads the body of an entry.
func (f *Frames) entryReader(h head) *reader {
	return &reader{b: f.read(h.body, int(min(h.next-h.body, maxEntry))), order: f.image.Order}
}

func (f *Frames) cie(at uint64) (c cie, ok bool) {
	if at >= f.size {
		return c, false
	}
	h, ok := f.head(at)
	if !ok || !h.cie {
		return c, false
	}
	r := f.entryReader(h)
	version := r.byte()
	augmentation := r.string()
	c.addressSize = f.image.Machine.PointerSize()
	if version == 4 && !f.eh {
		c.addressSize = int(r.byte())
		r.byte() // size of segment selectors
	}
	if augmentation == "eh" { // GCC before 3.0
		r.uint(c.addressSize)
	}
	c.codeAlign, c.dataAlign = r.uleb(), r.sleb()
	if version == 1 {
		c.returnColumn = r.uint(1)
	} else {
		c.returnColumn = r.uleb()
	}
	if len(augmentation) > 0 && augmentation[0] == 'z' {
		c.sized = true
		data := &reader{b: r.take(int(min(r.uleb(), maxEntry))), order: r.order}
		if !c.augment(f, augmentation[1:], data) {
			return c, false
		}
	}
	c.program = r.b
	return c, !r.broken && (c.addressSize == 4 || c.addressSize == 8)
}

// augment reads what .eh_frame adds to DWARF.
func (c *cie) augment(f *Frames, letters string, r *reader) bool {
	for _, l := range letters {
		switch l {
		case 'R':
			c.encoding = r.byte()
		case 'P':
			// Where the personality routine lies does not matter, and may be given in
			// ways that cannot be followed; only its length counts.
			if encoding := r.byte(); !f.skip(r, encoding) {
				return false
			}
		case 'L':
			r.byte()
		case 'S':
			c.signal = true
		case 'B', 'G': // pointer authentication, memory tagging
		default:
			return !r.broken // what follows has a length, so it may be unknown
		}
	}
	return !r.broken
}

// knownCIE spares the entries of a whole table the reading of what they share.
type knownCIE struct {
	at  uint64
	cie cie
}

// fde reads an entry; known may be nil.
func (f *Frames) fde(at uint64, known *knownCIE) (d fde, ok bool) {
	h, ok := f.head(at)
	if !ok || h.cie {
		return d, false
	}
	if known != nil && known.at == h.cieAt && known.cie.codeAlign != 0 {
		d.cie = known.cie
	} else if d.cie, ok = f.cie(h.cieAt); !ok {
		return d, false
	}
	if known != nil {
		*known = knownCIE{h.cieAt, d.cie}
	}
	r := f.entryReader(h)
	all := len(r.b)
	var size uint64
	if f.eh {
		if d.start, ok = f.pointer(r, d.encoding, f.address+h.body); !ok {
			return d, false
		}
		size, ok = f.pointer(r, d.encoding&encodingForm, f.address+h.body+uint64(all-len(r.b)))
	} else {
		d.start, size = r.uint(d.addressSize), r.uint(d.addressSize)
	}
	d.end = d.start + size
	if d.sized {
		r.take(int(min(r.uleb(), maxEntry)))
	}
	d.program = r.b
	return d, ok && !r.broken && d.end >= d.start
}

// The ways to write a pointer in .eh_frame (Linux Standard Base, DW_EH_PE).
const (
	encodingForm         = 0x0f
	encodingRelation     = 0x70
	encodingDataRelative = 0x30
	encodingPCRelative   = 0x10
	encodingIndirect     = 0x80
	encodingSigned4      = 0x0b
	encodingOmitted      = 0xff
)

// number reads a number in one of the forms.
func (f *Frames) number(r *reader, encoding byte) (v uint64, ok bool) {
	switch encoding & encodingForm {
	case 0x00:
		v = r.uint(f.image.Machine.PointerSize())
	case 0x01:
		v = r.uleb()
	case 0x02:
		v = r.uint(2)
	case 0x03:
		v = r.uint(4)
	case 0x04, 0x0c:
		v = r.uint(8)
	case 0x09:
		v = uint64(r.sleb())
	case 0x0a:
		v = uint64(r.int(2))
	case encodingSigned4:
		v = uint64(r.int(4))
	default:
		return 0, false
	}
	return v, !r.broken
}

// skip passes over a pointer.
func (f *Frames) skip(r *reader, encoding byte) bool {
	if encoding == encodingOmitted {
		return true
	}
	_, ok := f.number(r, encoding)
	return ok
}

// pointer reads a pointer that lies at the address where.
func (f *Frames) pointer(r *reader, encoding byte, where uint64) (uint64, bool) {
	if encoding&encodingIndirect != 0 {
		return 0, false // it would have to be read from the process
	}
	v, ok := f.number(r, encoding)
	if !ok {
		return 0, false
	}
	switch encoding & encodingRelation {
	case 0:
	case encodingPCRelative:
		v += where
	case encodingDataRelative:
		if f.header == nil {
			return 0, false
		}
		v += f.header.Address
	default:
		return 0, false
	}
	if f.image.Machine.PointerSize() == 4 {
		v &= 0xffff_ffff
	}
	return v, true
}
