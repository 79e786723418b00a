package catalog_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/catalog"
)

func TestProgressIsKept(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "catalog.db")
	at := catalog.Progress{Name: "reindex", Started: time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC), Updated: time.Date(2026, 11, 1, 2, 4, 4, 0, time.UTC), Place: "one", Done: 7}
	for _, step := range []catalog.Progress{at, {Name: "reindex", Started: at.Started, Updated: at.Updated, Place: "two", Done: 9}} {
		db, err := catalog.Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.SaveProgress(ctx, step); err != nil {
			t.Fatal(err)
		}
		got, err := db.Progress(ctx, "reindex")
		if d := cmp.Diff(step, got); err != nil || d != "" {
			t.Errorf("%v\n%s", err, d)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := catalog.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got, err := db.Progress(ctx, "reindex"); err != nil || got.Place != "two" {
		t.Errorf("after opening again: %+v, %v", got, err)
	}
	if err := db.EndProgress(ctx, "reindex"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Progress(ctx, "reindex"); !fault.Is(err, fault.NotFound) {
		t.Errorf("after the end: %v", err)
	}
}
