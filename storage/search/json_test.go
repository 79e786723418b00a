package search

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// odd makes texts of what JSON treats in ways of its own.
func odd(r *rand.Rand) string {
	parts := []string{"a", "foo::bar", "</", "<", "/", "\"", "\\", "\n", "\r\t\b\f", "\x00\x1f", "é", "\u2028", "\u2029x", "\xff", "😀", "&", ">", "\x7f", "\ufffd"}
	s := ""
	for range r.IntN(5) {
		s += parts[r.IntN(len(parts))]
	}
	return s
}

func oddValue(r *rand.Rand) any {
	return []any{nil, odd(r), r.Int64() - r.Int64(), r.NormFloat64(), 60.0, 1e300, r.IntN(2) == 0, []string{odd(r), odd(r)}, Real(60), Real(0.125)}[r.IntN(10)]
}

func oddFacets(r *rand.Rand, depth int) Facets {
	f := Facets{}
	for range r.IntN(3) {
		one := &Facet{}
		switch r.IntN(4) {
		case 0:
			one.IsNumber, one.Cardinality = true, r.Int64N(1000)
		case 1:
		default:
			for range r.IntN(4) {
				b := Bucket{Term: oddValue(r), Count: r.Int64N(1e9)}
				if depth > 0 {
					b.Facets = oddFacets(r, depth-1)
				}
				one.Buckets = append(one.Buckets, b)
			}
		}
		f[odd(r)] = one
	}
	return f
}

func oddResult(r *rand.Rand) *Result {
	res := &Result{Hits: []Hit{}, Total: r.Int64(), Facets: oddFacets(r, 3), Errors: []Error{}, Cursor: odd(r)}
	for range r.IntN(3) {
		h := Hit{}
		for range r.IntN(5) {
			h[odd(r)] = oddValue(r)
		}
		res.Hits = append(res.Hits, h)
	}
	for range r.IntN(2) {
		res.Errors, res.Warnings = append(res.Errors, Error{odd(r), odd(r)}), append(res.Warnings, odd(r))
	}
	return res
}

func TestResultAsPackageJSONWritesIt(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		res := oddResult(r)
		text := appendResult(nil, res)
		if bytes.Contains(text, []byte("</")) {
			t.Fatalf("%s could end a script", text)
		}
		var got, want any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := json.Unmarshal(encode(res), &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Fatal(d)
		}
	}
}

func BenchmarkAppendResult(b *testing.B) {
	res := &Result{Facets: Facets{}}
	f := &Facet{}
	for i := range 50 {
		sub := &Facet{}
		for j := range 50 {
			sub.Buckets = append(sub.Buckets, Bucket{Term: "1.2.3", Count: int64(i * j)})
		}
		f.Buckets = append(f.Buckets, Bucket{Term: "ns::Class<T>::method", Count: int64(i), Facets: Facets{"version": sub}})
	}
	res.Facets["signature"] = f
	var out []byte
	for b.Loop() {
		out = appendResult(out[:0], res)
	}
	b.SetBytes(int64(len(out)))
}
