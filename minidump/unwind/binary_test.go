package unwind

import (
	"context"
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
	"mayday/symbols/unwindinfo/rule"
)

// tables is a binary with rules for ranges, in the order they are tried.
type tables struct {
	ranges  []symbols.CFI
	trap    uint64 // where the range starts that a trap made the frame of
	code    []byte
	queries []rule.Query
}

func (b *tables) Rules(q rule.Query) (rule.Set, bool) {
	b.queries = append(b.queries, q)
	for _, r := range b.ranges {
		if q.Offset >= r.Start && q.Offset-r.Start < r.Size {
			return rule.Set{CFI: r, Interrupted: b.trap != 0 && r.Start == b.trap, Cost: 100}, true
		}
	}
	return rule.Set{}, false
}

func (b *tables) Bytes(offset uint64, n int) []byte {
	if offset+uint64(n) > uint64(len(b.code)) {
		return nil
	}
	return b.code[offset:][:n]
}

// programWithBinaries is a program of which the binaries are at hand.
type programWithBinaries struct {
	program
	binaries []*tables
}

func (p programWithBinaries) Binary(_ context.Context, module int) Binary {
	if p.binaries[module] == nil {
		return nil
	}
	return p.binaries[module]
}

func withBinary(tab *table, b *tables) Process {
	return Process{Modules: programWithBinaries{program{{base: 0x400000, size: 0x10000, symbols: tab}}, []*tables{b}}}
}

func TestBinary(t *testing.T) {
	const s = stackBase
	first := "401000 7ffe00000000 context 0+1000"
	saved := " r12=0 r13=0 r14=0 r15=0"
	fromSymbols := &table{functions: functions("a", "b", "c"), cfi: []symbols.CFI{{Start: 0x1000, Size: 0x1000, Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}}}
	rules := func(init string) *tables {
		return &tables{ranges: []symbols.CFI{{Start: 0x1000, Size: 0x1000, Init: init}}}
	}
	words := map[uint64]uint64{0: 0x402010, 8: 0x403010}
	runCases(t, []walkCase{
		{"before symbols", withBinary(fromSymbols, rules(".cfa: $rsp 16 + .ra: .cfa 8 - ^ $rbx: 7")), amd64Thread(nil, words),
			lines(first, "40300f 7ffe00000010 cfi 0+300f rbx=7 rbp=10"+saved)},
		{"without symbols", withBinary(nil, rules(".cfa: $rsp 16 + .ra: .cfa 8 - ^")), amd64Thread(nil, words),
			lines(first, "40300f 7ffe00000010 cfi 0+300f rbx=0 rbp=10"+saved)},
		{"rules that fail leave it to symbols", withBinary(fromSymbols, rules(".cfa: $xmm0 16 + .ra: .cfa 8 - ^")), amd64Thread(nil, words),
			lines(first, "40200f 7ffe00000008 cfi 0+200f rbx=0 rbp=10"+saved, "40300f 7ffe00000010 scan 0+300f")},
		{"so do those that lead nowhere", withBinary(fromSymbols, rules(".cfa: $rsp 16 + .ra: 5")), amd64Thread(nil, words),
			lines(first, "40200f 7ffe00000008 cfi 0+200f rbx=0 rbp=10"+saved, "40300f 7ffe00000010 scan 0+300f")},
		{"nonsense too", withBinary(fromSymbols, rules("5 5 5")), amd64Thread(nil, words), lines(first, "40200f 7ffe00000008 cfi 0+200f rbx=0 rbp=10"+saved, "40300f 7ffe00000010 scan 0+300f")},
		{"the end of the stack", withBinary(fromSymbols, rules(".cfa: $rsp 8 + .ra: .undef")), amd64Thread(nil, words), lines(first)},
		{"a trap's frame", withBinary(nil, &tables{trap: 0x1000, ranges: []symbols.CFI{{Start: 0x1000, Size: 0x1000, Init: ".cfa: $rsp 24 + ^ .ra: $rsp ^"}}}),
			amd64Thread(nil, map[uint64]uint64{0: 0x402010, 24: s + 0x100}), lines(first, "402010 7ffe00000100 cfi 0+2010 rbx=0 rbp=10"+saved)},
		{"its code tells what no call is before", withBinary(nil, &tables{code: calls(0x5000, 0x3010)}), amd64Thread(nil, words), lines(first, "40300f 7ffe00000010 scan 0+300f")},
		{"parity does not ask", Process{Modules: withBinary(nil, rules(".cfa: $rsp 16 + .ra: .cfa 8 - ^")).Modules, Heuristics: Parity}, amd64Thread(nil, words),
			lines(first, "40200f 7ffe00000008 scan 0+200f", "40300f 7ffe00000010 scan 0+300f")},
	})
}

// A binary is asked about the instruction itself only where the thread stands.
func TestBinaryIsAskedForCalls(t *testing.T) {
	b := &tables{ranges: []symbols.CFI{{Start: 0x1000, Size: 0x2000, Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}}}
	p := withBinary(nil, b)
	NewWalker(p).Walk(context.Background(), amd64Thread(nil, map[uint64]uint64{0: 0x402010, 8: 0x403010}))
	want := []rule.Query{{Base: 0x400000, Offset: 0x1000, Innermost: true}, {Base: 0x400000, Offset: 0x200f}, {Base: 0x400000, Offset: 0x300f}}
	if len(b.queries) != len(want) {
		t.Fatalf("asked %+v", b.queries)
	}
	for i := range want {
		if b.queries[i] != want[i] {
			t.Errorf("question %d: %+v, want %+v", i, b.queries[i], want[i])
		}
	}
}

// Signatures come off what a binary's rules give on arm64.
func TestBinaryOfARM64(t *testing.T) {
	const signature = 0x00aa_0000_0000_0000
	b := &tables{ranges: []symbols.CFI{{Start: 0x1000, Size: 0x100, Init: ".cfa: $sp 32 + .ra: .cfa -8 + ^ $x29: .cfa -16 + ^"}}}
	p := Process{Modules: programWithBinaries{program{{base: arm64Text, size: 0x10000}}, []*tables{b}}}
	th := arm64Thread(nil, map[uint64]uint64{0x8018: (arm64Text + 0x2010) | signature, 0x8010: 0x8100 | signature})
	c := NewWalker(p).Walk(context.Background(), th)
	if len(c.Frames) < 2 || c.Frames[1].Return != arm64Text+0x2010 || c.Frames[1].Trust != CFI {
		t.Errorf("got\n%s", summary(c))
	}
}

// Tables that take long to read use up what all walks together may.
func TestBinaryIsBounded(t *testing.T) {
	b := &costly{}
	p := Process{Modules: costlyProgram{program{{base: 0x400000, size: 0x10000}}, b}}
	words := map[uint64]uint64{}
	for i := range uint64(0x1000 / 8) {
		words[8*i] = 0x402010
	}
	th := thread(format.AMD64, map[string]uint64{"rip": 0x401000, "rsp": 0x8000}, 0x8000, 0x1000, nil)
	for address, v := range words {
		putWord(th.Stack.Bytes[address:], v)
	}
	c := NewWalker(p).Walk(context.Background(), th)
	if c.Truncated != truncatedPrograms || b.asked > MaxProgramBytes/costlyBytes+2 {
		t.Errorf("%d frames, truncated %q, asked %d times", len(c.Frames), c.Truncated, b.asked)
	}
}

const costlyBytes = 32 << 20

type costly struct{ asked int }

func (b *costly) Rules(rule.Query) (rule.Set, bool) {
	b.asked++
	return rule.Set{CFI: symbols.CFI{Init: ".cfa: $rsp 8 + .ra: .cfa 8 - ^"}, Cost: costlyBytes}, true
}

func (b *costly) Bytes(uint64, int) []byte { return nil }

type costlyProgram struct {
	program
	binary *costly
}

func (p costlyProgram) Binary(context.Context, int) Binary { return p.binary }

func putWord(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}
