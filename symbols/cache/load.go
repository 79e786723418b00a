package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/symbols"
)

// outside is the tag of a text that lies where texts do not change: with a
// supplier that is not our own.
const outside = "outside"

// tag is the tag of a module's text, as far as it is known.
type tag struct {
	text  string
	known bool
}

// source is what a compiled file remembers of the tag.
func (t tag) source() string {
	if t.known && t.text == "" {
		return outside
	}
	return t.text
}

// tag asks for the tag of a module's text.
func (s *Store) tag(ctx context.Context, id symbols.ModuleID) tag {
	if s.o.Tag == nil {
		return tag{}
	}
	text, err := s.o.Tag(ctx, id)
	if err != nil {
		return tag{}
	}
	return tag{text, true}
}

// load finds or makes the compiled file of one module.
func (s *Store) load(ctx context.Context, key string, id symbols.ModuleID, tag tag) (*File, Stats, error) {
	if file := s.kept(key, tag); file != nil {
		return file, Stats{Hit: true, Source: "disk", FileBytes: file.Size()}, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.disk.path(key)), 0o700); err != nil {
		return nil, Stats{}, fault.As(fault.Unavailable, err, "symbol cache")
	}
	unlock := s.disk.lock(ctx, key)
	defer unlock()
	if file := s.kept(key, tag); file != nil { // another process made it meanwhile
		return file, Stats{Hit: true, Source: "disk", FileBytes: file.Size()}, nil
	}
	if file, stats, ok := s.loadShared(ctx, key, id, tag); ok {
		return file, stats, nil
	}
	return s.compile(ctx, key, id, tag)
}

// kept opens the compiled file in the directory, nil when there is none of use.
func (s *Store) kept(key string, tag tag) *File {
	file, err := OpenFile(s.disk.path(key))
	if err == nil && tag.known && file.Source() != tag.source() {
		_ = file.Close() // it is made of another text
		file, err = nil, fault.New(fault.Malformed, "made of another text")
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		s.o.Log.Info("compile symbols anew", zap.String("module", key), zap.Error(err))
		s.disk.remove(key)
	}
	return file
}

// compile makes the compiled file of the .sym text.
func (s *Store) compile(ctx context.Context, key string, id symbols.ModuleID, tag tag) (*File, Stats, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, Stats{}, fault.Wrap(ctx.Err(), "symbols of %s", key)
	}
	start := time.Now()
	text, err := s.o.Fetch(ctx, id)
	if err != nil {
		return nil, Stats{}, fault.Wrap(err, "symbols of %s", key)
	}
	counted := &counter{r: text}
	path := s.disk.path(key)
	size, err := Compile(path, counted, tag.source())
	if cerr := text.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, Stats{}, fault.Wrap(err, "symbols of %s", key)
	}
	stats := Stats{Source: "compiled", TextBytes: counted.n, FileBytes: size, FetchTime: counted.end.Sub(start), SaveTime: time.Since(counted.end)}
	metrics.SymbolsCompileSeconds.Observe((stats.FetchTime + stats.SaveTime).Seconds())
	s.disk.added(key, stats.FileBytes, s.o.Now())
	file, err := OpenFile(path)
	if err == nil {
		s.share(ctx, key, id, tag)
	}
	return file, stats, err
}

// loadShared takes the compiled file that another node left.
func (s *Store) loadShared(ctx context.Context, key string, id symbols.ModuleID, tag tag) (*File, Stats, bool) {
	if s.o.Shared == nil || !tag.known {
		return nil, Stats{}, false
	}
	start := time.Now()
	path := s.disk.path(key)
	size, err := s.receive(ctx, path, id, tag)
	var file *File
	if err == nil {
		file, err = OpenFile(path)
	}
	if err == nil && file.Source() != tag.source() {
		_ = file.Close() // refused
		s.disk.remove(key)
		err = fault.New(fault.Malformed, "it is of another text: %q", file.Source())
	}
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			s.o.Log.Warn("shared compiled symbols", zap.String("module", key), zap.Error(err))
		}
		return nil, Stats{}, false
	}
	s.disk.added(key, size, s.o.Now())
	return file, Stats{Source: "shared", FileBytes: size, FetchTime: time.Since(start)}, true
}

// receive copies a shared compiled file to path.
func (s *Store) receive(ctx context.Context, path string, id symbols.ModuleID, tag tag) (int64, error) {
	r, err := s.o.Shared.Load(ctx, id, tag.source())
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, err
	}
	return n, os.Rename(f.Name(), path)
}

// share leaves the compiled file for other nodes. That it fails is no reason
// to fail: the others compile for themselves.
func (s *Store) share(ctx context.Context, key string, id symbols.ModuleID, tag tag) {
	if s.o.Shared == nil || !tag.known {
		return
	}
	f, err := os.Open(s.disk.path(key))
	if err == nil {
		err = s.o.Shared.Save(ctx, id, tag.source(), f)
		f.Close()
	}
	if err != nil {
		s.o.Log.Warn("share compiled symbols", zap.String("module", key), zap.Error(err))
	}
}

// counter counts what is read and notes when it was last.
type counter struct {
	r   io.Reader
	n   int64
	end time.Time
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil {
		c.end = time.Now()
	}
	return n, err
}

// fileName is where the compiled file of a module lies under the directory. A
// hash, since module names hold anything.
func fileName(key string) string {
	h := sha256.Sum256([]byte(key))
	x := hex.EncodeToString(h[:16])
	return filepath.Join(x[:2], x+suffix)
}
