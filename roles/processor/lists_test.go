package processor

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/blob/memblob"

	"mayday/signature"
	"mayday/storage"
)

// Lists are read again when a file changes; broken ones leave the old in use.
func TestListsDir(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range signature.ListNames() {
		write(name, "nothing\n")
	}
	l, err := NewListsDir(dir, signature.Improvements{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	later := func() *signature.Lists {
		l.mu.Lock()
		l.checked = time.Now().Add(-time.Hour)
		l.mu.Unlock()
		return l.Lists()
	}
	first := l.Lists()
	if later() != first {
		t.Error("lists that did not change were read again")
	}
	name := signature.ListNames()[0]
	write(name, "(broken\n")
	if later() != first {
		t.Error("broken lists are in use")
	}
	write(name, "something else\n")
	if now := later(); now == first || now.Version() == first.Version() {
		t.Error("changed lists are not in use")
	}
	if _, err := NewListsDir(t.TempDir(), signature.Improvements{}, zap.NewNop()); err == nil {
		t.Error("a directory without lists was taken")
	}
}

func TestPublishedBuilds(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	crashes := storage.NewCrashes(bucket, storage.Options{})
	p := NewPublishedBuilds(crashes, zap.NewNop())
	ask := func() (string, bool, bool) {
		t.Helper()
		v, found, known, err := p.Version(t.Context(), "Firefox", "Beta", "20261030")
		if err != nil {
			t.Fatal(err)
		}
		return v, found, known
	}
	if _, found, known := ask(); found || known {
		t.Error("something is known of a product without builds")
	}
	rows := []storage.Build{{Product: "Firefox", Channel: "beta", BuildID: "20261030", Version: "63.0b4rc2"}, {Product: "Firefox", Channel: "beta", BuildID: "20261030", Version: "63.0b4"}, {Product: "Firefox", Channel: "beta", BuildID: "20261031", Version: "63.0rc1"}}
	if err := crashes.SaveSnapshot(context.Background(), storage.BuildsSnapshot, rows); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := ask(); found {
		t.Error("the snapshot was read again at once")
	}
	p.mu.Lock()
	p.read = time.Time{}
	p.mu.Unlock()
	if v, found, known := ask(); v != "63.0b4" || !found || !known {
		t.Errorf("got %q, %v, %v", v, found, known)
	}
	// The second build's only row is a candidate, not a beta.
	if v, found, _, _ := p.Version(t.Context(), "Firefox", "beta", "20261031"); v != "63.0rc1" || !found {
		t.Errorf("got %q, %v", v, found)
	}
	if _, found, known, _ := p.Version(t.Context(), "Firefox", "beta", "1"); found || !known {
		t.Error("a build that is not listed was found")
	}
}
