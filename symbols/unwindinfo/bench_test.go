package unwindinfo

import (
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// BenchmarkRules asks for places that were not asked for before, and for the
// same again.
func BenchmarkRules(b *testing.B) {
	steps := []step{push("rbx"), sub(0x20), spoil("rbx"), callAMD64(), add(0x20), pop("rbx"), ret()}
	text := code(steps)
	for _, c := range []struct {
		name string
		file *sample.Binary
	}{
		{"eh_frame", &sample.Binary{Format: executable.ELF, Machine: executable.AMD64, Sections: []sample.Section{{Name: ".text", Offset: textAt, Data: text, Executable: true},
			{Name: ".eh_frame", Offset: ehFrameAt, Data: ehFrame(ehFrameAt, textAt, uint64(len(text)), 0x41, 0x0e, 16, 0x83, 2, 0x47, 0x0e, 48)}}}},
		{"pdata", peBinary(text, unwindInfoBytes(0, 8, 0, 0, []unwindCode{{1, opPushNonvolatile, 3, nil}, {8, opAllocateSmall, 3, nil}}), textAt, textAt+uint32(len(text)), xdataAt)},
		{"compact", machoBinary(executable.AMD64, text, unwindInfoSection([]compactEntry{{textAt, x86Stack | 6<<16 | 1<<10 | permutation([]int{1})}}, textAt+uint32(len(text)), true), nil)},
	} {
		tab := table(b, c.file)
		b.Run(c.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, ok := tab.Rules(rule.Query{Base: uint64(i), Offset: textAt + 12}); !ok {
					b.Fatal("no rules")
				}
			}
		})
		b.Run(c.name+" again", func(b *testing.B) {
			for b.Loop() {
				tab.Rules(rule.Query{Offset: textAt + 12})
			}
		})
	}
}
