package dwarf

import (
	"bytes"
	"encoding/binary"
	"testing"

	"mayday/minidump/cfi"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// Where the sections of the file lie.
const (
	fuzzText, fuzzFrames = 0x1000, 0x2000
	fuzzTextSize         = 0x100
)

// tableFile is a file that has nothing but code and a frame table.
func tableFile(table []byte, machine executable.Machine) []byte {
	b := &sample.Binary{Format: executable.ELF, Machine: machine, ID: []byte{1}, Sections: []sample.Section{
		{Name: ".text", Offset: fuzzText, Data: make([]byte, fuzzTextSize), Executable: true},
		{Name: ".eh_frame", Offset: fuzzFrames, Data: table}}}
	return b.Bytes()
}

// frameTable is an entry of the code with such instructions, and what it refers
// to.
func frameTable(program ...byte) []byte {
	le := binary.LittleEndian
	entry := func(body []byte) []byte {
		for len(body)%8 != 4 {
			body = append(body, 0)
		}
		return append(le.AppendUint32(nil, uint32(len(body))), body...)
	}
	// Version 1, "zR", factors 1 and -8, return address in register 16, pointers
	// relative and of four bytes; CFA is rsp+8, the return address lies below it.
	b := entry([]byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1})
	fde := le.AppendUint32(nil, uint32(len(b)+4))
	at := fuzzFrames + len(b) + 8
	fde = le.AppendUint32(fde, uint32(fuzzText-at))
	fde = le.AppendUint32(fde, fuzzTextSize)
	fde = append(append(fde, 0), program...)
	return append(append(b, entry(fde)...), 0, 0, 0, 0)
}

// FuzzAll lists the rows of any table. They lie in the code that they are of,
// in order, are rules, and agree with what a question at their places answers.
func FuzzAll(f *testing.F) {
	f.Add(frameTable(), uint8(0))
	f.Add(frameTable(0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x7f, 0x0c, 7, 8), uint8(0))
	f.Add(frameTable(0x41, 0x0a, 0x0e, 32, 0x42, 0x0b, 0x41, 0x0f, 3, 0x77, 8, 6, 0x44, 0x10, 3, 2, 0x72, 0), uint8(0))
	f.Add(frameTable(0x03, 0xff, 0xff, 0x0e, 1, 0x16, 6, 4, 0x80, 0x29, 0x1f, 0x22), uint8(1))
	// Code at the end of the address space, and an advance around it.
	f.Add([]byte("\x14\x00\x00\x00\x00\x00\x00\x00\x01zR\x00\rx\x10\x01\x1b\f\a\b\x90\x01\x00\x00$\x00\x00\x00\x1c\x00\x00\x00\xe0\xef\xf3\xff\x00\x01\x00\x00\x00A\n\x0e B\vA\x80\x80w\b\x1d\x1d\x1d\xf2\x02r\x00\x00\x00\x00\x00\x00"), uint8(23))
	machines := []executable.Machine{executable.AMD64, executable.ARM64, executable.X86, executable.RISCV64}
	f.Fuzz(func(t *testing.T, table []byte, machine uint8) {
		file := tableFile(table, machines[int(machine)%len(machines)])
		im, err := executable.Open(bytes.NewReader(file), int64(len(file)), executable.UnknownMachine)
		if err != nil {
			return
		}
		frames := New(im, ".eh_frame", ".eh_frame_hdr")
		if frames == nil {
			return
		}
		entries, texts := 0, 0
		for code, rows := range frames.All() {
			entries++
			for i, r := range rows {
				texts += len(r.Rules)
				if r.Offset < code.Offset || r.Offset-code.Offset >= code.Size || i > 0 && r.Offset <= rows[i-1].Offset {
					t.Fatalf("row %d at %#x, of code at %#x with %#x bytes", i, r.Offset, code.Offset, code.Size)
				}
				var rules cfi.Rules
				if !rules.Add(r.Rules) || rules.CFA == "" || rules.RA == "" {
					t.Fatalf("at %#x: %q are no rules", r.Offset, r.Rules)
				}
			}
			if entries == 1 && code.Offset == fuzzText { // later ones may overlap it
				got, ok := frames.Rules(rule.Query{Offset: rows[0].Offset, Innermost: true})
				if ok && (got.CFI.Init == "" || got.CFI.Start > rows[0].Offset) {
					t.Fatalf("at %#x: %+v", rows[0].Offset, got)
				}
			}
		}
		if entries > len(table)/8+1 || texts > (leastWork+workPerByte*len(table))*probeWork {
			t.Fatalf("%d entries and %d bytes of text out of %d", entries, texts, len(table))
		}
	})
}

// Only a row that asks where the instruction is differs within itself, and is
// looked at byte by byte; that of an aligned frame does not.
func TestProbedRows(t *testing.T) {
	for expression, probed := range map[string]int{"\x76\x78\x06": 0, "\x80\x00": fuzzTextSize} { // rbp-8 and load; rip
		file := tableFile(frameTable(append([]byte{0x0f, byte(len(expression))}, expression...)...), executable.AMD64)
		im, err := executable.Open(bytes.NewReader(file), int64(len(file)), executable.UnknownMachine)
		if err != nil {
			t.Fatal(err)
		}
		f := New(im, ".eh_frame", ".eh_frame_hdr")
		f.once.Do(f.scan)
		d, ok := f.fde(f.index[0].offset, nil)
		left := effort{maxProbed, leastWork}
		rows := f.rows(&d, &left)
		if got := maxProbed - left.probes; !ok || got != probed || len(rows) != max(1, probed) {
			t.Errorf("%x: %d probes, %d rows", expression, got, len(rows))
		}
	}
}

// The seeds are read as they are meant.
func TestFrameTable(t *testing.T) {
	file := tableFile(frameTable(0x41, 0x0e, 16, 0x86, 2), executable.AMD64)
	im, err := executable.Open(bytes.NewReader(file), int64(len(file)), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for code, rows := range New(im, ".eh_frame", ".eh_frame_hdr").All() {
		n++
		if code.Offset != fuzzText || code.Size != fuzzTextSize || len(rows) != 2 || rows[1].Offset != fuzzText+1 {
			t.Errorf("%+v: %+v", code, rows)
		}
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}
