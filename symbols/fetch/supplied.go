package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/executable"
)

// Supplier has raw files of modules; Places are one.
type Supplier interface {
	// File opens a file, unpacked; an error of kind fault.NotFound means that
	// there is none.
	File(ctx context.Context, id symbols.ModuleID, kind FileKind) (io.ReadCloser, error)
}

// Supplied says how binaries are got from suppliers.
type Supplied struct {
	From Supplier
	// Dir is where they are kept. Several processes may share it.
	Dir string
	// MaxBytes is the most that all of them take; those that were not used for
	// longest go first.
	MaxBytes int64
	// Wanted says whether the binary of a module is worth a download; nil takes
	// each for it.
	Wanted func(ctx context.Context, id symbols.ModuleID) bool
	Log    *zap.Logger
}

// WithoutUnwind wants the binaries of modules that have no symbols in a store, or
// symbols that say nothing about how to leave functions, such as those made of
// a PDB file alone.
func WithoutUnwind(store *cache.Store) func(context.Context, symbols.ModuleID) bool {
	return func(ctx context.Context, id symbols.ModuleID) bool {
		h, err := store.Open(ctx, id)
		if err != nil {
			return fault.Is(err, fault.NotFound)
		}
		defer h.Close()
		return !h.View(symbols.Best).HasUnwind()
	}
}

const (
	// MaxBinarySize is the most bytes that are taken for one binary. Programs that
	// users run, which are stripped, are smaller; debug builds are not worth it.
	MaxBinarySize = 1 << 30
	// suppliedTimeout bounds one download: a crash waits for it, and does without
	// when it takes longer.
	suppliedTimeout = time.Minute
	// absentFile ends the names of notes that nobody has a binary; their time is
	// that until when it is believed: as long as places remember it, or shorter
	// when one did not answer.
	absentFile = ".absent"
	// partFile begins the names of downloads that are not complete, which are
	// rubbish after partAge.
	partFile = ".part-"
	partAge  = 24 * time.Hour
	// maxSuppliedFiles bounds how many files and notes are kept.
	maxSuppliedFiles = 50_000
)

// supplied finds the binary of a module in the directory, or asks for it; nil
// without an error when nobody has it. What fails does not fail a walk, which
// can do without.
func (b *Binaries) supplied(ctx context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer, error) {
	s := b.o.Supplied
	if s == nil {
		return nil, nil, nil
	}
	key, ok := suppliedKey(id)
	if !ok {
		return nil, nil, nil
	}
	name := filepath.Join(s.Dir, key)
	if im, f := openBinary(name, id, machine); im != nil {
		now := b.now()
		_ = os.Chtimes(name, now, now) // it only goes sooner if this fails
		return im, f, nil
	}
	if st, err := os.Stat(name + absentFile); err == nil && st.ModTime().After(b.now()) {
		return nil, nil, nil
	}
	if s.Wanted != nil && !s.Wanted(ctx, id) {
		return nil, nil, nil
	}
	err := b.download(ctx, id, machine, name)
	if ctx.Err() != nil {
		return nil, nil, fault.Wrap(ctx.Err(), "binary of %s", id.CodeFile)
	}
	if err != nil {
		hold := missFor
		if !fault.Is(err, fault.NotFound) {
			hold = absentBinaryFor
			s.log().Info("no binary", zap.String("module", symbols.Leaf(id.CodeFile)), zap.String("code_id", id.CodeID), zap.Error(err))
		}
		b.noteAbsent(name+absentFile, hold)
		return nil, nil, nil
	}
	im, f := openBinary(name, id, machine)
	return im, f, nil
}

func (s *Supplied) log() *zap.Logger {
	if s.Log == nil {
		return zap.NewNop()
	}
	return s.Log
}

// suppliedKey is the name that the binary of a module is kept under. A module
// without a code id is not asked for: its file could not be told from others.
func suppliedKey(id symbols.ModuleID) (string, bool) {
	m := id.Normalize()
	if m.CodeID == "" || m.CodeFile == "" {
		return "", false
	}
	sum := sha256.Sum256([]byte(m.CodeFile + "\x00" + m.CodeID))
	return hex.EncodeToString(sum[:16]), true
}

// noteAbsent remembers that nobody has a binary.
func (b *Binaries) noteAbsent(name string, hold time.Duration) {
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return // then it is asked for again
	}
	until := b.now().Add(hold)
	_ = os.Chtimes(name, until, until)
	b.evict()
}

// download gets the binary of a module and puts it under its name if it is the
// module's.
func (b *Binaries) download(ctx context.Context, id symbols.ModuleID, machine executable.Machine, name string) error {
	s := b.o.Supplied
	ctx, cancel := context.WithTimeout(ctx, suppliedTimeout)
	defer cancel()
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fault.As(fault.Unavailable, err, "binaries")
	}
	in, err := s.From.File(ctx, id, Executable)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := os.CreateTemp(s.Dir, partFile+"*")
	if err != nil {
		return fault.As(fault.Unavailable, err, "binaries")
	}
	defer os.Remove(f.Name()) // once renamed it is gone
	most := min(MaxBinarySize, s.MaxBytes)
	n, err := io.Copy(f, io.LimitReader(in, most+1))
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fault.As(fault.Unavailable, cerr, "binaries")
	}
	switch {
	case err != nil:
		return fault.Wrap(err, "binary of %s", id.CodeFile)
	case n > most:
		return fault.New(fault.NotFound, "the binary of %s has more than %d bytes", id.CodeFile, most)
	}
	im, file := openBinary(f.Name(), id, machine)
	if im == nil {
		return fault.New(fault.NotFound, "what suppliers have is not %s %s", id.CodeFile, id.CodeID)
	}
	file.Close()
	b.evictFor(n)
	if err := os.Rename(f.Name(), name); err != nil {
		return fault.As(fault.Unavailable, err, "binaries")
	}
	return nil
}

// evict deletes what is too much; evictFor makes room for n bytes more.
func (b *Binaries) evict() { b.evictFor(0) }

func (b *Binaries) evictFor(n int64) {
	s := b.o.Supplied
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return
	}
	type kept struct {
		name string
		fs.FileInfo
	}
	var list []kept
	total, now := n, b.now()
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // it went meanwhile
		}
		name := filepath.Join(s.Dir, e.Name())
		switch {
		case strings.HasSuffix(name, absentFile) && info.ModTime().Before(now), strings.HasPrefix(e.Name(), partFile) && now.Sub(info.ModTime()) > partAge:
			_ = os.Remove(name)
			continue
		case strings.HasPrefix(e.Name(), partFile):
			continue // somebody writes it
		}
		list = append(list, kept{name, info})
		total += info.Size()
	}
	slices.SortFunc(list, func(a, b kept) int { return a.ModTime().Compare(b.ModTime()) })
	for left := len(list); left > 0 && (total > s.MaxBytes || left > maxSuppliedFiles); left-- {
		k := list[len(list)-left]
		_ = os.Remove(k.name) // walks that use it keep it open
		total -= k.Size()
	}
}
