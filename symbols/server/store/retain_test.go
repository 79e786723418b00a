package store

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"mayday/storage/catalog"
	"mayday/symbols"
)

// Files go after their days, but not when they were uploaded again since.
func TestRetention(t *testing.T) {
	ctx := t.Context()
	db, err := catalog.Open(ctx, t.TempDir()+"/catalog.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := New(Options{Catalog: db, Bucket: bucket, Changed: func(context.Context, symbols.ModuleID) {}, Now: func() time.Time { return now }})
	keep := func(key string, try bool) {
		t.Helper()
		id, err := db.AddSymbolUpload(ctx, catalog.SymbolUpload{Email: "a@example.com", Try: try, Created: now, Completed: now})
		if err != nil {
			t.Fatal(err)
		}
		f := catalog.SymbolFile{Key: key, Try: try, Kind: "elf", CodeID: "AB", DebugID: "CD0", Created: now}
		if err := s.Put(ctx, &f, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if err := db.FinishSymbolUpload(ctx, catalog.SymbolUpload{ID: id, Completed: now}, []catalog.SymbolFile{f}); err != nil {
			t.Fatal(err)
		}
	}
	keep("a/1/a.sym", true)
	keep("b/1/b.sym", true)
	keep("c/1/c.sym", false)
	now = now.AddDate(0, 0, 20)
	if err := db.RenewSymbolFile(ctx, "b/1/b.sym", true, now); err != nil {
		t.Fatal(err)
	}
	there := func(days int, want string) {
		t.Helper()
		now = now.AddDate(0, 0, days)
		if err := s.Retain(ctx, Days{Try: 30, Regular: 700}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, k := range []string{"a", "b", "c"} {
			ok, err := bucket.Exists(context.Background(), Object(k+"/1/"+k+".sym", k != "c"))
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				got += k
			}
		}
		if got != want {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
	there(5, "abc")
	there(10, "bc")
	there(30, "c")
	there(700, "")
	left, err := bucket.List(nil).Next(ctx)
	if err != io.EOF {
		t.Errorf("the bucket still holds %v, %v", left, err)
	}
	if n, _, err := db.CountSymbolUploads(ctx, nil); err != nil || n != 0 {
		t.Errorf("%d uploads are left, %v", n, err)
	}
}
