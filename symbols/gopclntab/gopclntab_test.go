package gopclntab

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"debug/macho"
	"debug/pe"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"mayday/symbols/sample/goprogram"
)

// symbols are the addresses of a program's functions, and of a few tables, as
// its linker names them.
func symbols(t *testing.T, b []byte) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	r := bytes.NewReader(b)
	if f, err := elf.NewFile(r); err == nil {
		list, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			all[s.Name] = s.Value
		}
	} else if f, err := pe.NewFile(r); err == nil {
		base := uint64(0)
		switch h := f.OptionalHeader.(type) {
		case *pe.OptionalHeader64:
			base = h.ImageBase
		case *pe.OptionalHeader32:
			base = uint64(h.ImageBase)
		}
		for _, s := range f.Symbols {
			if s.SectionNumber > 0 {
				all[s.Name] = base + uint64(f.Sections[s.SectionNumber-1].VirtualAddress) + uint64(s.Value)
			}
		}
	} else if f, err := macho.NewFile(r); err == nil {
		for _, s := range f.Symtab.Syms {
			all[strings.TrimPrefix(s.Name, "_")] = s.Value
		}
	}
	return all
}

// Functions, names, files and lines are those that the standard library finds.
func TestTableAgainstTheStandardLibrary(t *testing.T) {
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			b := goprogram.Build(t, target)
			im, table := opened(t, b)
			known := symbols(t, b)
			if got, want := table.text, known["runtime.text"]-im.Base; got != want {
				t.Errorf("code begins at %#x, the linker says %#x", got, want)
			}
			if got, want := table.trees.start, known["go:func.*"]-im.Base; got != want || !table.treesKnown {
				t.Errorf("inlined calls begin at %#x, the linker says %#x", got, want)
			}
			if got, want := table.start, known["runtime.pclntab"]-im.Base; got != want {
				t.Errorf("found at %#x, the linker says %#x", got, want)
			}
			theirs, err := gosym.NewTable(nil, gosym.NewLineTable(im.Bytes(table.start, int(table.size)), known["runtime.text"]))
			if err != nil {
				t.Fatal(err)
			}
			if len(theirs.Funcs) != table.Len() || table.Len() < 1000 {
				t.Fatalf("%d functions, the standard library finds %d", table.Len(), len(theirs.Funcs))
			}
			for i := range theirs.Funcs {
				if i%8 == 0 || strings.HasPrefix(theirs.Funcs[i].Name, "main.") {
					compare(t, table, i, theirs, im.Base)
				}
			}
		})
	}
}

func compare(t *testing.T, table *Table, i int, theirs *gosym.Table, base uint64) {
	want := &theirs.Funcs[i]
	f, ok := table.Function(i)
	if !ok || f.Start+base != want.Entry || f.End+base != want.End || table.Name(&f) != want.Name {
		t.Fatalf("function %d: %v %+v %s, the standard library has %#x %#x %s", i, ok, f, table.Name(&f), want.Entry, want.End, want.Name)
	}
	if found, ok := table.Find((f.Start + f.End) / 2); !ok || !cmp.Equal(found, f, cmp.AllowUnexported(Function{})) {
		t.Errorf("%s: found %+v in its place", want.Name, found)
	}
	at := f.Start
	for l := range table.Lines(&f) {
		if l.Start != at || l.End <= at || l.End > f.End {
			t.Errorf("%s: line %+v follows %#x", want.Name, l, at)
		}
		at = l.End
		for _, pc := range []uint64{l.Start, l.End - 1} {
			file, line, _ := theirs.PCToLine(pc + base)
			if got := table.FileAt(l.File); got != file || int(l.Number) != line {
				t.Errorf("%s+%#x: %s:%d, the standard library has %s:%d", want.Name, pc-f.Start, got, l.Number, file, line)
			}
		}
	}
}

// The inlined calls of a function of ours are where they were written.
func TestInlines(t *testing.T) {
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			_, table := opened(t, goprogram.Build(t, target))
			got := map[string]bool{}
			for i := range table.Len() {
				f, ok := table.Function(i)
				if !ok || !strings.HasPrefix(table.Name(&f), "main.deferred") {
					continue
				}
				for _, in := range table.Inlines(&f) {
					name := table.NameAt(in.Name)
					got[table.Name(&f)+" "+name] = true
					if file := table.FileAt(in.File); !strings.HasSuffix(file, "main.go") || in.Line < 30 || len(in.Code) == 0 {
						t.Errorf("%s in %s: %+v in %s", name, table.Name(&f), in, file)
					}
					if want := map[string]uint32{"main.double": 0, "main.twice": 1, "main.zero": 1}[name]; in.Depth != want {
						t.Errorf("%s has depth %d", name, in.Depth)
					}
				}
			}
			list := slices.Sorted(maps.Keys(got))
			if !slices.Contains(list, "main.deferred.func1 main.double") || !slices.Contains(list, "main.deferred.func1 main.twice") {
				t.Errorf("inlined calls: %q", list)
			}
		})
	}
}

// Where the module data is left to the loader, relocations say where code and
// inlined calls begin.
func TestModuleDataInRelocations(t *testing.T) {
	b := goprogram.Build(t, "linux amd64 -buildmode=pie")
	_, want := opened(t, b)
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	at := symbols(t, b)["runtime.firstmoduledata"]
	for _, s := range f.Sections {
		if s.Addr <= at && at < s.Addr+s.Size {
			clear(b[s.Offset+at-s.Addr:][:41*8])
		}
	}
	_, got := opened(t, b)
	if got.text != want.text || got.trees.start != want.trees.start || !got.treesKnown {
		t.Errorf("code at %#x, inlined calls at %#x, want %#x and %#x", got.text, got.trees.start, want.text, want.trees.start)
	}
	for _, s := range f.Sections {
		if s.Type == elf.SHT_RELA {
			clear(b[s.Offset : s.Offset+s.FileSize])
		}
	}
	if _, got = opened(t, b); got.text != want.text || got.treesKnown {
		t.Errorf("with nothing but the section of code: code at %#x, want %#x", got.text, want.text)
	}
}
