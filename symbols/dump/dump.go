// Package dump writes Breakpad symbol files of ELF binaries: functions, source
// lines and inlined calls from DWARF 2 to 5, the linker's symbols for what has no
// debug information, and the rules to unwind from .eh_frame or .debug_frame.
//
// Lines are those that debuggers show. A line table often has several rows for
// one address: the last one that starts a statement counts. Rows for line 0,
// which mark code that belongs to no line, leave the line before in force.
//
// Functions are named by their scopes, as in ns::type::function, without
// parameters: DWARF does not spell them, and nothing is demangled.
//
// It does not read split DWARF (.dwo), PE or Mach-O files.
package dump

import (
	"bytes"
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/symbols/sym"
)

// Input is what a symbol file is made from.
type Input struct {
	// Binary is the program or library itself.
	Binary io.ReaderAt
	// Size is that of Binary in bytes.
	Size int64
	// Debug is its separate debug file, nil when the binary has its debug
	// information in itself.
	Debug io.ReaderAt
	// Name is the name of the module, such as libc.so.6.
	Name string
}

// Write writes the symbol file of a binary to w. What cannot be read is an
// error of kind Malformed.
func Write(w io.Writer, in Input) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Malformed, "debug information of %s: %v", in.Name, r)
		}
	}()
	binary, err := elf.NewFile(in.Binary)
	if err != nil {
		return fault.Wrap(fault.New(fault.Malformed, "%v", err), "binary %s", in.Name)
	}
	debug := binary
	if in.Debug != nil {
		if debug, err = elf.NewFile(in.Debug); err != nil {
			return fault.Wrap(fault.New(fault.Malformed, "%v", err), "debug file of %s", in.Name)
		}
	}
	m := &module{name: in.Name, binary: binary, base: imageBase(binary), out: sym.NewWriter(w), files: map[string]uint32{}, origins: map[string]uint32{}}
	for _, s := range binary.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && s.Flags&elf.SHF_ALLOC != 0 {
			m.code = append(m.code, span{s.Addr, s.Addr + s.Size})
		}
	}
	if len(m.code) > maxCodeSections {
		return fault.New(fault.Malformed, "binary %s: %d sections of code", in.Name, len(m.code))
	}
	if data, err := debug.DWARF(); err == nil {
		if err := m.readUnits(data); err != nil {
			return fault.New(fault.Malformed, "debug information of %s: %v", in.Name, err)
		}
	}
	m.readSymbols(binary, debug)
	m.arrange()
	return m.write(in)
}

// The limits, far above what compilers and linkers make, keep a made-up file from
// taking long.
const (
	maxCodeSections = 4096
	maxParts        = 4096 // of one function
)

// span is a range of addresses.
type span struct{ start, end uint64 }

func (s span) overlap(o span) (span, bool) {
	c := span{max(s.start, o.start), min(s.end, o.end)}
	return c, c.start < c.end
}

// line is a range of addresses of one source line.
type line struct {
	span
	file string
	line uint32
}

// function is a function, or one of the parts of one.
type function struct {
	span
	name    string
	origin  dwarf.Offset // names it when name is ""
	inlines []inline
	lines   []line
}

// inline is a call that was inlined.
type inline struct {
	depth  uint32
	origin dwarf.Offset // of the function called
	file   string       // of the call
	line   uint32
	ranges []span
}

// public is a symbol of the linker.
type public struct {
	address, size uint64
	name          string
	rank          int // the lower the better of several names
}

// module is a symbol file in the making.
type module struct {
	name      string
	binary    *elf.File
	base      uint64
	code      []span // sections
	names     map[dwarf.Offset]entity
	functions []function
	lines     []line
	publics   []public

	out     *sym.Writer
	files   map[string]uint32
	origins map[string]uint32
}

// imageBase is the address that offsets in the module count from.
func imageBase(f *elf.File) uint64 {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			return p.Vaddr - p.Off
		}
	}
	return 0
}

// isCode says whether a range lies in a section of code.
func (m *module) isCode(s span) bool {
	return s.start < s.end && slices.ContainsFunc(m.code, func(c span) bool { return s.start >= c.start && s.end <= c.end })
}

// arrange sorts functions and lines, gives each function its lines and makes
// functions of the symbols that only the line table knows.
func (m *module) arrange() {
	slices.SortStableFunc(m.lines, func(a, b line) int { return cmp.Compare(a.start, b.start) })
	slices.SortStableFunc(m.functions, func(a, b function) int { return cmp.Compare(a.start, b.start) })
	m.functions = withoutOverlaps(m.functions)
	slices.SortStableFunc(m.publics, func(a, b public) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	m.publics = slices.CompactFunc(m.publics, func(a, b public) bool { return a.address == b.address })
	var bare []function
	m.publics = slices.DeleteFunc(m.publics, func(p public) bool {
		if m.covered(p.address) {
			return true
		}
		f := function{span: span{p.address, p.address + p.size}, name: p.name}
		if p.size == 0 || len(m.linesIn(f.span)) == 0 {
			return false
		}
		bare = append(bare, f)
		return true
	})
	if len(bare) > 0 {
		m.functions = append(m.functions, bare...)
		slices.SortStableFunc(m.functions, func(a, b function) int { return cmp.Compare(a.start, b.start) })
		m.functions = withoutOverlaps(m.functions)
	}
	for i := range m.functions {
		m.functions[i].lines = m.linesIn(m.functions[i].span)
	}
}

// withoutOverlaps drops functions that start where another does (several names
// of the same code) and ends the others where the next one starts.
func withoutOverlaps(sorted []function) []function {
	sorted = slices.CompactFunc(sorted, func(a, b function) bool { return a.start == b.start })
	for i := range sorted[:max(len(sorted), 1)-1] {
		sorted[i].end = min(sorted[i].end, sorted[i+1].start)
	}
	return sorted
}

// covered says whether a function covers an address.
func (m *module) covered(address uint64) bool {
	i, found := slices.BinarySearchFunc(m.functions, address, func(f function, a uint64) int { return cmp.Compare(f.start, a) })
	return found || i > 0 && address < m.functions[i-1].end
}

// linesIn are the lines that start in a range; neighbours of one line are one.
func (m *module) linesIn(s span) (all []line) {
	i, _ := slices.BinarySearchFunc(m.lines, s.start, func(l line, a uint64) int { return cmp.Compare(l.start, a) })
	for ; i < len(m.lines) && m.lines[i].start < s.end; i++ {
		l := m.lines[i]
		l.end = min(l.end, s.end)
		if n := len(all); n > 0 {
			if last := &all[n-1]; l.start < last.end {
				continue // another table describes the same code
			} else if last.end == l.start && last.file == l.file && last.line == l.line {
				last.end = l.end
				continue
			}
		}
		all = append(all, l)
	}
	return all
}

// architectures are the names that symbol files have for CPUs.
var architectures = map[elf.Machine]string{
	elf.EM_386: "x86", elf.EM_X86_64: "x86_64", elf.EM_ARM: "arm", elf.EM_AARCH64: "arm64",
	elf.EM_MIPS: "mips", elf.EM_PPC: "ppc", elf.EM_PPC64: "ppc64", elf.EM_RISCV: "riscv64",
}

// identity is the build id of a binary. One without gets what Breakpad takes
// in its place: the first page of its code, folded by exclusive or into 16
// bytes.
func identity(f *elf.File) []byte {
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOTE {
			continue
		}
		if b, err := s.Data(); err == nil {
			if id := buildID(b, f.ByteOrder.Uint32); id != nil {
				return id
			}
		}
	}
	id := make([]byte, 16)
	if s := f.Section(".text"); s != nil && s.Type != elf.SHT_NOBITS {
		page := make([]byte, min(s.Size, 4096))
		n, _ := s.ReadAt(page, 0) // what there is
		for i, c := range page[:n] {
			id[i%16] ^= c
		}
	}
	return id
}

// buildID finds the GNU build id among notes: name size, description size,
// kind 3, then the name and the description, each padded to 4 bytes.
func buildID(notes []byte, number func([]byte) uint32) []byte {
	const header, kindBuildID = 12, 3
	for len(notes) >= header {
		name, desc, kind := uint64(number(notes)), uint64(number(notes[4:])), number(notes[8:])
		start := header + (name+3)&^3
		end := start + (desc+3)&^3
		if start+desc > uint64(len(notes)) {
			return nil
		}
		if kind == kindBuildID && bytes.Equal(notes[header:header+name], []byte("GNU\x00")) && desc > 0 {
			return notes[start : start+desc]
		}
		notes = notes[min(end, uint64(len(notes))):]
	}
	return nil
}

// debugID is an identity as a symbol file spells it: a GUID whose first three
// parts are numbers in the byte order of the machine, and an age of 0.
func debugID(id []byte, littleEndian bool) string {
	var g [16]byte
	copy(g[:], id)
	if littleEndian {
		slices.Reverse(g[0:4])
		slices.Reverse(g[4:6])
		slices.Reverse(g[6:8])
	}
	return strings.ToUpper(hex.EncodeToString(g[:])) + "0"
}

// write writes all records.
func (m *module) write(in Input) error {
	arch := architectures[m.binary.Machine]
	if arch == "" {
		arch = "unknown"
	}
	id := identity(m.binary)
	_ = m.out.Write(&sym.Record{Kind: sym.KindModule, OS: []byte("Linux"), Arch: []byte(arch), ModuleID: []byte(debugID(id, m.binary.ByteOrder.Uint16([]byte{1, 0}) == 1)), Text: []byte(m.name)})
	_ = m.out.Write(&sym.Record{Kind: sym.KindInfo, Text: fmt.Appendf(nil, "CODE_ID %X", id)})
	m.writeNames()
	for i := range m.functions {
		m.writeFunction(&m.functions[i])
	}
	for _, p := range m.publics {
		_ = m.out.Write(&sym.Record{Kind: sym.KindPublic, Address: p.address - m.base, Text: []byte(p.name)})
	}
	m.writeCFI(in)
	return m.out.Flush()
}

// writeNames numbers the files and the functions that were inlined.
func (m *module) writeNames() {
	file := func(name string) {
		if _, ok := m.files[name]; !ok {
			m.files[name] = uint32(len(m.files))
			_ = m.out.Write(&sym.Record{Kind: sym.KindFile, ID: m.files[name], Text: []byte(name)})
		}
	}
	for _, f := range m.functions {
		for _, l := range f.lines {
			file(l.file)
		}
		for _, in := range f.inlines {
			file(in.file)
		}
	}
	for _, f := range m.functions {
		for _, in := range f.inlines {
			name := m.nameOf(in.origin)
			if _, ok := m.origins[name]; !ok {
				m.origins[name] = uint32(len(m.origins))
				_ = m.out.Write(&sym.Record{Kind: sym.KindInlineOrigin, ID: m.origins[name], Text: []byte(name)})
			}
		}
	}
}

func (m *module) writeFunction(f *function) {
	name := f.name
	if name == "" {
		name = m.nameOf(f.origin)
	}
	_ = m.out.Write(&sym.Record{Kind: sym.KindFunc, Address: f.start - m.base, Size: f.end - f.start, Text: []byte(name)})
	for _, in := range f.inlines {
		r := sym.Record{Kind: sym.KindInline, Depth: in.depth, Line: in.line, File: m.files[in.file], Origin: m.origins[m.nameOf(in.origin)]}
		for _, g := range in.ranges {
			if c, ok := g.overlap(f.span); ok {
				r.Ranges = append(r.Ranges, sym.Range{Address: c.start - m.base, Size: c.end - c.start})
			}
		}
		if len(r.Ranges) > 0 {
			_ = m.out.Write(&r)
		}
	}
	for _, l := range f.lines {
		_ = m.out.Write(&sym.Record{Kind: sym.KindLine, Address: l.start - m.base, Size: l.end - l.start, Line: l.line, File: m.files[l.file]})
	}
}
