package lookup

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
	"mayday/symbols/sample"
)

// odd is a file in which records overlap, come out of order and lack names.
const odd = `MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 lib.so
FILE 0 a.c
INLINE_ORIGIN 0 inlined
FUNC 1000 40 8 f
INLINE 0 11 0 0 1010 20
1000 10 1 0
1030 10 5 0
FUNC 1020 40 8 later
1020 40 5 7
FUNC 1020 8 0 again
FUNC 1100 0 0 empty
FUNC 1180 10 0 
PUBLIC 1000 0 public
PUBLIC 1090 4 behind
PUBLIC 1098 4 non\xffutf
STACK CFI INIT 1000 40 .cfa: $rsp 8 + .ra: .cfa -8 + ^
STACK CFI 1030 .cfa: $rsp 8 +
STACK CFI 1001 .cfa: $rsp 16 +
STACK CFI 1001 .cfa: $rsp 12 +
STACK CFI INIT 1060 40 .cfa: $rsp 8 + .ra: .cfa -8 + ^
`

// A reader answers as its view does, whatever it answered before.
func TestReader(t *testing.T) {
	var large bytes.Buffer
	if err := sample.Write(&large, sample.Options{Name: "lib.so", ID: "0123456789ABCDEF0123456789ABCDEF0", Funcs: 400, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"small": smallSym, "odd": strings.ReplaceAll(odd, `\xff`, "\xff"), "large": large.String()} {
		tb := table(t, text)
		var end uint64
		tb.funcs.all(&tb.store, func(_ int, e entry) bool { end = e.key; return true })
		for _, r := range []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate} {
			v := tb.View(r)
			reader := v.Reader()
			var first, kept []symbols.Location
			found := 0
			for p := uint64(0xf00); p < end+0x100; p += 1 + end/5_000 {
				f, ok := v.Function(p)
				if got, found := reader.Function(p); got != f || found != ok {
					t.Fatalf("%s, %s: function at %#x: %v %v, want %v %v", name, r, p, got, found, f, ok)
				}
				if got, want := reader.Starts(p), ok && f.Address == p && !f.Public; got != want {
					t.Fatalf("%s, %s: starts at %#x: %v, want %v: %+v", name, r, p, got, want, f)
				}
				l, ok := v.Locate(p)
				got, same := reader.Locate(p)
				if same != ok || len(l.Inlines) == 0 != (len(got.Inlines) == 0) {
					t.Fatalf("%s, %s: location at %#x: %v %v, want %v %v", name, r, p, got, same, l, ok)
				}
				if ok {
					found++
					first, kept = append(first, l), append(kept, got)
				}
				for range 2 {
					c, ok := v.CFI(p)
					got, same := reader.CFI(p)
					if len(got.Deltas) == 0 {
						got.Deltas = nil
					}
					if d := cmp.Diff(c, got); ok != same || ok && d != "" {
						t.Fatalf("%s, %s: CFI at %#x: %v, want %v\n%s", name, r, p, same, ok, d)
					}
				}
			}
			for i := range first { // nothing was overwritten
				if !reflect.DeepEqual(first[i].Inlines, kept[i].Inlines) && len(first[i].Inlines) > 0 || first[i].Function != kept[i].Function || first[i].File != kept[i].File || first[i].Line != kept[i].Line {
					t.Fatalf("%s, %s: %+v, want %+v", name, r, kept[i], first[i])
				}
			}
			if found == 0 && r != symbols.Parity {
				t.Errorf("%s, %s: nothing is there", name, r)
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	var text bytes.Buffer
	if err := sample.Write(&text, sample.Options{Name: "lib.so", ID: "0123456789ABCDEF0123456789ABCDEF0", Funcs: 5000, Seed: 3}); err != nil {
		b.Fatal(err)
	}
	tb, err := Read(&text)
	if err != nil {
		b.Fatal(err)
	}
	var end uint64
	tb.funcs.all(&tb.store, func(_ int, e entry) bool { end = e.key; return true })
	r := tb.View(symbols.Best).Reader()
	b.ReportAllocs()
	p := uint64(0)
	for b.Loop() {
		p = (p + 7919*61) % end
		r.Locate(p)
		r.CFI(p)
	}
}
