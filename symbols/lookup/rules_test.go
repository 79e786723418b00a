package lookup

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
)

// brief writes a location in a line: function, line, and the calls in it.
func brief(v View, offset uint64) string {
	l, ok := v.Locate(offset)
	if !ok {
		return "-"
	}
	s := l.Name
	if l.HasLine {
		s += fmt.Sprintf(":%d", l.Line)
	}
	for _, in := range l.Inlines {
		s += " < " + in.Function
		if in.HasLine {
			s += fmt.Sprintf(":%d", in.Line)
		}
	}
	return s
}

// TestReadings asks the same file under the three readings where they differ.
func TestReadings(t *testing.T) {
	const files = "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 a.so\nFILE 0 a.c\nINLINE_ORIGIN 0 i0\nINLINE_ORIGIN 1 i1\n"
	for _, c := range []struct {
		name, text string
		offset     uint64
		want       [3]string // best, parity, symbolicate
	}{
		{"gap between lines", "FUNC 1000 40 0 f\n1000 10 1 0\n1030 10 2 0\n", 0x1020, [3]string{"f:1", "f", "f:1"}},
		{"before the first line", "FUNC 1000 40 0 f\n1010 10 1 0\n", 0x1004, [3]string{"f", "f", "f"}},
		{"no lines", "FUNC 1000 40 0 f\n", 0x1020, [3]string{"f", "f", "f"}},
		{"empty name", "FUNC 1000 40 0 \n", 0x1020, [3]string{"", "", "<unknown>"}},
		{"line 0", "FUNC 1000 40 0 f\n1000 40 0 0\n", 0x1020, [3]string{"f", "f:0", "f"}},
		{"nested FUNC", "FUNC 1000 100 0 out\n1000 100 1 0\nFUNC 1020 20 0 in\n1020 20 2 0\n", 0x1028, [3]string{"in:2", "out:1", "in:2"}},
		{"behind a nested FUNC", "FUNC 1000 100 0 out\n1000 100 1 0\nFUNC 1020 20 0 in\n1020 20 2 0\n", 0x1050, [3]string{"out", "out:1", "-"}},
		{"a line behind a nested FUNC", "FUNC 1000 100 0 out\n1000 80 1 0\n1080 80 3 0\nFUNC 1020 20 0 in\n1020 20 2 0\n", 0x1090, [3]string{"out:3", "out:3", "out:3"}},
		{"same start, the shorter in parity", "FUNC 1000 100 0 long\n1000 100 1 0\nFUNC 1000 10 0 short\n1000 10 2 0\n", 0x1008, [3]string{"short:2", "short:2", "short:2"}},
		{"same range twice", "FUNC 1000 100 0 first\nFUNC 1000 100 0 second\n", 0x1008, [3]string{"first", "first", "first"}},
		{"same range twice, lines in the later", "FUNC 1000 100 0 first\nFUNC 1000 100 0 second\n1000 10 1 0\n", 0x1008, [3]string{"second:1", "first", "second:1"}},
		{"overlapping FUNCs out of order", "FUNC 1010 20 0 late\n1010 20 2 0\nFUNC 1000 20 0 early\n1000 10 1 0\n1010 10 3 0\n", 0x1014, [3]string{"early:3", "early:3", "early:3"}},
		{"blank behind a name", "FUNC 1000 40 0 f \n", 0x1020, [3]string{"f ", "f ", "f"}},
		{"name of blanks", "FUNC 1000 40 0  \n", 0x1020, [3]string{"", "", "<unknown>"}},
		{"blank before a line", "FUNC 1000 40 0 f\n 1000 40 5 0\n", 0x1020, [3]string{"f:5", "-", "f:5"}},
		{"file of more than 32 bits", "FUNC 1000 40 0 f\n1000 40 5 4294967296\n", 0x1020, [3]string{"f", "-", "f"}},
		{"FUNC of no size", "FUNC 1000 0 0 f\n", 0x1000, [3]string{"-", "-", "-"}},
		{"PUBLIC behind a FUNC", "FUNC 1000 10 0 f\nPUBLIC 1010 0 p\n", 0x1400, [3]string{"p", "p", "p"}},
		{"PUBLIC before a FUNC", "PUBLIC 800 0 p\nFUNC 1000 10 0 f\n", 0x1400, [3]string{"-", "-", "-"}},
		{"PUBLIC in a FUNC", "FUNC 1000 100 0 f\n1000 100 1 0\nPUBLIC 1020 0 p\n", 0x1030, [3]string{"p", "f:1", "p"}},
		{"PUBLIC at the start of a FUNC", "FUNC 1000 100 0 f\nPUBLIC 1000 0 p\n", 0x1000, [3]string{"f", "f", "f"}},
		{"two PUBLIC at one address", "PUBLIC 1000 0 b\nPUBLIC 1000 0 a\n", 0x1000, [3]string{"b", "b", "b"}},
		{"beyond 32 bits", "FUNC 100001000 40 0 f\n", 0x100001010, [3]string{"f", "f", "-"}},
		{"overlapping lines", "FUNC 1000 40 0 f\n1000 20 1 0\n1010 30 2 0\n", 0x1030, [3]string{"f:1", "f", "f:1"}},
		{"line leaves its FUNC", "FUNC 1000 40 0 f\n1000 80 1 0\n", 0x1050, [3]string{"-", "-", "-"}},
		{"lines out of order", "FUNC 1000 40 0 f\n1020 20 2 0\n1000 20 1 0\n", 0x1030, [3]string{"f:2", "f:2", "f:2"}},
		{"behind an inlined call, before the next line", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1008 8\n1008 8 5 0\n1020 20 6 0\n", 0x1014, [3]string{"f", "f", "-"}},
		{"inlined call without a line", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1008 8\n", 0x100a, [3]string{"f:7 < i0", "f:7 < i0", "f:7"}},
		{"behind it", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1008 8\n", 0x1014, [3]string{"f:7", "f", "f:7"}},
		{"behind it and one with a line", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1008 8\nINLINE 0 8 0 0 1018 8\n1018 8 5 0\n", 0x1014, [3]string{"f", "f", "-"}},
		{"gap in an inlined call", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1000 10\nINLINE 1 8 0 1 1000 8\n1000 4 5 0\n", 0x1005, [3]string{"f:7 < i1 < i0:8", "f:7 < i1 < i0:8", "f:7 < i0:8"}},
		{"inlined call that starts in its sibling, before one nested there", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1000 10\nINLINE 0 8 0 0 1005 1b\nINLINE 1 9 0 1 1006 3\n1000 40 5 0\n", 0x1007,
			[3]string{"f:7 < i1:5 < i0:9", "f:8 < i1:5 < i0:9", "f:7 < i1:5 < i0:9"}},
		{"inlined call that leaves its FUNC", "FUNC 1000 10 0 f\nINLINE 0 7 0 0 100c 10\n100c 4 5 0\n", 0x1018, [3]string{"f:7", "-", "f:7"}},
		{"inlined call without its parent", "FUNC 1000 40 0 f\nINLINE 1 7 0 0 1008 8\n1000 40 5 0\n", 0x100a, [3]string{"f:5", "f:5", "f:5"}},
		{"inlined call beyond its parent", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1000 10\nINLINE 1 8 0 1 1008 10\nINLINE 0 9 0 0 1010 10\n1000 40 5 0\n", 0x1014,
			[3]string{"f:9 < i1:5 < i0:8", "f:9 < i1:5 < i0:8", "f:9 < i1:5 < i0:8"}},
		{"overlapping siblings", "FUNC 1000 40 0 f\nINLINE 0 7 0 0 1000 10\nINLINE 0 8 0 1 1008 10\n1000 40 5 0\n", 0x100a,
			[3]string{"f:7 < i0:5", "f:8 < i1:5", "f:7 < i0:5"}},
		{"unknown origin", "FUNC 1000 40 0 f\nINLINE 0 7 0 9 1000 10\n1000 40 5 0\n", 0x1004, [3]string{"f:7 < :5", "f:7", "f:7 < :5"}},
		{"a bad line", "FUNC 1000 40 0 f\nwhat\n1000 40 5 0\n", 0x1004, [3]string{"f:5", "-", "f:5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tb := table(t, files+c.text)
			var got [3]string
			for i, r := range []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate} {
				got[i] = brief(tb.View(r), c.offset)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("offset %#x of\n%s(-want +got)\n%s", c.offset, c.text, d)
			}
		})
	}
}

func TestCorrupt(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       [3]bool
	}{
		{"sound", smallSym, [3]bool{}},
		{"loose", "FUNC 1000 40 0 f\n1000 40 1 0 \n", [3]bool{false, true, false}},
		{"bad", "FUNC 1000 40 0 f\nwhat\n", [3]bool{true, true, true}},
	} {
		tb := table(t, c.text)
		for i, r := range []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate} {
			if got := tb.View(r).Corrupt(); got != c.want[i] {
				t.Errorf("%s, %s: got %v, want %v", c.name, r, got, c.want[i])
			}
		}
	}
}

func TestOverlappingUnwindRecords(t *testing.T) {
	v := table(t, "STACK CFI INIT 1000 40 a\nSTACK CFI INIT 1010 10 b\nSTACK CFI INIT 1000 20 c\nSTACK CFI 1008 z\nSTACK CFI 1004 x\nSTACK CFI 1004 w\n").View(symbols.Parity)
	got, ok := v.CFI(0x1010)
	if want := (symbols.CFI{Start: 0x1000, Size: 0x20, Init: "c", Deltas: []string{"w", "x", "z"}}); !ok || cmp.Diff(want, got) != "" {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, ok := v.CFI(0x1030); ok {
		t.Error("a range that was dropped is found")
	}
	w := table(t, "STACK WIN 4 1000 40 1 0 0 0 0 0 1 a\nSTACK WIN 4 1020 40 2 0 0 0 0 0 1 b\nSTACK WIN 4 1010 8 3 0 0 0 0 0 1 c\n").View(symbols.Parity)
	for offset, want := range map[uint64]string{0x1000: "a", 0x101f: "a", 0x1020: "b", 0x105f: "b"} {
		if got, ok := w.Win(offset); !ok || got.FrameData.Program != want {
			t.Errorf("STACK WIN at %#x: found %v %+v, want %s", offset, ok, got.FrameData, want)
		}
	}
}

// Odd functions with many ranges end in bounded time.
func TestManyPieces(t *testing.T) {
	var b strings.Builder
	b.WriteString("FUNC 0 100000 0 f\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "INLINE 0 1 0 0 %x 10\nINLINE 1 1 0 0 %x ffff0\n", i*16, i*16)
	}
	v := table(t, b.String()).View(symbols.Symbolicate)
	if _, ok := v.Locate(0x800); !ok {
		t.Error("nothing found")
	}
}
