package unwind

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/format"
	"mayday/symbols"
)

// place is a piece of the address space of a test: mapped, perhaps executable,
// perhaps with its bytes in the dump.
type place struct {
	start, size uint64
	executable  bool
	bytes       []byte
}

// places is a memory map; what is in none is unmapped.
type places []place

func (p places) Bytes(address uint64, n int) []byte {
	for _, x := range p {
		if address >= x.start && address-x.start+uint64(n) <= uint64(len(x.bytes)) {
			return x.bytes[address-x.start:][:n]
		}
	}
	return nil
}

func (p places) Executable(address uint64) (executable, known bool) {
	for _, x := range p {
		if address >= x.start && address-x.start < x.size {
			return x.executable, true
		}
	}
	return false, true
}

// calls is code in which a call to somewhere ends at each of the offsets.
func calls(size int, offsets ...int) []byte {
	b := make([]byte, size)
	for _, o := range offsets {
		b[o-5] = 0xe8
	}
	return b
}

func bestProcess(tab *table, code Code) Process {
	return Process{Modules: program{{base: 0x400000, size: 0x10000, symbols: tab}}, Code: code}
}

func functions(names ...string) []symbols.Function {
	var list []symbols.Function
	for i, name := range names {
		list = append(list, symbols.Function{Name: name, Address: 0x1000 * uint64(i+1), Size: 0x1000})
	}
	return list
}

func TestBestScan(t *testing.T) {
	const s = stackBase
	text := places{{0x400000, 0x5000, true, calls(0x5000, 0x2010, 0x3010)}, {0x405000, 0xb000, false, nil}, {0x900000, 0x1000, true, nil}}
	bare := &table{functions: functions("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")}
	first := "401000 7ffe00000000 context 0+1000"
	runCases(t, []walkCase{
		{"after a call", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{0: 0x402000, 8: 0x402010, 0x18: 0x403011, 0x20: 0x403010}),
			lines(first, "40200f 7ffe00000010 scan 0+200f", "40300f 7ffe00000028 scan 0+300f")},
		{"data of a module", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{0: 0x406000}), lines(first)},
		{"data of a module with symbols", bestProcess(bare, text), amd64Thread(nil, map[uint64]uint64{0: 0x406000}), lines(first)},
		{"generated code", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{8: s + 0x14, 0x10: 0x900800, 0x20: 0x402010}),
			lines(first, "9007ff 7ffe00000018 scan", "40200f 7ffe00000028 scan 0+200f")},
		{"generated code without a frame record", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{8: 5, 0x10: 0x900800}), lines(first)},
		{"the header of a module", bestProcess(nil, nil), amd64Thread(nil, map[uint64]uint64{0: 0x400040}), lines(first)},
		{"the start of a function", bestProcess(bare, nil), amd64Thread(nil, map[uint64]uint64{0: 0x402000, 8: 0x402001}),
			lines(first, "402000 7ffe00000010 scan 0+2000")},
		{"unmapped", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{0: 0xa00000}), lines(first)},
		{"no map, no module", bestProcess(nil, nil), amd64Thread(nil, map[uint64]uint64{0: 0xa00000}), lines(first)},
		{"no map", bestProcess(nil, nil), amd64Thread(nil, map[uint64]uint64{0: 0x406000}), lines(first, "405fff 7ffe00000008 scan 0+5fff")},
		{"far where code is known", bestProcess(nil, text), amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8 + 159*8: 0x403010}),
			lines(first, "40200f 7ffe00000008 scan 0+200f", "40300f 7ffe00000508 scan 0+300f")},
		{"near where it is not", bestProcess(nil, nil), amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8 + 40*8: 0x403010}),
			lines(first, "40200f 7ffe00000008 scan 0+200f")},
		{"not past a thread's start", bestProcess(&table{functions: functions("a", "start_thread", "clone3", "d")}, nil), amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8: 0x403010, 16: 0x404010}),
			lines(first, "40200f 7ffe00000008 scan 0+200f", "40300f 7ffe00000010 scan 0+300f")},
	})
}

func TestBestCFI(t *testing.T) {
	rules := func(init string) Process {
		return bestProcess(&table{functions: functions("a", "b", "c"), cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: init}}}, nil)
	}
	first := "401000 7ffe00000000 context 0+1000"
	saved := " r12=0 r13=0 r14=0 r15=0"
	runCases(t, []walkCase{
		{"believed", rules(".cfa: $rsp 8 + .ra: .cfa 8 - ^"), amd64Thread(nil, map[uint64]uint64{0: 0x402010}),
			lines(first, "40200f 7ffe00000008 cfi 0+200f rbx=0 rbp=10"+saved)},
		{"no return address ends the stack", rules(".cfa: $rsp 8 + .ra: .undef"), amd64Thread(nil, map[uint64]uint64{0: 0x402010}), lines(first)},
		{"no rule for it does as well", rules(".cfa: $rsp 8 +"), amd64Thread(nil, map[uint64]uint64{0: 0x402010}), lines(first)},
		{"no rules at all do not", rules("$rbx: 1"), amd64Thread(nil, map[uint64]uint64{0: 0x402010}), lines(first, "40200f 7ffe00000008 scan 0+200f")},
		{"return address 0 ends the stack", rules(".cfa: $rsp 8 + .ra: .cfa 8 - ^"), amd64Thread(nil, map[uint64]uint64{8: 0x402010}), lines(first)},
		{"return address 1 does not", rules(".cfa: $rsp 8 + .ra: .cfa 8 - ^"), amd64Thread(nil, map[uint64]uint64{0: 1, 8: 0x402010}),
			lines(first, "40200f 7ffe00000010 scan 0+200f")},
		{"stack pointer out of the stack", rules(".cfa: $rsp 8192 + .ra: 4202512"), amd64Thread(nil, map[uint64]uint64{8: 0x402010}),
			lines(first, "40200f 7ffe00000010 scan 0+200f")},
		{"stack pointer stands", rules(".cfa: $rsp .ra: 4202512"), amd64Thread(nil, map[uint64]uint64{8: 0x402010}),
			lines(first, "40200f 7ffe00000010 scan 0+200f")},
		{"a rule that leads back to itself", rules(".cfa: $rsp 8 + .ra: $rip"), amd64Thread(nil, map[uint64]uint64{8: 0x402010}),
			lines(first, "truncated: "+truncatedCircle)},
		{"recursion is another matter", rules(".cfa: $rsp 8 + .ra: .cfa 8 - ^"), amd64Thread(nil, map[uint64]uint64{0: 0x401000, 8: 0x401000}),
			lines(first, "400fff 7ffe00000008 cfi 0+fff rbx=0 rbp=10"+saved)},
	})
	windows := rules(".cfa: $rsp 8 + .ra: .cfa 8 - ^")
	windows.Platform = Windows
	runCases(t, []walkCase{
		{"Windows preserves rsi and rdi", windows, amd64Thread(map[string]uint64{"rsi": 1, "rdi": 2}, map[uint64]uint64{0: 0x402010}),
			lines(first, "40200f 7ffe00000008 cfi 0+200f rbx=0 rsi=1 rdi=2 rbp=10"+saved)},
	})
}

func TestBestFramePointer(t *testing.T) {
	const s = stackBase
	first := "401000 7ffe00000000 context 0+1000"
	chain := func(last uint64, more map[uint64]uint64) Thread {
		words := map[uint64]uint64{0x100: s + 0x200, 0x108: 0x402010, 0x200: last, 0x208: 0x403010, 0x220: 0x404010}
		for a, v := range more {
			words[a] = v
		}
		return amd64Thread(map[string]uint64{"rbp": s + 0x100}, words)
	}
	second := "40200f 7ffe00000110 frame_pointer 0+200f rbp=7ffe00000200"
	third := "40300f 7ffe00000210 frame_pointer 0+300f rbp=7ffe00000300"
	runCases(t, []walkCase{
		{"a record of zeros ends the stack", bestProcess(nil, nil), chain(s+0x300, nil), lines(first, second, third)},
		{"one of something else does not", bestProcess(nil, nil), chain(s+0x300, map[uint64]uint64{0x300: 1}), lines(first, second, third, "40400f 7ffe00000228 scan 0+400f rbp=7ffe00000300")},
		{"unmapped return address", bestProcess(nil, places{{0x400000, 0x10000, true, nil}}), chain(s+0x300, map[uint64]uint64{0x208: 0xa00000}),
			lines(first, second, "40400f 7ffe00000228 scan 0+400f")},
	})
	x86 := func(last uint64) Thread {
		return x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8100: 0x8200, 0x8104: 0x402010, 0x8200: last, 0x8204: 0x403010, 0x8220: 0x404010})
	}
	runCases(t, []walkCase{
		{"x86: frame pointer 0 ends a chain", bestProcess(nil, nil), x86(0), lines("401000 8000 context 0+1000", "40200f 8108 frame_pointer 0+200f ebp=8200", "40300f 8208 frame_pointer 0+300f ebp=0")},
		{"x86: a low return address does not end the walk", bestProcess(nil, nil), x86Thread(map[string]uint64{"ebp": 0x8100}, map[uint64]uint64{0x8104: 0xfff, 0x8108: 0x402010}),
			lines("401000 8000 context 0+1000", "40200f 810c scan 0+200f")},
	})
}

func TestStrayedCall(t *testing.T) {
	const s = stackBase
	text := places{{0x400000, 0x10000, true, calls(0x10000, 0x2010, 0x3010)}}
	tab := &table{functions: functions("a", "b", "c")}
	stray := amd64Thread(map[string]uint64{"rip": 0, "rbx": 7, "rbp": s + 0x100}, map[uint64]uint64{0: 0x402010, 0x100: s + 0x200, 0x108: 0x403010})
	saved := " r12=0 r13=0 r14=0 r15=0"
	runCases(t, []walkCase{
		{"the caller is on top of the stack", bestProcess(tab, text), stray,
			lines("0 7ffe00000000 context", "40200f 7ffe00000008 scan 0+200f rbx=7 rbp=7ffe00000100"+saved, "40300f 7ffe00000110 frame_pointer 0+300f rbp=7ffe00000200")},
		{"no call there", bestProcess(tab, text), amd64Thread(map[string]uint64{"rip": 0}, map[uint64]uint64{0: 0x402018}), lines("0 7ffe00000000 context")},
		{"arm64: in the link register", Process{Modules: program{{base: arm64Text, size: 0x10000}}},
			arm64Thread(map[string]uint64{"pc": 8, "lr": arm64Text + 0x2010, "fp": 0x8100}, map[uint64]uint64{0x8108: arm64Text + 0x3010}),
			lines("8 8000 context", "10000200c 8000 scan 0+200c x19=0 x20=0 x21=0 x22=0 x23=0 x24=0 x25=0 x26=0 x27=0 x28=0 fp=8100", "10000300c 8110 frame_pointer 0+300c fp=0")},
	})
}

func TestLeafCall(t *testing.T) {
	tab := &table{functions: functions("a", "b", "c")}
	p := Process{Modules: program{{base: arm64Text, size: 0x10000, symbols: tab}}}
	first := "100001000 8000 context 0+1000"
	words := map[uint64]uint64{0x8100: 0, 0x8108: arm64Text + 0x3010}
	kept := " x19=0 x20=0 x21=0 x22=0 x23=0 x24=0 x25=0 x26=0 x27=0 x28=0 fp=8100"
	runCases(t, []walkCase{
		{"returns into another function", p, arm64Thread(map[string]uint64{"lr": arm64Text + 0x2010, "fp": 0x8100}, words),
			lines(first, "10000200c 8000 scan 0+200c"+kept, "10000300c 8110 frame_pointer 0+300c fp=0")},
		{"has called, so it returns into itself", p, arm64Thread(map[string]uint64{"lr": arm64Text + 0x1010, "fp": 0x8100}, words),
			lines(first, "10000300c 8110 frame_pointer 0+300c fp=0")},
		{"without symbols", Process{Modules: program{{base: arm64Text, size: 0x10000}}}, arm64Thread(map[string]uint64{"lr": arm64Text + 0x2010, "fp": 0x8100}, words),
			lines(first, "10000300c 8110 frame_pointer 0+300c fp=0")},
	})
}

// signalFrame is what the kernel leaves above a signal handler, at sp.
func signalFrame(words map[uint64]uint64, sp uint64, registers map[string]uint64) {
	for i, name := range ucontextOrder {
		words[sp+ucontextRegisters+8*uint64(i)] = registers[name]
	}
	words[sp+ucontextFlags] = 0x10246
	words[sp+ucontextSegments] = 0x002b_0000_0000_0033
}

func TestSignalFrame(t *testing.T) {
	const s = stackBase
	// A handler in b was called by the trampoline at 403ff0, which no symbol
	// names; the signal hit c at 403000, its first instruction.
	tab := &table{functions: functions("a", "b", "c", "d"), cfi: []symbols.CFI{
		{Start: 0x2000, Size: 0x1000, Init: ".cfa: $rsp 16 + .ra: .cfa 8 - ^"},
		{Start: 0x3000, Size: 0x100, Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}}}
	p := bestProcess(tab, nil)
	words := map[uint64]uint64{0x8: 0x40f000, 0x400: 0x404010}
	signalFrame(words, 0x10, map[string]uint64{"rip": 0x403000, "rsp": s + 0x400, "rbx": 3, "rbp": 4, "r12": 12, "r13": 13, "r14": 14, "r15": 15})
	all := " rax=0 rdx=0 rcx=0 rbx=3 rsi=0 rdi=0 rbp=4 r8=0 r9=0 r10=0 r11=0 r12=c r13=d r14=e r15=f"
	runCases(t, []walkCase{
		{"interrupted", p, amd64Thread(map[string]uint64{"rip": 0x402000}, words),
			lines("402000 7ffe00000000 context 0+2000", "40efff 7ffe00000010 cfi 0+efff rbx=0 rbp=10 r12=0 r13=0 r14=0 r15=0",
				"403000 7ffe00000400 cfi 0+3000"+all, "40400f 7ffe00000408 cfi 0+400f rbx=3 rbp=4 r12=c r13=d r14=e r15=f")},
	})
	for offset, v := range map[uint64]uint64{0x10 + ucontextFlags: 0, 0x10 + ucontextSegments: 0x10, 0x10 + ucontextRegisters + 15*8: s + 8, 0x10 + ucontextRegisters + 16*8: 1 << 60} {
		old := words[offset]
		words[offset] = v
		c := NewWalker(p).Walk(context.Background(), amd64Thread(map[string]uint64{"rip": 0x402000}, words))
		for _, f := range c.Frames[1:] {
			if f.Instruction == 0x403000 {
				t.Errorf("taken for a signal frame with %#x at %#x", v, offset)
			}
		}
		words[offset] = old
	}
}

// otherStack is the memory of a second stack.
type otherStack Stack

func (o otherStack) Stack(address uint64) Stack {
	if address-o.Base < uint64(len(o.Bytes)) {
		return Stack(o)
	}
	return Stack{}
}

func TestSignalOnAlternateStack(t *testing.T) {
	const other = stackBase - 0x100000
	tab := &table{functions: functions("a", "b", "c", "d"), cfi: []symbols.CFI{
		{Start: 0x2000, Size: 0x1000, Init: ".cfa: $rsp 16 + .ra: .cfa 8 - ^"},
		{Start: 0x3000, Size: 0x100, Init: ".cfa: $rsp 64 + .ra: .cfa 8 - ^"}}}
	memory := make([]byte, 0x1000)
	binary.LittleEndian.PutUint64(memory[0x38:], 0x404010)
	binary.LittleEndian.PutUint64(memory[0x28:], 0x404020)
	thread := func(sp uint64) Thread {
		words := map[uint64]uint64{0x8: 0x40f000}
		signalFrame(words, 0x10, map[string]uint64{"rip": 0x403000, "rsp": sp})
		return amd64Thread(map[string]uint64{"rip": 0x402000}, words)
	}
	walk := func(sp uint64, s Stacks) (all []uint64) {
		p := bestProcess(tab, nil)
		p.Stacks = s
		for _, f := range NewWalker(p).Walk(context.Background(), thread(sp)).Frames {
			all = append(all, f.Instruction)
		}
		return all
	}
	has := otherStack{Base: other, Bytes: memory, Order: binary.LittleEndian}
	for _, c := range []struct {
		name   string
		sp     uint64
		stacks Stacks
		want   []uint64
	}{
		{"below", other, has, []uint64{0x402000, 0x40efff, 0x403000, 0x40400f}},
		{"overflow into the guard page", other - 16, has, []uint64{0x402000, 0x40efff, 0x403000, 0x40401f, 0x40400f}},
		{"far below", other - 2*stackPage, has, []uint64{0x402000, 0x40efff}},
		{"unknown", other, nil, []uint64{0x402000, 0x40efff}},
		{"end of the address space", ^uint64(0) - 8, has, []uint64{0x402000, 0x40efff}},
	} {
		if diff := cmp.Diff(c.want, walk(c.sp, c.stacks)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRareCPUs(t *testing.T) {
	bare := Process{Modules: program{{base: 0x400000, size: 0x10000}}}
	first := "401000 8000 context 0+1000"
	rules := bestProcess(&table{functions: functions("a", "b", "c"), cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: sp 16 + .ra: ra"}}}, nil)
	make64 := func(cpu format.CPU, registers, words map[string]uint64, at map[uint64]uint64) Thread {
		return thread(cpu, registers, 0x8000, 0x1000, at)
	}
	runCases(t, []walkCase{
		{"mips64: scan", bare, make64(format.MIPS64, map[string]uint64{"pc": 0x401000, "sp": 0x8000}, nil, map[uint64]uint64{0x8010: 0x402010}),
			lines(first, "402008 8018 scan 0+2008")},
		{"riscv64: frame pointer", bare, make64(format.RISCV64, map[string]uint64{"pc": 0x401000, "sp": 0x8000, "s0": 0x8100}, nil,
			map[uint64]uint64{0x80f8: 0x402010, 0x80f0: 0x8200, 0x81f8: 0x403010}), lines(first, "40200e 8100 frame_pointer 0+200e s0=8200", "40300e 8200 frame_pointer 0+300e s0=0")},
		{"riscv64: cfi", rules, make64(format.RISCV64, map[string]uint64{"pc": 0x401000, "sp": 0x8000, "ra": 0x402010}, nil, nil),
			lines(first, "40200e 8010 cfi 0+200e gp=0 tp=0 s0=0 s1=0 s2=0 s3=0 s4=0 s5=0 s6=0 s7=0 s8=0 s9=0 s10=0 s11=0")},
		{"riscv: frame pointer", bare, make64(format.RISCV, map[string]uint64{"pc": 0x401000, "sp": 0x8000, "s0": 0x8100}, nil,
			map[uint64]uint64{0x80fc: 0x402010, 0x80f8: 0x8200}), lines(first, "40200e 8100 frame_pointer 0+200e s0=8200")},
		{"ppc64: back chain", bare, make64(format.PPC64, map[string]uint64{"srr0": 0x401000, "r1": 0x8000}, nil,
			map[uint64]uint64{0x8000: 0x8100, 0x8110: 0x402010, 0x8100: 0x8200, 0x8210: 0x403010}),
			lines(first, "40200c 8100 frame_pointer 0+200c", "40300c 8200 frame_pointer 0+300c")},
		{"ppc: back chain", bare, make64(format.PPC, map[string]uint64{"srr0": 0x401000, "r1": 0x8000}, nil,
			map[uint64]uint64{0x8000: 0x8100, 0x8104: 0x402010}), lines(first, "40200c 8100 frame_pointer 0+200c")},
	})
	big := make64(format.PPC64, map[string]uint64{"srr0": 0x401000, "r1": 0x8000}, nil, nil)
	big.Stack.Order = binary.BigEndian
	binary.BigEndian.PutUint64(big.Stack.Bytes, 0x8100)
	binary.BigEndian.PutUint64(big.Stack.Bytes[0x110:], 0x402010)
	runCases(t, []walkCase{{"ppc64: big-endian", bare, big, lines(first, "40200c 8100 frame_pointer 0+200c")}})
}
