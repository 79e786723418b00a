package function

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
	"mayday/symbols/sym"
)

// source is a function as a symbol file has it.
type source struct {
	start, size uint64
	inlines     []sym.Record
	lines       []sym.Record
}

func (s source) pack(p *Packer) Packed {
	p.Begin(&sym.Record{Address: s.start, Size: s.size, ParamSize: uint32(s.size & 8)}, 77)
	for i := range s.inlines {
		p.Inline(&s.inlines[i])
	}
	for i := range s.lines {
		p.Line(&s.lines[i])
	}
	return p.End()
}

// records are the spans and lines of the source in its order.
func (s source) records() (spans []Span, lines []Line) {
	for _, r := range s.inlines {
		for i, g := range r.Ranges {
			spans = append(spans, Span{Start: g.Address, Size: g.Size, Depth: r.Depth, Line: r.Line, File: r.File, Origin: r.Origin, More: i > 0})
		}
	}
	for _, r := range s.lines {
		lines = append(lines, Line{r.Address, r.Size, r.Line, r.File})
	}
	return spans, lines
}

func inline(depth, line, file, origin uint32, ranges ...uint64) sym.Record {
	r := sym.Record{Kind: sym.KindInline, Depth: depth, Line: line, File: file, Origin: origin}
	for i := 0; i < len(ranges); i += 2 {
		r.Ranges = append(r.Ranges, sym.Range{Address: ranges[i], Size: ranges[i+1]})
	}
	return r
}

func line(address, size uint64, line, file uint32) sym.Record {
	return sym.Record{Kind: sym.KindLine, Address: address, Size: size, Line: line, File: file}
}

// tidy makes a function whose records nest, as compilers write them.
func tidy(r *rand.Rand, lines int, scale uint64, files uint32) source {
	s := source{start: 0x1000}
	at := s.start
	for range lines {
		if r.IntN(8) == 0 {
			at += r.Uint64N(9) * scale
		}
		l := line(at, 1+r.Uint64N(40)*scale, r.Uint32N(3000), r.Uint32N(files))
		s.lines = append(s.lines, l)
		at += l.Size
	}
	s.size = at - s.start + r.Uint64N(3)
	for at := s.start; at < s.start+s.size; at += 1 + r.Uint64N(90)*scale {
		size := 1 + r.Uint64N(60)*scale
		size = min(size, s.start+s.size-at)
		s.nest(r, 0, at, size, files)
		at += size
	}
	if r.IntN(2) == 0 && len(s.inlines) > 3 { // a record of several ranges, out of order
		k := len(s.inlines) / 2
		if last := s.inlines[len(s.inlines)-1]; last.Depth == s.inlines[k].Depth {
			s.inlines[k].Ranges = append(s.inlines[k].Ranges, last.Ranges...)
			s.inlines = s.inlines[:len(s.inlines)-1]
		}
	}
	return s
}

func (s *source) nest(r *rand.Rand, depth uint32, at, size uint64, files uint32) {
	s.inlines = append(s.inlines, inline(depth, r.Uint32N(5000), r.Uint32N(files), r.Uint32N(1<<20), at, size))
	for r.IntN(3) > 0 && size > 2 && depth < 6 {
		skip := r.Uint64N(size / 2)
		inner := 1 + r.Uint64N(size-skip)
		s.nest(r, depth+1, at+skip, inner, files)
		at, size = at+skip+inner, size-skip-inner
	}
}

// untidy makes a function whose records overlap, leave it and come in any order.
func untidy(r *rand.Rand) source {
	s := source{start: 0x1000, size: 1 + r.Uint64N(400)}
	for range r.IntN(12) {
		s.lines = append(s.lines, line(0xff0+r.Uint64N(s.size+32), r.Uint64N(50), r.Uint32N(90), r.Uint32N(5)))
	}
	for range r.IntN(12) {
		rec := inline(r.Uint32N(3), r.Uint32N(90), r.Uint32N(5), r.Uint32N(9))
		for range 1 + r.IntN(2) {
			rec.Ranges = append(rec.Ranges, sym.Range{Address: 0xff0 + r.Uint64N(s.size+32), Size: r.Uint64N(90)})
		}
		s.inlines = append(s.inlines, rec)
	}
	return s
}

// TestAnswers compares what columns answer with what the rules make of the
// records at each address.
func TestAnswers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var p Packer
	odd, bare := 0, 0
	for n := range 400 {
		var s source
		switch n % 4 {
		case 0:
			s = untidy(r)
		case 1:
			s = tidy(r, r.IntN(40), 1, 4)
		case 2:
			s = tidy(r, r.IntN(400), 1+r.Uint64N(30), 600)
		default:
			s = tidy(r, r.IntN(60), 1, 40)
		}
		packedFn := s.pack(&p)
		f, ok := At(packedFn.Bytes, s.start)
		if !ok || f.Size != s.size || f.Name != 77 || f.ParamSize != uint32(s.size&8) {
			t.Fatalf("function %d: read %v %+v", n, ok, f.Head)
		}
		if f.Flags&flagOdd != 0 {
			odd++
		}
		if f.Flags&flagBare != 0 {
			bare++
		}
		spans, lines := s.records()
		gotSpans, gotLines := f.Records()
		if d := differ(spans, gotSpans, lines, gotLines); d != "" {
			t.Fatalf("function %d: records (-want +got)\n%s", n, d)
		}
		step := 1 + s.size/60
		var at []uint64
		for q := s.start; q < s.start+s.size; q += step {
			at = append(at, q)
		}
		compare(t, n, &f, s, at...)
	}
	if odd < 60 || odd > 200 || bare > 16 {
		t.Errorf("%d functions are odd and %d without columns", odd, bare)
	}
}

// differ says how records differ; telling equal ones by reflection is slow.
func differ(spans, gotSpans []Span, lines, gotLines []Line) string {
	for i := range gotSpans {
		gotSpans[i].order = 0
	}
	if slices.Equal(spans, gotSpans) && slices.Equal(lines, gotLines) {
		return ""
	}
	return cmp.Diff(spans, gotSpans, cmp.AllowUnexported(Span{})) + cmp.Diff(lines, gotLines)
}

func compare(t *testing.T, n int, f *Function, s source, q ...uint64) {
	t.Helper()
	spans, lines := s.records()
	l, _ := layOut(spans, lines, s.start, s.size, len(spans)+maxPlaced)
	for _, q := range q {
		compareAt(t, n, f, s, &l, q)
	}
}

func compareAt(t *testing.T, n int, f *Function, s source, l *layout, q uint64) {
	t.Helper()
	spans, lines := s.records()
	for _, r := range []symbols.Reading{symbols.Symbolicate, symbols.Parity} {
		parity := r == symbols.Parity
		var got, want Hit
		ok := f.Answer(&got, q, r)
		want.SetHead(f.start, &f.Head)
		wantOK := true
		if parity {
			layOutParity(&want, slices.Clone(spans), slices.Clone(lines), q)
		} else {
			wantOK = l.answer(&want, q)
		}
		if ok != wantOK || ok && !same(&want, &got) {
			t.Fatalf("function %d, %#x, parity %v: got %v %+v, want %v %+v\n%+v\n%+v", n, q, parity, ok, got, wantOK, want, spans, lines)
		}
	}
}

func same(a, b *Hit) bool {
	return a.Address == b.Address && a.Size == b.Size && a.HasLine == b.HasLine && a.Line == b.Line && a.File == b.File && slices.Equal(a.Calls, b.Calls)
}

// TestShapes packs functions that need fields of every width, and those that
// no columns hold.
func TestShapes(t *testing.T) {
	many := source{start: 1 << 40, size: 70_000}
	for i := range uint64(70_000) {
		many.lines = append(many.lines, line(many.start+i, 1, uint32(i), uint32(i)))
	}
	deep := source{start: 1, size: 1000}
	for d := range uint32(300) {
		deep.inlines = append(deep.inlines, inline(d, 1, 1, 1, 1, 1000-uint64(d)))
	}
	for _, c := range []struct {
		name string
		s    source
		bare bool
	}{
		{"nothing", source{start: 5, size: 1}, false},
		{"no size", source{start: 5}, false},
		{"large numbers", source{start: 5, size: 9, lines: []sym.Record{line(5, 9, 1<<32-1, 1<<32-1)}, inlines: []sym.Record{inline(0, 1<<32-1, sym.NoFile, 1<<32-1, 6, 2)}}, false},
		{"large function", source{start: 5, size: 1<<32 - 1, lines: []sym.Record{line(5, 1<<32-1, 1, 1)}}, false},
		{"huge function", source{start: 5, size: 1 << 33, lines: []sym.Record{line(5, 1<<33, 1, 1)}}, true},
		{"end of the address space", source{start: 1<<64 - 8, size: 16, lines: []sym.Record{line(1<<64-8, 16, 1, 1)}}, true},
		{"more files than can be named", many, true},
		{"deeper than can be said", deep, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Packer
			b := c.s.pack(&p).Bytes
			f, ok := At(b, c.s.start)
			if !ok || f.Flags&flagBare != 0 != c.bare {
				t.Fatalf("read %v, flags %b, want bare %v", ok, f.Flags, c.bare)
			}
			spans, lines := c.s.records()
			gotSpans, gotLines := f.Records()
			if d := differ(spans, gotSpans, lines, gotLines); d != "" {
				t.Fatalf("records (-want +got)\n%s", d)
			}
			if c.s.size > 0 && len(lines) < 1000 {
				compare(t, 0, &f, c.s, c.s.start, c.s.start+c.s.size-1)
			}
		})
	}
}

// Records that cut each other into many pieces must not make the file large.
func TestGrowth(t *testing.T) {
	s := source{start: 0, size: 1 << 20}
	for i := range uint64(2000) {
		s.inlines = append(s.inlines, inline(0, 1, 0, 0, i*16, 16), inline(1, 1, 0, 0, i*16, 1<<19))
	}
	var p Packer
	if n := len(s.pack(&p).Bytes); n > 64*len(s.inlines) {
		t.Errorf("%d ranges are packed to %d bytes", len(s.inlines), n)
	}
}

func FuzzAt(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	var p Packer
	for range 5 {
		f.Add(slices.Clone(tidy(r, 9, 1, 3).pack(&p).Bytes), uint64(0x1010))
		f.Add(slices.Clone(untidy(r).pack(&p).Bytes), uint64(0x1010))
	}
	f.Fuzz(func(t *testing.T, b []byte, q uint64) {
		fn, ok := At(b, 0x1000)
		if !ok {
			return
		}
		var h Hit
		for _, at := range []uint64{0x1000, q, 0x1000 + fn.Size - 1} {
			fn.Answer(&h, at, symbols.Symbolicate)
			fn.Answer(&h, at, symbols.Parity)
		}
		fn.Records()
		fn.Marks()
	})
}

// BenchmarkAnswer shows that the cost does not grow with the function.
func BenchmarkAnswer(b *testing.B) {
	for _, lines := range []int{10, 1000, 100_000} {
		for _, odd := range []string{"", "odd "} {
			b.Run(fmt.Sprintf("%s%d", odd, lines), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				s := tidy(r, lines, 1, 30)
				if odd != "" {
					s.lines[0], s.lines[1] = s.lines[1], s.lines[0]
				}
				var p Packer
				f, _ := At(s.pack(&p).Bytes, s.start)
				var h Hit
				q := uint64(1)
				for b.Loop() {
					q = q*6364136223846793005 + 1442695040888963407
					f.Answer(&h, s.start+q>>33%s.size, symbols.Symbolicate)
				}
			})
		}
	}
}
