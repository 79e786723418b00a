// Package dump writes Breakpad symbol files of ELF binaries: functions, source
// lines and inlined calls from DWARF 2 to 5, the linker's symbols for what has no
// debug information, and the rules to unwind from .eh_frame or .debug_frame.
// Programs in Go have all of that for their runtime too (package
// symbols/gopclntab): functions that no debug information describes, as in
// stripped ones, are written from there, and so are the rules for all.
//
// Lines are those that debuggers show. A line table often has several rows for
// one address: the last one that starts a statement counts. Rows for line 0,
// which mark code that belongs to no line, leave the line before in force.
//
// Functions are named by their scopes, as in ns::type::function, without
// parameters: DWARF does not spell them, and nothing is demangled.
//
// Of Mach-O files only programs in Go are read, from that table. It does not read
// split DWARF (.dwo) or PE files: those of Go have no id that crashes ask for
// symbols by.
//
// What is made and kept on the way is counted against Input.Memory, the output is
// bounded by the input, and the context is looked at every few thousand steps: so
// files of strangers cost what their size allows.
package dump

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/symbols/dump/debuginfo"
	"mayday/symbols/executable"
	"mayday/symbols/gopclntab"
	"mayday/symbols/sym"
)

// Input is what a symbol file is made from.
type Input struct {
	// Binary is the program or library itself, or its debug file alone, which has
	// no rules to unwind.
	Binary io.ReaderAt
	// Size is that of Binary in bytes.
	Size int64
	// Debug is its separate debug file of DebugSize bytes, nil when the binary has
	// its debug information in itself.
	Debug     io.ReaderAt
	DebugSize int64
	// Name is the name of the module, such as libc.so.6.
	Name string
	// Memory is how many bytes may be kept on the way, 0 for DefaultMemory of the
	// sizes. The collector of the runtime may use as much again.
	Memory int64
}

// DefaultMemory is what making a symbol file of size bytes of binaries may keep:
// 64 MB and four times their size. Binaries keep one to two times their size;
// with compressed debug information up to four.
func DefaultMemory(size int64) int64 { return 64<<20 + 4*size }

// maxOutput bounds the symbol file of size bytes of binaries likewise: real ones
// are smaller than the binary, or twice as large if that is compressed.
func maxOutput(size int64) int64 { return 64<<20 + 16*size }

// Write writes the symbol file of a binary to w. What cannot be read is an error
// of kind fault.Malformed, what takes more than Memory or makes far too much is
// one of kind fault.TooLarge; when ctx ends, its error comes back within
// milliseconds.
func Write(ctx context.Context, w io.Writer, in Input) error {
	size := in.Size
	if in.Debug != nil {
		size += in.DebugSize
	}
	memory := in.Memory
	if memory <= 0 {
		memory = DefaultMemory(size)
	}
	binary, err := open(in.Binary, in.Size)
	if err != nil {
		return fault.Wrap(err, "binary %s", in.Name)
	}
	debug := binary
	if in.Debug != nil {
		if debug, err = open(in.Debug, in.DebugSize); err != nil {
			return fault.Wrap(err, "debug file of %s", in.Name)
		}
	}
	m := &module{
		name: debuginfo.Clean(in.Name), binary: binary, base: binary.Base,
		meter: debuginfo.NewMeter(ctx, memory), out: sym.NewWriter(&limited{w, maxOutput(size)}),
	}
	for i := range binary.Sections {
		if s := &binary.Sections[i]; s.Executable {
			m.code = append(m.code, debuginfo.Span{Start: s.Address, End: s.Address + s.Size})
		}
	}
	if gopclntab.Possible(binary) {
		// Whatever is wrong with it: an ELF file has other things to tell.
		if m.golang, err = gopclntab.Open(binary); err != nil && binary.Format != executable.ELF {
			return fault.Wrap(err, "binary %s", in.Name)
		}
	}
	if m.info, err = debuginfo.Read(debug, m.meter); err != nil {
		return fault.Wrap(err, "debug information of %s", in.Name)
	}
	images := []*executable.Image{binary}
	if debug != binary {
		images = append(images, debug)
	}
	if err := m.readSymbols(images...); err != nil {
		return fault.Wrap(err, "symbols of %s", in.Name)
	}
	if err := m.arrange(); err != nil {
		return fault.Wrap(err, "symbols of %s", in.Name)
	}
	return fault.Wrap(m.write(), "symbols of %s", in.Name)
}

func open(r io.ReaderAt, size int64) (*executable.Image, error) {
	im, err := executable.Open(r, size, executable.UnknownMachine)
	if err == nil && im.Format != executable.ELF && (im.Format != executable.MachO || !gopclntab.Possible(im)) {
		err = fault.New(fault.Unsupported, "a %s file", im.Format)
	}
	return im, err
}

// limited refuses more than left bytes.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, fault.New(fault.TooLarge, "the symbol file grows far beyond the binary")
	}
	return l.w.Write(b)
}

// function is a function, or one of the parts of one.
type function struct {
	debuginfo.Function
	name string // of the linker; "" when the debug information names it
	// golang is one more than the number of a function of module.golang, 0 of
	// another.
	golang int
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
	binary    *executable.Image
	base      uint64
	code      []debuginfo.Span // sections
	golang    *gopclntab.Table // nil for none
	info      *debuginfo.Info
	functions []function
	publics   []public
	meter     *debuginfo.Meter

	out     *sym.Writer
	files   []uint32 // by Info.Files; one more than the number, 0 without
	origins []uint32 // by Info.Named; one more than the number, 0 without. The last is of none
	scratch []debuginfo.Line

	lastFile           uint32            // one more than the number
	goFiles, goOrigins map[uint32]uint32 // likewise, by their places in the table of Go functions
}

// arrange sorts functions and lines, gives each function its lines and makes
// functions of the symbols that only the line table knows.
func (m *module) arrange() error {
	lines := m.info.Lines
	byStart := func(a, b debuginfo.Line) int { return cmp.Compare(a.Start, b.Start) }
	if !slices.IsSortedFunc(lines, byStart) {
		slices.SortStableFunc(lines, byStart)
	}
	var err error
	for i := range m.info.Functions {
		if m.functions, err = debuginfo.Append(m.meter, m.functions, function{Function: m.info.Functions[i]}); err != nil {
			return err
		}
	}
	m.info.Functions = nil
	m.sortFunctions()
	if err := m.addGolang(); err != nil {
		return err
	}
	slices.SortStableFunc(m.publics, func(a, b public) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	m.publics = slices.CompactFunc(m.publics, func(a, b public) bool { return a.address == b.address })
	var bare []function
	m.publics = slices.DeleteFunc(m.publics, func(p public) bool {
		if m.covered(p.address) {
			return true
		}
		f := function{name: p.name}
		f.Span = debuginfo.Span{Start: p.address, End: p.address + p.size}
		if _, any := m.firstLine(f.Span); p.size == 0 || !any || err != nil {
			return false
		}
		bare, err = debuginfo.Append(m.meter, bare, f)
		return true
	})
	if len(bare) > 0 {
		m.functions = append(m.functions, bare...)
		m.sortFunctions()
	}
	return err
}

func (m *module) sortFunctions() {
	byStart := func(a, b function) int { return cmp.Compare(a.Start, b.Start) }
	if !slices.IsSortedFunc(m.functions, byStart) {
		slices.SortStableFunc(m.functions, byStart)
	}
	m.functions = withoutOverlaps(m.functions)
}

// withoutOverlaps drops functions that start where another does (several names
// of the same code) and ends the others where the next one starts.
func withoutOverlaps(sorted []function) []function {
	sorted = slices.CompactFunc(sorted, func(a, b function) bool { return a.Start == b.Start })
	for i := range sorted[:max(len(sorted), 1)-1] {
		sorted[i].End = min(sorted[i].End, sorted[i+1].Start)
	}
	return sorted
}

// covered says whether a function covers an address.
func (m *module) covered(address uint64) bool {
	i, found := slices.BinarySearchFunc(m.functions, address, func(f function, a uint64) int { return cmp.Compare(f.Start, a) })
	return found || i > 0 && address < m.functions[i-1].End
}

// firstLine is the first line that starts in a range.
func (m *module) firstLine(s debuginfo.Span) (int, bool) {
	lines := m.info.Lines
	i, _ := slices.BinarySearchFunc(lines, s.Start, func(l debuginfo.Line, a uint64) int { return cmp.Compare(l.Start, a) })
	return i, i < len(lines) && lines[i].Start < s.End
}

// linesIn are the lines that start in a range, until the next call; neighbours of
// one line are one.
func (m *module) linesIn(s debuginfo.Span) []debuginfo.Line {
	all := m.scratch[:0]
	i, _ := m.firstLine(s)
	for ; i < len(m.info.Lines) && m.info.Lines[i].Start < s.End; i++ {
		l := m.info.Lines[i]
		l.Size = uint32(min(l.End(), s.End) - l.Start)
		if n := len(all); n > 0 {
			if last := &all[n-1]; l.Start < last.End() {
				continue // another table describes the same code
			} else if last.End() == l.Start && last.File == l.File && last.Number == l.Number && uint64(last.Size)+uint64(l.Size) < 1<<32 {
				last.Size += l.Size
				continue
			}
		}
		all = append(all, l)
	}
	m.scratch = all
	return all
}

// architectures are the names that symbol files have for CPUs.
var architectures = map[executable.Machine]string{
	executable.X86: "x86", executable.AMD64: "x86_64", executable.ARM: "arm", executable.ARM64: "arm64",
	executable.MIPS: "mips", executable.MIPS64: "mips64", executable.PPC: "ppc", executable.PPC64: "ppc64", executable.RISCV: "riscv", executable.RISCV64: "riscv64",
}

// identity is what names a binary, zeros where nothing does.
func identity(im *executable.Image) []byte {
	if id := im.Identity(); len(id) > 0 {
		return id
	}
	return make([]byte, 16)
}

// debugID is an identity as a symbol file spells it: a GUID whose first three
// parts are numbers in the byte order of the machine (ELF), or the UUID as it
// stands (Mach-O), and an age of 0.
func debugID(im *executable.Image, id []byte) string {
	return guid(id, im.Format == executable.ELF && im.Order.Uint16([]byte{1, 0}) == 1)
}

// guid is debugID; swapped says that the first three parts stand in the other order.
func guid(id []byte, swapped bool) string {
	var g [16]byte
	copy(g[:], id)
	if swapped {
		slices.Reverse(g[0:4])
		slices.Reverse(g[4:6])
		slices.Reverse(g[6:8])
	}
	return strings.ToUpper(hex.EncodeToString(g[:])) + "0"
}

// write writes all records.
func (m *module) write() error {
	arch := architectures[m.binary.Machine]
	if arch == "" {
		arch = "unknown"
	}
	id := identity(m.binary)
	system := "Linux"
	if m.binary.Format == executable.MachO {
		system = "mac"
	}
	_ = m.out.Write(&sym.Record{Kind: sym.KindModule, OS: []byte(system), Arch: []byte(arch), ModuleID: []byte(debugID(m.binary, id)), Text: []byte(m.name)})
	_ = m.out.Write(&sym.Record{Kind: sym.KindInfo, Text: fmt.Appendf(nil, "CODE_ID %X", id)})
	if err := m.writeFiles(); err != nil {
		return err
	}
	if err := m.writeOrigins(); err != nil {
		return err
	}
	for i := range m.functions {
		if err := m.writeFunction(&m.functions[i]); err != nil {
			return err
		}
	}
	for _, p := range m.publics {
		if err := m.out.Write(&sym.Record{Kind: sym.KindPublic, Address: p.address - m.base, Text: []byte(p.name)}); err != nil {
			return err
		}
	}
	if err := m.writeCFI(); err != nil {
		return err
	}
	return m.out.Flush()
}

// writeFiles numbers the files in the order in which functions have them.
func (m *module) writeFiles() error {
	m.files = make([]uint32, len(m.info.Files))
	file := func(i uint32) {
		if m.files[i] == 0 {
			m.files[i] = m.writeFile(m.info.Files[i])
		}
	}
	for i := range m.functions {
		f := &m.functions[i]
		if f.golang > 0 {
			if err := m.writeGoFiles(f); err != nil {
				return err
			}
			continue
		}
		for _, l := range m.linesIn(f.Span) {
			file(l.File)
		}
		for _, in := range f.Inlines {
			file(in.File)
		}
		if err := m.meter.Step(); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file and returns one more than its number.
func (m *module) writeFile(name string) uint32 {
	m.lastFile++
	_ = m.out.Write(&sym.Record{Kind: sym.KindFile, ID: m.lastFile - 1, Text: []byte(name)}) // an error stays
	return m.lastFile
}

// writeOrigins numbers the functions that were inlined. Those of one name are
// one.
func (m *module) writeOrigins() error {
	none := m.info.Names()
	if err := m.meter.Take(4 * int64(none+1)); err != nil {
		return err
	}
	m.origins = make([]uint32, none+1)
	known := map[string]uint32{}
	for i := range m.functions {
		if m.functions[i].golang > 0 {
			if err := m.writeGoOrigins(&m.functions[i], known); err != nil {
				return err
			}
		}
		for _, in := range m.functions[i].Inlines {
			if err := m.meter.Step(); err != nil {
				return err
			}
			at := m.origin(&in)
			if *at > 0 {
				continue
			}
			var err error
			if *at, err = m.writeOrigin(known, m.info.Name(m.info.Named(in.Entry))); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeOrigin writes the name of a function that was inlined, unless it is known,
// and returns one more than its number.
func (m *module) writeOrigin(known map[string]uint32, name string) (uint32, error) {
	if n := known[name]; n > 0 {
		return n, nil
	}
	if err := m.meter.Take(int64(len(name)) + mapEntry); err != nil {
		return 0, err
	}
	n := uint32(len(known) + 1)
	known[name] = n
	return n, m.out.Write(&sym.Record{Kind: sym.KindInlineOrigin, ID: n - 1, Text: []byte(name)})
}

// origin is where the number of the function that was inlined stands.
func (m *module) origin(in *debuginfo.Inline) *uint32 {
	if n := m.info.Named(in.Entry); n >= 0 {
		return &m.origins[n]
	}
	return &m.origins[len(m.origins)-1]
}

// mapEntry is what a string in a map takes besides its bytes.
const mapEntry = 64

func (m *module) writeFunction(f *function) error {
	if f.golang > 0 {
		return m.writeGoFunction(f)
	}
	name := f.name
	if name == "" {
		name = m.info.Name(m.info.Named(f.Entry))
	}
	if err := m.out.Write(&sym.Record{Kind: sym.KindFunc, Address: f.Start - m.base, Size: f.End - f.Start, Text: []byte(name)}); err != nil {
		return err
	}
	for i := range f.Inlines {
		in := &f.Inlines[i]
		r := sym.Record{Kind: sym.KindInline, Depth: in.Depth, Line: in.Line, File: m.files[in.File] - 1, Origin: *m.origin(in) - 1}
		for _, g := range m.info.Spans(in) {
			if c, ok := g.Overlap(f.Span); ok {
				r.Ranges = append(r.Ranges, sym.Range{Address: c.Start - m.base, Size: c.End - c.Start})
			}
		}
		if len(r.Ranges) == 0 {
			continue
		}
		if err := m.out.Write(&r); err != nil {
			return err
		}
		if err := m.meter.Step(); err != nil {
			return err
		}
	}
	for _, l := range m.linesIn(f.Span) {
		if err := m.out.Write(&sym.Record{Kind: sym.KindLine, Address: l.Start - m.base, Size: uint64(l.Size), Line: l.Number, File: m.files[l.File] - 1}); err != nil {
			return err
		}
	}
	return m.meter.Step()
}
