package filebucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"gocloud.dev/blob/driver"
)

// writer is an object on its way: a temporary file until Close.
type writer struct {
	ctx        context.Context
	b          *bucket
	file       *os.File // nil until something is written
	adopted    *os.File // becomes the object as it is; nil: none
	path       string
	ifNotExist bool
	err        error // the first failed write; Close then makes no object
}

// NewTypedWriter makes a writer whose temporary file will lie beside the
// object-to-be. BeforeWrite can hand over a whole file through
// *interface{ Adopt(*os.File) }: it becomes the object by being renamed, or is
// copied when it lies on another disk, and nothing may be written then.
func (b *bucket) NewTypedWriter(ctx context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, err
	}
	w := &writer{ctx: ctx, b: b, path: path, ifNotExist: opts.IfNotExist}
	if opts.BeforeWrite != nil {
		as := func(i any) bool {
			p, ok := i.(*interface{ Adopt(*os.File) })
			if ok {
				*p = w
			}
			return ok
		}
		if err := opts.BeforeWrite(as); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Adopt makes f the object when the writer is closed.
func (w *writer) Adopt(f *os.File) { w.adopted = f }

// open makes the temporary file.
func (w *writer) open() error {
	if w.file == nil && w.err == nil {
		w.file, w.err = w.b.temporary(w.path)
	}
	return w.err
}

// maxTries bounds how often a folder is made again because somebody removed
// it, empty as it was, before a file could be created in it.
const maxTries = 100

// temporary creates a file in the folder of path, making folders as needed.
func (b *bucket) temporary(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	for try := 0; ; try++ {
		f, err := b.create(dir, try == 0)
		if !b.gone(err) || try == maxTries {
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

// syncFolder puts the entries of a folder on disk. Writers that come while the
// folder is being synced share the next sync: it begins after what each of them
// did.
func (b *bucket) syncFolder(dir string) error {
	if !b.fsync {
		return nil
	}
	b.rounds.Lock()
	if r := b.next[dir]; r != nil { // somebody waits to begin: it counts for us too
		b.rounds.Unlock()
		<-r.done
		return r.err
	}
	r := &round{done: make(chan struct{})}
	if before := b.now[dir]; before != nil {
		b.next[dir] = r
		b.rounds.Unlock()
		<-before.done
		b.rounds.Lock()
		delete(b.next, dir)
	}
	b.now[dir] = r
	b.rounds.Unlock()

	r.err = b.syncNow(dir)

	b.rounds.Lock()
	if b.now[dir] == r {
		delete(b.now, dir)
	}
	b.rounds.Unlock()
	close(r.done)
	return r.err
}

// round is one sync of a folder, shared by several writers.
type round struct {
	done chan struct{} // closed when it is over
	err  error         // valid then
}

func (b *bucket) syncNow(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return b.explain(err)
	}
	defer f.Close()
	b.counters.FolderSyncs.Add(1)
	return f.Sync()
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.open(); err != nil {
		return 0, err
	}
	n, err := w.file.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// Upload takes the whole object at once; the kernel copies when r is a file.
func (w *writer) Upload(r io.Reader) error {
	if err := w.open(); err != nil {
		return err
	}
	if _, err := w.file.ReadFrom(r); err != nil {
		w.err = err
		return err
	}
	return nil
}

// Close makes the object, unless a write failed or the context ended.
func (w *writer) Close() error {
	if w.adopted != nil {
		err := w.adopt()
		if !errors.Is(err, syscall.EXDEV) {
			return err
		}
		if err := w.Upload(io.NewSectionReader(w.adopted, 0, math.MaxInt64)); err != nil {
			w.err = err
		}
	}
	if err := w.open(); w.file == nil {
		return err
	}
	err := w.finish()
	if err != nil {
		os.Remove(w.file.Name())
	}
	return err
}

func (w *writer) finish() error {
	err := w.err
	if err == nil {
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
	return w.b.place(w.file.Name(), w.path, w.ifNotExist)
}

// adopt renames the adopted file, making folders as needed.
func (w *writer) adopt() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.b.syncFile(w.adopted); err != nil {
		return err
	}
	dir := filepath.Dir(w.path)
	for try := 0; ; try++ {
		var err error
		if w.b.fsync || try > 0 {
			err = w.b.ensure(dir)
		}
		if err == nil {
			err = w.b.place(w.adopted.Name(), w.path, w.ifNotExist)
		}
		if !w.b.gone(err) || try == maxTries {
			return err
		}
		if _, statErr := os.Stat(w.adopted.Name()); statErr != nil {
			return err // it is the file that is gone
		}
		w.b.forget(dir)
	}
}

// gone reports whether an error means a missing folder inside the bucket.
func (b *bucket) gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errGone)
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
	} else if err := syscall.Rename(temp, path); err != nil { // os.Rename looks first, which objects need not
		return b.explain(&os.LinkError{Op: "rename", Old: temp, New: path, Err: err})
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
