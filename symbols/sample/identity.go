package sample

import "encoding/binary"

// The files here hold nothing but what names them, in as few bytes as a reader
// of their ids takes.

// ELF is a 64-bit ELF file that holds nothing but a build id.
func ELF(id []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64+64)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint64(b[40:], 64) // section headers
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 1)
	s := b[64:]
	le.PutUint32(s[4:], 7) // SHT_NOTE
	le.PutUint64(s[24:], 128)
	le.PutUint64(s[32:], uint64(16+len(id)))
	note := make([]byte, 12)
	le.PutUint32(note, 4)
	le.PutUint32(note[4:], uint32(len(id)))
	le.PutUint32(note[8:], 3)
	return append(append(append(b, note...), "GNU\x00"...), id...)
}

// The types of Mach-O files.
const (
	MachOProgram = 2
	MachODSYM    = 10
)

// MachO is a 64-bit Mach-O file of a type that holds nothing but a UUID.
func MachO(kind uint32, uuid [16]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 32+24)
	le.PutUint32(b, 0xfeedfacf)
	le.PutUint32(b[12:], kind)
	le.PutUint32(b[16:], 1)
	le.PutUint32(b[20:], 24)
	le.PutUint32(b[32:], 0x1b)
	le.PutUint32(b[36:], 24)
	copy(b[40:], uuid[:])
	return b
}

// Fat joins Mach-O files into one.
func Fat(parts ...[]byte) []byte {
	b := make([]byte, 4096)
	binary.BigEndian.PutUint32(b, 0xcafebabe)
	binary.BigEndian.PutUint32(b[4:], uint32(len(parts)))
	for i, p := range parts {
		binary.BigEndian.PutUint32(b[8+20*i+8:], uint32(len(b)))
		binary.BigEndian.PutUint32(b[8+20*i+12:], uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// PE is a 64-bit Windows program with time stamp 5AF1C0DE, size 1A000 and a
// CodeView record.
func PE(guid [16]byte, age uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le.PutUint32(b[60:], 0x40)
	h := b[0x40:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[6:], 1)
	le.PutUint32(h[8:], 0x5af1c0de)
	le.PutUint16(h[20:], 240)
	o := h[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[56:], 0x1a000)
	le.PutUint32(o[112+48:], 0x1000)
	le.PutUint32(o[112+52:], 28)
	s := o[240:]
	le.PutUint32(s[8:], 0x200)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], 0x200)
	le.PutUint32(b[0x200+12:], 2)
	le.PutUint32(b[0x200+16:], 24)
	le.PutUint32(b[0x200+24:], 0x300)
	copy(b[0x300:], "RSDS")
	copy(b[0x304:], guid[:])
	le.PutUint32(b[0x314:], age)
	return b
}

// PDB is a multi-stream file whose streams 1 and 3 hold GUID and age.
func PDB(guid [16]byte, age uint32) []byte {
	le := binary.LittleEndian
	const block = 512
	b := make([]byte, 6*block)
	copy(b, "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00")
	le.PutUint32(b[32:], block)
	le.PutUint32(b[40:], 6)
	le.PutUint32(b[44:], 4+4*4+2*4)
	le.PutUint32(b[52:], 2)
	le.PutUint32(b[2*block:], 3) // block of the directory
	for i, v := range []uint32{4, 0, 28, 1<<32 - 1, 64, 4, 5} {
		le.PutUint32(b[3*block+4*i:], v)
	}
	le.PutUint32(b[4*block+8:], 99)
	copy(b[4*block+12:], guid[:])
	le.PutUint32(b[5*block+8:], age)
	return b
}
