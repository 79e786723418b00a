package gopclntab

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// The places of a made-up program.
const (
	madeText   = 0x1000
	madeTable  = 0x10000
	madeModule = 0x8000
)

// made is a program of these functions.
func made(machine executable.Machine, format executable.Format, minor int, code int, functions ...sample.GoFunction) []byte {
	const base = 0x40_0000
	g := sample.GoTable{Machine: machine, Minor: minor, At: base + madeTable, Text: base + madeText, Functions: functions, Files: []string{"/src/a.go", "/src/b.go"}}
	table, module := g.Bytes()
	name, data := ".gopclntab", ".go.module"
	switch format {
	case executable.MachO:
		name, data = "__gopclntab", "__data"
	case executable.PE:
		name, data, module = ".rdata", ".data", append([]byte("\xff Go buildinf:\x08\x02"), module...)
	}
	return (&sample.Binary{Format: format, Machine: machine, Base: base, Size: 0x40000, Sections: []sample.Section{
		{Name: data, Offset: madeModule, Data: module},
		{Name: name, Offset: madeTable, Data: table},
		{Name: ".text", Offset: madeText, Data: make([]byte, code), Executable: true},
	}}).Bytes()
}

// two are two functions: the first has calls inlined in each other.
func two() []sample.GoFunction {
	return []sample.GoFunction{
		{
			Name: "main.work", Start: 0, End: 64, Flags: byte(Assembly),
			Depths:  []sample.GoStep{{Value: 0, Size: 4}, {Value: 32, Size: 10}, {Value: 0, Size: 2}},
			Files:   []sample.GoStep{{Value: 0, Size: 8}, {Value: 1, Size: 8}},
			Lines:   []sample.GoStep{{Value: 10, Size: 4}, {Value: 70, Size: 2}, {Value: 5, Size: 4}, {Value: 71, Size: 2}, {Value: 11, Size: 4}},
			Inlines: []sample.GoStep{{Value: -1, Size: 4}, {Value: 0, Size: 2}, {Value: 1, Size: 4}, {Value: 0, Size: 2}, {Value: -1, Size: 4}},
			Tree:    []sample.GoCall{{Name: "main.outer", Place: 0}, {Name: "main.inner", Place: 16}},
		},
		{Name: "runtime.goexit.abi0", Start: 64, End: 128, Flags: byte(TopFrame), Special: 8, Depths: []sample.GoStep{{Value: 0, Size: 16}}},
	}
}

// All layouts, formats and sizes of addresses say the same. Steps are of the
// smallest instruction, which is four bytes long in what is compared here.
func TestMadeTables(t *testing.T) {
	for _, c := range []struct {
		machine executable.Machine
		format  executable.Format
		minor   int
	}{
		{executable.ARM64, executable.ELF, 16}, {executable.ARM64, executable.ELF, 18}, {executable.ARM64, executable.ELF, 20},
		{executable.ARM, executable.ELF, 16}, {executable.ARM, executable.ELF, 18}, {executable.ARM, executable.ELF, 20},
		{executable.ARM64, executable.MachO, 18}, {executable.ARM64, executable.MachO, 20}, {executable.ARM64, executable.PE, 20},
	} {
		_, table := opened(t, made(c.machine, c.format, c.minor, 256, two()...))
		f, ok := table.Function(0)
		last, ok2 := table.Find(madeText + 100)
		if !ok || !ok2 || f.Start != madeText || f.End != madeText+64 || table.Len() != 2 {
			t.Fatalf("%+v: functions %+v, %+v", c, f, last)
		}
		if name, second := table.Name(&f), table.Name(&last); name != "main.work" || second != "runtime.goexit" || !last.Special || f.Special {
			t.Errorf("%+v: %s, %s", c, name, second)
		}
		if _, ok := table.Find(madeText + 128); ok || table.Covers(madeText+128) || !table.Covers(madeText+127) {
			t.Errorf("%+v: something behind the end", c)
		}
		if want := (Flags(0)); c.minor > 16 && (f.Flags != Assembly || last.Flags != TopFrame) || c.minor == 16 && f.Flags != want {
			t.Errorf("%+v: flags %d, %d", c, f.Flags, last.Flags)
		}
		depths := []Piece{{madeText, madeText + 16, 0}, {madeText + 16, madeText + 56, 32}, {madeText + 56, madeText + 64, 0}}
		if diff := cmp.Diff(depths, slices.Collect(table.Depths(&f))); diff != "" {
			t.Errorf("%+v: depths (-want +got)\n%s", c, diff)
		}
		type line struct {
			start, end int
			file       string
			number     uint32
		}
		var lines []line
		for l := range table.Lines(&f) {
			lines = append(lines, line{int(l.Start - madeText), int(l.End - madeText), table.FileAt(l.File), l.Number})
		}
		want := []line{{0, 16, "/src/a.go", 10}, {16, 24, "/src/a.go", 70}, {24, 32, "/src/a.go", 5}, {32, 40, "/src/b.go", 5}, {40, 48, "/src/b.go", 71}, {48, 64, "/src/b.go", 11}}
		if !slices.Equal(lines, want) {
			t.Errorf("%+v: lines %+v", c, lines)
		}
		inlines := table.Inlines(&f)
		if c.minor == 16 {
			if len(inlines) > 0 {
				t.Errorf("%+v: %+v", c, inlines)
			}
			continue
		}
		if len(inlines) != 2 {
			t.Fatalf("%+v: %+v", c, inlines)
		}
		outer, inner := inlines[0], inlines[1]
		if table.NameAt(outer.Name) != "main.outer" || outer.Depth != 0 || outer.Line != 10 || !slices.Equal(outer.Code, []Piece{{madeText + 16, madeText + 48, 0}}) {
			t.Errorf("%+v: outer %+v", c, outer)
		}
		if table.NameAt(inner.Name) != "main.inner" || inner.Depth != 1 || inner.Line != 70 || table.FileAt(inner.File) != "/src/a.go" || !slices.Equal(inner.Code, []Piece{{madeText + 24, madeText + 40, 0}}) {
			t.Errorf("%+v: inner %+v", c, inner)
		}
	}
}

// look asks for everything that a table says, and checks that it makes sense.
func look(t testing.TB, table *Table) {
	var last uint64
	for i := range min(table.Len(), 200) {
		f, ok := table.Function(i)
		if !ok {
			continue
		}
		if f.Start >= f.End || !table.isCode(f.Start, f.End) {
			t.Fatalf("function %+v", f)
		}
		last = f.End
		within := func(what string, at *uint64, start, end uint64) {
			if start < *at || end <= start || end > f.End {
				t.Fatalf("%s from %#x to %#x after %#x in %+v", what, start, end, *at, f)
			}
			*at = end
		}
		at := f.Start
		for p := range table.Depths(&f) {
			within("depth", &at, p.Start, p.End)
		}
		at = f.Start
		for l := range table.Lines(&f) {
			within("line", &at, l.Start, l.End)
			table.FileAt(l.File)
		}
		for _, in := range table.Inlines(&f) {
			at = f.Start
			for _, p := range in.Code {
				within("inlined call", &at, p.Start, p.End)
			}
			if in.Depth > maxDepth || len(table.NameAt(in.Name)) > maxName {
				t.Fatalf("inlined call %+v", in)
			}
		}
		if p, _, ok := table.Depth(&f, f.Start); ok && (p.Value < 0 || p.Start > f.Start) {
			t.Fatalf("depth %+v of %+v", p, f)
		}
		table.Name(&f)
		table.Find(f.Start)
	}
	table.Find(last)
}

// FuzzTable opens files of any bytes and asks for everything.
func FuzzTable(f *testing.F) {
	for _, minor := range []int{16, 18, 20} {
		f.Add(made(executable.ARM64, executable.ELF, minor, 256, two()...))
		f.Add(made(executable.ARM, executable.ELF, minor, 256, two()...))
	}
	f.Add(made(executable.ARM64, executable.MachO, 20, 256, two()...))
	f.Add(made(executable.ARM64, executable.PE, 20, 256, two()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
		if err != nil {
			return
		}
		table, err := Open(im)
		if err != nil {
			if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Malformed) {
				t.Errorf("got %v", err)
			}
			return
		}
		look(t, table)
	})
}

// Damaged tables are refused, or say less.
func TestDamagedTables(t *testing.T) {
	whole := made(executable.ARM64, executable.ELF, 20, 256, two()...)
	head := bytes.Index(whole, []byte{0xf1, 0xff, 0xff, 0xff, 0, 0})
	for at := head; at < head+600; at++ {
		for _, to := range []byte{0, 0x7f, 0x80, 0xff} {
			b := bytes.Clone(whole)
			b[at] = to
			im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
			if err != nil {
				t.Fatal(err)
			}
			if table, err := Open(im); err == nil {
				look(t, table)
			} else if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Malformed) {
				t.Errorf("byte %d: %v", at-head, err)
			}
		}
	}
}

// Inlined calls that are around themselves, or around too many, are none.
func TestCircles(t *testing.T) {
	steps := []sample.GoStep{{Value: 0, Size: 4}, {Value: 1, Size: 4}, {Value: 2, Size: 4}, {Value: 3, Size: 4}}
	_, table := opened(t, made(executable.AMD64, executable.ELF, 20, 256, sample.GoFunction{
		Name: "main.main", Start: 0, End: 16, Inlines: steps, Files: []sample.GoStep{{Value: 0, Size: 16}}, Lines: []sample.GoStep{{Value: 1, Size: 16}},
		Tree: []sample.GoCall{{Name: "itself", Place: 0}, {Name: "b", Place: 9}, {Name: "a", Place: 5}, {Name: "outside", Place: 200}},
	}))
	f, _ := table.Function(0)
	if got := table.Inlines(&f); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	deep := sample.GoFunction{Name: "main.main", Start: 0, End: 1000}
	for i := range int32(1000) {
		deep.Inlines = append(deep.Inlines, sample.GoStep{Value: i - 1, Size: 1})
		if i > 0 {
			deep.Tree = append(deep.Tree, sample.GoCall{Name: "deep", Place: uint32(i - 1)})
		}
	}
	_, table = opened(t, made(executable.AMD64, executable.ELF, 20, 1000, deep))
	f, _ = table.Function(0)
	if got := table.Inlines(&f); len(got) != maxDepth || got[maxDepth-1].Depth != maxDepth-1 {
		t.Errorf("%d of 999 calls in each other", len(got))
	}
}

// BenchmarkTable reads all of a large program: this test's own, with what it links.
func BenchmarkTable(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	if other := os.Getenv("MAYDAY_GO_PROGRAM"); other != "" {
		path = other
	}
	file, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	im, table := opened(b, file)
	section := im.Section(".gopclntab")
	if section == nil {
		b.Skip("this system's programs name the table otherwise")
	}
	b.SetBytes(int64(section.FileSize))
	b.ReportAllocs()
	for b.Loop() {
		for i := range table.Len() {
			f, _ := table.Function(i)
			table.Name(&f)
			for range table.Lines(&f) {
			}
			for range table.Depths(&f) {
			}
			table.Inlines(&f)
		}
	}
	b.ReportMetric(float64(table.Len())*float64(b.N)/b.Elapsed().Seconds(), "functions/s")
}

// BenchmarkFind finds functions by places all over the code.
func BenchmarkFind(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	_, table := opened(b, file)
	first, _ := table.Function(0)
	last, _ := table.Function(table.Len() - 1)
	at := uint64(0)
	for b.Loop() {
		at = (at + 0x9e3779b97f4a7c15) % (last.End - first.Start)
		if f, ok := table.Find(first.Start + at); ok {
			table.Depth(&f, first.Start+at)
		}
	}
}
