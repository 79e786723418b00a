package unwind

import (
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

func x86Thread(registers map[string]uint64, words map[uint64]uint64) Thread {
	all := map[string]uint64{"eip": 0x401000, "esp": 0x8000, "ebp": 0x10}
	for name, v := range registers {
		all[name] = v
	}
	return thread(format.X86, all, 0x8000, 0x1000, words)
}

func TestX86FramePointer(t *testing.T) {
	p := Process{Modules: program{{base: 0x400000, size: 0x10000}}, Heuristics: Parity}
	first := "401000 8000 context 0+1000"
	runCases(t, []walkCase{
		{"chain to 0", p, x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{
			0x8100: 0x8200, 0x8104: 0x402010, 0x8200: 0, 0x8204: 0x403010, 0x8220: 0x404010}),
			// The last ebp is 0, which cannot be read: the scan goes on.
			lines(first, "40200f 8108 frame_pointer 0+200f ebp=8200", "40300f 8208 frame_pointer 0+300f ebp=0", "40400f 8224 scan 0+400f")},
		{"anything is believed", p, x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8100: 3, 0x8104: 0xffff_ffff}),
			lines(first, "fffffffe 8108 frame_pointer ebp=3")},
		{"a return address in the first page ends the walk", p, x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8104: 0xfff, 0x8108: 0x402010}),
			lines(first)},
		{"below esp ends the walk", p, x86Thread(map[string]uint64{"esp": 0x8200, "ebp": 0x8100}, map[uint64]uint64{0x8104: 0x402010, 0x8208: 0x402010}),
			lines("401000 8200 context 0+1000")},
		{"ebp may be unaligned", p, x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8100: 0x8202, 0x8104: 0x402010}),
			lines(first, "40200f 8108 frame_pointer 0+200f ebp=8202")},
		{"ebp at the end of memory", p, x86Thread(map[string]uint64{"ebp": 0xffff_fffb}, nil), lines(first)},
	})
}

func TestX86Scan(t *testing.T) {
	p := Process{Modules: program{{base: 0x400000, size: 0x10000}}, Heuristics: Parity}
	first := "401000 8000 context 0+1000"
	runCases(t, []walkCase{
		{"ebp saved below", p, x86Thread(nil, map[uint64]uint64{0x801c: 0x8100, 0x8020: 0x402010}),
			lines(first, "40200f 8024 scan 0+200f ebp=8100")},
		{"the word at esp has nothing below", p, x86Thread(map[string]uint64{"ebp": 0x9000}, map[uint64]uint64{0x8000: 0x402010}),
			lines(first, "40200f 8004 scan 0+200f")},
		{"ebp kept", p, x86Thread(map[string]uint64{"ebp": 0x8ffc}, map[uint64]uint64{0x8020: 0x402010}),
			lines(first, "40200f 8024 scan 0+200f ebp=8ffc")},
		{"ebp outside the stack is not kept", p, x86Thread(map[string]uint64{"ebp": 0x9000}, map[uint64]uint64{0x8020: 0x402010}),
			lines(first, "40200f 8024 scan 0+200f")},
		{"saved ebp outside the stack hides the kept one", p, x86Thread(map[string]uint64{"ebp": 0x8ffd}, map[uint64]uint64{0x801c: 0x9100, 0x8020: 0x402010}),
			lines(first, "40200f 8024 scan 0+200f")},
		{"saved ebp far away does not", p, x86Thread(map[string]uint64{"ebp": 0x8ffc - 0x20}, map[uint64]uint64{
			0x8fdc: 0x8fe4, 0x8fe0: 0, 0x801c: 0x801c + maxFrameBytes + 1, 0x8020: 0x402010}),
			// The frame pointer chain is tried first and ends the walk at 0.
			lines(first)},
	})
}

func TestX86Win(t *testing.T) {
	const program4 = "$T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + ="
	function := func(name string, address uint64, params uint32) symbols.Function {
		return symbols.Function{Name: name, Address: address, Size: 0x100, ParamSize: params}
	}
	process := func(tab *table) Process {
		return Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: tab}}, Heuristics: Parity, Platform: Windows}
	}
	frameData := func(start uint64, params, saved, locals uint32, program string) winRange {
		return winRange{start, 0x100, symbols.Win{FrameData: &symbols.WinFrame{Type: 4, ParamSize: params, SavedRegsSize: saved, LocalsSize: locals, HasProgram: true, Program: program}}}
	}
	fpo := func(start uint64, params, saved, locals uint32, base bool) winRange {
		return winRange{start, 0x100, symbols.Win{FPO: &symbols.WinFrame{ParamSize: params, SavedRegsSize: saved, LocalsSize: locals, AllocatesBasePointer: base}}}
	}
	both := frameData(0x1000, 0, 0, 8, "$eip $nosuch =")
	both.win.FPO = &symbols.WinFrame{LocalsSize: 4}
	first := "401000 8000 context 0+1000"
	regs := map[string]uint64{"ebx": 1, "esi": 2, "edi": 3}
	kept := " ebp=10 ebx=1 esi=2 edi=3"
	f, g := function("f", 0x1000, 0), function("g", 0x2000, 0)
	runCases(t, []walkCase{
		{"program", process(&table{win: []winRange{frameData(0x1000, 0, 4, 0x10, program4)}}),
			x86Thread(regs, map[uint64]uint64{0x8014: 0x502010}), lines(first, "50200f 8018 cfi"+kept)},
		{"program that does not give eip keeps it", process(&table{win: []winRange{frameData(0x1000, 0, 0, 0, "$esp $esp 4096 + =")}}),
			x86Thread(regs, nil), lines(first, "400fff 9000 cfi 0+fff"+kept)},
		{"undef keeps what was forwarded", process(&table{win: []winRange{frameData(0x1000, 0, 0, 0, "$eip 6000000 = $esp $esp 4096 + = $ebp .undef =")}}),
			x86Thread(regs, nil), lines(first, "5b8d7f 9000 cfi"+kept)},
		{"program that fails, no CFI: frame pointer", process(&table{win: []winRange{frameData(0x1000, 0, 0, 0, "$eip $nosuch =")}}),
			x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8100: 7, 0x8104: 0x502010}), lines(first, "50200f 8108 frame_pointer ebp=7")},
		{"program that fails does not leave it to FPO", process(&table{win: []winRange{both}}),
			x86Thread(regs, map[uint64]uint64{0x8004: 0x502010}), lines(first)},
		{"program that fails leaves it to CFI", process(&table{win: []winRange{both}, cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $esp 8 + .ra: .cfa 4 - ^"}}}),
			x86Thread(regs, map[uint64]uint64{0x8004: 0x502010}), lines(first, "50200f 8008 cfi"+kept)},
		{"fpo", process(&table{win: []winRange{fpo(0x1000, 0, 4, 0x10, false)}}),
			x86Thread(regs, map[uint64]uint64{0x8014: 0x502010}), lines(first, "50200f 8018 cfi"+kept)},
		{"fpo with ebp saved", process(&table{win: []winRange{fpo(0x1000, 0, 12, 0x10, true)}}),
			x86Thread(regs, map[uint64]uint64{0x8004: 0xbbb, 0x801c: 0x502010}), lines(first, "50200f 8020 cfi ebp=bbb ebx=1 esi=2 edi=3")},

		// The callee of the frame pushed parameters for what it had called: how many
		// bytes, STACK WIN of that function knows best.
		{"params of a FUNC", process(&table{functions: []symbols.Function{function("f", 0x1000, 8), g}, win: []winRange{fpo(0x2000, 0, 0, 4, false)},
			cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $esp 4 + .ra: .cfa 4 - ^"}}}),
			x86Thread(nil, map[uint64]uint64{0x8000: 0x402010, 0x8010: 0x502010}),
			lines(first, "40200f 8004 cfi 0+200f ebp=10 ebx=0 esi=0 edi=0", "50200f 8014 cfi ebp=10 ebx=0 esi=0 edi=0")},
		{"params of STACK WIN", process(&table{functions: []symbols.Function{function("f", 0x1000, 8), g},
			win: []winRange{fpo(0x1000, 12, 0, 0, false), fpo(0x2000, 0, 0, 4, false)}}),
			x86Thread(nil, map[uint64]uint64{0x8000: 0x402010, 0x8014: 0x502010}),
			lines(first, "40200f 8004 cfi 0+200f ebp=10 ebx=0 esi=0 edi=0", "50200f 8018 cfi ebp=10 ebx=0 esi=0 edi=0")},
		{"params of a PUBLIC", process(&table{functions: []symbols.Function{g, {Name: "p", Address: 0x1000, ParamSize: 4, Public: true}},
			win: []winRange{fpo(0x1000, 12, 0, 0, false), fpo(0x2000, 0, 0, 4, false)}}),
			x86Thread(nil, map[uint64]uint64{0x8000: 0x402010, 0x800c: 0x502010}),
			lines(first, "40200f 8004 cfi 0+200f ebp=10 ebx=0 esi=0 edi=0", "50200f 8010 cfi ebp=10 ebx=0 esi=0 edi=0")},
		{"params of nothing", process(&table{functions: []symbols.Function{g}, win: []winRange{fpo(0x1000, 12, 0, 0, false), fpo(0x2000, 0, 0, 4, false)}}),
			x86Thread(nil, map[uint64]uint64{0x8000: 0x402010, 0x8008: 0x502010}),
			lines(first, "40200f 8004 cfi 0+200f ebp=10 ebx=0 esi=0 edi=0", "50200f 800c cfi ebp=10 ebx=0 esi=0 edi=0")},
		{"innermost at its return address", process(&table{functions: []symbols.Function{f}, win: []winRange{fpo(0x1000, 0, 0, 0, false)}}),
			x86Thread(regs, map[uint64]uint64{0x8000: 0x401000, 0x8004: 0x502010}), lines(first, "50200f 8008 cfi"+kept)},
	})
}

// All arithmetic of STACK CFI is on 64 bits; what does not fit a register is
// not stored.
func TestX86CFIWide(t *testing.T) {
	process := func(init string) Process {
		return Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: &table{
			cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: init}}}}}, Heuristics: Parity}
	}
	first := "401000 8000 context 0+1000"
	runCases(t, []walkCase{
		{".cfa too wide", process(".cfa: 4294967296 .ra: 8192"), x86Thread(nil, nil), lines(first)},
		{".ra too wide", process(".cfa: $esp 8 + .ra: 0 1 -"), x86Thread(nil, nil), lines(first)},
		{"register too wide keeps its value", process(".cfa: $esp 8 + .ra: 8192 $ebx: 0 1 - $eax: 0 1 -"), x86Thread(map[string]uint64{"ebx": 5}, nil),
			lines(first, "1fff 8008 cfi ebp=10 ebx=5 esi=0 edi=0")},
		{"STACK WIN is for x86 alone", Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: &table{
			win: []winRange{{0x1000, 0x100, symbols.Win{FPO: &symbols.WinFrame{}}}}}}}, Heuristics: Parity},
			thread(format.AMD64, map[string]uint64{"rip": 0x401000, "rsp": 0x8000}, 0x8000, 64, map[uint64]uint64{0x8000: 0x402010}), lines(first)},
	})
}
