package filebucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gocloud.dev/blob/driver"
)

// writer is an object on its way: a temporary file until Close.
type writer struct {
	ctx        context.Context
	b          *bucket
	file       *os.File
	path       string
	ifNotExist bool
	err        error // the first failed write; Close then makes no object
}

// NewTypedWriter opens a temporary file beside the object-to-be.
func (b *bucket) NewTypedWriter(ctx context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, err
	}
	f, err := b.temporary(path)
	if err != nil {
		return nil, err
	}
	if opts.BeforeWrite != nil {
		as := func(i any) bool {
			p, ok := i.(**os.File)
			if ok {
				*p = f
			}
			return ok
		}
		if err := opts.BeforeWrite(as); err != nil {
			f.Close()
			os.Remove(f.Name())
			return nil, err
		}
	}
	return &writer{ctx: ctx, b: b, file: f, path: path, ifNotExist: opts.IfNotExist}, nil
}

// maxTries bounds how often a folder is made again because somebody removed
// it, empty as it was, before a file could be created in it.
const maxTries = 100

// temporary creates a file in the folder of path, making folders as needed.
func (b *bucket) temporary(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	for try := 0; ; try++ {
		f, err := b.create(dir, try == 0)
		if err == nil || try == maxTries || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, errGone) {
			return f, err
		}
		b.forget(dir)
	}
}

// create makes a temporary file. Without fsync the first try trusts the folder
// to be there, as it is but for the first object in it.
func (b *bucket) create(dir string, first bool) (*os.File, error) {
	if b.fsync || !first {
		if err := b.ensure(dir); err != nil {
			return nil, err
		}
	}
	var random [12]byte
	rand.Read(random[:])
	name := filepath.Join(dir, "."+hex.EncodeToString(random[:])+temporarySuffix)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	return f, b.explain(err)
}

// ensure makes dir and, with fsync, puts its entry and those of the folders
// above it on disk. The root is never made here: see the package comment.
func (b *bucket) ensure(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var missing []string
	for d := dir; d != b.root && !b.synced[d]; d = filepath.Dir(d) {
		missing = append(missing, d)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		d := missing[i]
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return b.explain(err)
		}
		if !b.fsync {
			continue
		}
		if err := b.syncFolder(filepath.Dir(d)); err != nil {
			return err
		}
		if len(b.synced) >= maxSynced {
			clear(b.synced)
		}
		b.synced[d] = true
	}
	return nil
}

// forget drops what is known about a folder that turned out to be gone, and
// about those above it.
func (b *bucket) forget(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for d := dir; d != b.root && len(d) > len(b.root); d = filepath.Dir(d) {
		delete(b.synced, d)
	}
}

func (b *bucket) syncFile(f *os.File) error {
	if !b.fsync {
		return nil
	}
	b.counters.FileSyncs.Add(1)
	return f.Sync()
}

func (b *bucket) syncFolder(dir string) error {
	if !b.fsync {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return b.explain(err)
	}
	defer f.Close()
	b.counters.FolderSyncs.Add(1)
	return f.Sync()
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// Upload takes the whole object at once; the kernel copies when r is a file.
func (w *writer) Upload(r io.Reader) error {
	if _, err := w.file.ReadFrom(r); err != nil {
		w.err = err
		return err
	}
	return nil
}

// Close makes the object, unless a write failed or the context ended.
func (w *writer) Close() (err error) {
	temp := w.file.Name()
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if err = w.err; err == nil {
		err = w.ctx.Err()
	}
	if err == nil {
		err = w.b.syncFile(w.file)
	}
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = w.ctx.Err() // syncing may have taken long
	}
	if err != nil {
		return err
	}
	return w.b.place(temp, w.path, w.ifNotExist)
}

// place gives a temporary file its name.
func (b *bucket) place(temp, path string, ifNotExist bool) error {
	if ifNotExist {
		// link refuses to replace, rename does not.
		if err := os.Link(temp, path); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w: %w", errExists, err)
			}
			return b.explain(err)
		}
		os.Remove(temp)
	} else if err := os.Rename(temp, path); err != nil {
		return b.explain(err)
	}
	return b.syncFolder(filepath.Dir(path))
}

// Copy gives an object a second name: objects are never changed in place, so
// both may share their bytes.
func (b *bucket) Copy(ctx context.Context, dstKey, srcKey string, opts *driver.CopyOptions) error {
	src, err := b.path(srcKey)
	if err != nil {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if info, err := os.Stat(src); err != nil {
		return b.explain(err)
	} else if !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	if opts.BeforeCopy != nil {
		if err := opts.BeforeCopy(func(any) bool { return false }); err != nil {
			return err
		}
	}
	dst, err := b.path(dstKey)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || src == dst {
		return err
	}
	f, err := b.temporary(dst)
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp) // gone after place
	f.Close()
	if err := os.Remove(temp); err != nil {
		return err
	}
	if err := os.Link(src, temp); err != nil {
		return b.explain(err)
	}
	return b.place(temp, dst, false)
}

// Delete removes an object and the folders that it leaves empty.
func (b *bucket) Delete(_ context.Context, key string, opts *driver.DeleteOptions) error {
	path, err := b.path(key)
	if err != nil {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(func(any) bool { return false }); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return b.explain(err)
	}
	dir := b.prune(filepath.Dir(path))
	if err := b.syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// prune removes dir and the folders above it as far as they are empty, and
// returns the first that stays.
func (b *bucket) prune(dir string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for dir != b.root && os.Remove(dir) == nil {
		delete(b.synced, dir)
		dir = filepath.Dir(dir)
	}
	return dir
}
