package sample

import (
	"bytes"
	"encoding/binary"

	"mayday/symbols/executable"
)

// Binary is a made-up program or library: headers, and sections of the bytes
// given. All numbers are little-endian.
type Binary struct {
	Format   executable.Format
	Machine  executable.Machine
	Base     uint64
	Sections []Section
	// ID is the build id (ELF, put into a section of its own) or UUID (Mach-O).
	ID []byte
	// TimeStamp and Size name a PE file.
	TimeStamp, Size uint32
}

// Section is a part of a Binary.
type Section struct {
	Name       string
	Offset     uint64 // in the module
	Data       []byte
	Executable bool
	// Exceptions makes it the exception directory of a PE file.
	Exceptions bool
}

// alignment is that of sections in the file, and of segments in memory.
const alignment = 0x1000

// place puts the sections behind headers and returns where each lies.
func (b *Binary) place() (at []uint64, size uint64) {
	size = alignment
	for _, s := range b.Sections {
		at = append(at, size)
		size += (uint64(len(s.Data)) + alignment - 1) &^ (alignment - 1)
	}
	return at, size
}

// Bytes is the file.
func (b *Binary) Bytes() []byte {
	switch b.Format {
	case executable.PE:
		return b.pe()
	case executable.MachO:
		return b.macho()
	}
	return b.elf()
}

// fields appends numbers in little-endian order.
func fields(w *bytes.Buffer, values ...any) {
	for _, v := range values {
		// Writing numbers of fixed size to memory cannot go wrong.
		_ = binary.Write(w, binary.LittleEndian, v)
	}
}

// put adds the sections to headers.
func (b *Binary) put(headers []byte) []byte {
	at, size := b.place()
	file := make([]byte, size)
	copy(file[:alignment], headers)
	for i, s := range b.Sections {
		copy(file[at[i]:], s.Data)
	}
	return file
}

func (b *Binary) pe() []byte {
	var w bytes.Buffer
	dos := make([]byte, 64)
	copy(dos, "MZ")
	dos[60] = 64
	w.Write(dos)
	machine := map[executable.Machine]uint16{executable.X86: 0x14c, executable.AMD64: 0x8664, executable.ARM64: 0xaa64}[b.Machine]
	const optional = 112 + 16*8
	fields(&w, uint32(0x4550), machine, uint16(len(b.Sections)), b.TimeStamp, uint32(0), uint32(0), uint16(optional), uint16(0x22))
	head := make([]byte, optional)
	le := binary.LittleEndian
	le.PutUint16(head, 0x20b)
	le.PutUint64(head[24:], b.Base)
	le.PutUint32(head[56:], b.Size)
	le.PutUint32(head[60:], alignment)
	le.PutUint32(head[108:], 16)
	at, _ := b.place()
	for _, s := range b.Sections {
		if s.Exceptions {
			le.PutUint32(head[112+3*8:], uint32(s.Offset))
			le.PutUint32(head[112+3*8+4:], uint32(len(s.Data)))
		}
	}
	w.Write(head)
	for i, s := range b.Sections {
		var name [8]byte
		copy(name[:], s.Name)
		flags := uint32(0x4000_0040)
		if s.Executable {
			flags = 0x6000_0020
		}
		fields(&w, name, uint32(len(s.Data)), uint32(s.Offset), uint32(len(s.Data)), uint32(at[i]), [3]uint32{}, flags)
	}
	return b.put(w.Bytes())
}

func (b *Binary) macho() []byte {
	var w, commands bytes.Buffer
	at, _ := b.place()
	cpu := map[executable.Machine]uint32{executable.X86: 7, executable.AMD64: 0x0100_0007, executable.ARM64: 0x0100_000c}[b.Machine]
	name := func(s string) (out [16]byte) {
		copy(out[:], s)
		return out
	}
	// A segment for the headers tells the base; one for each section keeps the
	// addresses free.
	const read, execute = 1, 4
	fields(&commands, uint32(0x19), uint32(72), name("__TEXT"), b.Base, uint64(alignment), uint64(0), uint64(alignment), uint32(read), uint32(read), uint32(0), uint32(0))
	count := uint32(1)
	for i, s := range b.Sections {
		protection := uint32(read)
		if s.Executable {
			protection |= execute
		}
		segment, address, length := name("__SECTION"), b.Base+s.Offset, uint64(len(s.Data))
		fields(&commands, uint32(0x19), uint32(72+80), segment, address, length, at[i], length, protection, protection, uint32(1), uint32(0))
		fields(&commands, name(s.Name), segment, address, length, uint32(at[i]), [7]uint32{})
		count++
	}
	if len(b.ID) == 16 {
		fields(&commands, uint32(0x1b), uint32(24))
		commands.Write(b.ID)
		count++
	}
	fields(&w, uint32(0xfeedfacf), cpu, uint32(0), uint32(2), count, uint32(commands.Len()), uint32(0), uint32(0))
	w.Write(commands.Bytes())
	return b.put(w.Bytes())
}

func (b *Binary) elf() []byte {
	machine := map[executable.Machine]uint16{executable.X86: 3, executable.ARM: 40, executable.AMD64: 62, executable.ARM64: 183,
		executable.MIPS: 8, executable.MIPS64: 8, executable.PPC: 20, executable.PPC64: 21, executable.RISCV: 243, executable.RISCV64: 243}[b.Machine]
	wide := b.Machine.PointerSize() == 8
	own := *b
	names := []byte{0}
	if len(b.ID) > 0 {
		var note bytes.Buffer
		fields(&note, uint32(4), uint32(len(b.ID)), uint32(3), [4]byte{'G', 'N', 'U', 0}, b.ID)
		own.Sections = append(b.Sections[:len(b.Sections):len(b.Sections)], Section{Name: ".note.gnu.build-id", Data: note.Bytes()})
	}
	var starts []uint32
	for _, s := range own.Sections {
		starts = append(starts, uint32(len(names)))
		names = append(append(names, s.Name...), 0)
	}
	nameAt := uint32(len(names))
	names = append(names, ".shstrtab\x00"...)
	own.Sections = append(own.Sections[:len(own.Sections):len(own.Sections)], Section{Name: ".shstrtab", Data: names})
	starts = append(starts, nameAt)
	at, size := own.place()
	var headers, w bytes.Buffer
	loaded := uint16(1) // and one for the file's start, which tells the base
	entry := func(kind, flags uint32, offset, address, length uint64) {
		if wide {
			fields(&headers, kind, flags, offset, address, address, length, length, uint64(alignment))
			return
		}
		fields(&headers, kind, uint32(offset), uint32(address), uint32(address), uint32(length), uint32(length), flags, uint32(alignment))
	}
	entry(1, 4, 0, b.Base, alignment)
	for i, s := range b.Sections {
		flags := uint32(4)
		if s.Executable {
			flags = 5
		}
		entry(1, flags, at[i], b.Base+s.Offset, uint64(len(s.Data)))
		loaded++
	}
	var table bytes.Buffer
	for i, s := range own.Sections {
		kind, flags, address := uint32(1), uint64(2), b.Base+s.Offset
		if i >= len(b.Sections) {
			kind, flags, address = 3, 0, 0
			if s.Name == ".note.gnu.build-id" {
				kind = 7
			}
		}
		if s.Executable {
			flags |= 4
		}
		if wide {
			fields(&table, starts[i], kind, flags, address, at[i], uint64(len(s.Data)), uint32(0), uint32(0), uint64(1), uint64(0))
		} else {
			fields(&table, starts[i], kind, uint32(flags), uint32(address), uint32(at[i]), uint32(len(s.Data)), uint32(0), uint32(0), uint32(1), uint32(0))
		}
	}
	class, entrySize, sectionSize, headerSize := byte(2), uint16(56), uint16(64), uint16(64)
	if !wide {
		class, entrySize, sectionSize, headerSize = 1, 32, 40, 52
	}
	w.Write([]byte{0x7f, 'E', 'L', 'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	fields(&w, uint16(3), machine, uint32(1))
	if wide {
		fields(&w, uint64(0), uint64(headerSize), size)
	} else {
		fields(&w, uint32(0), uint32(headerSize), uint32(size))
	}
	fields(&w, uint32(0), headerSize, entrySize, loaded, sectionSize, uint16(len(own.Sections)), uint16(len(own.Sections)-1))
	w.Write(headers.Bytes())
	return append(own.put(w.Bytes()), table.Bytes()...)
}
