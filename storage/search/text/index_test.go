package text_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search/text"
)

// names are the entries of a test dictionary: more than one batch.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("ns%d::Class%d::Run | é%d", i%97, i%1013, i)
	}
	return out
}

func TestIndexAgreesWithWords(t *testing.T) {
	list := names(20_000)
	other := []string{"one two", "", "Two"}
	path := filepath.Join(t.TempDir(), "words")
	fields := []text.Field{
		{Name: "names", N: len(list), Value: func(i int) string { return list[i] }},
		{Name: "other", N: len(other), Value: func(i int) string { return other[i] }},
	}
	if err := text.Build(path, fields); err != nil {
		t.Fatal(err)
	}
	x, err := text.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, word := range []string{"ns3", "class1012", "run", "é19999", "nosuch", ""} {
		var got, want []uint32
		if err := x.Entries("names", word, func(v uint32) { got = append(got, v) }); err != nil {
			t.Fatal(err)
		}
		for i, s := range list {
			for _, w := range text.Split(s) {
				if w == word {
					want = append(want, uint32(i))
					break
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entries with %q (-scan +index):\n%.300s", word, diff)
		}
	}
	var two []uint32
	if err := x.Entries("other", "two", func(v uint32) { two = append(two, v) }); err != nil || len(two) != 2 {
		t.Errorf("entries of other with two: %v, %v", two, err)
	}
	var complete []string
	if err := x.Complete("names", "class100", 3, func(w string, n uint64) { complete = append(complete, fmt.Sprint(w, " ", n)) }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(complete, ", "), "class100 20, class1000 19, class1001 19"; got != want {
		t.Errorf("completions %s, want %s", got, want)
	}
	if x.Has("nosuch") || !x.Has("names") {
		t.Error("Has is wrong")
	}
}

func TestBrokenIndexIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words")
	list := names(100)
	if err := text.Build(path, []text.Field{{Name: "a", N: len(list), Value: func(i int) string { return list[i] }}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 4, 20, len(data) / 2, len(data) - 1} {
		if err := os.WriteFile(path, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := text.Open(path); !fault.Is(err, fault.Malformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	data[len(data)/3] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := text.Open(path); !fault.Is(err, fault.Malformed) {
		t.Errorf("one bit changed: %v", err)
	}
	if _, err := text.Open(path + "x"); !fault.Is(err, fault.NotFound) {
		t.Errorf("no file: %v", err)
	}
	if err := text.Build(path, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("nothing to index: %v", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	list := names(8192)
	path := filepath.Join(b.TempDir(), "words")
	for b.Loop() {
		if err := text.Build(path, []text.Field{{Name: "a", N: len(list), Value: func(i int) string { return list[i] }}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(list)), "µs/value")
}
