package segment

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mayday/storage/search/text"
)

// flat makes a dictionary of entries, in the order given.
func flat(values []string) *Dict {
	d := &Dict{N: len(values), offs: []uint32{0}}
	for _, v := range values {
		d.arena = append(d.arena, v...)
		d.offs = append(d.offs, uint32(len(d.arena)))
	}
	return d
}

// TestMayHoldMissesNothing compares with the words of each entry, in entries of
// all lengths around the size of a chunk.
func TestMayHoldMissesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var values []string
	for range 3000 {
		var b strings.Builder
		for range r.IntN(12) {
			b.WriteString([]string{"ab", "AB", "Ba", "@[`{", "é", " ", ":", "1", "\x00\x7f", "abAB"}[r.IntN(10)])
		}
		if r.IntN(300) == 0 {
			b.WriteString(strings.Repeat("x", wordChunk-20+r.IntN(40)) + " ab")
		}
		if r.IntN(300) == 0 {
			b.WriteString(" " + strings.Repeat("x", 255) + "ab")
		}
		values = append(values, b.String())
	}
	d := flat(values)
	for _, words := range [][]Word{{{Text: "ab"}}, {{Text: "abab"}, {Text: "ba1"}}, {{Text: "ab:ab"}}, {{Text: "1", Open: true}}, {{Text: "é"}}, {{Text: "aba", Open: true}}, {{Text: "x", Open: true}, {Text: "1ab"}}, {{Text: "nosuch"}}} {
		got := NewBitmap(len(values))
		d.MayHold(words, func(v uint32) { got.Set(int(v)) })
		found := 0
		for v, s := range values {
			has := false
			text.Words(s, func(one string) bool {
				has = slices.ContainsFunc(words, func(w Word) bool { return one == w.Text || w.Open && strings.HasPrefix(one, w.Text) })
				return !has
			})
			if (has || !isASCII([]byte(s))) && !got.Has(v) {
				t.Fatalf("%v: %.100q is missed", words, s)
			}
			if got.Has(v) && !has && isASCII([]byte(s)) {
				found++
			}
		}
		if found > len(values)/10 {
			t.Errorf("%v: %d of %d entries are found in vain", words, found, len(values))
		}
	}
	flat(nil).MayHold([]Word{{Text: "x"}}, func(uint32) { t.Error("an entry of none") })
}

func TestIsASCII(t *testing.T) {
	for n := range 40 {
		b := bytes.Repeat([]byte{0x7f}, n)
		if !isASCII(b) {
			t.Errorf("%q is not ASCII", b)
		}
		for i := range b {
			b[i] = 0x80
			if isASCII(b) {
				t.Errorf("%q is ASCII", b)
			}
			b[i] = 0
		}
	}
}

// TestValuesWith compares with a look at each value.
func TestValuesWith(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		d := &Dict{N: r.IntN(40), PartAt: []uint32{0}, offs: make([]uint32, 71)}
		for range d.N {
			for range r.IntN(5) {
				d.Parts = append(d.Parts, uint32(r.IntN(70)))
			}
			d.PartAt = append(d.PartAt, uint32(len(d.Parts)))
		}
		parts := NewBitmap(70)
		for range r.IntN(20) {
			parts.Set(r.IntN(70))
		}
		var got, want []uint32
		d.ValuesWith(parts, func(v uint32) { got = append(got, v) })
		for v := range d.N {
			if slices.ContainsFunc(d.Parts[d.PartAt[v]:d.PartAt[v+1]], func(p uint32) bool { return parts.Has(int(p)) }) {
				want = append(want, uint32(v))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("values %v, want %v", got, want)
		}
	}
}

func BenchmarkMayHold(b *testing.B) {
	var values []string
	for i := range 20_000 {
		values = append(values, strings.Repeat("ns12::WorkerRunnable<T7>::Dispatch", 1+i%3))
	}
	d := flat(values)
	b.SetBytes(int64(len(d.arena)))
	for b.Loop() {
		d.MayHold([]Word{{Text: "collector"}}, func(uint32) {})
	}
}
