package unwind

import (
	"fmt"
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

const arm64Text = 0x1_0000_0000

func arm64Thread(registers map[string]uint64, words map[uint64]uint64) Thread {
	all := map[string]uint64{"pc": arm64Text + 0x1000, "sp": 0x8000}
	for name, v := range registers {
		all[name] = v
	}
	return thread(format.ARM64, all, 0x8000, 0x1000, words)
}

func TestARM64FramePointer(t *testing.T) {
	bare := Process{Modules: program{{base: arm64Text, size: 0x10000}}, Heuristics: Parity}
	first := "100001000 8000 context 0+1000"
	const signature = 0x1234_8000_0000_0000 // bits 47 and up
	runCases(t, []walkCase{
		{"records to 0", bare, arm64Thread(map[string]uint64{"fp": 0x8100}, map[uint64]uint64{
			0x8100: 0x8200, 0x8108: arm64Text + 0x2010, 0x8200: 0, 0x8208: arm64Text + 0x3010, 0x8220: arm64Text + 0x4010}),
			lines(first, "10000200c 8110 frame_pointer 0+200c fp=8200 lr=100003010", "10000300c 8210 frame_pointer 0+300c fp=0",
				"10000400c 8228 scan 0+400c")},
		{"signed", bare, arm64Thread(map[string]uint64{"fp": 0x8100}, map[uint64]uint64{
			0x8100: 0x8200 | signature, 0x8108: (arm64Text + 0x2010) | signature, 0x8208: (arm64Text + 0x3010) | signature, 0x8200: 0x9000}),
			lines(first, "10000200c 8110 frame_pointer 0+200c fp=8200 lr=100003010", "10000300c 8210 frame_pointer 0+300c fp=9000")},
		{"fp 0: scan", bare, arm64Thread(nil, map[uint64]uint64{0x8008: arm64Text + 0x2010}), lines(first, "10000200c 8010 scan 0+200c")},
		{"a scan does not take off signatures", bare, arm64Thread(nil, map[uint64]uint64{0x8008: (arm64Text + 0x2010) | signature}), lines(first)},
		{"pc in the first page: scan", bare, arm64Thread(map[string]uint64{"fp": 0x8100}, map[uint64]uint64{0x8100: 0x8200, 0x8108: 0xfff, 0x8110: arm64Text + 0x2010}),
			lines(first, "10000200c 8118 scan 0+200c")},
		{"below sp ends the walk", bare, arm64Thread(map[string]uint64{"sp": 0x8200, "fp": 0x8100}, map[uint64]uint64{0x8108: arm64Text + 0x2010}),
			lines("100001000 8200 context 0+1000")},
		{"fp outside the stack: scan", bare, arm64Thread(map[string]uint64{"fp": 0x9000}, map[uint64]uint64{0x8008: arm64Text + 0x2010}),
			lines(first, "10000200c 8010 scan 0+200c")},
		{"fp at the end of memory", bare, arm64Thread(map[string]uint64{"fp": ^uint64(0) - 8}, nil), lines(first)},
	})
}

func TestARM64CFI(t *testing.T) {
	rules := func(init ...string) Process {
		tab := &table{functions: []symbols.Function{{Name: "f", Address: 0, Size: 0x10000}}}
		for i, r := range init {
			// Ranges start 4 bytes before 0x…010, so that a frame that returns to
			// 0x…010 stands at the start of its range.
			tab.cfi = append(tab.cfi, symbols.CFI{Start: 0x100c + 0x1000*uint64(i), Size: 0x100, Init: r})
		}
		return Process{Modules: program{{base: arm64Text, size: 0x10000, symbols: tab}}, Heuristics: Parity}
	}
	first := "10000100c 8000 context 0+100c"
	regs := func(more map[string]uint64) map[string]uint64 {
		all := map[string]uint64{"pc": arm64Text + 0x100c, "x19": 19, "x28": 28, "x0": 1}
		for name, v := range more {
			all[name] = v
		}
		return all
	}
	none := " x20=0 x21=0 x22=0 x23=0 x24=0 x25=0 x26=0 x27=0 x28=1c"
	record := map[uint64]uint64{0x8100: 0x8200, 0x8108: arm64Text + 0x2010, 0x8200: 0, 0x8208: arm64Text + 0x3010}
	const signature = 0x1234_8000_0000_0000
	runCases(t, []walkCase{
		{"leaf", rules(".cfa: sp .ra: x30"), arm64Thread(regs(map[string]uint64{"lr": arm64Text + 0x2010, "fp": 5}), nil),
			lines(first, "10000200c 8000 cfi 0+200c x19=13"+none+" fp=5")},
		{"leaf to itself ends the walk", rules(".cfa: sp .ra: x30"), arm64Thread(regs(map[string]uint64{"lr": arm64Text + 0x100c}), nil), lines(first)},
		{"signed", rules(".cfa: x31 16 + .ra: x30 x29: x0 x30: x1"), arm64Thread(regs(nil), nil), lines(first)},
		{"signed registers", rules(".cfa: sp 16 + .ra: x30 x29: x0 x30: x1"), arm64Thread(regs(map[string]uint64{"lr": (arm64Text + 0x2010) | signature, "x0": 0x8100 | signature, "x1": 7 | signature}), nil),
			lines(first, "10000200c 8010 cfi 0+200c x19=13"+none+" fp=8100 lr=7")},
		{"a rule that fails", rules(".cfa: sp 16 + .ra: x30 fp: .undef x19: .undef"), arm64Thread(regs(map[string]uint64{"lr": arm64Text + 0x2010}), nil),
			lines(first, "10000200c 8010 cfi 0+200c"+none)},
		{"by another name it has no effect", rules(".cfa: sp 16 + .ra: x30 x29: .undef"), arm64Thread(regs(map[string]uint64{"lr": arm64Text + 0x2010}), nil),
			lines(first, "10000200c 8010 cfi 0+200c x19=13"+none+" fp=0")},

		// A frame that was found by its frame record: lr is what the next record
		// holds, which is right at the start of the function alone, and fp may be
		// read but is not known farther out.
		{"record, then a rule at its start", rules("", ".cfa: sp 16 + .ra: x30"), arm64Thread(regs(map[string]uint64{"fp": 0x8100}), record),
			lines(first, "10000200c 8110 frame_pointer 0+200c fp=8200 lr=100003010", "10000300c 8120 cfi 0+300c", "10000300c 8210 scan 0+300c")},
		{"record, then a rule that reads fp", rules("", ".cfa: x29 16 + .ra: 4294979596 x29: x29"), arm64Thread(regs(map[string]uint64{"fp": 0x8100}), record),
			lines(first, "10000200c 8110 frame_pointer 0+200c fp=8200 lr=100003010", "100003008 8210 cfi 0+3008 fp=8200")},
	})
	// Four bytes on, lr may not be read, and the frame record is used again.
	record[0x8108] += 4
	runCases(t, []walkCase{
		{"record, then a rule past its start", rules("", ".cfa: sp 16 + .ra: x30"), arm64Thread(regs(map[string]uint64{"fp": 0x8100}), record),
			lines(first, "100002010 8110 frame_pointer 0+2010 fp=8200 lr=100003010", "10000300c 8210 frame_pointer 0+300c fp=0")},
	})
}

func TestPACMask(t *testing.T) {
	for _, tt := range []struct{ highest, want uint64 }{
		{0, 1<<47 - 1},
		{1<<47 - 1, 1<<47 - 1},
		{1 << 47, 1<<47 - 1}, // a power of two loses its bit
		{1<<47 + 1, 1<<48 - 1},
		{0xffff_8000_0000, 1<<48 - 1},
		{1<<63 + 1, ^uint64(0)},
		{^uint64(0), ^uint64(0)},
	} {
		if got := pacMask(tt.highest); got != tt.want {
			t.Errorf("pacMask(%#x) = %#x, want %#x", tt.highest, got, tt.want)
		}
	}
}

func TestMIPS(t *testing.T) {
	p := Process{Modules: program{{base: 0x400000, size: 0x10000}}, Heuristics: Parity}
	mips := func(registers map[string]uint64, words map[uint64]uint64) Thread {
		all := map[string]uint64{"pc": 0x401000, "sp": 0x8000}
		for name, v := range registers {
			all[name] = v
		}
		return thread(format.MIPS, all, 0x8000, 0x1000, words)
	}
	first := "401000 8000 context 0+1000"
	tab := &table{functions: []symbols.Function{{Name: "f", Address: 0, Size: 0x10000}},
		cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $sp 32 + .ra: .cfa -4 + ^ $s0: .cfa -8 + ^"}, {Start: 0x2000, Size: 0x100, Init: ".cfa: $29 32 + .ra: 4218880"}}}
	sym := Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: tab}}, Heuristics: Parity}
	runCases(t, []walkCase{
		{"the first word", p, mips(nil, map[uint64]uint64{0x8000: 0x402010}), lines(first, "402008 8004 scan 0+2008")},
		{"the last of 256", p, mips(nil, map[uint64]uint64{0x8000 + 255*4: 0x402010}), lines(first, "402008 8400 scan 0+2008")},
		{"one too far", p, mips(nil, map[uint64]uint64{0x8000 + 256*4: 0x402010}), lines(first)},
		{"then past the arguments", p, mips(nil, map[uint64]uint64{0x8000: 0x402010, 0x8010: 0x403010, 0x8014: 0x404010}),
			lines(first, "402008 8004 scan 0+2008", "404008 8018 scan 0+4008")},
		{"then 252", p, mips(nil, map[uint64]uint64{0x8000: 0x402010, 0x8014 + 251*4: 0x403010}),
			lines(first, "402008 8004 scan 0+2008", fmt.Sprintf("403008 %x scan 0+3008", 0x8018+251*4))},
		{"low addresses are passed over", Process{Modules: program{{base: 0, size: 0x10000}}, Heuristics: Parity},
			mips(map[string]uint64{"pc": 0x1000}, map[uint64]uint64{0x8000: 0xfff, 0x8004: 0x1000}), lines("1000 8000 context 0+1000", "ff8 8008 scan 0+ff8")},
		{"cfi", sym, mips(map[string]uint64{"s1": 1, "gp": 2, "fp": 3, "ra": 9}, map[uint64]uint64{0x8018: 0x55, 0x801c: 0x403010}),
			lines(first, "403008 8020 cfi 0+3008 gp=2 fp=3 s0=55 s1=1 s2=0 s3=0 s4=0 s5=0 s6=0 s7=0")},
		{"registers have no numbers", sym, mips(map[string]uint64{"pc": 0x402000}, nil), lines("402000 8000 context 0+2000")},
		{"sign-extended registers", sym, mips(map[string]uint64{"sp": 0xffff_ffff_0000_8000}, map[uint64]uint64{0x801c: 0x403010}),
			// Rules see 32 bits, the check for progress 64: the peer's quirk.
			lines("401000 ffffffff00008000 context 0+1000")},
	})
}
