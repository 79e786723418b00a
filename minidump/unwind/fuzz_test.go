package unwind

import (
	"context"
	"encoding/binary"
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
	"mayday/symbols/unwindinfo/rule"
)

// FuzzWalk walks stacks and runs rules made of anything, on every CPU.
func FuzzWalk(f *testing.F) {
	f.Add(uint8(format.AMD64), uint8(0), false, []byte("\x10\x10\x40\x00\x00\x00\x00\x00"), ".cfa: $rsp 8 + .ra: .cfa 8 - ^", "")
	f.Add(uint8(format.X86), uint8(1), false, make([]byte, 64), "", "$T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + =")
	f.Add(uint8(format.X86), uint8(1), false, make([]byte, 64), "", "$esp $esp 4 + =")
	f.Add(uint8(format.ARM), uint8(2), false, make([]byte, 64), ".cfa: sp .ra: lr", "")
	f.Add(uint8(format.ARM64), uint8(0), true, make([]byte, 64), ".cfa: sp 16 + .ra: x30 lr: x30", "")
	f.Add(uint8(format.MIPS), uint8(0), true, make([]byte, 64), ".cfa: $sp 4 + .ra: $ra", "")
	f.Fuzz(func(t *testing.T, cpu, platform uint8, big bool, stack []byte, rules, program string) {
		if len(stack) > 1<<16 {
			return
		}
		tab := &table{functions: []symbols.Function{{Name: "f", Address: 0x100, Size: 0x8000, ParamSize: 4}}}
		if rules != "" {
			tab.cfi = []symbols.CFI{{Start: 0x1000, Size: 0x1000, Init: rules}}
		}
		if program != "" {
			tab.win = []winRange{{0x2000, 0x1000, symbols.Win{FrameData: &symbols.WinFrame{HasProgram: true, Program: program, LocalsSize: 4}}},
				{0x3000, 0x1000, symbols.Win{FPO: &symbols.WinFrame{LocalsSize: 8, AllocatesBasePointer: len(program)&1 == 1}}}}
		}
		const base = 0x7fff_0000
		th := Thread{Context: &format.Context{CPU: format.CPU(cpu)}, Stack: Stack{Base: base, Bytes: stack, Order: binary.LittleEndian}}
		if big {
			th.Stack.Order = binary.BigEndian
		}
		for r := range format.Register(th.Context.CPU.RegisterCount()) {
			th.Context.Set(r, base+8*uint64(r))
		}
		th.Context.Set(th.Context.CPU.IPRegister(), 0x401010)
		th.Context.Set(th.Context.CPU.SPRegister(), base)
		for _, heuristics := range []Heuristics{Parity, Best} {
			w := NewWalker(Process{Modules: twoModules{tab, fuzzBinary{rules, stack, len(program)&2 == 0}}, Heuristics: heuristics, Platform: Platform(platform % 3), Registers: true, Code: rawCode{stack}})
			s := w.Walk(context.Background(), th)
			if len(s.Frames) > MaxThreadFrames {
				t.Fatalf("%d frames", len(s.Frames))
			}
			last := s.Frames[max(0, len(s.Frames)-1):]
			for i := range s.Frames {
				if i > 0 && (s.Frames[i].Return < lowestCode || s.Frames[i].Trust == Context || s.Frames[i].Registers == nil) {
					t.Fatalf("frame %d: %+v", i, s.Frames[i])
				}
				if i > 0 && s.Frames[i].StackPointer < s.Frames[i-1].StackPointer {
					t.Fatalf("frame %d lies below the one before: %+v", i, last)
				}
			}
		}
	})
}

// twoModules is a process of two modules, the first with symbols, the second
// with its binary.
type twoModules struct {
	symbols *table
	binary  fuzzBinary
}

func (p twoModules) Binary(_ context.Context, module int) Binary {
	if module == 0 {
		return nil
	}
	return p.binary
}

// fuzzBinary is a binary with the same rules everywhere.
type fuzzBinary struct {
	rules       string
	bytes       []byte
	interrupted bool
}

func (b fuzzBinary) Rules(q rule.Query) (rule.Set, bool) {
	return rule.Set{CFI: symbols.CFI{Start: q.Offset &^ 0xff, Size: 0x100, Init: b.rules}, Interrupted: b.interrupted && q.Offset&1 != 0, Cost: len(b.rules)}, b.rules != ""
}

func (b fuzzBinary) Bytes(_ uint64, n int) []byte {
	if n > len(b.bytes) {
		return nil
	}
	return b.bytes[len(b.bytes)-n:]
}

func (p twoModules) Find(address uint64) (int, uint64, bool) {
	for i, base := range []uint64{0x400000, 0x410000} {
		if address >= base && address-base < 0x8000 {
			return i, base, true
		}
	}
	return 0, 0, false
}

func (p twoModules) Symbols(_ context.Context, module int) Symbols {
	if module == 1 {
		return nil
	}
	return p.symbols
}

func (p twoModules) End() uint64 { return 0x418000 }

// rawCode answers every question about code with the same bytes.
type rawCode struct{ bytes []byte }

func (c rawCode) Bytes(address uint64, n int) []byte {
	if n > len(c.bytes) {
		return nil
	}
	return c.bytes[:n]
}

func (c rawCode) Executable(address uint64) (bool, bool) { return address&1 == 0, address&2 == 0 }
