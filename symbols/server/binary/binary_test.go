package binary_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"mayday/app/fault"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
	files "mayday/symbols/server/binary"
)

var id16 = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const swapped = "0403020106050807090A0B0C0D0E0F10"

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want files.Identity
	}{
		{"elf", sample.ELF(id16[:]), files.Identity{Kind: "elf", DebugID: swapped + "0", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"macho", sample.MachO(sample.MachOProgram, id16), files.Identity{Kind: "macho", DebugID: "0102030405060708090A0B0C0D0E0F100", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"dsym", sample.MachO(sample.MachODSYM, id16), files.Identity{Kind: "dsym", DebugID: "0102030405060708090A0B0C0D0E0F100", CodeID: "0102030405060708090a0b0c0d0e0f10", StoreID: "0102030405060708090a0b0c0d0e0f10"}},
		{"pe", sample.PE(id16, 0x1b), files.Identity{Kind: "pe", DebugID: swapped + "1b", CodeID: "5AF1C0DE1a000", StoreID: "5AF1C0DE1a000"}},
		{"pdb", sample.PDB(id16, 0x1b), files.Identity{Kind: "pdb", DebugID: swapped + "1B", StoreID: swapped + "1B"}},
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

// Each architecture of a Mach-O file has an id and a place of its own.
func TestIdentifyFat(t *testing.T) {
	other := id16
	other[0] = 99
	b := sample.Fat(sample.MachO(sample.MachOProgram, id16), sample.MachO(sample.MachOProgram, other))
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

// A program without a build id is known by its code, as in minidumps; what only
// has its debug information is not known at all.
func TestIdentifyByCode(t *testing.T) {
	code := bytes.Repeat([]byte{0}, 5000)
	copy(code, id16[:])
	code[4096] = 9 // behind the page
	b := sample.Binary{Format: executable.ELF, Machine: executable.AMD64, Sections: []sample.Section{
		{Name: ".init", Offset: 0x1000, Data: []byte{1}, Executable: true}, {Name: ".text", Offset: 0x2000, Data: code, Executable: true}}}
	text := b.Bytes()
	got, err := files.Identify(bytes.NewReader(text), int64(len(text)))
	if err != nil || len(got) != 1 || got[0].Kind != files.Executable || got[0].DebugID != swapped+"0" || got[0].CodeID != "0102030405060708090a0b0c0d0e0f10" {
		t.Errorf("%+v, %v", got, err)
	}
	im, err := executable.Open(bytes.NewReader(text), int64(len(text)), executable.UnknownMachine)
	if err != nil || !bytes.Equal(im.Identity(), id16[:]) {
		t.Errorf("the reader of programs says %x, %v", im.Identity(), err)
	}
	object := bytes.Clone(text)
	object[16] = 1 // what a compiler makes
	b.Sections = []sample.Section{{Name: ".debug_info", Data: []byte{1}}}
	for name, text := range map[string][]byte{"object": object, "debug file": b.Bytes()} {
		if got, err := files.Identify(bytes.NewReader(text), int64(len(text))); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	bare := sample.Binary{Format: executable.ELF, Machine: executable.X86, Sections: []sample.Section{{Name: ".text", Data: id16[:], Executable: true}}}
	f.Add(bare.Bytes())
	for _, b := range [][]byte{sample.ELF(id16[:]), sample.MachO(sample.MachOProgram, id16), sample.PE(id16, 1), sample.PDB(id16, 1), sample.Fat(sample.MachO(sample.MachOProgram, id16), sample.MachO(sample.MachODSYM, id16))} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := files.Identify(bytes.NewReader(b), int64(len(b))); err != nil && !fault.Is(err, fault.Malformed) {
			t.Fatalf("%v", err)
		}
	})
}
