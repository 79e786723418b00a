package unwindinfo

import (
	"bytes"
	"testing"

	"mayday/minidump/cfi"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// FuzzRules opens files of any bytes and asks for the rules at places of them.
// Whatever is answered must be rules.
func FuzzRules(f *testing.F) {
	seed := func(b *sample.Binary) { f.Add(b.Bytes(), uint32(textAt), true) }
	steps := []step{push("rbx"), sub(0x20), callAMD64(), add(0x20), pop("rbx"), ret()}
	seed(peBinary(code(steps), unwindInfoBytes(0, 8, 0, 0, []unwindCode{{1, opPushNonvolatile, 3, nil}, {8, opAllocateSmall, 3, nil}}), textAt, textAt+20, xdataAt))
	seed(arm64Binary(make([]byte, 0x40), xdataBytes(0x40, []byte{0x06, 0xe1, 0x83, 0xd9, 0x08, 0xe6, 0x2a, 0xe4}, 0), xdataAt))
	packed, frame := packedSteps(1, 3, 3, 16, false)
	seed(arm64Binary(code(packed), nil, uint32(1|len(code(packed))/4<<2|1<<13|3<<16|3<<21|frame/16<<23)))
	entries := []compactEntry{{textAt, x86Frame | 1}, {textAt + 8, x86Indirect | 3<<16}, {textAt + 16, x86DWARF}}
	seed(machoBinary(executable.AMD64, code(steps), unwindInfoSection(entries, textAt+0x40, true), ehFrame(0x1_0000_0000+ehFrameAt, 0x1_0000_0000+textAt, 0x40, 0x0e, 0x58)))
	seed(machoBinary(executable.ARM64, code(packed), unwindInfoSection([]compactEntry{{textAt, arm64Record | 3}}, textAt+0x40, false), nil))
	seed(armBinary([][]uint32{{0x80a8b0b0}, {0x8101b281, 0x04a8b0b0}, {cannotUnwind}}))
	seed(&sample.Binary{Format: executable.ELF, Machine: executable.AMD64, ID: []byte{1}, Sections: []sample.Section{{Name: ".text", Offset: textAt, Data: code(steps), Executable: true},
		{Name: ".eh_frame", Offset: ehFrameAt, Data: ehFrame(ehFrameAt, textAt, 0x40, 0x42, 0x0f, 3, 0x77, 8, 6, 0x10, 3, 2, 0x72, 0)}}})
	for _, m := range []executable.Machine{executable.AMD64, executable.ARM64} {
		g := sample.GoTable{Machine: m, Minor: 20, At: 0x8000, Text: textAt, Functions: []sample.GoFunction{
			{Name: "main.main", Start: 0, End: 16, Depths: []sample.GoStep{{Value: 0, Size: 1}, {Value: 8, Size: 2}, {Value: 32, Size: 13}}},
			{Name: "runtime.sigpanic", Start: 16, End: 32, Special: 9, Depths: []sample.GoStep{{Value: 8, Size: 16}}},
			{Name: "runtime.goexit", Start: 32, End: 48, Special: 8, Flags: 1, Depths: []sample.GoStep{{Value: 0, Size: 16}}}}}
		table, module := g.Bytes()
		seed(&sample.Binary{Format: executable.ELF, Machine: m, Sections: []sample.Section{{Name: ".text", Offset: textAt, Data: make([]byte, 64), Executable: true},
			{Name: ".gopclntab", Offset: 0x8000, Data: table}, {Name: ".go.module", Offset: 0x10000, Data: module}}})
	}
	f.Fuzz(func(t *testing.T, file []byte, offset uint32, innermost bool) {
		im, err := executable.Open(bytes.NewReader(file), int64(len(file)), executable.UnknownMachine)
		if err != nil {
			return
		}
		im.CodeID()
		tab := New(im)
		for _, q := range []rule.Query{{Base: 0x7f00_0000_0000, Offset: uint64(offset), Innermost: innermost}, {Offset: im.Base + uint64(offset), Innermost: true}, {Base: ^uint64(0), Offset: ^uint64(0) - uint64(offset)}} {
			s, ok := tab.Rules(q)
			if !ok {
				continue
			}
			var rules cfi.Rules
			if !rules.Add(s.CFI.Init) || rules.CFA == "" || rules.RA == "" {
				t.Fatalf("%+v: %q are no rules", q, s.CFI.Init)
			}
			if again, ok := tab.Rules(q); !ok || again.CFI.Init != s.CFI.Init {
				t.Fatalf("%+v: asked again: %q, %v", q, again.CFI.Init, ok)
			}
		}
	})
}
