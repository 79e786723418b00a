package packed

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// namesLike makes names that look like those of a C++ library.
func namesLike(n int) []string {
	r := rand.New(rand.NewPCG(3, 4))
	words := []string{"engine", "layout", "Frame", "Style", "Cache", "Resolve", "std::__1::", "operator()", "(int, char const*)", "<unsigned char>"}
	out := make([]string, n)
	for i := range out {
		for range 2 + r.IntN(5) {
			out[i] += words[r.IntN(len(words))]
		}
		out[i] += fmt.Sprint(i)
	}
	return out
}

func TestDictionary(t *testing.T) {
	var sample []byte
	names := namesLike(2000)
	for _, n := range names {
		sample = append(append(sample, n...), '\n')
	}
	d := train(sample)
	if len(d.texts) < maxCodes/2 {
		t.Errorf("got %d texts of a sample of %d bytes", len(d.texts), len(sample))
	}
	long, short := 0, 0
	for _, n := range append(names, "", "x", "xy", "\xff\x80é", "\n\n", "\x7f\x00") {
		p := d.pack(nil, []byte(n))
		if got := d.Unpack(p); string(got) != n {
			t.Fatalf("%q packs to %x, which is %q", n, p, got)
		}
		long, short = long+len(n), short+len(p)
	}
	if short > long/2 {
		t.Errorf("%d bytes of names packed to %d, at most half wanted", long, short)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("sample of names, names of samples"), []byte("\xff"))
	f.Add([]byte("\xff\xff"), []byte("\x80\xfe\xff\x80"))
	f.Fuzz(func(t *testing.T, sample, b []byte) {
		d := train(sample[:min(len(sample), 4096)])
		if got := d.Unpack(d.pack(nil, b)); !bytes.Equal(got, b) {
			t.Fatalf("got %q, want %q", got, b)
		}
		d.Unpack(b)
	})
}
