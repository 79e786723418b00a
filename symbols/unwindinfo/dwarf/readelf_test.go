package dwarf

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// compile builds C with the compiler that is installed.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc, which builds the libraries to compare with readelf, is not installed")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "p.c"), filepath.Join(dir, "p.so")
	if err := os.WriteFile(in, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-shared", "-fPIC", "-w", "-o", out, in}, flags...)
	if b, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		t.Skipf("gcc %v: %v\n%s", flags, err, b)
	}
	return out
}

func open(t *testing.T, path string) *executable.Image {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// frameSource has functions with all that makes compilers vary frames.
const frameSource = `
void outside(void *, ...);
int leaf(int a) { return a * 3; }
int saves(int a, int b, int c) { outside(&a, b); outside(&b, c, a); outside(&c, a, b); return a + b * c; }
int big(int n) { char b[100000]; b[n] = n; outside(b); return b[n]; }
int dynamic(int n) { char *p = __builtin_alloca(n); outside(p, n); return p[n - 1]; }
int aligned(int n) { char v[64] __attribute__((aligned(64))); outside(v, n); return v[0]; }
int early(int n) { if (n < 3) return n; outside(&n); if (n < 9) return n + 1; outside(&n, n); return 7; }
void never(void) { outside(0); __builtin_trap(); }
int pushes(int a, int b, int c, int d, int e, int f, int g, int h, int i) { outside(0, a, b, c, d, e, f, g, h, i); return early(a) + saves(b, c, d); }
`

// row is one line of readelf's table.
type row struct {
	address uint64
	columns map[string]string
	end     uint64
}

// readelf gives the rows of a table as readelf prints them.
func readelf(t *testing.T, path string) []row {
	t.Helper()
	tool, err := exec.LookPath("readelf")
	if err != nil {
		t.Skip("readelf, which reads the same tables, is not installed")
	}
	b, err := exec.Command(tool, "--debug-dump=frames-interp", path).Output()
	if len(b) == 0 { // it fails too when it merely misses separate debug files
		t.Fatal(err)
	}
	var rows []row
	var names []string
	var end uint64
	inFDE := false
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 4 && (f[3] == "CIE" || f[3] == "FDE"):
			inFDE = f[3] == "FDE"
			if inFDE {
				pc := strings.TrimPrefix(f[len(f)-1], "pc=")
				_, to, _ := strings.Cut(pc, "..")
				end, _ = strconv.ParseUint(to, 16, 64)
			}
		case len(f) > 1 && f[0] == "LOC":
			names = f[1:]
		case inFDE && len(f) > 1 && len(names) > 0:
			address, err := strconv.ParseUint(f[0], 16, 64)
			if err != nil {
				continue
			}
			r := row{address: address, end: end}
			if len(f) != len(names)+1 { // it prints more than a word for a register in a register
				rows = append(rows, r)
				continue
			}
			r.columns = map[string]string{}
			for i, n := range names {
				r.columns[n] = f[i+1]
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// spelled writes our rules as readelf has them.
func spelled(text string) map[string]string {
	out := map[string]string{}
	name, words := "", []string(nil)
	flush := func() {
		e := strings.Join(words, " ")
		switch {
		case name == "":
		case name == ".cfa" && len(words) == 3 && words[2] == "+":
			out["CFA"] = words[0][1:] + "+" + words[1]
		case name == ".cfa" && len(words) == 1:
			out["CFA"] = words[0][1:] + "+0"
		case name == ".cfa":
			out["CFA"] = "exp"
		case e == ".undef":
			out[strings.TrimPrefix(name, "$")] = "u"
		case strings.HasPrefix(e, ".cfa ") && strings.HasSuffix(e, " + ^"):
			var n int64
			fmt.Sscan(words[1], &n)
			out[strings.TrimPrefix(name, "$")] = fmt.Sprintf("c%+d", n)
		default:
			out[strings.TrimPrefix(name, "$")] = "exp"
		}
	}
	for _, w := range strings.Fields(text) {
		if n, ok := strings.CutSuffix(w, ":"); ok {
			flush()
			name, words = n, nil
			continue
		}
		words = append(words, w)
	}
	flush()
	return out
}

// compare checks every row of a file against readelf's reading of it.
func compare(t *testing.T, path string, f *Frames, im *executable.Image) int {
	t.Helper()
	wrong := 0
	rows := readelf(t, path)
	for i, r := range rows {
		end := r.end
		if i+1 < len(rows) && rows[i+1].end == r.end {
			end = rows[i+1].address
		}
		if r.address >= end || r.columns == nil {
			continue
		}
		for _, at := range []uint64{r.address, end - 1} {
			s, ok := f.Rules(rule.Query{Offset: at - im.Base})
			if !ok {
				t.Errorf("%#x: no rules; readelf has %v", at, r.columns)
				wrong++
				continue
			}
			got := spelled(s.CFI.Init)
			for name, want := range r.columns {
				if name == "ra" {
					name = ".ra"
				}
				have, ok := got[name]
				if want == "u" && !ok {
					continue
				}
				if have != want && !(have == "exp" && strings.Contains(want, "exp")) {
					t.Errorf("%#x: %s: got %q (%s), readelf has %q", at, name, have, s.CFI.Init, want)
					wrong++
				}
			}
		}
		if wrong > 10 {
			t.Fatal("too many differences")
		}
	}
	return len(rows)
}

// Compilers' tables are read as readelf reads them, row by row.
func TestAgainstReadelf(t *testing.T) {
	for _, flags := range [][]string{{"-O0"}, {"-O2"}, {"-Os"}, {"-O2", "-fno-omit-frame-pointer"}, {"-O2", "-Wl,--no-eh-frame-hdr"},
		{"-O2", "-m32", "-nostdlib"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			path := compile(t, frameSource, flags...)
			im := open(t, path)
			f := New(im, ".eh_frame", ".eh_frame_hdr")
			if f == nil {
				t.Fatal("no table")
			}
			if n := compare(t, path, f, im); n < 20 {
				t.Errorf("only %d rows", n)
			}
		})
	}
}

// A file whose section headers are gone is read by its program headers.
func TestWithoutSectionHeaders(t *testing.T) {
	path := compile(t, frameSource, "-O2")
	whole := open(t, path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[40:48]) // e_shoff
	clear(b[58:64]) // e_shentsize, e_shnum, e_shstrndx
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	f := New(im, ".eh_frame", ".eh_frame_hdr")
	if f == nil {
		t.Fatal("no table")
	}
	if n := compare(t, path, f, whole); n < 20 {
		t.Errorf("only %d rows", n)
	}
}

// .debug_frame has the functions of the source where .eh_frame does not.
func TestDebugFrame(t *testing.T) {
	for _, flags := range [][]string{{"-O1", "-g"}, {"-O1", "-g", "-gz"}} {
		path := compile(t, frameSource, append(flags, "-fno-asynchronous-unwind-tables", "-fno-exceptions", "-fno-unwind-tables")...)
		im := open(t, path)
		f := New(im, ".debug_frame", "")
		if f == nil {
			t.Fatal("no table")
		}
		b, err := exec.Command("readelf", "-sW", path).Output()
		if err != nil {
			t.Skip("readelf, which reads the same tables, is not installed")
		}
		checked := map[string]bool{}
		for line := range strings.Lines(string(b)) {
			w := strings.Fields(line)
			if len(w) < 8 || w[3] != "FUNC" || !strings.Contains(frameSource, " "+w[7]+"(") || w[7] == "outside" {
				continue
			}
			at, _ := strconv.ParseUint(w[1], 16, 64)
			s, ok := f.Rules(rule.Query{Offset: at - im.Base})
			if want := ".cfa: $rsp 8 + .ra: .cfa -8 + ^"; !ok || s.CFI.Init != want {
				t.Errorf("%v: %s at %#x: %q, %v", flags, w[7], at, s.CFI.Init, ok)
			}
			checked[w[7]] = true
		}
		if len(checked) != 8 {
			t.Errorf("%v: %d functions were there", flags, len(checked))
		}
	}
}
