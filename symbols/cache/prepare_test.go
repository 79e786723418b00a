package cache

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
)

// until waits for something that happens in the background.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 5000 {
		if f() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s did not happen", what)
}

// TestPrepare uploads symbols, and uploads them again: each time they are
// compiled before anybody asks, and answers are of the new text at once.
func TestPrepare(t *testing.T) {
	src := &supplier{texts: map[string]string{}}
	s := New(Options{Dir: t.TempDir(), Fetch: src.fetch, Tag: src.tag, RecheckEvery: time.Hour})
	defer s.Close()
	if _, err := s.Open(t.Context(), module("a.so")); !fault.Is(err, fault.NotFound) {
		t.Fatalf("before the upload: %v", err)
	}
	for n, function := range []string{"first", "second", "third"} {
		src.set("a.so", symText("a.so", function))
		s.Prepare(module("a.so"))
		if got := name(t, s, "a.so"); got != function {
			t.Errorf("right after upload %d: got function %q, want %q", n, got, function)
		}
	}
	for i := range 30 {
		src.set(fmt.Sprint(i), symText(fmt.Sprint(i), "f"))
		s.Prepare(module(fmt.Sprint(i)))
	}
	s.Prepare(module("nobody has it"))
	until(t, "compiling ahead", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.preparing
	})
	if src.calls.Load() < 30 {
		t.Errorf("the supplier was asked %d times, want more than 30", src.calls.Load())
	}
	asked := src.calls.Load()
	for i := range 30 {
		if got := name(t, s, fmt.Sprint(i)); got != "f" {
			t.Errorf("module %d: got function %q", i, got)
		}
	}
	if n := src.calls.Load(); n != asked {
		t.Errorf("the supplier was asked %d times more by those who came later", n-asked)
	}
}

// A check that finds the text unchanged keeps the file that is open.
func TestCheckedAgain(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "f")}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := New(Options{Dir: t.TempDir(), Fetch: src.fetch, Tag: src.tag, RecheckEvery: time.Minute, Now: func() time.Time { return now }})
	defer s.Close()
	h, err := s.Open(t.Context(), module("a.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	now = now.Add(time.Hour)
	again, err := s.Open(t.Context(), module("a.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.open != h.open || again.Stats.Source != "open" {
		t.Errorf("the file was opened again: %+v", again.Stats)
	}
}

// TestTwoProcesses has two stores over one directory, as two processes of one
// machine have: one of them compiles, and damage that one finds is mended.
func TestTwoProcesses(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "f")}, wait: make(chan struct{})}
	dir := t.TempDir()
	var stores []*Store
	var done sync.WaitGroup
	for range 4 {
		s := New(Options{Dir: dir, Fetch: src.fetch})
		defer s.Close()
		stores = append(stores, s)
		done.Go(func() {
			h, err := s.Open(context.Background(), module("a.so"))
			if err != nil {
				t.Error(err)
				return
			}
			h.Close()
		})
	}
	time.Sleep(3 * lockEvery)
	close(src.wait)
	done.Wait()
	if n := src.calls.Load(); n != 1 {
		t.Errorf("the text was fetched %d times, want 1", n)
	}
	for _, s := range stores {
		if got := name(t, s, "a.so"); got != "f" {
			t.Errorf("got function %q", got)
		}
	}
	if _, err := os.Stat(stores[0].disk.path("a.so/"+testID+"/a.so.sym") + lockSuffix); err == nil {
		t.Error("a lock file is left")
	}
}

// TestFlippedBits damages a compiled file at every byte in turn. What a lookup
// answers is right or nothing, and the next one is right.
func TestFlippedBits(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "the_function")}}
	dir := t.TempDir()
	s := New(Options{Dir: dir, Fetch: src.fetch})
	name(t, s, "a.so")
	s.Close()
	path := s.disk.path("a.so/" + testID + "/a.so.sym")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := New(Options{Dir: dir, Fetch: src.fetch})
		h, err := s.Open(t.Context(), module("a.so"))
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		l, ok := h.View(symbols.Symbolicate).Locate(0x1010)
		if ok && (l.Name != "the_function" || l.Line != 7 || l.File != "a.c") {
			t.Fatalf("byte %d: got %+v of a damaged file", i, l)
		}
		h.Close()
		if got := name(t, s, "a.so"); got != "the_function" {
			t.Fatalf("byte %d: got function %q after the damage was found", i, got)
		}
		s.Close()
	}
}

func TestMapped(t *testing.T) {
	src := &supplier{texts: map[string]string{}}
	s := New(Options{Dir: t.TempDir(), MaxMapped: 3000, Fetch: src.fetch})
	defer s.Close()
	for i := range 20 {
		src.set(fmt.Sprint(i), symText(fmt.Sprint(i), strings.Repeat("x", 1000)+fmt.Sprint(i)))
		name(t, s, fmt.Sprint(i))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes int64
	for _, e := range s.open {
		bytes += e.file.Size()
	}
	if bytes > 3000 || bytes != s.mapped || len(s.open) != s.idle || s.open["19/"+testID+"/19.sym"] == nil {
		t.Errorf("%d files of %d bytes stay mapped (%d and %d counted), want at most 3000 with the last one", len(s.open), bytes, s.idle, s.mapped)
	}
}

// TestSharedFromOutside has two nodes ask for what lies with a supplier that is
// not their own: one of them downloads and compiles it. A text uploaded later
// takes its place.
func TestSharedFromOutside(t *testing.T) {
	shared := sharedBucket()
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "theirs")}}
	tag := ""
	for node := range 2 {
		s := New(Options{Dir: t.TempDir(), Fetch: src.fetch, Shared: shared, Tag: func(context.Context, symbols.ModuleID) (string, error) { return tag, nil }})
		defer s.Close()
		if got := name(t, s, "a.so"); got != "theirs" {
			t.Errorf("node %d: got function %q", node, got)
		}
		if n := src.calls.Load(); n != 1 {
			t.Errorf("node %d: the text was fetched %d times, want 1", node, n)
		}
		if node == 1 {
			tag = "uploaded"
			src.set("a.so", symText("a.so", "ours"))
			s.Prepare(module("a.so"))
			if got := name(t, s, "a.so"); got != "ours" {
				t.Errorf("after the upload: got function %q", got)
			}
		}
	}
}

// Symbols that are too large to be compiled are not read again for each lookup.
func TestTooLarge(t *testing.T) {
	calls := 0
	s := New(Options{Dir: t.TempDir(), Fetch: func(context.Context, symbols.ModuleID) (io.ReadCloser, error) {
		calls++
		return nil, fault.New(fault.TooLarge, "too much")
	}})
	defer s.Close()
	for range 3 {
		if _, err := s.Open(t.Context(), module("a.so")); !fault.Is(err, fault.TooLarge) {
			t.Errorf("got %v", err)
		}
	}
	if calls != 1 {
		t.Errorf("the text was asked for %d times, want 1", calls)
	}
}
