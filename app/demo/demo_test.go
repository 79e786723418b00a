package demo

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

var month = Month{Seed: 1, Last: time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC), Days: 30, Crashes: 3000}

func TestCulpritsAreReadable(t *testing.T) {
	rows := 0
	for _, line := range strings.Split(culpritText, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			rows++
		}
	}
	if got := len(culprits()); got != rows || got < 50 {
		t.Errorf("%d culprits of %d rows", got, rows)
	}
	for _, c := range culprits() {
		if products[c.product] == nil || c.weight < 1 || strings.Trim(c.platforms, "wxlma") != "" || c.platforms == "" {
			t.Errorf("row %+v", c)
		}
	}
}

// The same month is the same to the byte, whenever it is generated.
func TestDeterministic(t *testing.T) {
	first, again := slices.Collect(month.All()), slices.Collect(month.All())
	if len(first) != len(again) || len(first) != month.Count() {
		t.Fatalf("%d, then %d crashes, counted %d", len(first), len(again), month.Count())
	}
	if n := len(first); n < 2700 || n > 3300 {
		t.Errorf("%d crashes, about 3000 were wanted", n)
	}
	ids := map[string]bool{}
	for i := range first {
		if first[i].ID != again[i].ID || first[i].Annotations["InstallTime"] != again[i].Annotations["InstallTime"] {
			t.Fatalf("crash %d differs", i)
		}
		if ids[first[i].ID] {
			t.Fatalf("id %s stands twice", first[i].ID)
		}
		ids[first[i].ID] = true
	}
	if !bytes.Equal(first[7].Dump(), again[7].Dump()) {
		t.Error("the dump differs")
	}
	// A month that ends a day later has the same crashes on the days of both.
	later := month
	later.Last = later.Last.AddDate(0, 0, 1)
	shared := 0
	for c := range later.All() {
		if ids[c.ID] {
			shared++
		}
	}
	if shared < 2500 {
		t.Errorf("%d crashes are shared with a month that ends a day later", shared)
	}
}

// What the month tells: a cause that begins with a version, one that was
// fixed, ones that spike.
func TestStory(t *testing.T) {
	began, fixed, spike, before := 0, 0, 0, 0
	signatures := map[string]int{}
	for c := range month.All() {
		signatures[c.culprit.calls[0]]++
		back := int(month.Last.Sub(c.Submitted.Truncate(24*time.Hour)).Hours() / 24)
		switch {
		case c.culprit.when == "from 12.3":
			began++
			if versionLess(c.Annotations["Version"], "12.3") {
				t.Errorf("%s in version %s", c.Signature, c.Annotations["Version"])
			}
		case c.culprit.when == "until 1.3":
			fixed++
			if c.Annotations["Version"] == "1.4.0" {
				t.Errorf("%s was fixed in 1.4", c.Signature)
			}
		case strings.HasPrefix(c.culprit.when, "spike 9"):
			if back == 9 || back == 8 {
				spike++
			} else {
				before++
			}
		}
	}
	if began == 0 || fixed == 0 || spike < 3*before {
		t.Errorf("began %d, fixed %d, spike %d on two days and %d on the others", began, fixed, spike, before)
	}
	if len(signatures) < 50 {
		t.Errorf("only %d causes", len(signatures))
	}
}

func TestDumpsAndSymbols(t *testing.T) {
	paths := map[string]bool{}
	for f := range month.Symbols() {
		if !bytes.HasPrefix(f.Text, []byte("MODULE ")) || paths[f.Path] {
			t.Errorf("symbol file %s", f.Path)
		}
		paths[f.Path] = true
	}
	dumps, none := 0, 0
	for c := range month.All() {
		if d := c.Dump(); d == nil {
			none++
		} else if dumps++; !bytes.HasPrefix(d, []byte("MDMP")) {
			t.Fatalf("crash %s: no minidump", c.ID)
		}
	}
	if dumps < 2000 || none == 0 {
		t.Errorf("%d crashes with and %d without a dump", dumps, none)
	}
}

func BenchmarkDump(b *testing.B) {
	all := slices.Collect(month.All())
	i, size := 0, 0
	for b.Loop() {
		size = len(all[i%len(all)].Dump())
		i++
	}
	b.SetBytes(int64(size))
}
