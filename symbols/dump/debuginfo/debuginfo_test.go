package debuginfo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddRow(t *testing.T) {
	var rows []row
	m := NewMeter(t.Context(), 1<<20)
	for _, r := range []row{
		{0x10, 1, 1, true}, {0x10, 1, 2, true}, {0x10, 1, 1, false}, // the last that starts a statement
		{0x14, 1, 3, false}, {0x14, 2, 4, false}, // none does: the last
		{0x18, 1, 5, false}, {0x18, 1, 6, true},
	} {
		rows, _ = addRow(m, rows, r)
	}
	want := []row{{0x10, 1, 2, true}, {0x14, 2, 4, false}, {0x18, 1, 6, true}}
	if diff := cmp.Diff(want, rows, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestName(t *testing.T) {
	str := []byte("\x00take\x00shop\x00Till\x00main\x00evil\nFUNC 1 2 3 x\x00")
	i := &Info{
		text:   texts{str: str},
		scopes: []scope{{}, {0, inStr | 6}, {1, inStr | 11}, {0, anonymous}},
		entities: []entity{
			{at: 1, name: inStr | 1, scope: 2}, {at: 2, of: 1}, {at: 3, of: 2}, {at: 4, name: inStr | 16}, {at: 5, of: 5}, {at: 6, of: 99},
			{at: 7, name: inStr | 16, scope: 3}, {at: 8, name: inStr | 999}, {at: 9, name: inStr | 21},
		},
	}
	for at, want := range map[uint64]string{
		1: "shop::Till::take", 3: "shop::Till::take", 4: "main", 5: "<unnamed>", 6: "<unnamed>", 7: "(anonymous namespace)::main", 8: "<unnamed>",
		9: "evil?FUNC 1 2 3 x", 77: "<unnamed>",
	} {
		if got := i.Name(i.Named(at)); got != want {
			t.Errorf("%d: got %q, want %q", at, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	for _, c := range [][4]string{
		{"/src", "", "a.c", "/src/a.c"}, {"/src", "lib", "a.c", "/src/lib/a.c"}, {"/src", "/usr/include", "a.h", "/usr/include/a.h"},
		{"/src", "lib", "/abs/a.c", "/abs/a.c"}, {"/src", "../x", "a.c", "/x/a.c"}, {"", "", "a.c", "a.c"},
		{`C:\src`, "lib", "a.c", `C:\src\lib\a.c`}, {"C:/src", "lib", "a.c", "C:/src/lib/a.c"}, {"/src", `D:\x\`, "a.c", `D:\x\a.c`}, {"/src", "lib", "", ""},
	} {
		table := lineTable{directories: [][]byte{[]byte(c[0]), []byte(c[1])}}
		if got := table.path(&source{[]byte(c[2]), 1}, []byte(c[0])); got != c[3] {
			t.Errorf("%q, %q, %q: got %q, want %q", c[0], c[1], c[2], got, c[3])
		}
	}
}

func TestAppendCounts(t *testing.T) {
	m := NewMeter(t.Context(), 1<<16)
	var list []uint64
	var err error
	n := 0
	for ; err == nil; n++ {
		list, err = Append(m, list, uint64(n))
	}
	if got := cap(list) * 8; got > 1<<16 || n < 1<<11 {
		t.Errorf("%d values in %d bytes when the limit was met", n, got)
	}
}
