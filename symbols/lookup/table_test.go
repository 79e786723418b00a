package lookup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
)

const smallSym = `MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 lib.so
INFO CODE_ID 67452301AB89EFCD lib.so
FILE 0 a.c
FILE 1 b.h
INLINE_ORIGIN 0 outer_inlined
INLINE_ORIGIN 1 inner_inlined
FUNC 1000 40 8 f
INLINE 0 11 0 0 1010 20
INLINE 1 22 1 1 1018 8
1000 10 1 0
1010 8 2 1
1018 8 3 1
1020 10 4 1
1030 10 5 0
FUNC m 2000 10 0 g
2000 8 0 0
PUBLIC 1800 4 exported
STACK CFI INIT 1000 40 .cfa: $rsp 8 + .ra: .cfa -8 + ^
STACK CFI 1001 .cfa: $rsp 16 +
STACK CFI 1030 .cfa: $rsp 8 +
STACK WIN 4 1000 40 1 2 4 8 c 0 1 $eip .raSearch ^ =
STACK WIN 0 2000 10 0 0 4 0 0 0 0 1
`

func table(t *testing.T, text string) *Table {
	t.Helper()
	tb, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func inline(name string, line uint32) symbols.Inline {
	return symbols.Inline{Function: name, File: "b.h", HasFile: true, Line: line, HasLine: true}
}

func TestLocate(t *testing.T) {
	tb := table(t, smallSym)
	f := symbols.Function{Name: "f", Address: 0x1000, Size: 0x40, ParamSize: 8}
	for _, c := range []struct {
		name   string
		offset uint64
		want   symbols.Location
		ok     bool
	}{
		{"plain line", 0x1004, symbols.Location{Function: f, File: "a.c", HasFile: true, Line: 1, HasLine: true}, true},
		{"one call", 0x1012, symbols.Location{Function: f, File: "a.c", HasFile: true, Line: 11, HasLine: true,
			Inlines: []symbols.Inline{inline("outer_inlined", 2)}}, true},
		{"two calls", 0x101c, symbols.Location{Function: f, File: "a.c", HasFile: true, Line: 11, HasLine: true,
			Inlines: []symbols.Inline{inline("inner_inlined", 3), inline("outer_inlined", 22)}}, true},
		{"before all", 0xfff, symbols.Location{}, false},
		{"behind a function", 0x1040, symbols.Location{}, false},
		{"public", 0x1810, symbols.Location{Function: symbols.Function{Name: "exported", Address: 0x1800, ParamSize: 4, Public: true}}, true},
		{"behind the last function", 0x2010, symbols.Location{}, false},
	} {
		for _, r := range []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate} {
			t.Run(c.name+"/"+r.String(), func(t *testing.T) {
				got, ok := tb.View(r).Locate(c.offset)
				if d := cmp.Diff(c.want, got); ok != c.ok || d != "" {
					t.Errorf("offset %#x: found %v, want %v (-want +got)\n%s", c.offset, ok, c.ok, d)
				}
			})
		}
	}
}

func TestUnwindRecords(t *testing.T) {
	v := table(t, smallSym).View(symbols.Parity)
	got, ok := v.CFI(0x1020)
	want := symbols.CFI{Start: 0x1000, Size: 0x40, Init: ".cfa: $rsp 8 + .ra: .cfa -8 + ^", Deltas: []string{".cfa: $rsp 16 +"}}
	if d := cmp.Diff(want, got); !ok || d != "" {
		t.Errorf("CFI: found %v (-want +got)\n%s", ok, d)
	}
	if _, ok := v.CFI(0x1040); ok {
		t.Error("CFI found behind its range")
	}
	win, ok := v.Win(0x103f)
	wantWin := symbols.Win{FrameData: &symbols.WinFrame{Type: 4, Address: 0x1000, Size: 0x40, Prolog: 1, Epilog: 2, ParamSize: 4, SavedRegsSize: 8,
		LocalsSize: 12, HasProgram: true, Program: "$eip .raSearch ^ ="}}
	if d := cmp.Diff(wantWin, win); !ok || d != "" {
		t.Errorf("Win: found %v (-want +got)\n%s", ok, d)
	}
	if win, ok = v.Win(0x2000); !ok || win.FPO == nil || !win.FPO.AllocatesBasePointer {
		t.Errorf("FPO: found %v, got %+v", ok, win)
	}
}
