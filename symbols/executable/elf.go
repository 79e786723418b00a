package executable

import (
	"bytes"
	"encoding/binary"

	"mayday/app/fault"
)

// Values of the ELF specification and of its supplements for processors.
const (
	elfLoad       = 1
	elfNote       = 4
	elfEHFrameHdr = 0x6474e550
	elfARMExidx   = 0x70000001 // the number of another thing elsewhere
	sectionNote   = 7
	sectionNoBits = 8
	flagAlloc     = 2
	flagCode      = 4
	flagPacked    = 0x800
	segmentCode   = 1
)

// elfHeader is the part of the file header that is needed, of either width.
type elfHeader struct {
	programs, sections           uint64
	programSize, programCount    uint64
	sectionSize, sectionCount    uint64
	names                        uint64
	programEntrySize, headerSize uint64
}

func (im *Image) openELF() error {
	im.Format = ELF
	h := im.file.bytes(0, 52)
	if h == nil {
		return short("ELF header")
	}
	if h[5] == 2 {
		im.Order = binary.BigEndian
	}
	im.wide = h[4] == 2
	im.Machine = elfMachine(im.Order.Uint16(h[18:]), im.wide)
	o := im.Order
	var e elfHeader
	if im.wide {
		if h = im.file.bytes(0, 64); h == nil {
			return short("ELF header")
		}
		e = elfHeader{programs: o.Uint64(h[32:]), sections: o.Uint64(h[40:]), programSize: uint64(o.Uint16(h[54:])), programCount: uint64(o.Uint16(h[56:])),
			sectionSize: uint64(o.Uint16(h[58:])), sectionCount: uint64(o.Uint16(h[60:])), names: uint64(o.Uint16(h[62:])), programEntrySize: 56, headerSize: 64}
	} else {
		e = elfHeader{programs: uint64(o.Uint32(h[28:])), sections: uint64(o.Uint32(h[32:])), programSize: uint64(o.Uint16(h[42:])), programCount: uint64(o.Uint16(h[44:])),
			sectionSize: uint64(o.Uint16(h[46:])), sectionCount: uint64(o.Uint16(h[48:])), names: uint64(o.Uint16(h[50:])), programEntrySize: 32, headerSize: 40}
	}
	programs := im.elfPrograms(&e)
	im.elfSections(&e)
	if len(im.Segments) == 0 && len(im.Sections) == 0 {
		return fault.New(fault.Malformed, "the ELF file has neither segments nor sections")
	}
	im.elfBuildID(programs)
	im.elfBare(programs)
	return nil
}

func elfMachine(number uint16, wide bool) Machine {
	choose := func(narrow, other Machine) Machine {
		if wide {
			return other
		}
		return narrow
	}
	switch number {
	case 3:
		return X86
	case 8:
		return choose(MIPS, MIPS64)
	case 20:
		return PPC
	case 21:
		return PPC64
	case 40:
		return ARM
	case 62:
		return AMD64
	case 183:
		return ARM64
	case 243:
		return choose(RISCV, RISCV64)
	}
	return UnknownMachine
}

// elfProgram is a program header.
type elfProgram struct {
	kind uint32
	Segment
}

// table reads count entries of size bytes each at off, as many as there are.
func (im *Image) table(off, size, count uint64) []byte {
	count = min(count, maxHeaders)
	if size == 0 || off > im.file.size {
		return nil
	}
	n := min(size*count, maxTable, im.file.size-off)
	return im.file.bytes(off, int(n-n%size))
}

func (im *Image) elfPrograms(e *elfHeader) []elfProgram {
	if e.programSize < e.programEntrySize {
		return nil
	}
	o := im.Order
	var list []elfProgram
	base, known := uint64(0), false
	for b := im.table(e.programs, e.programSize, e.programCount); len(b) > 0; b = b[e.programSize:] {
		p := elfProgram{kind: o.Uint32(b)}
		var flags uint32
		if im.wide {
			flags = o.Uint32(b[4:])
			p.Segment = Segment{Offset: o.Uint64(b[8:]), Address: o.Uint64(b[16:]), FileSize: o.Uint64(b[32:]), Size: o.Uint64(b[40:])}
		} else {
			flags = o.Uint32(b[24:])
			p.Segment = Segment{Offset: uint64(o.Uint32(b[4:])), Address: uint64(o.Uint32(b[8:])), FileSize: uint64(o.Uint32(b[16:])), Size: uint64(o.Uint32(b[20:]))}
		}
		p.Executable = flags&segmentCode != 0
		list = append(list, p)
		if p.kind != elfLoad {
			continue
		}
		im.addSegment(p.Segment)
		if !known || p.Address < base {
			base, known = p.Address, true
		}
	}
	im.Base = base &^ 0xfff
	return list
}

func (im *Image) elfSections(e *elfHeader) {
	if e.sectionSize < e.headerSize {
		return
	}
	o := im.Order
	type raw struct {
		name, kind uint32
		flags      uint64
		Section
	}
	var list []raw
	for b := im.table(e.sections, e.sectionSize, e.sectionCount); len(b) > 0; b = b[e.sectionSize:] {
		s := raw{name: o.Uint32(b), kind: o.Uint32(b[4:])}
		if im.wide {
			s.flags = o.Uint64(b[8:])
			s.Section = Section{Address: o.Uint64(b[16:]), Offset: o.Uint64(b[24:]), FileSize: o.Uint64(b[32:])}
		} else {
			s.flags = uint64(o.Uint32(b[8:]))
			s.Section = Section{Address: uint64(o.Uint32(b[12:])), Offset: uint64(o.Uint32(b[16:])), FileSize: uint64(o.Uint32(b[20:]))}
		}
		s.Size = s.FileSize
		if s.kind == sectionNoBits {
			s.FileSize = 0
		}
		s.Compressed = s.flags&flagPacked != 0
		s.Executable = s.flags&flagAlloc != 0 && s.flags&flagCode != 0
		if s.flags&flagAlloc == 0 {
			s.Address = 0
		}
		list = append(list, s)
	}
	if e.names >= uint64(len(list)) {
		return
	}
	n := &list[e.names].Section
	names := im.file.bytes(n.Offset, int(min(n.FileSize, maxTable)))
	for i := range list {
		s := &list[i]
		if uint64(s.name) >= uint64(len(names)) {
			continue
		}
		at := names[s.name:]
		s.Name = text(at[:min(len(at), maxName)])
		im.addSection(s.Section)
		if s.kind == sectionNote && im.BuildID == nil {
			im.BuildID = im.note(s.Offset, s.FileSize)
		}
	}
}

// maxName is the most of a section's name that counts.
const maxName = 64

// elfBuildID looks into the segments where no section told.
func (im *Image) elfBuildID(programs []elfProgram) {
	for i := range programs {
		if p := &programs[i]; p.kind == elfNote && im.BuildID == nil {
			im.BuildID = im.note(p.Offset, p.FileSize)
		}
	}
}

// maxBuildID is the longest build id that is taken for one.
const maxBuildID = 64

// note looks for NT_GNU_BUILD_ID in a run of notes.
func (im *Image) note(off, size uint64) []byte {
	b := im.file.bytes(off, int(min(size, maxNotes)))
	for len(b) >= 12 {
		name, desc, kind := uint64(im.Order.Uint32(b)), uint64(im.Order.Uint32(b[4:])), im.Order.Uint32(b[8:])
		b = b[12:]
		at := (name + 3) &^ 3
		if at+desc > uint64(len(b)) {
			return nil
		}
		if kind == 3 && name == 4 && string(b[:4]) == "GNU\x00" && desc > 0 && desc <= maxBuildID {
			return bytes.Clone(b[at : at+desc])
		}
		b = b[min(at+(desc+3)&^3, uint64(len(b))):]
	}
	return nil
}

// elfBare names the unwind tables of a file whose section headers were removed:
// the program headers point at them too.
func (im *Image) elfBare(programs []elfProgram) {
	for i := range programs {
		p := &programs[i]
		name := ""
		switch {
		case p.kind == elfEHFrameHdr:
			name = ".eh_frame_hdr"
		case p.kind == elfARMExidx && im.Machine == ARM:
			name = ".ARM.exidx"
		}
		if name != "" && im.Section(name) == nil {
			im.addSection(Section{Name: name, Address: p.Address, Size: p.Size, Offset: p.Offset, FileSize: p.FileSize})
		}
	}
}
