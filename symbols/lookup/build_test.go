package lookup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/sym"
)

// file is a Spill in memory.
type file struct{ bytes.Buffer }

func (f *file) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(f.Bytes()).ReadAt(b, at)
}

// oddText makes up a symbol file whose records overlap, repeat and come in any
// order.
func oddText(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 9))
	var b strings.Builder
	b.WriteString("MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 a.so\n")
	for _, i := range r.Perm(6) {
		fmt.Fprintf(&b, "FILE %d f%d.c\nINLINE_ORIGIN %d i%d\n", i/2, i, i, i)
	}
	span := []int{0x40, 0x200, 0x800}[r.IntN(3)]
	for k := range []int{1, 3, 10, 150}[r.IntN(4)] {
		start, size := r.IntN(span), r.IntN(r.IntN(0x100)+1)
		fmt.Fprintf(&b, "FUNC %x %x %d fn%d\n", start, size, r.IntN(4), k)
		for range r.IntN(4) {
			fmt.Fprintf(&b, "INLINE %d %d %d %d %x %x\n", r.IntN(3), r.IntN(50), r.IntN(5), r.IntN(7), max(0, start+r.IntN(size+8)-3), r.IntN(40))
		}
		for at, n := start, r.IntN(6); n > 0; n-- {
			length := r.IntN(20)
			fmt.Fprintf(&b, "%x %x %d %d\n", at, length, r.IntN(90), r.IntN(5))
			at += length + r.IntN(2)*r.IntN(20)
		}
	}
	for k := range []int{0, 2, 60}[r.IntN(3)] {
		fmt.Fprintf(&b, "PUBLIC %x %d pub%d\n", r.IntN(span+0x40), r.IntN(3), k)
	}
	for range r.IntN(20) {
		fmt.Fprintf(&b, "STACK WIN 4 %x %x 0 0 %d 0 0 0 1 p%d\n", r.IntN(span), r.IntN(60), r.IntN(5), r.IntN(5))
		fmt.Fprintf(&b, "STACK CFI INIT %x %x init%d\nSTACK CFI %x row%d\n", r.IntN(span), r.IntN(50), r.IntN(5), r.IntN(span), r.IntN(9))
	}
	return b.String()
}

// compileSpilled compiles a text of which little fits memory.
func compileSpilled(t *testing.T, text string) (table *Table, m memory, spilled int) {
	t.Helper()
	var spill file
	b := NewBuilder(&m, &spill)
	for i, s := range b.sorters() {
		s.limit = 2 + i%3
	}
	s := sym.NewScanner(strings.NewReader(text))
	for s.Scan() {
		if !b.Add(s.Record()) {
			t.Fatalf("line %d: not kept", s.Line())
		}
	}
	table, err := b.Table(s.Module(), s.Verdict())
	if err != nil {
		t.Fatal(err)
	}
	return table, m, spill.Len()
}

// sameTable compares what is spilled and merged with what stays in memory.
func sameTable(t *testing.T, text string) (want *Table, spilled int) {
	t.Helper()
	want = table(t, text)
	got, m, spilled := compileSpilled(t, text)
	if !bytes.Equal(got.AppendDirectory(nil), want.AppendDirectory(nil)) {
		t.Errorf("the directory is another for\n%s", text)
	}
	if !bytes.Equal(bytes.Join(m.blocks, nil), bytes.Join(want.Blocks(), nil)) {
		t.Errorf("the blocks are others for\n%s", text)
	}
	return want, spilled
}

func TestSpill(t *testing.T) {
	for seed := range uint64(300) {
		if _, spilled := sameTable(t, oddText(seed)); spilled == 0 {
			t.Fatalf("seed %d: nothing was spilled", seed)
		}
	}
}

// FuzzCompile compiles any text in two ways and looks offsets up.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(oddText(seed), uint64(seed*16))
	}
	f.Add(odd, uint64(0x1030))
	f.Fuzz(func(t *testing.T, text string, offset uint64) {
		tb, _ := sameTable(t, text)
		for _, r := range []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate} {
			v := tb.View(r)
			v.Locate(offset)
			v.Function(offset)
			v.CFI(offset)
			v.Win(offset)
		}
		if err := tb.Records(func(*sym.Record) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// Records beyond what one function, range or address holds are skipped lines.
func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		name, first, line string
		kept              int
		numbered          bool
	}{
		{"lines", "FUNC 0 10 0 f\n", "0 1 7 0\n", function.MaxLines, true},
		{"INLINE ranges", "FUNC 0 10 0 f\n", "INLINE 0 1 0 0 0 1 2 1\n", function.MaxRanges / 2, true},
		{"STACK CFI", "STACK CFI INIT 0 10 a\n", "STACK CFI 1 b\n", maxRows, true},
		{"PUBLIC", "FUNC 0 10 0 f\n", "PUBLIC 20 0 p\n", maxSharing, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tb := table(t, c.first+strings.Repeat(c.line, c.kept+3))
			v, n := tb.Verdict(), tb.Counts()
			if kept := n.Lines + n.Inlines + n.CFI + n.Publics; v.Skipped != 3 || kept != uint64(c.kept) {
				t.Errorf("%d lines skipped and %d records kept, want 3 and %d", v.Skipped, kept, c.kept)
			}
			if first := uint64(c.kept) + 2; c.numbered && (len(v.SkippedLines) != 3 || v.SkippedLines[0] != first) {
				t.Errorf("lines %d skipped, want three from %d on", v.SkippedLines, first)
			}
			if !tb.View(symbols.Best).Corrupt() {
				t.Error("the file is not said to be corrupt")
			}
		})
	}
}

// lines is a reader of lines that are made up one after the other, and notes
// the largest heap.
type lines struct {
	left  int // bytes
	line  func(n int) string
	n     int
	buf   bytes.Buffer
	reads int
	heap  uint64
}

func (l *lines) Read(b []byte) (int, error) {
	if l.reads++; l.reads%20 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		l.heap = max(l.heap, m.HeapInuse)
	}
	for l.buf.Len() < len(b) && l.left > 0 {
		s := l.line(l.n)
		l.n++
		l.left -= len(s)
		l.buf.WriteString(s)
	}
	return l.buf.Read(b)
}

// onDisk are Blocks in a file.
type onDisk struct{ *os.File }

func (d onDisk) Put(b []byte) error {
	_, err := d.Write(b)
	if pad := -len(b) & (BlockSize - 1); err == nil {
		_, err = d.Write(make([]byte, pad))
	}
	return err
}

func temporary(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Compiling takes bounded memory whatever there is much of.
func TestCompileMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles 170 MB")
	}
	const size, limit = 12 << 20, 64 << 20
	r := rand.New(rand.NewPCG(7, 8))
	long := strings.Repeat("x", sym.MaxLine-100)
	for _, c := range []struct {
		name string
		line func(n int) string
	}{
		{"one FUNC again and again", func(int) string { return "FUNC 1000 10 0 main\n" }},
		{"FUNC in any order", func(n int) string { return fmt.Sprintf("FUNC %x 10 0 f%d\n", r.Uint32(), n) }},
		{"FUNC of which each covers the next", func(n int) string { return fmt.Sprintf("FUNC %x ffffff 0 f\n%x 4 1 1\n", n*16, n*16) }},
		{"lines of one FUNC", func(n int) string {
			if n == 0 {
				return "FUNC 0 ffffffff 0 f\n"
			}
			return fmt.Sprintf("%x 4 %d %d\n", n*4, n&0xffff, n)
		}},
		{"INLINE of one FUNC", func(n int) string {
			if n == 0 {
				return "FUNC 0 ffffffff 0 f\n"
			}
			return fmt.Sprintf("INLINE %d 1 1 1 %x ffff\n", n%300, n*4)
		}},
		{"large odd functions", func(n int) string {
			if n%60_000 == 0 {
				return fmt.Sprintf("FUNC %x fffffff 0 f\n", n)
			}
			return fmt.Sprintf("INLINE %d 1 1 1 %x ffff\n%x ff 1 %d\n", n%3, n*4, n*4, n)
		}},
		{"PUBLIC at one address", func(n int) string { return fmt.Sprintf("PUBLIC 1000 0 p%d\n", n) }},
		{"PUBLIC in one FUNC", func(n int) string {
			if n == 0 {
				return "FUNC 0 ffffffff 0 f\n"
			}
			return fmt.Sprintf("PUBLIC %x 0 p\n", n*4)
		}},
		{"long names", func(n int) string { return fmt.Sprintf("FUNC %x 10 0 %d%s\n", n*16, n, long) }},
		{"long rules", func(n int) string { return fmt.Sprintf("STACK CFI INIT %x 10 %d%s\n", n*16, n, long) }},
		{"rules that differ", func(n int) string { return fmt.Sprintf("STACK CFI INIT %x 10 %d\n", n*16, n) }},
		{"STACK CFI of one range", func(n int) string {
			if n == 0 {
				return "STACK CFI INIT 0 ffffffff a\n"
			}
			return fmt.Sprintf("STACK CFI %x %d\n", n*16, n)
		}},
		{"STACK WIN", func(n int) string { return fmt.Sprintf("STACK WIN 4 %x 10 0 0 0 0 0 0 1 p%d\n", r.Uint32(), n) }},
		{"FILE and INFO", func(n int) string { return fmt.Sprintf("FILE %d f%d\nINFO %d\n", r.Uint32(), n, n) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.GC()
			l := &lines{left: size, line: c.line}
			if _, err := Compile(l, onDisk{temporary(t)}, temporary(t)); err != nil {
				t.Log(err)
			}
			t.Logf("%d MiB", l.heap>>20)
			if l.heap > limit {
				t.Errorf("the heap grew to %d MiB, want at most %d", l.heap>>20, limit>>20)
			}
		})
	}
}
