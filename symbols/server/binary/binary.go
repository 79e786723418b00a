// Package binary tells raw debug files apart and reads what names them: the
// build id of ELF files (gABI notes), the LC_UUID of Mach-O files, time stamp,
// size and CodeView record of PE files, GUID and age of PDB files. It reads
// nothing else of them, and no more than headers.
package binary

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/symbols"
)

// The kinds of files. An ELF file with code and debug information is ELF; one
// with either alone is Executable or Debuginfo, as debuginfod calls them.
const (
	ELF        = "elf"
	Executable = "executable"
	Debuginfo  = "debuginfo"
	MachO      = "macho"
	DSYM       = "dsym" // the debug information of a Mach-O file
	PE         = "pe"
	PDB        = "pdb"
)

// Identity is what names a file.
type Identity struct {
	Kind    string
	DebugID string // "" when it has none
	CodeID  string
	StoreID string // what debuggers ask symbol servers for it by
	// Name is what an ELF library says it is called (DT_SONAME), "" for others:
	// the name that crashes know it by.
	Name string

	// Offset and Size say where the file lies: a Mach-O file can hold one for
	// each of several CPUs.
	Offset, Size int64
}

// Key is where symbol servers keep the file of a name: <name>/<id>/<file>. One
// with debug information alone has an ending of its own: it has the ids of the
// program it belongs to, often its name too, and must not take its place.
func (i Identity) Key(name string) string {
	file := name
	switch {
	case i.Kind == Debuginfo && !strings.HasSuffix(file, ".debug") && !strings.HasSuffix(file, ".dbg"):
		file += ".debug"
	case i.Kind == DSYM:
		file += ".dwarf"
	}
	return name + "/" + strings.ToUpper(i.StoreID) + "/" + file
}

// Magic reports whether a file that begins so may be one that Identify knows.
// 16 bytes tell.
func Magic(head []byte) bool {
	for _, m := range [...]string{"\x7fELF", "MZ", "Microsoft C/C++ "} {
		if bytes.HasPrefix(head, []byte(m)) {
			return true
		}
	}
	if len(head) < 8 {
		return false
	}
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return true
	case 0xcafebabe, 0xcafebabf: // Java classes begin so too, with their version
		return binary.BigEndian.Uint32(head[4:]) <= maxFat
	}
	return false
}

const (
	// maxHeaders bounds program headers, sections, load commands and the like.
	maxHeaders = 8192
	// maxTable bounds a table that is read whole.
	maxTable = 1 << 20
	// maxSoname bounds the name of a library, with its end.
	maxSoname = 200
	// maxFat bounds the architectures in one Mach-O file.
	maxFat = 32
)

// Identify finds out what a file of size bytes is, and what each part of it is
// where it holds several. A file that is none of the known kinds, or has
// nothing that names it, is an error of kind fault.Malformed.
func Identify(r io.ReaderAt, size int64) ([]Identity, error) {
	f := file{r, size}
	head := f.bytes(0, 32)
	one := func(i Identity, err error) ([]Identity, error) {
		i.Size = size
		return []Identity{i}, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return one(f.elf())
	case bytes.HasPrefix(head, []byte("Microsoft C/C++ MSF 7.00\r\n\x1aDS")):
		return one(f.pdb())
	case bytes.HasPrefix(head, []byte("MZ")):
		return one(f.pe())
	case len(head) >= 8:
		switch binary.BigEndian.Uint32(head) {
		case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
			return one(f.machoAt(0))
		case 0xcafebabe, 0xcafebabf:
			return f.fat()
		}
	}
	return nil, fault.New(fault.Malformed, "neither ELF, Mach-O, PE nor PDB")
}

// file reads pieces that are checked against its size.
type file struct {
	r    io.ReaderAt
	size int64
}

// bytes reads n bytes at off, or what there is of them.
func (f file) bytes(off uint64, n int) []byte {
	if off >= uint64(f.size) {
		return nil
	}
	b := make([]byte, min(int64(n), f.size-int64(off)))
	got, _ := f.r.ReadAt(b, int64(off)) // what is short is told by its length
	return b[:got]
}

// exact reads n bytes at off or nothing.
func (f file) exact(off, n uint64) []byte {
	if n > maxTable || off > uint64(f.size) || n > uint64(f.size)-off {
		return nil
	}
	b := f.bytes(off, int(n))
	if uint64(len(b)) != n {
		return nil
	}
	return b
}

func short(what string) error { return fault.New(fault.Malformed, "%s breaks off", what) }

// elfSection is what is needed of a section or program header.
type elfSection struct {
	kind, name   uint32
	link         uint32
	flags        uint64
	offset, size uint64
}

func (f file) elf() (Identity, error) {
	h := f.bytes(0, 64)
	if len(h) < 52 {
		return Identity{}, short("ELF header")
	}
	var o binary.ByteOrder = binary.LittleEndian
	if h[5] == 2 {
		o = binary.BigEndian
	}
	wide := h[4] == 2
	if wide && len(h) < 64 {
		return Identity{}, short("ELF header")
	}
	sections := f.elfHeaders(h, o, wide, false)
	id := f.buildID(sections, 7, o)
	if id == nil {
		id = f.buildID(f.elfHeaders(h, o, wide, true), 4, o)
	}
	names := f.sectionNames(h, sections, o, wide)
	if len(id) == 0 {
		id = f.foldedCode(h, sections, names, o)
	}
	if len(id) == 0 {
		return Identity{}, fault.New(fault.Malformed, "the ELF file has no build id")
	}
	out := Identity{Kind: elfKind(sections, names), DebugID: symbols.DebugIDFromBuildID(id, o), CodeID: symbols.CodeIDFromBuildID(id)}
	out.StoreID = out.CodeID
	out.Name = f.soname(sections, o, wide)
	return out, nil
}

// soname reads what a library says it is called. Its name is short, and stands
// in strings that may be long.
func (f file) soname(sections []elfSection, o binary.ByteOrder, wide bool) string {
	const dynamic, soname = 6, 14
	for _, s := range sections {
		if s.kind != dynamic || uint64(s.link) >= uint64(len(sections)) {
			continue
		}
		table := sections[s.link]
		entry := 8
		if wide {
			entry = 16
		}
		for b := f.exact(s.offset, s.size); len(b) >= entry; b = b[entry:] {
			tag, value := uint64(o.Uint32(b)), uint64(o.Uint32(b[4:]))
			if wide {
				tag, value = o.Uint64(b), o.Uint64(b[8:])
			}
			if tag == 0 {
				break
			}
			if tag != soname || value >= table.size || table.offset > math.MaxInt64-value {
				continue
			}
			name, _, ended := bytes.Cut(f.bytes(table.offset+value, maxSoname), []byte{0})
			if ended && utf8.Valid(name) {
				return string(name)
			}
		}
	}
	return ""
}

// elfHeaders reads the section headers, or the program headers.
func (f file) elfHeaders(h []byte, o binary.ByteOrder, wide, program bool) []elfSection {
	var off uint64
	var entry, count uint16
	switch {
	case wide && program:
		off, entry, count = o.Uint64(h[32:]), o.Uint16(h[54:]), o.Uint16(h[56:])
	case wide:
		off, entry, count = o.Uint64(h[40:]), o.Uint16(h[58:]), o.Uint16(h[60:])
	case program:
		off, entry, count = uint64(o.Uint32(h[28:])), o.Uint16(h[42:]), o.Uint16(h[44:])
	default:
		off, entry, count = uint64(o.Uint32(h[32:])), o.Uint16(h[46:]), o.Uint16(h[48:])
	}
	want := map[[2]bool]uint16{{true, true}: 56, {true, false}: 64, {false, true}: 32, {false, false}: 40}[[2]bool{wide, program}]
	if entry < want {
		return nil
	}
	var out []elfSection
	b := f.exact(off, uint64(entry)*uint64(min(int(count), maxHeaders)))
	for ; len(b) >= int(entry); b = b[entry:] {
		switch {
		case wide && program:
			out = append(out, elfSection{kind: o.Uint32(b), offset: o.Uint64(b[8:]), size: o.Uint64(b[32:])})
		case wide:
			out = append(out, elfSection{name: o.Uint32(b), kind: o.Uint32(b[4:]), flags: o.Uint64(b[8:]), offset: o.Uint64(b[24:]), size: o.Uint64(b[32:]), link: o.Uint32(b[40:])})
		case program:
			out = append(out, elfSection{kind: o.Uint32(b), offset: uint64(o.Uint32(b[4:])), size: uint64(o.Uint32(b[16:]))})
		default:
			out = append(out, elfSection{name: o.Uint32(b), kind: o.Uint32(b[4:]), flags: uint64(o.Uint32(b[8:])), offset: uint64(o.Uint32(b[16:])), size: uint64(o.Uint32(b[20:])), link: o.Uint32(b[24:])})
		}
	}
	return out
}

// buildID looks for the NT_GNU_BUILD_ID note in the pieces of a kind.
func (f file) buildID(pieces []elfSection, kind uint32, o binary.ByteOrder) []byte {
	for _, p := range pieces {
		if p.kind != kind {
			continue
		}
		b := f.exact(p.offset, p.size)
		for len(b) >= 12 {
			name, desc, note := uint64(o.Uint32(b)), uint64(o.Uint32(b[4:])), o.Uint32(b[8:])
			b = b[12:]
			nameEnd := (name + 3) &^ 3
			descEnd := nameEnd + (desc+3)&^3
			if nameEnd+desc > uint64(len(b)) {
				break
			}
			if note == 3 && name == 4 && string(b[:4]) == "GNU\x00" && desc > 0 && desc <= symbols.MaxIDDigits/2 {
				return b[nameEnd : nameEnd+desc]
			}
			b = b[min(descEnd, uint64(len(b))):]
		}
	}
	return nil
}

// sectionNames reads the names of sections; a section without one has "".
func (f file) sectionNames(h []byte, sections []elfSection, o binary.ByteOrder, wide bool) func(*elfSection) string {
	at := 50
	if wide {
		at = 62
	}
	index := int(o.Uint16(h[at:]))
	var names []byte
	if index < len(sections) {
		names = f.exact(sections[index].offset, sections[index].size)
	}
	return func(s *elfSection) string {
		if uint64(s.name) >= uint64(len(names)) {
			return ""
		}
		name, _, _ := bytes.Cut(names[s.name:], []byte{0})
		return string(name)
	}
}

// foldedCode is what minidumps have for a program or library without a build id.
func (f file) foldedCode(h []byte, sections []elfSection, name func(*elfSection) string, o binary.ByteOrder) []byte {
	const program, library, bits, compressed = 2, 3, 1, 0x800
	if kind := o.Uint16(h[16:]); kind != program && kind != library {
		return nil
	}
	for i := range sections {
		s := &sections[i]
		if s.kind != bits || s.flags&compressed != 0 || s.size == 0 || name(s) != ".text" {
			continue
		}
		if code := f.exact(s.offset, min(s.size, symbols.CodePage)); code != nil {
			return symbols.BuildIDFromCode(code)
		}
		return nil
	}
	return nil
}

// elfKind says whether an ELF file has code, debug information, or both.
func elfKind(sections []elfSection, name func(*elfSection) string) string {
	code, debug := false, false
	for i := range sections {
		s := &sections[i]
		if s.kind == 1 && s.flags&6 == 6 { // PROGBITS, allocated and executable
			code = true
		}
		if s.kind != 8 { // NOBITS
			n := name(s)
			debug = debug || n == ".debug_info" || n == ".zdebug_info"
		}
	}
	switch {
	case debug && !code:
		return Debuginfo
	case code && !debug:
		return Executable
	}
	return ELF
}

// fat reads a Mach-O file of several architectures; each is a file of its own,
// and they may not overlap.
func (f file) fat() ([]Identity, error) {
	h := f.bytes(0, 8+maxFat*32)
	n := binary.BigEndian.Uint32(h[4:])
	wide := binary.BigEndian.Uint32(h) == 0xcafebabf
	entry := 20
	if wide {
		entry = 32
	}
	if n == 0 || n > maxFat || len(h) < 8+int(n)*entry {
		return nil, fault.New(fault.Malformed, "Mach-O file of %d architectures", n)
	}
	var out []Identity
	for i := range int(n) {
		a := h[8+i*entry:]
		off, size := uint64(binary.BigEndian.Uint32(a[8:])), uint64(binary.BigEndian.Uint32(a[12:]))
		if wide {
			off, size = binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(a[16:])
		}
		if off > uint64(f.size) || size > uint64(f.size)-off {
			return nil, fault.New(fault.Malformed, "architecture %d of %d bytes at %d does not fit into %d", i, size, off, f.size)
		}
		for _, other := range out {
			if int64(off) < other.Offset+other.Size && other.Offset < int64(off+size) {
				return nil, fault.New(fault.Malformed, "architecture %d at %d overlaps another", i, off)
			}
		}
		id, err := file{io.NewSectionReader(f.r, int64(off), int64(size)), int64(size)}.machoAt(0)
		if err != nil {
			return nil, err
		}
		id.Offset, id.Size = int64(off), int64(size)
		out = append(out, id)
	}
	return out, nil
}

func (f file) machoAt(off uint64) (Identity, error) {
	h := f.bytes(off, 32)
	if len(h) < 28 {
		return Identity{}, short("Mach-O header")
	}
	var o binary.ByteOrder
	start := uint64(28)
	switch binary.BigEndian.Uint32(h) {
	case 0xfeedface:
		o = binary.BigEndian
	case 0xcefaedfe:
		o = binary.LittleEndian
	case 0xfeedfacf:
		o, start = binary.BigEndian, 32
	case 0xcffaedfe:
		o, start = binary.LittleEndian, 32
	default:
		return Identity{}, fault.New(fault.Malformed, "no Mach-O header at %d", off)
	}
	kind := MachO
	if o.Uint32(h[12:]) == 10 { // MH_DSYM
		kind = DSYM
	}
	count, size := o.Uint32(h[16:]), o.Uint32(h[20:])
	b := f.exact(off+start, uint64(size))
	for i := 0; i < int(min(count, maxHeaders)) && len(b) >= 8; i++ {
		command, n := o.Uint32(b), o.Uint32(b[4:])
		if n < 8 || uint64(n) > uint64(len(b)) {
			break
		}
		if command == 0x1b && n >= 24 {
			uuid := [16]byte(b[8:24])
			out := Identity{Kind: kind, DebugID: symbols.DebugIDFromUUID(uuid), CodeID: symbols.CodeIDFromUUID(uuid)}
			out.StoreID = out.CodeID
			return out, nil
		}
		b = b[n:]
	}
	return Identity{}, fault.New(fault.Malformed, "the Mach-O file has no LC_UUID")
}

// peSection is where a part of an image lies.
type peSection struct{ address, virtual, offset, raw uint32 }

func (f file) pe() (Identity, error) {
	le := binary.LittleEndian
	dos := f.exact(0, 64)
	if dos == nil {
		return Identity{}, short("DOS header")
	}
	at := uint64(le.Uint32(dos[60:]))
	h := f.exact(at, 24)
	if h == nil || string(h[:4]) != "PE\x00\x00" {
		return Identity{}, fault.New(fault.Malformed, "no PE header at %d", at)
	}
	stamp, sections, optional := le.Uint32(h[8:]), int(le.Uint16(h[6:])), uint64(le.Uint16(h[20:]))
	b := f.exact(at+24, optional)
	if len(b) < 96 {
		return Identity{}, short("PE optional header")
	}
	directory := 96
	if le.Uint16(b) == 0x20b {
		directory = 112
	}
	out := Identity{Kind: PE, CodeID: symbols.CodeIDFromPE(stamp, le.Uint32(b[56:]))}
	out.StoreID = out.CodeID
	if len(b) < directory+7*8 {
		return out, nil
	}
	address, size := le.Uint32(b[directory+48:]), le.Uint32(b[directory+52:])
	t := f.exact(at+24+optional, uint64(sections)*40)
	for ; len(t) >= 40; t = t[40:] {
		s := peSection{address: le.Uint32(t[12:]), virtual: le.Uint32(t[8:]), offset: le.Uint32(t[20:]), raw: le.Uint32(t[16:])}
		if address >= s.address && address-s.address < max(s.virtual, s.raw) {
			out.DebugID = f.codeView(uint64(s.offset)+uint64(address-s.address), uint64(size))
			break
		}
	}
	return out, nil
}

// codeView reads the debug directory of an image.
func (f file) codeView(off, size uint64) string {
	le := binary.LittleEndian
	for d := f.exact(off, min(size, 28*64)); len(d) >= 28; d = d[28:] {
		if le.Uint32(d[12:]) != 2 { // IMAGE_DEBUG_TYPE_CODEVIEW
			continue
		}
		r := f.exact(uint64(le.Uint32(d[24:])), 24)
		if r != nil && string(r[:4]) == "RSDS" {
			return symbols.DebugIDFromPDB(symbols.GUIDFromBytes([16]byte(r[4:20]), le), le.Uint32(r[20:]))
		}
	}
	return ""
}

// pdb reads stream 1 of a multi-stream file, which holds GUID and age; the age
// that images name stands in the DBI stream, 3.
func (f file) pdb() (Identity, error) {
	le := binary.LittleEndian
	h := f.exact(0, 56)
	if h == nil {
		return Identity{}, short("PDB header")
	}
	block, dirSize, mapBlock := le.Uint32(h[32:]), le.Uint32(h[44:]), le.Uint32(h[52:])
	if block < 512 || block > 64<<10 || block&(block-1) != 0 || dirSize > maxTable*8 {
		return Identity{}, fault.New(fault.Malformed, "PDB with blocks of %d bytes and a directory of %d", block, dirSize)
	}
	blocks := (uint64(dirSize) + uint64(block) - 1) / uint64(block)
	list := f.exact(uint64(mapBlock)*uint64(block), blocks*4)
	if list == nil {
		return Identity{}, short("PDB directory")
	}
	var dir []byte
	for ; len(list) >= 4; list = list[4:] {
		b := f.exact(uint64(le.Uint32(list))*uint64(block), uint64(block))
		if b == nil {
			return Identity{}, short("PDB directory")
		}
		dir = append(dir, b...)
	}
	dir = dir[:min(len(dir), int(dirSize))]
	info := f.stream(dir, block, 1)
	if len(info) < 28 {
		return Identity{}, short("PDB stream 1")
	}
	age := le.Uint32(info[8:])
	if dbi := f.stream(dir, block, 3); len(dbi) >= 12 {
		age = le.Uint32(dbi[8:])
	}
	id := symbols.DebugIDFromPDB(symbols.GUIDFromBytes([16]byte(info[12:28]), le), age)
	if id == symbols.NoDebugID {
		return Identity{}, fault.New(fault.Malformed, "the PDB has no GUID")
	}
	return Identity{Kind: PDB, DebugID: strings.ToUpper(id), StoreID: strings.ToUpper(id)}, nil
}

// stream reads the first block of stream n.
func (f file) stream(dir []byte, block uint32, n int) []byte {
	le := binary.LittleEndian
	if len(dir) < 4 {
		return nil
	}
	count := uint64(le.Uint32(dir))
	if uint64(n) >= count || count*4+4 > uint64(len(dir)) {
		return nil
	}
	skip := 4 + count*4
	for i := range n {
		size := le.Uint32(dir[4+4*i:])
		if size != 1<<32-1 { // a stream that was deleted
			skip += (uint64(size) + uint64(block) - 1) / uint64(block) * 4
		}
	}
	size := le.Uint32(dir[4+4*n:])
	if size == 1<<32-1 || skip+4 > uint64(len(dir)) {
		return nil
	}
	return f.exact(uint64(le.Uint32(dir[skip:]))*uint64(block), min(uint64(size), uint64(block)))
}
