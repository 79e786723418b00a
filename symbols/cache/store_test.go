package cache

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
)

const testID = "0123456789ABCDEF0123456789ABCDEF0"

func module(name string) symbols.ModuleID {
	return symbols.ModuleID{DebugFile: name, DebugID: testID}
}

// symText is a small symbol file with one function at 0x1000.
func symText(name, function string) string {
	return fmt.Sprintf("MODULE Linux x86_64 %s %s\nFILE 0 a.c\nFUNC 1000 40 0 %s\n1000 40 7 0\n", testID, name, function)
}

// supplier serves texts by debug file and counts the requests.
type supplier struct {
	mu    sync.Mutex
	texts map[string]string
	calls atomic.Int64
	wait  chan struct{} // when not nil, closed to let requests through
}

func (s *supplier) fetch(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	s.calls.Add(1)
	if s.wait != nil {
		<-s.wait
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.texts[id.DebugFile]
	if !ok {
		return nil, fault.New(fault.NotFound, "no %s", id.DebugFile)
	}
	return io.NopCloser(strings.NewReader(t)), nil
}

func (s *supplier) tag(ctx context.Context, id symbols.ModuleID) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(len(s.texts[id.DebugFile]), s.texts[id.DebugFile]), nil
}

func (s *supplier) set(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[name] = text
}

func name(t *testing.T, s *Store, m string) string {
	t.Helper()
	h, err := s.Open(t.Context(), module(m))
	if err != nil {
		t.Fatalf("open %s: %v", m, err)
	}
	defer h.Close()
	f, _ := h.View(symbols.Best).Function(0x1010)
	return f.Name
}

func TestOpen(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "first")}}
	dir := t.TempDir()
	s := New(Options{Dir: dir, Fetch: src.fetch})
	for range 3 {
		if got := name(t, s, "a.so"); got != "first" {
			t.Errorf("got function %q, want first", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = New(Options{Dir: dir, Fetch: src.fetch})
	defer s.Close()
	if got := name(t, s, "a.so"); got != "first" {
		t.Errorf("after a restart: got function %q, want first", got)
	}
	if n := src.calls.Load(); n != 1 {
		t.Errorf("the supplier was asked %d times, want 1", n)
	}
}

func TestOpenOnce(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "f")}, wait: make(chan struct{})}
	s := New(Options{Dir: t.TempDir(), Fetch: src.fetch})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := s.Open(ctx, module("a.so"))
		gaveUp <- err
	}()
	for src.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gaveUp; !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller that gave up got %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			h, err := s.Open(t.Context(), module("a.so"))
			if err != nil {
				t.Error(err)
				return
			}
			h.Close()
		})
	}
	close(src.wait)
	wg.Wait()
	if n := src.calls.Load(); n != 1 {
		t.Errorf("the supplier was asked %d times, want 1", n)
	}
}

func TestAbsent(t *testing.T) {
	src := &supplier{texts: map[string]string{}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := New(Options{Dir: t.TempDir(), Fetch: src.fetch, AbsentFor: time.Minute, Now: func() time.Time { return now }})
	defer s.Close()
	ask := func(step string, kind fault.Kind, found bool, calls int64) {
		t.Helper()
		h, err := s.Open(t.Context(), module("a.so"))
		if found != (err == nil) || err != nil && fault.Of(err) != kind {
			t.Errorf("%s: got error %v", step, err)
		}
		if h != nil {
			h.Close()
		}
		if n := src.calls.Load(); n != calls {
			t.Errorf("%s: the supplier was asked %d times, want %d", step, n, calls)
		}
	}
	ask("nobody has it", fault.NotFound, false, 1)
	src.set("a.so", symText("a.so", "f"))
	ask("remembered", fault.NotFound, false, 1)
	now = now.Add(2 * time.Minute)
	ask("expired", 0, true, 2)

	src.set("a.so", "")
	s.Forget(module("a.so"))
	delete(src.texts, "a.so")
	ask("deleted", fault.NotFound, false, 3)
	src.set("a.so", symText("a.so", "f"))
	s.Forget(module("a.so"))
	ask("uploaded", 0, true, 4)
	if _, err := s.Open(t.Context(), symbols.ModuleID{DebugFile: "a.so"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("without debug id: got %v", err)
	}
}

func TestStale(t *testing.T) {
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "old")}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	s := New(Options{Dir: dir, Fetch: src.fetch, Tag: src.tag, RecheckEvery: time.Minute, Now: func() time.Time { return now }})
	h, err := s.Open(t.Context(), module("a.so"))
	if err != nil {
		t.Fatal(err)
	}
	src.set("a.so", symText("a.so", "new"))
	if got := name(t, s, "a.so"); got != "old" {
		t.Errorf("before the tag is asked again: got %q", got)
	}
	now = now.Add(2 * time.Minute)
	if got := name(t, s, "a.so"); got != "new" {
		t.Errorf("after the tag changed: got %q", got)
	}
	if f, _ := h.View(symbols.Best).Function(0x1000); f.Name != "old" {
		t.Errorf("a handle on the old file: got %q", f.Name)
	}
	h.Close()
	h.Close() // the second does nothing
	s.Close()

	src.set("a.so", symText("a.so", "newest"))
	s = New(Options{Dir: dir, Fetch: src.fetch, Tag: src.tag})
	defer s.Close()
	if got := name(t, s, "a.so"); got != "newest" {
		t.Errorf("after a restart: got %q", got)
	}
}

func TestDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"header", func(b []byte) []byte { b[9] ^= 1; return b }},
		{"block", func(b []byte) []byte { b[headerSize+3] ^= 1; return b }},
		{"directory", func(b []byte) []byte { b[len(b)-3] ^= 1; return b }},
		{"cut", func(b []byte) []byte { return b[:len(b)-9] }},
		{"empty", func(b []byte) []byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := &supplier{texts: map[string]string{"a.so": symText("a.so", "f")}}
			dir := t.TempDir()
			s := New(Options{Dir: dir, Fetch: src.fetch})
			name(t, s, "a.so")
			s.Close()
			p := s.disk.path("a.so/" + testID + "/a.so.sym")
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = New(Options{Dir: dir, Fetch: src.fetch})
			defer s.Close()
			if got := name(t, s, "a.so"); got != "f" && got != "" {
				t.Errorf("got function %q from a damaged file", got)
			}
			if got := name(t, s, "a.so"); got != "f" {
				t.Errorf("not compiled anew: got function %q", got)
			}
			if n := src.calls.Load(); n != 2 {
				t.Errorf("the supplier was asked %d times, want 2", n)
			}
		})
	}
}

// sharedBucket is where nodes leave compiled files for each other.
func sharedBucket() *Shared {
	var mu sync.Mutex
	kept := map[string]string{}
	return &Shared{
		Load: func(_ context.Context, id symbols.ModuleID, tag string) (io.ReadCloser, error) {
			mu.Lock()
			defer mu.Unlock()
			b, ok := kept[id.DebugFile+" "+tag]
			if !ok {
				return nil, fault.New(fault.NotFound, "none")
			}
			return io.NopCloser(strings.NewReader(b)), nil
		},
		Save: func(_ context.Context, id symbols.ModuleID, tag string, r io.Reader) error {
			b, err := io.ReadAll(r)
			mu.Lock()
			defer mu.Unlock()
			kept[id.DebugFile+" "+tag] = string(b)
			return err
		},
	}
}

func TestShared(t *testing.T) {
	shared := sharedBucket()
	src := &supplier{texts: map[string]string{"a.so": symText("a.so", "f")}}
	for node := range 2 {
		s := New(Options{Dir: t.TempDir(), Fetch: src.fetch, Tag: src.tag, Shared: shared})
		if got := name(t, s, "a.so"); got != "f" {
			t.Errorf("node %d: got function %q", node, got)
		}
		s.Close()
	}
	if n := src.calls.Load(); n != 1 {
		t.Errorf("the text was fetched %d times, want 1", n)
	}
}

func TestEviction(t *testing.T) {
	src := &supplier{texts: map[string]string{}}
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	for i := range 10 {
		n := fmt.Sprintf("m%d.so", i)
		src.set(n, symText(n, "f"+strings.Repeat("x", 2000)))
	}
	s := New(Options{Dir: dir, MaxBytes: 8000, Fetch: src.fetch, Now: clock})
	defer s.Close()
	for i := range 10 {
		n := fmt.Sprintf("m%d.so", i)
		name(t, s, n)
		if err := os.Chtimes(s.disk.path(n+"/"+testID+"/"+n+".sym"), now, now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	var total int64
	var left []string
	filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			total += st.Size()
			left = append(left, p)
		}
		return nil
	})
	if total > 8000 || len(left) < 2 {
		t.Errorf("%d files with %d bytes are left, at most 8000 bytes wanted", len(left), total)
	}
	if _, err := os.Stat(s.disk.path("m9.so/" + testID + "/m9.so.sym")); err != nil {
		t.Errorf("the newest file went: %v", err)
	}
}
