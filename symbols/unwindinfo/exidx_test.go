package unwindinfo

import (
	"encoding/binary"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// relative is a prel31 at where to an address.
func relative(where, to uint32) uint32 { return (to - where) & 0x7fff_ffff }

const armBase, extabAt, exidxAt = 0x10000, 0x20000, 0x30000

// armBinary makes a library whose functions start at textAt, 0x40 bytes apart.
// Each has a word for .ARM.exidx, or else words for .ARM.extab.
func armBinary(functions [][]uint32) *sample.Binary {
	le := binary.LittleEndian
	var index, extab []byte
	for i, words := range functions {
		at := uint32(armBase + exidxAt + len(index))
		index = le.AppendUint32(index, relative(at, armBase+textAt+0x40*uint32(i)))
		if len(words) == 1 {
			index = le.AppendUint32(index, words[0])
			continue
		}
		index = le.AppendUint32(index, relative(at+4, uint32(armBase+extabAt+len(extab))))
		for _, w := range words {
			extab = le.AppendUint32(extab, w)
		}
	}
	return &sample.Binary{Format: executable.ELF, Machine: executable.ARM, Base: armBase, ID: []byte{1, 2, 3, 4}, Sections: []sample.Section{
		{Name: ".text", Offset: textAt, Data: make([]byte, 0x1000), Executable: true}, {Name: ".ARM.extab", Offset: extabAt, Data: extab}, {Name: ".ARM.exidx", Offset: exidxAt, Data: index}}}
}

func TestExidx(t *testing.T) {
	cases := []struct {
		name  string
		words []uint32
		want  string // "" for none
	}{
		{"pop {r4, lr}", []uint32{0x80a8b0b0}, ".cfa: $r13 8 + .ra: $r13 4 + ^ $r4: $r13 ^"},
		{"frame pointer r11, pop {r4-r11, lr}", []uint32{0x809bafb0}, ".cfa: $r11 36 + .ra: $r11 32 + ^ $r4: $r11 ^ $r5: $r11 4 + ^ $r6: $r11 8 + ^ $r7: $r11 12 + ^ $r8: $r11 16 + ^ $r9: $r11 20 + ^ $r10: $r11 24 + ^ $r11: $r11 28 + ^"},
		{"room of 24 bytes, mask {r5, r14}", []uint32{0x80058402}, ".cfa: $r13 32 + .ra: $r13 28 + ^ $r5: $r13 24 + ^"},
		{"leaf", []uint32{0x80b0b0b0}, ".cfa: $r13 .ra: $r14"},
		{"arguments {r0-r3} popped too", []uint32{0x80b10fb0}, ".cfa: $r13 16 + .ra: $r14 $r0: $r13 ^ $r1: $r13 4 + ^ $r2: $r13 8 + ^ $r3: $r13 12 + ^"},
		{"pc itself", []uint32{0x808800b0}, ".cfa: $r13 4 + .ra: $r13 ^"},
		{"cannot unwind", []uint32{cannotUnwind}, ""},
		{"refuses", []uint32{0x808000b0}, ""},
		{"large room in words of a table", []uint32{0x8101b281, 0x04a8b0b0}, ".cfa: $r13 2576 + .ra: $r13 2572 + ^ $r4: $r13 2568 + ^"},
		{"a routine of its own", []uint32{0x00001234, 0x00b0b0b0}, ".cfa: $r13 .ra: $r14"},
		{"floating point registers", []uint32{0x8101c982, 0xd1b9_a8b0}, ".cfa: $r13 68 + .ra: $r13 64 + ^ $r4: $r13 60 + ^"},
		{"down and up", []uint32{0x80410200}, ".cfa: $r13 8 + .ra: $r14"},
		{"table breaks off", []uint32{0x81ff0000, 0}, ""},
		{"stack pointer from itself", []uint32{0x809db0b0}, ""},
	}
	var functions [][]uint32
	for _, c := range cases {
		functions = append(functions, c.words)
	}
	functions = append(functions, []uint32{cannotUnwind})
	tab := table(t, armBinary(functions))
	for i, c := range cases {
		start := uint64(textAt + 0x40*i)
		s, ok := tab.Rules(rule.Query{Offset: start + 0x20, Innermost: true})
		if ok != (c.want != "") || s.CFI.Init != c.want || ok && (s.CFI.Start != start || s.CFI.Size != 0x40) {
			t.Errorf("%s: got %q (%+v, %v), want %q", c.name, s.CFI.Init, s.CFI, ok, c.want)
		}
		if c.want == "" {
			continue
		}
		if s, ok := tab.Rules(rule.Query{Offset: start, Innermost: true}); !ok || s.CFI.Init != ".cfa: $r13 .ra: $r14" {
			t.Errorf("%s: at its first instruction: %q, %v", c.name, s.CFI.Init, ok)
		}
	}
	if s, ok := tab.Rules(rule.Query{Offset: 0x10}); ok {
		t.Errorf("before the first function: %+v", s)
	}
}
