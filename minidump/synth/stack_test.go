package synth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// program is one binary with a function of every kind of frame.
func program(cpu CPU, os OS) *Binary {
	b := &Binary{CPU: cpu, OS: os, Path: "/opt/app/app", Base: 0x400000, Size: 0x10000, ID: [16]byte{0xab, 0xcd, 1, 2, 3}}
	saves := calleeSaved[cpu]
	for i, kind := range []FrameKind{CFI, FramePointer, Bare, CFI, Program, FPO} {
		f := Function{Name: fmt.Sprintf("f%d(int, char)", i), Address: uint32(0x1000 + i*0x100), Size: 0x100, File: "src/f.cc", Line: 10 * (i + 1), Frame: kind, Locals: uint32(16 * i)}
		if kind == CFI && len(saves) > 1 {
			f.Saves = saves[:2]
		}
		if kind == Program || kind == FPO {
			f.Parameters = 8
		}
		b.Functions = append(b.Functions, f)
	}
	return b
}

// walk follows a stack by the layout alone, the way CFI records would.
func walk(cpu CPU, o binary.ByteOrder, b *Binary, stack Memory, ip, sp uint64) []uint64 {
	p := uint64(cpu.PointerSize())
	var ips []uint64
	for len(ips) < 100 {
		f := b.Lookup(uint32(ip - b.Base))
		if f == nil {
			break
		}
		ips = append(ips, ip)
		l := layoutOf(cpu, f)
		at := sp + uint64(l.ra) - stack.Start
		if at+p > uint64(len(stack.Data)) {
			break
		}
		ip = load(stack.Data[at:], o, int(p))
		sp += uint64(l.size)
		if g := b.Lookup(uint32(ip - b.Base)); cpu == X86 && g != nil && g.Frame != CFI && g.Frame != Bare {
			sp += uint64(f.Parameters)
		}
	}
	return ips
}

func TestStackLayout(t *testing.T) {
	for _, cpu := range CPUs() {
		t.Run(cpu.String(), func(t *testing.T) {
			b := program(cpu, LinuxOS)
			rng := rand.New(rand.NewPCG(1, 2))
			for range 50 {
				var calls []Call
				for range 1 + rng.IntN(12) {
					f := b.Functions[rng.IntN(len(b.Functions))]
					calls = append(calls, Call{b, f.Address + 8 + rng.Uint32N(f.Size-8)})
				}
				stack, ctx := buildStack(cpu, binary.BigEndian, calls, 0x7f000000, 0x20000000, rng)
				if end := stack.Start + uint64(len(stack.Data)); end != 0x7f000000 {
					t.Fatalf("stack ends at %#x", end)
				}
				got := walk(cpu, binary.BigEndian, b, stack, ctx.Get(cpu.IP()), ctx.Get(cpu.SP()))
				if len(got) != len(calls) {
					t.Fatalf("%d frames of %d", len(got), len(calls))
				}
				for i := range calls {
					if got[i] != calls[i].Address() {
						t.Fatalf("frame %d is %#x, want %#x", i, got[i], calls[i].Address())
					}
				}
			}
		})
	}
}

func TestSym(t *testing.T) {
	b := program(X86, Windows)
	b.Path, b.Debug, b.Age = `C:\app\app.exe`, `D:\build\app.pdb`, 2
	b.Functions[0].Inlines = []Inline{{0, "inner()", "src/inner.h", 7, "src/f.cc", 11, 0x1020, 0x20}}
	b.Functions[2].Public = true
	got := string(b.Sym())
	for _, want := range []string{
		"MODULE windows x86 ABCD01020300000000000000000000002 app.pdb\n",
		"FILE 0 src/f.cc\n", "INLINE_ORIGIN 0 inner()\n",
		"FUNC 1000 100 0 f0(int, char)\n", "INLINE 0 11 0 0 1020 20\n", "1000 10 10 0\n", "1020 20 7 1\n", "1040 10 14 0\n",
		"PUBLIC 1200 0 f2(int, char)\n", "STACK CFI INIT 1000 100 .cfa: $esp 16 + .ra: .cfa -4 + ^ $ebp: .cfa -8 + ^ $ebx: .cfa -16 + ^",
		"STACK WIN 4 1400 100 3 1 8 0 40 0 1 $T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =\n", "STACK WIN 0 1500 100 1 1 8 0 50 0 0 0\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got, want := b.SymPath(), "app.pdb/ABCD01020300000000000000000000002/app.sym"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	if file, line := b.Functions[0].SourceLine(0x1030); file != "src/inner.h" || line != 7 {
		t.Errorf("inlined line %s:%d", file, line)
	}
}

func TestCrashIsDeterministic(t *testing.T) {
	b := program(AMD64, LinuxOS)
	crash := func(seed uint64) []byte {
		c := &Crash{CPU: AMD64, OS: LinuxOS, Seed: seed, Binaries: []*Binary{b}, Fault: Fault{Code: 11, Instruction: []byte{0x0f, 0x0b}},
			Threads: []Stack{{ID: 1, Name: "main", Calls: []Call{{b, 0x1010}, {b, 0x1120}}}}}
		return c.Dump().Bytes()
	}
	if !bytes.Equal(crash(1), crash(1)) {
		t.Error("one seed gave two dumps")
	}
	if bytes.Equal(crash(1), crash(2)) {
		t.Error("two seeds gave one dump")
	}
}
