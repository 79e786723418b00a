package column

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mayday/storage/search"
)

// TestValuesKept: tables of values come from the disk when they are about the
// segments that are there, and answers are the same with them, without them and
// when they are damaged.
func TestValuesKept(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	fill := func(from, n int, day string) {
		t.Helper()
		var docs []search.Doc
		for i := from; i < from+n; i++ {
			docs = append(docs, testDoc(t, s.opts.Fields, crash(i, day+"T00:00:00Z", map[string]any{
				"signature": fmt.Sprint("value ", i%7000), "product": "Kite"})))
		}
		if err := s.Index(context.Background(), docs); err != nil {
			t.Fatal(err)
		}
	}
	fill(0, 5000, "2026-09-02")
	fill(5000, 6000, "2026-09-09")
	queries := []string{"_facets=signature&_facets_size=10000", "_facets=_cardinality.signature", "_aggs.product=signature", "_facets=signature&signature=~77"}
	answers := func() (out []string) {
		for _, q := range queries {
			text, err := json.Marshal(ask(t, s, q).Facets)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(text))
		}
		return out
	}
	want := answers()
	check := func(when string) {
		t.Helper()
		for i, got := range answers() {
			if got != want[i] {
				t.Errorf("%s, %s: %.200s, want %.200s", when, queries[i], got, want[i])
			}
		}
	}
	s.searcher.Values.Slow = 1000
	path := filepath.Join(dir, valuesName)
	s.warm()
	s.keepValues()
	if _, err := os.Stat(path); err != nil || !s.searcher.Values.IsKept(s.snap.segments()) {
		t.Fatalf("no tables were kept: %v", err)
	}
	check("kept")
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, dir)
		s.searcher.Values.Slow = 1000
	}
	reopen()
	if !s.searcher.Values.IsKept(s.snap.segments()) {
		t.Error("the tables are not used after a start")
	}
	check("opened")
	fill(11000, 4000, "2026-09-16") // 4,000 values that are there
	for i, q := range []string{"_facets=_cardinality.signature", "_facets=signature&_facets_size=1"} {
		text, _ := json.Marshal(ask(t, s, q).Facets)
		if want := []string{`{"cardinality_signature":{"value":7000}}`, `{"signature":[{"term":"value 0","count":3}]}`}[i]; string(text) != want {
			t.Errorf("with a segment that the tables lack, %s: %s, want %s", q, text, want)
		}
	}
	if _, err := s.DropWeeks("2026/36"); err != nil { // of 09-02
		t.Fatal(err)
	}
	if s.searcher.Values.IsKept(s.snap.segments()) {
		t.Error("tables of segments that are gone count as kept")
	}
	stale, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.valuesTried = s.opts.Now() // too early for new ones
	s.keepValues()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("upkeep leaves tables of segments that are gone: %v", err)
	}
	if err := os.WriteFile(path, stale, 0o600); err != nil {
		t.Fatal(err)
	}
	want = answers()
	reopen()
	check("without the tables")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("tables of segments that are gone stay: %v", err)
	}
	s.warm()
	s.keepValues()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += 1 + len(data)/17 {
		bad := append([]byte(nil), data...)
		bad[at] ^= 0x41
		if at%3 == 0 {
			bad = bad[:at]
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		reopen()
		check(fmt.Sprint("damaged at ", at))
	}
	s.warm()
	s.keepValues()
	if !s.searcher.Values.IsKept(s.snap.segments()) {
		t.Error("damaged tables are not made again")
	}
	check("made again")
	s.Close()
}
