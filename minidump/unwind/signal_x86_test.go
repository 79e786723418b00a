package unwind

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
)

func TestX86SignalFrame(t *testing.T) {
	const s = 0x8000
	tab := &table{functions: functions("a", "b", "c", "d"), cfi: []symbols.CFI{
		{Start: 0x2000, Size: 0x1000, Init: ".cfa: $esp 8 + .ra: .cfa 4 - ^"},
		{Start: 0x3000, Size: 0x100, Init: ".cfa: $esp 4 + .ra: .cfa 4 - ^"}}}
	context := func(words map[uint64]uint64, at uint64) {
		for i, name := range sigcontextOrder {
			words[at+4*uint64(i)] = map[string]uint64{"eip": 0x403000, "esp": s + 0x400, "ebp": 0x11, "ebx": 0x12}[name]
		}
		words[at+uint64(x86Code)], words[at+uint64(x86Flags)], words[at+uint64(x86Stack)] = 0x23, 0x10246, 0x2b
	}
	walk := func(words map[uint64]uint64) (all []uint64) {
		words[s+4], words[s+0x400] = 0x40f000, 0x404010
		for _, f := range NewWalker(bestProcess(tab, nil)).Walk(t.Context(), x86Thread(map[string]uint64{"eip": 0x402000}, words)).Frames {
			all = append(all, f.Instruction)
		}
		return all
	}
	want := []uint64{0x402000, 0x40efff, 0x403000, 0x40400f}
	// The stack pointer at the return to the trampoline is s+8.
	for name, make := range map[string]func(words map[uint64]uint64){
		"old handler":        func(words map[uint64]uint64) { words[s+8] = 11; context(words, s+12) },
		"number popped":      func(words map[uint64]uint64) { context(words, s+8) },
		"handler of details": func(words map[uint64]uint64) { words[s+8+8] = s + 0xa0; context(words, s+0xa0+20) },
	} {
		words := map[uint64]uint64{}
		make(words)
		if diff := cmp.Diff(want, walk(words)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for offset, v := range map[int]uint64{x86Code: 0x24, x86Stack: 0x73, x86Flags: 0, 14 * 4: 16} {
		words := map[uint64]uint64{}
		context(words, s+12)
		words[s+12+uint64(offset)] = v
		for _, ip := range walk(words)[1:] {
			if ip == 0x403000 {
				t.Errorf("taken for a signal frame with %#x at %d", v, offset)
			}
		}
	}
}
