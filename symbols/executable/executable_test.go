package executable_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// made is a file of each format.
func made() []*sample.Binary {
	sections := []sample.Section{{Name: ".text", Offset: 0x1000, Data: []byte("code"), Executable: true}, {Name: ".rodata", Offset: 0x3000, Data: []byte("data that is longer than the code")}}
	id := []byte{0xab, 0xcd, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	var list []*sample.Binary
	for _, m := range []executable.Machine{executable.X86, executable.AMD64, executable.ARM, executable.ARM64, executable.MIPS, executable.PPC64, executable.RISCV64} {
		list = append(list, &sample.Binary{Format: executable.ELF, Machine: m, Base: 0x40_0000, ID: append(id[:len(id):len(id)], 17, 18, 19, 20), Sections: sections})
	}
	for _, m := range []executable.Machine{executable.AMD64, executable.ARM64} {
		list = append(list, &sample.Binary{Format: executable.MachO, Machine: m, Base: 0x1_0000_0000, ID: id, Sections: sections},
			&sample.Binary{Format: executable.PE, Machine: m, Base: 0x1_4000_0000, TimeStamp: 0x5B8A1C3D, Size: 0x9000, Sections: append(sections[:2:2], sample.Section{Name: ".pdata", Offset: 0x4000, Data: make([]byte, 24), Exceptions: true})})
	}
	return list
}

func open(t testing.TB, b []byte, m executable.Machine) *executable.Image {
	t.Helper()
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), m)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func TestOpen(t *testing.T) {
	for _, b := range made() {
		im := open(t, b.Bytes(), executable.UnknownMachine)
		if im.Format != b.Format || im.Machine != b.Machine || im.Base != b.Base {
			t.Errorf("%s for %d at %#x is read as %s for %d at %#x", b.Format, b.Machine, b.Base, im.Format, im.Machine, im.Base)
		}
		if got := string(im.Bytes(0x1000, 4)); got != "code" || !im.Executable(0x1003) || im.Executable(0x3000) || im.Executable(0x1004) {
			t.Errorf("%s: code %q", b.Format, got)
		}
		if im.Bytes(0x1000, 0x1001) != nil || im.Bytes(0x9000, 1) != nil || im.Bytes(^uint64(0), 8) != nil || im.Bytes(0x1000, -1) != nil {
			t.Errorf("%s: bytes that are not there", b.Format)
		}
		s := im.Section(".rodata")
		if s == nil {
			t.Fatalf("%s: no section", b.Format)
		}
		if c, err := im.Content(s, 1000); err != nil || !strings.HasPrefix(string(c), "data that") {
			t.Errorf("%s: content %q, %v", b.Format, c, err)
		}
		if _, err := im.Content(s, 4); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: content past the limit: %v", b.Format, err)
		}
		if b.Format == executable.PE && im.Exceptions != (executable.Range{Offset: 0x4000, Size: 24}) {
			t.Errorf("exceptions at %+v", im.Exceptions)
		}
	}
}

func TestIs(t *testing.T) {
	wants := map[executable.Format][]symbols.ModuleID{
		executable.ELF:   {{CodeID: "abcd030405060708090a0b0c0d0e0f1011121314"}, {DebugID: "0403CDAB060508070" + "90A0B0C0D0E0F100"}},
		executable.MachO: {{CodeID: "ABCD030405060708090A0B0C0D0E0F10"}, {DebugID: "ABCD030405060708090A0B0C0D0E0F100"}},
		executable.PE:    {{CodeID: "5b8a1c3d9000"}},
	}
	for _, b := range made() {
		im := open(t, b.Bytes(), b.Machine)
		for _, id := range wants[b.Format] {
			if !im.Is(id) {
				t.Errorf("%s %s is not %+v", b.Format, im.CodeID(), id)
			}
		}
		for _, id := range []symbols.ModuleID{{}, {CodeID: "abcd"}, {DebugID: symbols.NoDebugID}, {DebugID: "AABBCCDD11223344556677889900AABB0"}} {
			if im.Is(id) {
				t.Errorf("%s %s is %+v", b.Format, im.CodeID(), id)
			}
		}
	}
}

// An ELF file without a build id is known by the first page of its code.
func TestIsWithoutBuildID(t *testing.T) {
	code := make([]byte, 5000)
	code[3], code[16+3], code[4000], code[4096] = 0x11, 0x22, 0x44, 0x55
	b := sample.Binary{Format: executable.ELF, Machine: executable.AMD64, Sections: []sample.Section{{Name: ".text", Offset: 0x1000, Data: code, Executable: true}}}
	im := open(t, b.Bytes(), b.Machine)
	for id, want := range map[symbols.ModuleID]bool{
		{CodeID: "44000033000000000000000000000000"}:   true,
		{DebugID: "330000440000000000000000000000000"}: true,
		{CodeID: "44000033000000000000000000000055"}:   false,
	} {
		if got := im.Is(id); got != want {
			t.Errorf("%+v: %v, it is %x", id, got, im.Identity())
		}
	}
	if im.CodeID() != "" {
		t.Errorf("it names itself %s", im.CodeID())
	}
	b.Sections[0].Name = ".other"
	if im = open(t, b.Bytes(), b.Machine); im.Is(symbols.ModuleID{}) || im.Identity() != nil {
		t.Errorf("it has no code, and is %x", im.Identity())
	}
}

// A file of several architectures is opened as the one that is asked for.
func TestFat(t *testing.T) {
	var parts [][]byte
	for _, b := range made() {
		if b.Format == executable.MachO {
			parts = append(parts, b.Bytes())
		}
	}
	head := []byte{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2}
	at := 0x1000
	cpus := [][]byte{{1, 0, 0, 7}, {1, 0, 0, 12}}
	for i, p := range parts {
		entry := append(append([]byte{}, cpus[i]...), 0, 0, 0, 0)
		for _, v := range []int{at, len(p), 12} {
			entry = append(entry, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		head = append(head, entry...)
		at += len(p)
	}
	file := append(append(head, make([]byte, 0x1000-len(head))...), bytes.Join(parts, nil)...)
	for _, m := range []executable.Machine{executable.AMD64, executable.ARM64} {
		im := open(t, file, m)
		if im.Machine != m || string(im.Bytes(0x1000, 4)) != "code" {
			t.Errorf("opened for %d: %d, %q", m, im.Machine, im.Bytes(0x1000, 4))
		}
	}
	if _, err := executable.Open(bytes.NewReader(file), int64(len(file)), executable.PPC); !fault.Is(err, fault.NotFound) {
		t.Errorf("for another processor: %v", err)
	}
}

// This test itself is a program of the system that it runs on.
func TestOwnProgram(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Skip("the system does not say where the program lies")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("the test's own program cannot be opened: %v", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	im, err := executable.Open(f, st.Size(), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Segments) == 0 || len(im.Sections) == 0 {
		t.Errorf("%s: %d segments, %d sections", im.Format, len(im.Segments), len(im.Sections))
	}
}

// Segments of 32 bits in a file of 64, and the other way about, are passed over:
// they have too few bytes, or other fields.
func TestSegmentsOfOtherWidth(t *testing.T) {
	for _, c := range []struct{ magic, machine, kind, size uint32 }{
		{0xfeedfacf, 0x01000007, 1, 56}, {0xfeedface, 7, 0x19, 72},
	} {
		header := []uint32{c.magic, c.machine, 0, 2, 1, c.size, 0}
		if c.magic == 0xfeedfacf {
			header = append(header, 0)
		}
		var b []byte
		for _, v := range append(header, c.kind, c.size) {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, bytes.Repeat([]byte{1}, int(c.size)-8)...)
		if im := open(t, b, executable.UnknownMachine); len(im.Segments)+len(im.Sections) != 0 {
			t.Errorf("%x: %+v, %+v", c.magic, im.Segments, im.Sections)
		}
	}
}

func TestNotOne(t *testing.T) {
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("#!/bin/sh\n"), "short ELF": []byte("\x7fELF\x02\x01\x01"), "short PE": []byte("MZ\x00"),
		"Java class": {0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61, 1, 2}, "short Mach-O": {0xcf, 0xfa, 0xed, 0xfe, 1}} {
		if _, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzOpen reads all there is of files of any bytes.
func FuzzOpen(f *testing.F) {
	for _, b := range made() {
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
		if err != nil {
			return
		}
		im.CodeID()
		for i := range min(len(im.Sections), 64) {
			s := &im.Sections[i]
			if c, err := im.Content(s, 1<<20); err == nil && len(c) > 1<<20 {
				t.Fatalf("section of %d bytes", len(c))
			}
			im.Bytes(s.Address-im.Base, 16)
			im.Executable(s.Address - im.Base)
		}
	})
}
