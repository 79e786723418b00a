package synth

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// FrameKind says how a function keeps its frame, and with it what an unwinder
// needs to leave it.
type FrameKind uint8

const (
	// FramePointer frames begin with the saved frame pointer and the return
	// address. The symbols have no unwind records for them.
	FramePointer FrameKind = iota
	// CFI frames are described by STACK CFI records; on x86 and amd64 the frame
	// pointer is an ordinary register in them.
	CFI
	// Program frames (x86) are frame pointer frames with a STACK WIN program.
	Program
	// FPO frames (x86) have no frame pointer and a STACK WIN record of sizes.
	FPO
	// Bare frames have neither a frame pointer nor records: the unwinder has to
	// scan for the return address. The frame pointer is lost in them.
	Bare
)

// Function is code of a Binary.
type Function struct {
	Name       string
	Address    uint32 // offset in the binary
	Size       uint32
	Parameters uint32 // bytes of arguments on the stack (x86)
	File       string // "" for a function without lines
	Line       int    // of the first instruction
	// LineBytes is how many bytes of code each line has; 0 means 16.
	LineBytes uint32
	Frame     FrameKind
	Locals    uint32   // bytes of stack, besides what is saved
	Saves     []string // callee-saved registers that a CFI frame saves, besides the frame pointer
	Inlines   []Inline // by depth, then address
	Public    bool     // only a PUBLIC record: no size, no lines
	Multiple  bool     // the "m" flag: the linker folded several functions
}

// Inline is a function inlined into another.
type Inline struct {
	Depth         int
	Name          string
	File          string // where the inlined code is
	Line          int
	CallFile      string // where it was called
	CallLine      int
	Address, Size uint32 // offset in the binary
}

// Binary is an executable or library of a made-up program.
type Binary struct {
	CPU       CPU
	OS        OS
	Path      string // as the dump names it
	Debug     string // debug file; "" means the path
	ID        [16]byte
	Age       uint32 // PDB age
	TimeStamp uint32
	Base      uint64
	Size      uint32
	Version   *Version
	// Functions in the order of their addresses.
	Functions []Function
	// NoSymbols says that nobody has symbols for it (a driver, a codec).
	NoSymbols bool
}

// Lookup is the function that covers an offset, nil when none does.
func (b *Binary) Lookup(offset uint32) *Function {
	i := sort.Search(len(b.Functions), func(i int) bool { return b.Functions[i].Address > offset })
	if i == 0 {
		return nil
	}
	f := &b.Functions[i-1]
	if offset-f.Address >= f.Size {
		return nil
	}
	return f
}

// Function finds a function by its name, nil when there is none.
func (b *Binary) Function(name string) *Function {
	for i := range b.Functions {
		if b.Functions[i].Name == name {
			return &b.Functions[i]
		}
	}
	return nil
}

// buildID is the ELF build id: the id and four bytes made from it.
func (b *Binary) buildID() []byte {
	return append(b.ID[:], b.ID[3]^0x5a, b.ID[5], b.ID[7]^0xff, b.ID[11])
}

// isELF says whether the binary is identified by a build id.
func (b *Binary) isELF() bool { return b.OS != Windows && b.OS != MacOS && b.OS != IOS }

// DebugID is the id in the form of symbol stores: 32 upper-case hex digits and
// the age.
func (b *Binary) DebugID() string {
	id := b.ID
	if b.isELF() { // the build id's bytes are a little-endian GUID
		slices.Reverse(id[0:4])
		slices.Reverse(id[4:6])
		slices.Reverse(id[6:8])
	}
	return fmt.Sprintf("%X%x", id[:], b.Age)
}

// CodeID is the id of the binary itself: time and size, UUID or build id.
func (b *Binary) CodeID() string {
	switch {
	case b.OS == Windows:
		return fmt.Sprintf("%08X%x", b.TimeStamp, b.Size)
	case b.isELF():
		return hex.EncodeToString(b.buildID())
	}
	return hex.EncodeToString(b.ID[:])
}

// DebugFile is the leaf of the debug file.
func (b *Binary) DebugFile() string {
	if b.Debug != "" {
		return leaf(b.Debug)
	}
	return leaf(b.Path)
}

// Leaf is the file name of the binary.
func (b *Binary) Leaf() string { return leaf(b.Path) }

// SymPath is where a symbol store keeps the binary's .sym file.
func (b *Binary) SymPath() string {
	file := b.DebugFile()
	return path.Join(file, b.DebugID(), strings.TrimSuffix(file, ".pdb")+".sym")
}

func leaf(p string) string { return p[strings.LastIndexAny(p, `/\`)+1:] }

// Module is the binary's entry in a module list.
func (b *Binary) Module() Module {
	m := Module{Base: b.Base, Size: b.Size, TimeStamp: b.TimeStamp, Name: b.Path, Version: b.Version}
	switch {
	case b.OS == Windows:
		m.CV = PDB70{b.ID, b.Age, b.Debug}
	case b.isELF():
		m.CV = ELF{b.buildID()}
	default:
		m.CV = MachO(b.ID, b.DebugFile())
	}
	return m
}

const defaultLineBytes = 16

func (f *Function) lineBytes() uint32 {
	if f.LineBytes == 0 {
		return defaultLineBytes
	}
	return f.LineBytes
}

// SourceLine is the file and line of an offset as the line records say, ""
// when there are none.
func (f *Function) SourceLine(offset uint32) (file string, line int) {
	if f.Public || f.File == "" || offset < f.Address {
		return "", 0
	}
	for i := len(f.Inlines) - 1; i >= 0; i-- { // deepest first
		if in := &f.Inlines[i]; offset-in.Address < in.Size && offset >= in.Address {
			return in.File, in.Line
		}
	}
	return f.File, f.Line + int((offset-f.Address)/f.lineBytes())
}

var symCPU = map[CPU]string{X86: "x86", AMD64: "x86_64", ARM: "arm", ARM64: "arm64", ARM64Old: "arm64", MIPS: "mips", MIPS64: "mips64",
	PPC: "ppc", PPC64: "ppc64", SPARC: "sparc", RISCV64: "riscv64"}

func symOS(o OS) string {
	switch o {
	case Windows:
		return "windows"
	case MacOS, IOS:
		return "mac"
	}
	return "Linux"
}

// Sym is the binary's Breakpad symbol file.
func (b *Binary) Sym() []byte {
	s := symWriter{files: map[string]int{}, origins: map[string]int{}}
	s.line("MODULE", symOS(b.OS), symCPU[b.CPU], b.DebugID(), b.DebugFile())
	if b.OS == Windows {
		s.line("INFO CODE_ID", b.CodeID(), b.Leaf())
	} else {
		s.line("INFO CODE_ID", strings.ToUpper(b.CodeID()))
	}
	for i := range b.Functions {
		s.collect(&b.Functions[i])
	}
	for i, name := range s.fileNames {
		s.line("FILE", strconv.Itoa(i), name)
	}
	for i, name := range s.originNames {
		s.line("INLINE_ORIGIN", strconv.Itoa(i), name)
	}
	for i := range b.Functions {
		s.function(&b.Functions[i])
	}
	for i := range b.Functions {
		if f := &b.Functions[i]; f.Public {
			s.printf("PUBLIC %s%x %x %s\n", multiple(f), f.Address, f.Parameters, f.Name)
		}
	}
	for i := range b.Functions {
		s.stack(b.CPU, &b.Functions[i])
	}
	return s.b
}

type symWriter struct {
	b                      []byte
	files, origins         map[string]int
	fileNames, originNames []string
}

func (s *symWriter) printf(format string, a ...any) { s.b = fmt.Appendf(s.b, format, a...) }

func (s *symWriter) line(words ...string) {
	s.b = append(append(s.b, strings.Join(words, " ")...), '\n')
}

func number(name string, ids map[string]int, names *[]string) {
	if _, ok := ids[name]; !ok {
		ids[name] = len(*names)
		*names = append(*names, name)
	}
}

// collect numbers the files and inline origins of a function.
func (s *symWriter) collect(f *Function) {
	if f.Public {
		return
	}
	if f.File != "" {
		number(f.File, s.files, &s.fileNames)
	}
	for _, in := range f.Inlines {
		number(in.Name, s.origins, &s.originNames)
		number(in.File, s.files, &s.fileNames)
		number(in.CallFile, s.files, &s.fileNames)
	}
}

func multiple(f *Function) string {
	if f.Multiple {
		return "m "
	}
	return ""
}

func (s *symWriter) function(f *Function) {
	if f.Public {
		return
	}
	s.printf("FUNC %s%x %x %x %s\n", multiple(f), f.Address, f.Size, f.Parameters, f.Name)
	for _, in := range f.Inlines {
		s.printf("INLINE %d %d %d %d %x %x\n", in.Depth, in.CallLine, s.files[in.CallFile], s.origins[in.Name], in.Address, in.Size)
	}
	if f.File == "" {
		return
	}
	// A record lasts as long as file and line stay the same.
	end := f.Address + f.Size
	cuts := []uint32{end}
	for at := f.Address; at < end; at += f.lineBytes() {
		cuts = append(cuts, at)
	}
	for _, in := range f.Inlines {
		cuts = append(cuts, in.Address, in.Address+in.Size)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i := 0; i+1 < len(cuts); i++ {
		file, line := f.SourceLine(cuts[i])
		j := i + 1
		for ; j+1 < len(cuts); j++ {
			if f2, l2 := f.SourceLine(cuts[j]); f2 != file || l2 != line {
				break
			}
		}
		s.printf("%x %x %d %d\n", cuts[i], cuts[j]-cuts[i], line, s.files[file])
		i = j - 1
	}
}

// stack writes the unwind records of a function.
func (s *symWriter) stack(cpu CPU, f *Function) {
	switch f.Frame {
	case CFI:
		l := layoutOf(cpu, f)
		s.printf("STACK CFI INIT %x %x .cfa: %s %d + .ra: .cfa %d + ^", f.Address, f.Size, cfiName(cpu, cpu.SP()), l.size, l.ra-l.size)
		for _, r := range l.saved {
			s.printf(" %s: .cfa %d + ^", cfiName(cpu, r.name), r.at-l.size)
		}
		s.b = append(s.b, '\n')
	case Program:
		if cpu == X86 {
			s.printf("STACK WIN 4 %x %x 3 1 %x 0 %x 0 1 $T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =\n", f.Address, f.Size, f.Parameters, f.Locals)
		}
	case FPO:
		if cpu == X86 {
			s.printf("STACK WIN 0 %x %x 1 1 %x %x %x 0 0 0\n", f.Address, f.Size, f.Parameters, 4*len(f.Saves), f.Locals)
		}
	}
}

// cfiName is a register's name in STACK CFI rules: with a $ on the CPUs whose
// tools write one.
func cfiName(cpu CPU, name string) string {
	switch cpu {
	case X86, AMD64, MIPS, MIPS64:
		return "$" + name
	case RISCV64, PPC, PPC64, SPARC, ARM, ARM64, ARM64Old:
	}
	return name
}
