package unwind

import (
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

const stackBase = 0x7ffe_0000_0000

func amd64Thread(registers map[string]uint64, words map[uint64]uint64) Thread {
	all := map[string]uint64{"rip": 0x401000, "rsp": stackBase, "rbp": 0x10}
	for name, v := range registers {
		all[name] = v
	}
	placed := map[uint64]uint64{}
	for offset, v := range words {
		placed[stackBase+offset] = v
	}
	return thread(format.AMD64, all, stackBase, 0x1000, placed)
}

func TestAMD64FramePointer(t *testing.T) {
	bare := program{{base: 0x400000, size: 0x10000}}
	const s = stackBase
	first := "401000 7ffe00000000 context 0+1000"
	taken := "40200f 7ffe00000110 frame_pointer 0+200f rbp=7ffe00000200"
	linux := Process{Modules: bare, Heuristics: Parity}
	windows := Process{Modules: bare, Heuristics: Parity, Platform: Windows}
	runCases(t, []walkCase{
		{"chain", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0x402010, 0x200: s + 0x300, 0x208: 0x403010, 0x300: 0, 0x308: 0}),
			// At 0x300 rbp is 0: no frame pointer, and the scan finds nothing.
			lines(first, taken, "40300f 7ffe00000210 frame_pointer 0+300f rbp=7ffe00000300")},
		{"return address outside all modules", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0x7000_0010}), lines(first, "7000000f 7ffe00000110 frame_pointer rbp=7ffe00000200")},
		{"low return address ends the walk without a scan", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0xfff, 0x120: 0x402010}), lines(first)},
		{"not canonical", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0x8000_0000_0000, 0x120: 0x402010}),
			lines(first, "40200f 7ffe00000128 scan 0+200f")},
		{"goes down", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x108, 0x108: 0x402010}), lines(first, "40200f 7ffe00000110 scan 0+200f")},
		{"to itself", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x110, 0x108: 0x402010, 0x110: s + 0x120, 0x118: 0x403010}),
			// The first is taken, its rbp is its rsp; so is the second.
			lines(first, "40200f 7ffe00000110 frame_pointer 0+200f rbp=7ffe00000110", "40300f 7ffe00000120 frame_pointer 0+300f rbp=7ffe00000120")},
		{"leads out of the stack", linux, amd64Thread(map[string]uint64{"rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x1000, 0x108: 0x402010}), lines(first, "40200f 7ffe00000110 scan 0+200f")},
		{"below rsp", linux, amd64Thread(map[string]uint64{"rsp": s + 0x200, "rbp": s + 0x100}, map[uint64]uint64{
			0x100: s + 0x300, 0x108: 0x402010}), lines("401000 7ffe00000200 context 0+1000")},
		{"rbp at the very end", linux, amd64Thread(map[string]uint64{"rbp": ^uint64(0) - 7}, nil), lines(first)},

		{"Windows: some words up", windows, amd64Thread(map[string]uint64{"rbp": s + 0xd0}, map[uint64]uint64{
			0xd0: 5, 0xe0: s + 0x400, 0xe8: 0x8000_0000_0000, 0x100: s + 0x200, 0x108: 0x402010}),
			lines(first, taken)},
		{"Windows: the last place", windows, amd64Thread(map[string]uint64{"rbp": s + 0x10}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0x402010}), lines(first, taken)},
		{"Windows: too far up", windows, amd64Thread(map[string]uint64{"rbp": s}, map[uint64]uint64{
			0x100: s + 0x200, 0x108: 0x402010}), lines(first, "40200f 7ffe00000110 scan 0+200f")},
		{"Windows: a load that fails ends the search", windows, amd64Thread(map[string]uint64{"rbp": s + 0xd0}, map[uint64]uint64{
			0xd0: 0xffff_0000_0000_0000, 0xd8: 0x402010, 0x100: s + 0x200, 0x108: 0x402010}),
			lines(first, "40200f 7ffe000000e0 scan 0+200f", "40200f 7ffe00000110 scan 0+200f")},
		{"Linux: one place alone", linux, amd64Thread(map[string]uint64{"rbp": s + 0xf0}, map[uint64]uint64{
			0xf0: 5, 0x100: s + 0x200, 0x108: 0x402010}), lines(first, "40200f 7ffe00000110 scan 0+200f")},
	})
}

func TestAMD64Scan(t *testing.T) {
	named := &table{functions: []symbols.Function{{Name: "f", Address: 0x1000, Size: 0x1000}, {Name: "", Address: 0x3000, Size: 0x100},
		{Name: "p", Address: 0x8000, Public: true}}}
	withSymbols := program{{base: 0x400000, size: 0x10000, symbols: named}}
	bare := program{{base: 0x400000, size: 0x10000}}
	const s = stackBase
	first := "401000 7ffe00000000 context 0+1000"
	linux := Process{Modules: bare, Heuristics: Parity}
	linuxSym := Process{Modules: withSymbols, Heuristics: Parity}
	runCases(t, []walkCase{
		{"the word at rsp", linux, amd64Thread(nil, map[uint64]uint64{0: 0x402010}), lines(first, "40200f 7ffe00000008 scan 0+200f")},
		{"the last of 160", linux, amd64Thread(nil, map[uint64]uint64{159 * 8: 0x402010}), lines(first, "40200f 7ffe00000500 scan 0+200f")},
		{"one too far", linux, amd64Thread(nil, map[uint64]uint64{160 * 8: 0x402010}), lines(first)},
		{"then 40", linux, amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8 + 39*8: 0x403010, 0x148 + 40*8: 0x404010}),
			lines(first, "40200f 7ffe00000008 scan 0+200f", "40300f 7ffe00000148 scan 0+300f")},
		{"unaligned slots", linux, amd64Thread(map[string]uint64{"rsp": s + 4}, map[uint64]uint64{0x0c: 0x402010, 0x18: 0x403010}),
			lines("401000 7ffe00000004 context 0+1000", "40200f 7ffe00000014 scan 0+200f")},
		{"the start of a module has no call before it", linux, amd64Thread(nil, map[uint64]uint64{0: 0x400000, 8: 0x400001}),
			lines(first, "400000 7ffe00000010 scan 0+0")},
		{"the end of a module has", linux, amd64Thread(nil, map[uint64]uint64{0: 0x410000, 8: 0x410001}),
			lines(first, "40ffff 7ffe00000008 scan 0+ffff")},
		{"0 and 1", Process{Modules: program{{base: 0, size: 0x10000}}, Heuristics: Parity},
			amd64Thread(map[string]uint64{"rip": 0x1000}, map[uint64]uint64{0: 0, 8: 1}), lines("1000 7ffe00000000 context 0+1000")},
		{"a low address ends the walk", Process{Modules: program{{base: 0, size: 0x10000}}, Heuristics: Parity},
			amd64Thread(map[string]uint64{"rip": 0x1000}, map[uint64]uint64{0: 2, 8: 0x1010}), lines("1000 7ffe00000000 context 0+1000")},
		{"in a function", linuxSym, amd64Thread(nil, map[uint64]uint64{0: 0x400800, 8: 0x402100, 16: 0x402000}),
			lines(first, "401fff 7ffe00000018 scan 0+1fff")},
		{"in a function without a name", linuxSym, amd64Thread(nil, map[uint64]uint64{0: 0x403010}), lines(first)},
		{"in a public", linuxSym, amd64Thread(nil, map[uint64]uint64{0: 0x409000}), lines(first, "408fff 7ffe00000008 scan 0+8fff")},
		{"rsp outside the stack", linux, amd64Thread(map[string]uint64{"rsp": s + 0x1000}, nil), lines("401000 7ffe00001000 context 0+1000")},
		{"rsp at the end of memory", linux, amd64Thread(map[string]uint64{"rsp": ^uint64(0) - 3}, nil), lines("401000 fffffffffffffffc context 0+1000")},

		// rbp is recovered where the return address lies right above what rbp points
		// at, or where rbp points above the return address.
		{"rbp kept", linux, amd64Thread(map[string]uint64{"rbp": s + 0x500}, map[uint64]uint64{0x20: 0x402010}),
			lines(first, "40200f 7ffe00000028 scan 0+200f rbp=7ffe00000500")},
		{"rbp lost at the first word", linux, amd64Thread(map[string]uint64{"rbp": s + 0x500}, map[uint64]uint64{0: 0x402010}),
			lines(first, "40200f 7ffe00000008 scan 0+200f")},
		{"rbp kept though outside the stack", linux, amd64Thread(map[string]uint64{"rbp": s + 0x50000}, map[uint64]uint64{0x20: 0x402010}),
			lines(first, "40200f 7ffe00000028 scan 0+200f rbp=7ffe00050000")},
		{"rbp below is not kept", linux, amd64Thread(map[string]uint64{"rbp": s + 0x10}, map[uint64]uint64{0x20: 0x402010}),
			lines(first, "40200f 7ffe00000028 scan 0+200f")},
		// The saved rbp leads into the word that follows, which the frame pointer
		// technique does not take and the scan does.
		{"rbp saved below", linux, amd64Thread(map[string]uint64{"rbp": s + 0x28}, map[uint64]uint64{0x28: s + 0x34, 0x30: 0x402010}),
			lines(first, "40200f 7ffe00000038 scan 0+200f rbp=7ffe00000034")},
		{"rbp saved below, out of the stack", linux, amd64Thread(map[string]uint64{"rbp": s + 0x28}, map[uint64]uint64{0x28: s + 0x1000, 0x30: 0x402010}),
			lines(first, "40200f 7ffe00000038 scan 0+200f")},
		{"saved rbp leads far away", linux, amd64Thread(map[string]uint64{"rbp": s + 0x28}, map[uint64]uint64{
			0x28: s + 0x28 + maxFrameBytes, 0x30: 0x402010}), lines(first, "40200f 7ffe00000038 scan 0+200f")},
	})
}

func TestAMD64CFI(t *testing.T) {
	first := "401000 7ffe00000000 context 0+1000"
	rules := func(init string, deltas ...string) Process {
		return Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: &table{
			functions: []symbols.Function{{Name: "f", Address: 0x1000, Size: 0x100}},
			cfi:       []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: init, Deltas: deltas}},
		}}}, Heuristics: Parity}
	}
	regs := map[string]uint64{"rbx": 1, "rbp": 2, "r12": 3, "r13": 4, "r14": 5, "r15": 6, "rax": 7, "rdi": 8}
	words := map[uint64]uint64{0x10: 0xbbb, 0x18: 0x402010}
	saved := " r12=3 r13=4 r14=5 r15=6"
	runCases(t, []walkCase{
		{"forwards what calls preserve", rules(".cfa: $rsp 32 + .ra: .cfa 8 - ^"), amd64Thread(regs, words),
			lines(first, "40200f 7ffe00000020 cfi 0+200f rbx=1 rbp=2"+saved)},
		{"rules overwrite", rules(".cfa: $rsp 32 + .ra: .cfa 8 - ^ $rbx: .cfa 16 - ^", "$rax: 17 $r12: $rdi"), amd64Thread(regs, words),
			lines(first, "40200f 7ffe00000020 cfi 0+200f rax=11 rbx=bbb rbp=2 r12=8 r13=4 r14=5 r15=6")},
		{"a rule that fails makes its register unknown", rules(".cfa: $rsp 32 + .ra: .cfa 8 - ^ $rbx: .undef $rbp: 0 ^ $nosuch: 1"), amd64Thread(regs, words),
			lines(first, "40200f 7ffe00000020 cfi 0+200f"+saved)},
		{"a rule for rsp", rules(".cfa: $rsp 32 + .ra: .cfa 8 - ^ $rsp: .cfa 64 +"), amd64Thread(regs, words),
			lines(first, "40200f 7ffe00000060 cfi 0+200f rbx=1 rbp=2"+saved)},
		{"a return address that makes no sense is believed", rules(".cfa: $rsp 32 + .ra: 123456789"), amd64Thread(regs, words),
			lines(first, "75bcd14 7ffe00000020 cfi rbx=1 rbp=2"+saved)},
		{"one below the first page ends the walk", rules(".cfa: $rsp 32 + .ra: 4095"), amd64Thread(regs, words), lines(first)},
		{"the first page counts from the return address", rules(".cfa: $rsp 32 + .ra: 4096"), amd64Thread(regs, words),
			lines(first, "fff 7ffe00000020 cfi rbx=1 rbp=2"+saved)},
		{"no progress ends the walk", rules(".cfa: $rsp .ra: $rsp 24 + ^"), amd64Thread(regs, words), lines(first)},
		{"no .ra", rules(".cfa: $rsp 32 +"), amd64Thread(regs, words), lines(first)},
		{"a record that is malformed", rules(".cfa: $rsp 32 + .ra: .cfa 8 - ^", "$rbx:"), amd64Thread(regs, words), lines(first)},
		{"a .cfa that fails", rules(".cfa: .undef .ra: 4096"), amd64Thread(regs, words), lines(first)},
		{"a .ra that fails", rules(".cfa: $rsp 32 + .ra: 0 ^"), amd64Thread(regs, words), lines(first)},
		{"eflags has no name in rules", rules(".cfa: $rsp 32 + .ra: $eflags"), amd64Thread(regs, nil), lines(first)},
	})
}

func TestScanAfterCFI(t *testing.T) {
	p := program{{base: 0x400000, size: 0x10000, symbols: &table{
		functions: []symbols.Function{{Name: "f", Address: 0x1000, Size: 0x100}, {Name: "g", Address: 0x2000, Size: 0x100}},
		cfi:       []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}},
	}}}
	runCases(t, []walkCase{
		{"160 words", Process{Modules: p, Heuristics: Parity}, amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8 + 159*8: 0x402020}),
			lines("401000 7ffe00000000 context 0+1000", "40200f 7ffe00000008 cfi 0+200f rbx=0 rbp=10 r12=0 r13=0 r14=0 r15=0",
				"40201f 7ffe00000508 scan 0+201f")},
	})
}
