package unwind

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/format"
	"mayday/symbols"
)

// program is a process made up for a test: modules that do not overlap, each
// with or without symbols.
type program []*module

type module struct {
	base, size uint64
	symbols    *table // nil if there are none
	asked      int
}

// table is the symbols of a module, by hand.
type table struct {
	functions []symbols.Function
	cfi       []symbols.CFI
	win       []winRange
}

type winRange struct {
	start, size uint64
	win         symbols.Win
}

func (p program) Find(address uint64) (int, uint64, bool) {
	for i, m := range p {
		if address >= m.base && address-m.base < m.size {
			return i, m.base, true
		}
	}
	return 0, 0, false
}

func (p program) Symbols(_ context.Context, module int) Symbols {
	p[module].asked++
	if p[module].symbols == nil {
		return nil
	}
	return p[module].symbols
}

func (p program) End() (end uint64) {
	for _, m := range p {
		end = max(end, m.base+m.size)
	}
	return end
}

func (t *table) Function(offset uint64) (symbols.Function, bool) {
	for _, f := range t.functions {
		if offset >= f.Address && (offset-f.Address < f.Size || f.Public) {
			return f, true
		}
	}
	return symbols.Function{}, false
}

func (t *table) CFI(offset uint64) (symbols.CFI, bool) {
	for _, c := range t.cfi {
		if offset >= c.Start && offset-c.Start < c.Size {
			return c, true
		}
	}
	return symbols.CFI{}, false
}

func (t *table) Win(offset uint64) (symbols.Win, bool) {
	for _, w := range t.win {
		if offset >= w.start && offset-w.start < w.size {
			return w.win, true
		}
	}
	return symbols.Win{}, false
}

// thread makes a thread of cpu with the named registers and the given words of
// stack from base on. Words that are not given are 0.
func thread(cpu format.CPU, registers map[string]uint64, base uint64, size int, words map[uint64]uint64) Thread {
	c := &format.Context{CPU: cpu}
	for r := range format.Register(cpu.RegisterCount()) {
		c.Set(r, 0)
	}
	for name, v := range registers {
		r, ok := cpu.Register(name)
		if !ok {
			panic("no register " + name)
		}
		c.Set(r, v)
	}
	b := make([]byte, size)
	for address, v := range words {
		if cpu.PointerSize() == 8 {
			binary.LittleEndian.PutUint64(b[address-base:], v)
		} else {
			binary.LittleEndian.PutUint32(b[address-base:], uint32(v))
		}
	}
	return Thread{Context: c, Stack: Stack{Base: base, Bytes: b, Order: binary.LittleEndian}}
}

// summary prints a call stack, a frame a line: instruction, stack pointer,
// trust, module and the registers that are known besides the instruction and
// stack pointers.
func summary(s CallStack) string {
	var b strings.Builder
	for _, f := range s.Frames {
		fmt.Fprintf(&b, "%x %x %s", f.Instruction, f.StackPointer, f.Trust)
		if f.Module != NoModule {
			fmt.Fprintf(&b, " %d+%x", f.Module, f.Offset())
		}
		if f.Trust != Context && f.Registers != nil {
			c := f.Registers
			for r := range format.Register(c.CPU.RegisterCount()) {
				if v, ok := c.Get(r); ok && r != c.CPU.IPRegister() && r != c.CPU.SPRegister() {
					fmt.Fprintf(&b, " %s=%x", c.CPU.RegisterName(r), v)
				}
			}
		}
		b.WriteString("\n")
	}
	if s.Truncated != "" {
		fmt.Fprintf(&b, "truncated: %s\n", s.Truncated)
	}
	return b.String()
}

// lines joins the lines of an expectation.
func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }

// walkCase is a stack and the frames it has.
type walkCase struct {
	name    string
	process Process
	thread  Thread
	want    string
}

func runCases(t *testing.T, cases []walkCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			tt.process.Registers = true
			got := summary(NewWalker(tt.process).Walk(context.Background(), tt.thread))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingToWalk(t *testing.T) {
	regs := map[string]uint64{"rip": 0x401000, "rsp": 0x8000}
	bare := program{{base: 0x400000, size: 0x10000}}
	ppc := thread(format.PPC, map[string]uint64{"srr0": 0x401000, "r1": 0x8000}, 0x8000, 64, nil)
	wraps := thread(format.AMD64, regs, 0x8000, 64, map[uint64]uint64{0x8008: 0x402000})
	wraps.Stack.Base = ^uint64(0) - 8
	empty := thread(format.AMD64, regs, 0x8000, 0, nil)
	runCases(t, []walkCase{
		{"no context", Process{Modules: bare}, Thread{}, ""},
		{"no stack", Process{Modules: bare}, empty, lines("401000 8000 context 0+1000")},
		{"stack wraps around", Process{Modules: bare}, wraps, lines("401000 8000 context 0+1000")},
		{"no modules", Process{Modules: program{}}, thread(format.AMD64, regs, 0x8000, 64, map[uint64]uint64{0x8008: 0x402000}), lines("401000 8000 context")},
		{"a CPU whose stacks are not walked", Process{Modules: bare, Heuristics: Parity}, ppc, lines("401000 8000 context 0+1000")},
		{"a CPU unknown to the peer", Process{Modules: bare, Heuristics: Parity},
			thread(format.MIPS64, map[string]uint64{"pc": 0x401000, "sp": 0x8000}, 0x8000, 64, nil), ""},
	})
}

// The walker asks for the symbols of modules that have something to do with
// the stack and of no others: every one it asks for counts as missing if it is
// not there, and may be fetched over a network.
func TestAsksForFewSymbols(t *testing.T) {
	p := program{{base: 0x400000, size: 0x10000}, {base: 0x500000, size: 0x10000}, {base: 0x600000, size: 0x10000}}
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401000, "rsp": 0x8000}, 0x8000, 64, map[uint64]uint64{0x8008: 0x502000})
	NewWalker(Process{Modules: p, Heuristics: Parity}).Walk(context.Background(), th)
	if p[0].asked == 0 || p[1].asked == 0 || p[2].asked != 0 {
		t.Errorf("asked for %d, %d, %d", p[0].asked, p[1].asked, p[2].asked)
	}
}

// recursion is a thread that called one function depth times, each with a
// frame of 32 bytes: saved rbp at the top and the return address above it.
func recursion(depth int) (program, Thread) {
	p := program{{base: 0x400000, size: 0x10000, symbols: &table{
		functions: []symbols.Function{{Name: "again", Address: 0x1000, Size: 0x100}, {Name: "main", Address: 0x2000, Size: 0x100}},
		cfi: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $rsp 8 + .ra: .cfa -8 + ^",
			Deltas: []string{".cfa: $rsp 16 + $rbp: .cfa -16 + ^", ".cfa: $rsp 32 +"}}},
	}}}
	const base = 0x7fff_0000_0000
	b := make([]byte, depth*32+64)
	for i := range depth {
		next := uint64(0x401020)
		if i == depth-1 {
			next = 0x402010
		}
		binary.LittleEndian.PutUint64(b[i*32+16:], base+uint64(i*32)+48)
		binary.LittleEndian.PutUint64(b[i*32+24:], next)
	}
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401018, "rsp": base, "rbp": base + 16}, base, 0, nil)
	th.Stack.Bytes = b
	return p, th
}

func TestOverflow(t *testing.T) {
	p, th := recursion(15_000)
	s := NewWalker(Process{Modules: p, Heuristics: Parity}).Walk(context.Background(), th)
	if len(s.Frames) != 15_001 || s.Truncated != "" {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
	for i, f := range s.Frames[1:] {
		if f.Trust != CFI || f.Registers != nil {
			t.Fatalf("frame %d: %s, registers %v", i+1, f.Trust, f.Registers)
		}
	}
}

func TestLimits(t *testing.T) {
	p, th := recursion(MaxThreadFrames + 10)
	w := NewWalker(Process{Modules: p, Heuristics: Parity})
	if left := w.Left.Frames; left != MaxFrames {
		t.Errorf("%d frames to begin with", left)
	}
	if s := w.Walk(context.Background(), th); s.Truncated != truncatedThread || len(s.Frames) != MaxThreadFrames {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
	if left := w.Left.Frames; left != MaxFrames-MaxThreadFrames {
		t.Errorf("%d frames left", left)
	}
	w.Left.Frames = 100
	if s := w.Walk(context.Background(), th); s.Truncated != truncatedDump || len(s.Frames) != 100 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
	// Each thread has its context frame, whatever the limit says.
	if s := w.Walk(context.Background(), th); s.Truncated != truncatedDump || len(s.Frames) != 1 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
}

func TestDeadline(t *testing.T) {
	p, th := recursion(1000)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := NewWalker(Process{Modules: p, Heuristics: Parity}).Walk(ctx, th)
	if s.Truncated != truncatedDeadline || len(s.Frames) > 100 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
}

func TestScanLimit(t *testing.T) {
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401000, "rsp": 0x8000}, 0x8000, 160*8, nil)
	for _, h := range []Heuristics{Parity, Best} {
		w := NewWalker(Process{Modules: program{{base: 0x400000, size: 0x10000}}, Heuristics: h})
		cost := int64(scanWordsFar)
		if h == Best {
			cost *= bestWordCost
		}
		for i := range int64(2) {
			if s := w.Walk(context.Background(), th); s.Truncated != "" || len(s.Frames) != 1 || w.Left.Words != MaxScannedWords-(i+1)*cost {
				t.Errorf("%d frames, %q, %d words left", len(s.Frames), s.Truncated, w.Left.Words)
			}
		}
		w.Left.Words = 1
		if s := w.Walk(context.Background(), th); s.Truncated != "" {
			t.Errorf("before the limit: %q", s.Truncated)
		}
		if s := w.Walk(context.Background(), th); s.Truncated != truncatedScan {
			t.Errorf("after the limit: %q", s.Truncated)
		}
	}
}

func TestProgramLimit(t *testing.T) {
	p, th := recursion(2000)
	w := NewWalker(Process{Modules: p, Heuristics: Parity})
	if s := w.Walk(context.Background(), th); s.Truncated != "" || len(s.Frames) != 2001 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
	used := MaxProgramBytes - w.Left.Programs
	if used < 2000*50 || used > 2000*200 {
		t.Errorf("%d bytes of programs run", used)
	}
	w.Left.Programs = used / 2
	if s := w.Walk(context.Background(), th); s.Truncated != truncatedPrograms || len(s.Frames) < 900 || len(s.Frames) > 1100 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
}

// The rule of glibc 2.13's __restore_rt, as an old dump_syms wrote it, lets the
// stack pointer grow for ever while the instruction stays.
func TestEndlessRule(t *testing.T) {
	p := program{{base: 0x400000, size: 0x10000, symbols: &table{
		functions: []symbols.Function{{Name: "restore", Address: 0x1000, Size: 0x100}},
		cfi:       []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $rsp 128 + .ra: $rip"}},
	}}}
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401080, "rsp": 0x8000}, 0x8000, 1024, nil)
	s := NewWalker(Process{Modules: p, Heuristics: Parity}).Walk(context.Background(), th)
	// 8 frames to the end of the stack, which is still on it, and one outside.
	if s.Truncated != truncatedOutside || len(s.Frames) != 10 {
		t.Errorf("%d frames, %q", len(s.Frames), s.Truncated)
	}
}

func TestTrust(t *testing.T) {
	for trust, want := range map[Trust]string{Context: "context", CFI: "cfi", FramePointer: "frame_pointer", Scan: "scan", 9: "non"} {
		if trust.String() != want || trust.Description() == "" {
			t.Errorf("%d is %q, %q", trust, trust, trust.Description())
		}
	}
}

func BenchmarkOverflow(b *testing.B) {
	p, th := recursion(15_000)
	for b.Loop() {
		s := NewWalker(Process{Modules: p, Heuristics: Parity}).Walk(context.Background(), th)
		if len(s.Frames) != 15_001 {
			b.Fatal(len(s.Frames))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/15_000, "ns/frame")
}

func BenchmarkScan(b *testing.B) {
	words := map[uint64]uint64{}
	for i := range uint64(100) {
		words[0x8000+i*320] = 0x402000 + i
	}
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401000, "rsp": 0x8000}, 0x8000, 100*320, words)
	p := Process{Modules: program{{base: 0x400000, size: 0x10000}}, Heuristics: Parity}
	for b.Loop() {
		if s := NewWalker(p).Walk(context.Background(), th); len(s.Frames) != 101 {
			b.Fatal(len(s.Frames))
		}
	}
}

// Walkers of one process walk at the same time, each on a goroutine of its own.
func TestConcurrentWalks(t *testing.T) {
	tab := &table{functions: []symbols.Function{{Name: "f", Address: 0x100, Size: 0x8000}}, cfi: []symbols.CFI{{Start: 0x1000, Size: 0x1000, Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}}}
	th := amd64Thread(nil, map[uint64]uint64{0: 0x402010, 0x20: 0x403010, 0x40: 0x401010})
	process := Process{Modules: twoModules{symbols: tab}}
	want := summary(NewWalker(process).Walk(context.Background(), th))
	if strings.Count(want, "\n") < 4 {
		t.Fatalf("too few frames:\n%s", want)
	}
	results := make(chan string)
	for range 4 {
		go func() {
			same, w := "", NewWalker(process)
			for range 50 {
				if got := summary(w.Walk(context.Background(), th)); got != want {
					same = got
				}
			}
			results <- same
		}()
	}
	for range 4 {
		if got := <-results; got != "" {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
}
