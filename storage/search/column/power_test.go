package column

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayday/storage/search"
)

// cutter is a disk that stops at the n-th operation, and remembers what a
// power cut would lose.
type cutter struct {
	at, n    int
	once     bool              // fail the one operation, then work again
	pending  map[string]string // new name in a folder not synced yet → content before, or "" for none
	unsynced map[string]bool
	renamed  map[string]bool
}

var errCut = errors.New("the power is gone")

func newCutter(at int, once bool) *cutter {
	return &cutter{at: at, once: once, pending: map[string]string{}, unsynced: map[string]bool{}, renamed: map[string]bool{}}
}

const absent = "\x00absent"

func (c *cutter) hook(op, path string) error {
	c.n++
	if c.n == c.at || c.n > c.at && c.at > 0 && !c.once {
		return errCut
	}
	switch op {
	case "create", "rename", "mkdir":
		before := absent
		if old, err := os.ReadFile(path); err == nil {
			before = string(old)
		}
		if _, ok := c.pending[path]; !ok {
			c.pending[path] = before
		}
		switch op {
		case "create":
			c.unsynced[path] = true
		case "rename":
			c.renamed[path] = true
		}
	case "sync":
		delete(c.unsynced, path)
	case "syncdir":
		for p := range c.pending {
			if filepath.Dir(p) == path {
				delete(c.pending, p)
			}
		}
	}
	return nil
}

// What a cut can leave of what was not synced: all of it, nothing, or the
// renames alone.
const (
	loseNothing = iota
	loseAll
	keepRenames
)

// lose does to the files what the cut did.
func (c *cutter) lose(t *testing.T, loss int) {
	t.Helper()
	for path := range c.unsynced {
		if info, err := os.Stat(path); err == nil {
			if err := os.Truncate(path, info.Size()/2); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, before := range c.pending {
		if loss == keepRenames && c.renamed[path] {
			continue
		}
		if before == absent {
			_ = os.RemoveAll(path)
		} else if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func cutStore(t *testing.T, dir string, c *cutter) *Store {
	t.Helper()
	o := Options{Dir: dir, Fields: testFields(t), Now: func() time.Time { return testNow }}
	o.disk.noSync = true
	if c != nil {
		o.disk.hook = c.hook
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// contents writes down all documents.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	res := ask(t, s, "_sort=uuid&_columns=uuid&_columns=version&_columns=date&_facets=version")
	if len(res.Errors) > 0 {
		t.Errorf("the answer has errors %v", res.Errors)
	}
	var b strings.Builder
	for _, h := range res.Hits {
		fmt.Fprintln(&b, h["uuid"], h["version"], h["date"])
	}
	return b.String()
}

func TestPowerCuts(t *testing.T) {
	fields := testFields(t)
	batch := func(version string, from, to, day int) []search.Doc {
		var docs []search.Doc
		for n := from; n < to; n++ {
			docs = append(docs, testDoc(t, fields, crash(n, fmt.Sprintf("2026-09-%02dT10:00:00Z", 1+(day+n*7)%14), map[string]any{"version": version})))
		}
		return docs
	}
	ctx := context.Background()
	works := []struct {
		name string
		do   func(*Store) error
	}{
		{"index", func(s *Store) error { return s.Index(ctx, batch("2", 3, 9, 5)) }},
		{"delete", func(s *Store) error {
			return s.Delete(ctx, []string{"00000001-0000-4000-8000-000000260901", "00000004-0000-4000-8000-000000260901"})
		}},
		{"merge", func(s *Store) error {
			list := []*live{}
			snap := s.pin()
			defer snap.release()
			for _, l := range snap.segs {
				if l.item.Week == snap.segs[0].item.Week {
					list = append(list, l)
				}
			}
			return s.rewrite(ctx, list)
		}},
		{"drop", func(s *Store) error { _, err := s.DropWeeks("2026/36"); return err }},
		{"rebuild", func(s *Store) error {
			_, err := s.Rebuild(ctx, "2026/35", func(yield func(search.Doc) error) error {
				for _, d := range batch("3", 0, 8, 0) {
					if err := yield(d); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		}},
	}
	prepare := func(t *testing.T) string {
		dir := t.TempDir()
		s := cutStore(t, dir, nil)
		for i := range 3 {
			if err := s.Index(ctx, batch("1", i*2, i*2+4, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	prepared := prepare(t)
	prepare = func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(prepared)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, w := range works {
		t.Run(w.name, func(t *testing.T) {
			dir := prepare(t)
			count := newCutter(0, false)
			s := cutStore(t, dir, count)
			before := contents(t, s)
			opening := count.n
			if err := w.do(s); err != nil {
				t.Fatal(err)
			}
			after := contents(t, s)
			operations := count.n
			s.Close()
			if operations-opening < 3 {
				t.Fatalf("only %d file operations", operations-opening)
			}
			for at := opening + 1; at <= operations; at++ {
				for loss := loseNothing; loss <= keepRenames; loss++ {
					cutOnce(t, prepare(t), at, loss, before, after, w.do)
				}
				failOnce(t, prepare(t), at, before, after, w.do)
			}
		})
	}
}

// cutOnce stops the disk for good at one operation and opens what is left.
func cutOnce(t *testing.T, dir string, at, loss int, before, after string, do func(*Store) error) {
	t.Helper()
	c := newCutter(at, false)
	s := cutStore(t, dir, c)
	err := do(s)
	s.Close()
	if loss != loseNothing {
		c.lose(t, loss)
	}
	s = cutStore(t, dir, nil)
	defer s.Close()
	switch got := contents(t, s); {
	case err == nil && got != after:
		t.Errorf("cut at %d (loss %d): done, but reopened as\n%swant\n%s", at, loss, got, after)
	case got != before && got != after:
		t.Errorf("cut at %d (loss %d): %v, reopened as\n%swant\n%sor\n%s", at, loss, err, got, before, after)
	}
}

// failOnce fails one operation, sees that queries still have the old state, and
// does the work again.
func failOnce(t *testing.T, dir string, at int, before, after string, do func(*Store) error) {
	t.Helper()
	s := cutStore(t, dir, newCutter(at, true))
	if err := do(s); err != nil {
		if got := contents(t, s); got != before {
			t.Errorf("operation %d failed: %v, and queries see\n%swant\n%s", at, err, got, before)
		}
		if err := do(s); err != nil {
			t.Errorf("operation %d failed, and doing it again: %v", at, err)
		}
	}
	for _, when := range []string{"before", "after"} {
		if got := contents(t, s); got != after {
			t.Errorf("operation %d failed once; %s reopening\n%swant\n%s", at, when, got, after)
		}
		s.Close()
		s = cutStore(t, dir, nil)
	}
	s.Close()
}
