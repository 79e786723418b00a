package sample_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/storage"
	"mayday/storage/search/sample"
)

func TestShape(t *testing.T) {
	c := sample.Crashes{Seed: 7, Last: time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC), Days: 182, Count: 20_000}
	signatures, stacks, fields := map[string]int{}, map[string]bool{}, map[string]bool{}
	last, size, filled := "", 0, 0
	for crash := range c.All() {
		for name := range crash {
			fields[name] = true
		}
		filled += len(crash)
		id, err := storage.ParseCrashID(crash["uuid"].(string))
		if err != nil {
			t.Fatal(err)
		}
		date := crash["date_processed"].(string)
		if date < last || id.Day() != strings.ReplaceAll(date[:10], "-", "") {
			t.Fatalf("crash %s of %s after %s", id, date, last)
		}
		last = date
		signatures[crash["signature"].(string)]++
		stacks[crash["proto_signature"].(string)] = true
		if size < 1<<22 {
			text, err := json.Marshal(crash)
			if err != nil {
				t.Fatal(err)
			}
			size += len(text)
		}
	}
	if last < "2026-09-27T23" || len(signatures) < 2_000 || len(stacks) < 10_000 || len(fields) < 60 || filled/c.Count < 45 {
		t.Errorf("the last is of %s; %d signatures, %d stacks, %d fields, %d a crash", last, len(signatures), len(stacks), len(fields), filled/c.Count)
	}
}

func TestSameSeedSameCrashes(t *testing.T) {
	c := sample.Crashes{Seed: 7, Last: time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC), Days: 3, Count: 50}
	var runs [2][]map[string]any
	for i := range runs {
		for crash := range c.All() {
			runs[i] = append(runs[i], crash)
		}
	}
	if d := cmp.Diff(runs[0], runs[1]); d != "" {
		t.Error(d)
	}
}
