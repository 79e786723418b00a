package binary_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"mayday/app/fault"
	files "mayday/symbols/server/binary"
)

// elf makes a 64-bit ELF file that holds nothing but a build id.
func elf(id []byte) []byte {
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

// macho makes a 64-bit Mach-O file that holds nothing but a UUID.
func macho(uuid [16]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 32+24)
	le.PutUint32(b, 0xfeedfacf)
	le.PutUint32(b[16:], 1)
	le.PutUint32(b[20:], 24)
	le.PutUint32(b[32:], 0x1b)
	le.PutUint32(b[36:], 24)
	copy(b[40:], uuid[:])
	return b
}

// pe makes a PE32+ file with a CodeView record.
func pe(guid [16]byte, age uint32) []byte {
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

// pdb makes a multi-stream file whose streams 1 and 3 hold GUID and age.
func pdb(guid [16]byte, age uint32) []byte {
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

var id16 = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const swapped = "0403020106050807090A0B0C0D0E0F10"

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want files.Identity
	}{
		{"elf", elf(id16[:]), files.Identity{Kind: "elf", DebugID: swapped + "0", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"macho", macho(id16), files.Identity{Kind: "macho", DebugID: "0102030405060708090A0B0C0D0E0F100", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"dsym", dsym(id16), files.Identity{Kind: "dsym", DebugID: "0102030405060708090A0B0C0D0E0F100", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"pe", pe(id16, 0x1b), files.Identity{Kind: "pe", DebugID: swapped + "1b", CodeID: "5AF1C0DE1a000", StoreID: "5AF1C0DE1a000"}},
		{"pdb", pdb(id16, 0x1b), files.Identity{Kind: "pdb", DebugID: swapped + "1B", StoreID: swapped + "1B"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := files.Identify(bytes.NewReader(c.b), int64(len(c.b)))
			c.want.Size = int64(len(c.b))
			if err != nil || len(got) != 1 || got[0] != c.want || !files.Magic(c.b[:16]) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
			for n := range c.b { // a file that breaks off anywhere is no panic
				if _, err := files.Identify(bytes.NewReader(c.b[:n]), int64(n)); err != nil && !fault.Is(err, fault.Malformed) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

func dsym(uuid [16]byte) []byte {
	b := macho(uuid)
	binary.LittleEndian.PutUint32(b[12:], 10)
	return b
}

// fat joins Mach-O files.
func fat(parts ...[]byte) []byte {
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

// Each architecture of a Mach-O file has an id and a place of its own.
func TestIdentifyFat(t *testing.T) {
	other := id16
	other[0] = 99
	b := fat(macho(id16), macho(other))
	got, err := files.Identify(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(got) != 2 || got[0].Offset != 4096 || got[1].Offset != 4096+56 || got[1].Size != 56 || got[0].CodeID == got[1].CodeID {
		t.Fatalf("%+v, %v", got, err)
	}
	binary.BigEndian.PutUint32(b[8+20+8:], 4100)
	if _, err := files.Identify(bytes.NewReader(b), int64(len(b))); !fault.Is(err, fault.Malformed) {
		t.Errorf("overlapping architectures: %v", err)
	}
	binary.BigEndian.PutUint32(b[8+20+8:], 1<<31)
	if _, err := files.Identify(bytes.NewReader(b), int64(len(b))); !fault.Is(err, fault.Malformed) {
		t.Errorf("an architecture beyond the end: %v", err)
	}
	if files.Magic([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34....")) {
		t.Error("a Java class is taken for a Mach-O file")
	}
}

// The test program itself is a real executable; where it has a build id, it
// must be found.
func TestIdentifySelf(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Skip("no executable: ", err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Skip("no executable: ", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Identify(f, info.Size()); err != nil && !fault.Is(err, fault.Malformed) {
		t.Error(err)
	}
}

func FuzzIdentify(f *testing.F) {
	for _, b := range [][]byte{elf(id16[:]), macho(id16), pe(id16, 1), pdb(id16, 1), fat(macho(id16), dsym(id16))} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := files.Identify(bytes.NewReader(b), int64(len(b))); err != nil && !fault.Is(err, fault.Malformed) {
			t.Fatalf("%v", err)
		}
	})
}
