package sym

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mayday/symbols"
)

const (
	top  = "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 lib.so\n"
	fn   = "FUNC 1000 40 8 f\n"
	line = "1000 40 7 0\n"
)

// read scans a text and lists its records as they would be written.
func read(r io.Reader) ([]string, *Scanner) {
	s := NewScanner(r)
	var out []string
	for s.Scan() {
		out = append(out, string(appendRecord(nil, s.Record())))
	}
	return out, s
}

func TestGrammar(t *testing.T) {
	for _, c := range []struct {
		name, text       string
		strict, symbolic uint64 // lines refused
		skipped          uint64
		want             []string // of the records behind MODULE, as written
	}{
		{"all is well", top + "FILE 0 a b.c\n" + fn + line, 0, 0, 0, []string{"FILE 0 a b.c", "FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"empty", "", 1, 1, 0, nil},
		{"no MODULE", fn + line, 0, 1, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"MODULE later", "INFO x\n" + top + fn, 2, 1, 0, []string{"INFO x", top[:len(top)-1], "FUNC 1000 40 8 f"}},
		{"byte order mark", "\xef\xbb\xbf" + top, 1, 0, 0, nil},
		{"no end of line", top + fn + "1000 40 7 0", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"returns before the end", strings.ReplaceAll(top+fn+line, "\n", "\r\r\n"), 0, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"blank lines", top + "\n\n" + fn + line + "\r\n", 0, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"blank line in FUNC", top + fn + "\r\n" + line, 4, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"double spaces", top + "FUNC  1000   40 8  f\n1000  40 7 0\n", 0, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"tabs", top + "FUNC\tm \t1000\t40\t8\tf\n", 0, 0, 0, []string{"FUNC m 1000 40 8 f"}},
		{"tabs in MODULE", strings.ReplaceAll(top, " ", "\t") + fn, 1, 0, 0, []string{"FUNC 1000 40 8 f"}},
		{"MODULE id", strings.Replace(top, "ABCDEF", "ABCDEG", 1) + fn, 1, 0, 0, []string{"FUNC 1000 40 8 f"}},
		{"INLINE_ORIGIN in FUNC", top + fn + "INLINE_ORIGIN 1 g\n" + line, 0, 0, 0, []string{"FUNC 1000 40 8 f", "INLINE_ORIGIN 1 g", "1000 40 7 0"}},
		{"return within INFO", top + "INFO a\rb\n", 2, 0, 0, []string{"INFO a\rb"}},
		{"not UTF-8 in INFO", top + "INFO \xff\n", 0, 0, 0, []string{"INFO \xff"}},
		{"not UTF-8 in a URL", top + "INFO URL \xff\n", 2, 0, 0, []string{"INFO URL \xff"}},
		{"tab behind INLINE", top + fn + "INLINE\t0 1 2 3 1000 10\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "INLINE 0 1 2 3 1000 10"}},
		{"capitals", top + "FUNC 1A00 4F 0 f\n", 0, 0, 0, []string{"FUNC 1a00 4f 0 f"}},
		{"0x", top + "FUNC 0x1000 40 0 f\n", 2, 0, 0, []string{"FUNC 1000 40 0 f"}},
		{"m", top + "FUNC m 1000 40 0 f\nPUBLIC m 2000 0 m\n", 0, 0, 0, []string{"FUNC m 1000 40 0 f", "PUBLIC m 2000 0 m"}},
		{"empty name", top + "FUNC 1000 40 0 \n", 0, 0, 0, []string{"FUNC 1000 40 0 "}},
		{"no name", top + "FUNC 1000 40 0\n", 2, 0, 0, []string{"FUNC 1000 40 0 "}},
		{"not UTF-8", top + "FUNC 1000 40 0 \xff\n", 2, 2, 0, []string{"FUNC 1000 40 0 \xff"}},
		{"NUL", top + "FUNC 1000 40 0 a\x00b\n", 0, 0, 0, []string{"FUNC 1000 40 0 a\x00b"}},
		{"unknown record", top + "WHAT 1\n" + fn, 2, 0, 1, []string{"FUNC 1000 40 8 f"}},
		{"unknown record in FUNC", top + fn + "WHAT 1\n" + line, 3, 3, 1, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"space behind a line", top + fn + "1000 40 7 0 \n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"negative line", top + fn + "1000 40 -7 0\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 0 0"}},
		{"line number of more than 32 bits", top + fn + "1000 40 4294967299 0\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 3 0"}},
		{"line number of more than 64 bits", top + fn + "1000 40 99999999999999999999 0\n", 3, 3, 1, []string{"FUNC 1000 40 8 f"}},
		{"file of more than 32 bits", top + fn + "1000 40 7 4294967296\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 4294967294"}},
		{"space before a line", top + fn + " \t1000 40 7 0\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"odd blanks behind a line", top + fn + "1000 40 7 0\v\u00a0\n", 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"nothing but blanks", top + fn + " \t\n" + line, 3, 0, 0, []string{"FUNC 1000 40 8 f", "1000 40 7 0"}},
		{"parameters of more than 32 bits", top + "PUBLIC 1000 123456789 p\n", 2, 0, 0, []string{"PUBLIC 1000 0 p"}},
		{"line outside of FUNC", top + line, 2, 0, 1, nil},
		{"line behind a bad FUNC", top + fn + "FUNC x\n" + line, 3, 3, 2, []string{"FUNC 1000 40 8 f"}},
		{"FILE inside FUNC", top + fn + "FILE 1 b\n" + line, 4, 3, 0, []string{"FUNC 1000 40 8 f", "FILE 1 b", "1000 40 7 0"}},
		{"address too long", top + "FUNC 10000000000000000 40 0 f\n", 2, 2, 1, nil},
		{"size past 32 bits", top + "FUNC 1000 123456789 0 f\n", 2, 0, 0, []string{"FUNC 1000 123456789 0 f"}},
		{"INLINE", top + fn + "INLINE 0 1 2 3 1000 10 1020 8\n", 0, 0, 0, []string{"FUNC 1000 40 8 f", "INLINE 0 1 2 3 1000 10 1020 8"}},
		{"old INLINE", top + fn + "INLINE 0 1 3 1000 10\n", 3, 3, 0, []string{"FUNC 1000 40 8 f", "INLINE 0 1 3 1000 10"}},
		{"INLINE outside of FUNC", top + "INLINE 0 1 2 3 1000 10\n", 2, 0, 1, nil},
		{"STACK CFI", top + "STACK CFI INIT 1000 40 .cfa: $rsp 8 +\nSTACK CFI 1001 .cfa: $rsp 16 +\n", 0, 0, 0,
			[]string{"STACK CFI INIT 1000 40 .cfa: $rsp 8 +", "STACK CFI 1001 .cfa: $rsp 16 +"}},
		{"STACK CFI without INIT", top + "STACK CFI 1001 .cfa: $rsp 16 +\n", 2, 0, 1, nil},
		{"STACK WIN", top + "STACK WIN 4 1000 40 1 2 3 4 5 6 1 $eip .raSearch ^ =\nSTACK WIN 0 1000 40 1 2 3 4 5 6 0 1\n", 0, 0, 0,
			[]string{"STACK WIN 4 1000 40 1 2 3 4 5 6 1 $eip .raSearch ^ =", "STACK WIN 0 1000 40 1 2 3 4 5 6 0 1"}},
		{"STACK WIN of no use", top + "STACK WIN 4 1000 40 1 2 3 4 5 6 0 1\nSTACK WIN 1 1000 40 1 2 3 4 5 6 0 1\n", 0, 0, 0, nil},
		{"STACK WIN with long flags", top + "STACK WIN 04 1000 40 1 2 3 4 5 6 1 x\nSTACK WIN 0 1000 40 1 2 3 4 5 6 00 1\n", 2, 0, 0,
			[]string{"STACK WIN 4 1000 40 1 2 3 4 5 6 1 x", "STACK WIN 0 1000 40 1 2 3 4 5 6 0 1"}},
		{"two bad lines", top + "A\nB\n", 2, 0, 2, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				var r io.Reader = strings.NewReader(c.text)
				if !whole {
					r = iotest.OneByteReader(r)
				}
				got, s := read(r)
				if len(got) > 0 && strings.HasPrefix(got[0], "MODULE") {
					got = got[1:]
				}
				v := s.Verdict()
				if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%q: records (-want +got)\n%s", c.text, d)
				}
				if v.Strict != c.strict || v.Symbolic != c.symbolic || v.Skipped != c.skipped {
					t.Errorf("%q: got strict %d, symbolic %d (%s), skipped %d; want %d, %d, %d", c.text, v.Strict, v.Symbolic, v.SymbolicReason, v.Skipped,
						c.strict, c.symbolic, c.skipped)
				}
			}
		})
	}
}

// A line that minidump-stackwalk's buffer cannot hold is as if it were not
// there, so that the lines behind it belong to the FUNC before it.
func TestLongLine(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		want []string
	}{
		{"at the limit", MaxLine, []string{"MODULE", "FUNC", "1000", "1020"}},
		{"below", MaxLine - 1, []string{"MODULE", "FUNC", "1000", "FUNC", "1020"}},
		{"far beyond", 5 * bufferSize, []string{"MODULE", "FUNC", "1000", "1020"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			long := "FUNC 1020 10 0 "
			long += strings.Repeat("x", c.size-len(long)) + "\n"
			records, s := read(strings.NewReader(top + fn + line + long + "1020 10 8 0\n"))
			var got []string
			for _, r := range records {
				word, _, _ := strings.Cut(r, " ")
				got = append(got, word)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if v := s.Verdict(); v.Strict != 0 || v.Lines != 5 {
				t.Errorf("got strict %d and %d lines, want 0 and 5", v.Strict, v.Lines)
			}
		})
	}
}

func TestModule(t *testing.T) {
	_, s := read(strings.NewReader("MODULE windows x86 44E4EC8C2F41492B9369D6B9A059577C2 xul.pdb\nINFO CODE_ID 5CBF123A1F0000 xul.dll\n" +
		"INFO GENERATOR gen 1.2\nINFO URL http://a\nINFO URL http://b\n"))
	want := symbols.Module{OS: "windows", Arch: "x86", ID: "44E4EC8C2F41492B9369D6B9A059577C2", Name: "xul.pdb", Found: true,
		CodeID: "5CBF123A1F0000", CodeFile: "xul.dll", Generator: "gen 1.2", URL: "http://b"}
	if d := cmp.Diff(want, s.Module()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestReadError(t *testing.T) {
	want := errors.New("the line is cut")
	s := NewScanner(io.MultiReader(strings.NewReader(top+fn), iotest.ErrReader(want)))
	for s.Scan() {
	}
	if !errors.Is(s.Err(), want) {
		t.Errorf("got %v, want %v", s.Err(), want)
	}
}

// What a Writer prints reads back as the same records.
func FuzzScan(f *testing.F) {
	f.Add([]byte(top + "INFO CODE_ID 1 x\nFILE 0 a\nINLINE_ORIGIN 0 o\n" + fn + "INLINE 0 1 0 0 1000 10 1020 8\n" + line + "PUBLIC m 2000 4 p\n" +
		"STACK CFI INIT 1000 40 .cfa: $rsp 8 +\nSTACK CFI 1001 .cfa: $rsp 16 +\nSTACK WIN 4 1000 40 1 2 3 4 5 6 1 $eip .raSearch ^ =\n"))
	f.Add([]byte(fn + "\t0x1 2 -3 4 \r\n" + "FUNC m m\nINLINE 0 1 3 1000 10\nSTACK CFI x\n\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, s := read(bytes.NewReader(b))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		text := strings.Join(first, "\n")
		again, _ := read(strings.NewReader(text + "\n"))
		if strings.Contains(text, "\r") { // at the end of a name it is the end of the line
			return
		}
		if d := cmp.Diff(first, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("read again (-first +again)\n%s", d)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	var text bytes.Buffer
	text.WriteString(top)
	for i := range 20_000 {
		fmt.Fprintf(&text, "FUNC %x 40 0 a::b::function%d(int, char const*)\n", i*64+4096, i)
		for k := range 8 {
			fmt.Fprintf(&text, "%x 8 %d %d\n", i*64+4096+k*8, 100+k, i%50)
		}
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		s := NewScanner(bytes.NewReader(text.Bytes()))
		for s.Scan() {
		}
	}
}
