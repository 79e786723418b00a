// Package executable reads the headers of programs and libraries: ELF (gABI),
// PE/COFF (Microsoft's specification) and Mach-O (mach-o/loader.h). It says
// what names a file, for which processor it is, where its sections lie in the
// address space, and reads bytes of them.
//
// It does not read symbols or debug information. Unwind information is read
// from it by package symbols/unwindinfo.
//
// Files come from strangers. Nothing is allocated by what a header claims: a
// table is bounded and checked against the size of the file first, and bytes
// are read in blocks of which few are kept.
package executable

import (
	"bytes"
	"encoding/binary"
	"io"

	"mayday/app/fault"
	"mayday/symbols"
)

// Format is the kind of a file.
type Format uint8

// The formats.
const (
	ELF Format = iota + 1
	PE
	MachO
)

// String is the format's name.
func (f Format) String() string {
	switch f {
	case ELF:
		return "ELF"
	case PE:
		return "PE"
	case MachO:
		return "Mach-O"
	}
	return "unknown"
}

// Machine is the processor that a file is for.
type Machine uint8

// The processors.
const (
	UnknownMachine Machine = iota
	X86
	AMD64
	ARM
	ARM64
	MIPS
	MIPS64
	PPC
	PPC64
	RISCV
	RISCV64
)

// PointerSize is the size of an address in bytes.
func (m Machine) PointerSize() int {
	switch m {
	case X86, ARM, MIPS, PPC, RISCV:
		return 4
	}
	return 8
}

// The limits on what a file may make the reader do. Real files have some tens
// of sections; those of -ffunction-sections some thousands.
const (
	maxHeaders = 16 << 10 // section headers, program headers, load commands
	maxTable   = 4 << 20  // bytes of one table of headers or names
	maxFat     = 40       // architectures in one Mach-O file; the versions of Java classes, which begin likewise, start above
	maxNotes   = 1 << 20  // bytes of notes that are searched for a build id
)

// Section is a part of the file that has a name.
type Section struct {
	Name    string // .eh_frame, __unwind_info
	Segment string // Mach-O: the segment it is in
	// Address is where it lies when the module lies at Image.Base, 0 if it is not
	// loaded; Size is its size there.
	Address, Size uint64
	// Offset and FileSize say where it lies in the file.
	Offset, FileSize uint64
	// Compressed says that the bytes in the file are packed (ELF
	// SHF_COMPRESSED); Content and Stream unpack them.
	Compressed bool
	// Executable says that it holds code (ELF).
	Executable bool
}

// Segment is a part of the file that is mapped into memory.
type Segment struct {
	Address, Size    uint64
	Offset, FileSize uint64
	Executable       bool
}

// Image is an opened file. It is safe for concurrent use.
type Image struct {
	Format  Format
	Machine Machine
	Order   binary.ByteOrder
	// Base is the address that the file was linked to; offsets of a module count
	// from there.
	Base     uint64
	Sections []Section
	Segments []Segment
	// BuildID is the GNU build id of an ELF file, the UUID of a Mach-O file.
	BuildID []byte
	// TimeStamp and SizeOfImage name a PE file.
	TimeStamp, SizeOfImage uint32
	// Exceptions is the exception directory of a PE file, as offset and size from
	// Base.
	Exceptions Range

	wide bool // addresses of 64 bits in the headers
	file *pages
}

// Range is a piece of a module.
type Range struct{ Offset, Size uint64 }

// Open reads the headers of a file of size bytes. A Mach-O file for several
// processors is opened as the one for machine, or the first when machine is
// UnknownMachine. What is none of the formats, or breaks off, is an error of
// kind fault.Malformed.
func Open(r io.ReaderAt, size int64, machine Machine) (*Image, error) {
	if size < 0 {
		return nil, fault.New(fault.Invalid, "a file of %d bytes", size)
	}
	im := &Image{Order: binary.LittleEndian, file: newPages(r, uint64(size))}
	if err := im.open(machine); err != nil {
		return nil, err
	}
	return im, nil
}

func (im *Image) open(machine Machine) error {
	head := im.file.bytes(0, 4)
	switch {
	case bytes.Equal(head, []byte("\x7fELF")):
		return im.openELF()
	case bytes.HasPrefix(im.file.bytes(0, 2), []byte("MZ")):
		return im.openPE()
	case len(head) == 4:
		switch binary.BigEndian.Uint32(head) {
		case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
			return im.openMachO(0, im.file.size)
		case 0xcafebabe, 0xcafebabf:
			return im.openFat(machine)
		}
	}
	return fault.New(fault.Malformed, "neither ELF, PE nor Mach-O")
}

// CodeID is what dumps name the file by: time stamp and size (PE), the build id
// (ELF) or UUID (Mach-O); "" when the file has no name.
func (im *Image) CodeID() string {
	switch {
	case im.Format == PE:
		return symbols.CodeIDFromPE(im.TimeStamp, im.SizeOfImage)
	case len(im.BuildID) == 0:
		return ""
	}
	return symbols.CodeIDFromBuildID(im.BuildID)
}

// Is reports whether the file is that of a module, by its code id, or by its
// debug id where that is made of the same. An ELF file without a build id is known
// by what writers of dumps take in its place.
func (im *Image) Is(id symbols.ModuleID) bool {
	name, code := im.BuildID, im.CodeID()
	if im.Format == ELF {
		name = im.Identity()
		code = symbols.CodeIDFromBuildID(name)
	}
	want, ok := symbols.NormalizeCodeID(id.CodeID)
	if have, _ := symbols.NormalizeCodeID(code); ok && have == want {
		return true
	}
	want, ok = symbols.NormalizeDebugID(id.DebugID)
	if !ok || len(name) == 0 {
		return false
	}
	have := ""
	switch {
	case im.Format == ELF:
		have = symbols.DebugIDFromBuildID(name, im.Order)
	case im.Format == MachO && len(name) == 16:
		have = symbols.DebugIDFromUUID([16]byte(name))
	}
	have, _ = symbols.NormalizeDebugID(have)
	return have == want
}

// Identity is the build id. An ELF file without one has what Breakpad takes in its
// place (symbols.BuildIDFromCode), nil when its code is not there either.
func (im *Image) Identity() []byte {
	if len(im.BuildID) > 0 || im.Format != ELF {
		return im.BuildID
	}
	s := im.Section(".text")
	if s == nil || s.Compressed || s.FileSize == 0 {
		return nil
	}
	return symbols.BuildIDFromCode(im.Read(s, 0, int(min(s.FileSize, symbols.CodePage))))
}

// Size is the size of the file in bytes.
func (im *Image) Size() uint64 { return im.file.size }

// Section finds a section by name, nil when there is none.
func (im *Image) Section(name string) *Section {
	for i := range im.Sections {
		if im.Sections[i].Name == name {
			return &im.Sections[i]
		}
	}
	return nil
}

// Bytes returns n bytes at an offset of the module, nil when the file does not
// hold them all. They must not be changed.
func (im *Image) Bytes(offset uint64, n int) []byte {
	address := im.Base + offset
	for i := range im.Segments {
		s := &im.Segments[i]
		if address < s.Address || address-s.Address >= s.FileSize {
			continue
		}
		if at := address - s.Address; n >= 0 && uint64(n) <= s.FileSize-at {
			return im.file.bytes(s.Offset+at, n)
		}
	}
	return nil
}

// Executable reports whether an offset of the module lies in code.
func (im *Image) Executable(offset uint64) bool {
	address := im.Base + offset
	for i := range im.Segments {
		s := &im.Segments[i]
		if s.Executable && address >= s.Address && address-s.Address < s.Size {
			return true
		}
	}
	return false
}

// Read returns n bytes at an offset of a section in the file, nil when there are
// not that many. They must not be changed.
func (im *Image) Read(s *Section, offset uint64, n int) []byte {
	if n < 0 || offset > s.FileSize || uint64(n) > s.FileSize-offset {
		return nil
	}
	return im.file.bytes(s.Offset+offset, n)
}

// short is the error of a file that ends too early.
func short(what string) error { return fault.New(fault.Malformed, "%s breaks off", what) }

// addSegment keeps a mapped part, unless it is a lie about the address space.
func (im *Image) addSegment(s Segment) {
	if s.Size == 0 || s.Address+s.Size < s.Address {
		return
	}
	s.FileSize = min(s.FileSize, s.Size)
	if s.Offset > im.file.size {
		s.FileSize = 0
	} else {
		s.FileSize = min(s.FileSize, im.file.size-s.Offset)
	}
	im.Segments = append(im.Segments, s)
}

func (im *Image) addSection(s Section) {
	if s.Offset > im.file.size {
		s.FileSize = 0
	} else {
		s.FileSize = min(s.FileSize, im.file.size-s.Offset)
	}
	im.Sections = append(im.Sections, s)
}

// text is a name of fixed length, padded with zeros.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
