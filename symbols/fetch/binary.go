package fetch

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/executable"
)

// BinaryOptions say where the binaries of modules come from.
type BinaryOptions struct {
	// Paths are directories, or single files. In a directory a binary lies as
	// symbol stores keep it (xul.dll/5B8A1C3D1234000/xul.dll), as debuggers do
	// (.build-id/ab/cdef…), at its whole path on the machine that crashed, or by
	// its name alone.
	Paths []string
	// Bucket is that of a symbol server, nil for none.
	Bucket *blob.Bucket
	// Supplied is how suppliers are asked for what paths and bucket lack; nil asks
	// none.
	Supplied *Supplied
}

// Binaries finds the binaries of modules. It implements stackwalk.BinarySource
// and is safe for concurrent use. Files are checked to be the module's by
// their id.
type Binaries struct {
	o   BinaryOptions
	now func() time.Time

	mu     sync.Mutex
	open   map[binaryKey]*openImage // guarded by mu
	absent map[binaryKey]time.Time  // until when; guarded by mu
}

type binaryKey struct {
	id      symbols.ModuleID
	machine executable.Machine
}

// openImage is a file that stays open for the walks to come.
type openImage struct {
	image *executable.Image
	file  io.Closer
	used  time.Time
}

const (
	// maxImages is how many files stay open. What is kept of each takes up to
	// some megabytes.
	maxImages = 24
	// maxAbsentBinaries bounds the notes of what is not there, absentBinaryFor
	// how long one holds.
	maxAbsentBinaries = 20_000
	absentBinaryFor   = time.Minute
)

// NewBinaries returns a source for the places that o names.
func NewBinaries(o BinaryOptions) *Binaries {
	return &Binaries{o: o, now: time.Now, open: map[binaryKey]*openImage{}, absent: map[binaryKey]time.Time{}}
}

// Close closes the files; images must not be used any more.
func (b *Binaries) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first error
	for k, o := range b.open {
		if err := o.file.Close(); err != nil && first == nil {
			first = fault.As(fault.Internal, err, "close binary")
		}
		delete(b.open, k)
	}
	return first
}

// Binary implements stackwalk.BinarySource.
func (b *Binaries) Binary(ctx context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, error) {
	key := binaryKey{id, machine}
	b.mu.Lock()
	if o := b.open[key]; o != nil {
		o.used = b.now()
		b.mu.Unlock()
		return o.image, nil
	}
	until, absent := b.absent[key]
	b.mu.Unlock()
	notFound := fault.New(fault.NotFound, "no binary of %s %s", id.CodeFile, id.CodeID)
	if absent && b.now().Before(until) {
		return nil, notFound
	}
	im, file, err := b.find(ctx, id, machine)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if im == nil {
		if len(b.absent) >= maxAbsentBinaries {
			clear(b.absent)
		}
		b.absent[key] = b.now().Add(absentBinaryFor)
		return nil, notFound
	}
	if o := b.open[key]; o != nil { // another walk was sooner
		return o.image, fault.As(fault.Internal, file.Close(), "close binary")
	}
	b.makeRoom()
	b.open[key] = &openImage{im, file, b.now()}
	return im, nil
}

// makeRoom forgets the file that was not used for longest. Walks that still use
// it read what it holds until the garbage collector closes it.
func (b *Binaries) makeRoom() {
	if len(b.open) < maxImages {
		return
	}
	var oldest binaryKey
	first := true
	for k, o := range b.open {
		if first || o.used.Before(b.open[oldest].used) {
			oldest, first = k, false
		}
	}
	delete(b.open, oldest)
}

// find looks in the paths, then in the bucket, then asks suppliers; nil without an error when there
// is no such file.
func (b *Binaries) find(ctx context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer, error) {
	for _, p := range b.o.Paths {
		for _, name := range binaryPaths(p, id) {
			if im, f := openBinary(name, id, machine); im != nil {
				return im, f, nil
			}
		}
	}
	if b.o.Bucket != nil {
		im, f, err := b.fromBucket(ctx, id, machine)
		if im != nil || err != nil {
			return im, f, err
		}
	}
	return b.supplied(ctx, id, machine)
}

// binaryPaths are the names under which a binary may lie at a path.
func binaryPaths(path string, id symbols.ModuleID) []string {
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if !st.IsDir() {
		return []string{path}
	}
	leaf := symbols.Leaf(id.CodeFile)
	if leaf == "" || leaf == "." || leaf == ".." || strings.IndexByte(id.CodeFile, 0) >= 0 {
		return nil
	}
	var names []string
	if code, ok := symbols.NormalizeCodeID(id.CodeID); ok {
		for _, v := range []string{code, strings.ToLower(code), id.CodeID} {
			if symbols.IsHex(v) {
				names = append(names, filepath.Join(path, leaf, v, leaf))
			}
		}
		if low := strings.ToLower(code); len(low) > 2 {
			names = append(names, filepath.Join(path, ".build-id", low[:2], low[2:]))
		}
	}
	// The path on the other machine is cleaned as if it were absolute: it cannot
	// lead out of the directory.
	whole := filepath.Clean("/" + strings.ReplaceAll(id.CodeFile, `\`, "/"))
	return append(names, filepath.Join(path, whole), filepath.Join(path, leaf))
}

// openBinary opens a file if it is the module's.
func openBinary(name string, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer) {
	st, err := os.Stat(name)
	if err != nil || !st.Mode().IsRegular() {
		return nil, nil // opening a pipe would wait for ever
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil
	}
	im, err := executable.Open(f, st.Size(), machine)
	if err != nil || !im.Is(id) {
		f.Close()
		return nil, nil
	}
	return im, f
}

// fromBucket finds what was uploaded to the symbol server: under its name and
// code id, or by the id alone.
func (b *Binaries) fromBucket(ctx context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer, error) {
	code, hasCode := symbols.NormalizeCodeID(id.CodeID)
	if leaf := symbols.Leaf(id.CodeFile); hasCode && leaf != "" {
		for _, prefix := range []string{Prefix, TryPrefix} {
			im, c, err := b.object(ctx, prefix+leaf+"/"+code+"/"+leaf, id, machine)
			if im != nil || err != nil {
				return im, c, err
			}
		}
	}
	names := []string{}
	if hasCode {
		names = append(names, code)
	}
	if debug, ok := symbols.NormalizeDebugID(id.DebugID); ok {
		names = append(names, debug)
	}
	for _, name := range names {
		im, c, err := b.byPointer(ctx, name, id, machine)
		if im != nil || err != nil {
			return im, c, err
		}
	}
	return nil, nil, nil
}

const (
	// idsPrefix is where the symbol server notes which objects have an id:
	// ids/<ID>/<kind>/<name>, with the object's key inside.
	idsPrefix = "ids/"
	// maxPointers is how many notes of one id are looked at, maxPointer how long
	// one is.
	maxPointers = 16
	maxPointer  = 1 << 10
)

// byPointer follows the notes that the symbol server keeps for an id.
func (b *Binaries) byPointer(ctx context.Context, name string, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer, error) {
	list := b.o.Bucket.List(&blob.ListOptions{Prefix: idsPrefix + name + "/"})
	for range maxPointers {
		o, err := list.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, fault.As(fault.Unavailable, err, "list %s%s", idsPrefix, name)
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(o.Key, idsPrefix+name+"/"), "/")
		if o.Size > maxPointer || kind != "elf" && kind != "executable" && kind != "macho" && kind != "pe" {
			continue
		}
		key, err := b.o.Bucket.ReadAll(ctx, o.Key)
		if err != nil {
			continue // it went meanwhile
		}
		im, c, err := b.object(ctx, string(key), id, machine)
		if im != nil || err != nil {
			return im, c, err
		}
	}
	return nil, nil, nil
}

// object opens an object if there is one and it is the module's.
func (b *Binaries) object(ctx context.Context, key string, id symbols.ModuleID, machine executable.Machine) (*executable.Image, io.Closer, error) {
	a, err := b.o.Bucket.Attributes(ctx, key)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound, gcerrors.Code(err) == gcerrors.InvalidArgument:
		return nil, nil, nil
	case err != nil:
		return nil, nil, fault.As(fault.Unavailable, err, "binary %s", key)
	}
	r := &objectReader{bucket: b.o.Bucket, key: key, size: a.Size}
	im, err := executable.Open(r, a.Size, machine)
	if err != nil || !im.Is(id) {
		return nil, nil, nil
	}
	return im, r, nil
}

// objectReader reads an object in pieces. It outlives the walk that opened it,
// so that it has no context but a timeout.
type objectReader struct {
	bucket *blob.Bucket
	key    string
	size   int64

	mu    sync.Mutex
	at    int64  // where piece lies; guarded by mu
	piece []byte // guarded by mu
}

const (
	// pieceSize is how much is read at once: tables are searched back and forth,
	// and each request to a far store takes its time.
	pieceSize   = 256 << 10
	readTimeout = 30 * time.Second
)

// ReadAt implements io.ReaderAt.
func (r *objectReader) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at < 0 || at >= r.size {
			return n, io.EOF
		}
		if at < r.at || at >= r.at+int64(len(r.piece)) {
			if err := r.load(at); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], r.piece[at-r.at:])
	}
	return n, nil
}

func (r *objectReader) load(at int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	at -= at % pieceSize
	size := min(pieceSize, r.size-at)
	in, err := r.bucket.NewRangeReader(ctx, r.key, at, size, nil)
	if err != nil {
		return fault.As(fault.Unavailable, err, "binary %s", r.key)
	}
	defer in.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(in, b); err != nil {
		return fault.As(fault.Unavailable, err, "binary %s", r.key)
	}
	r.at, r.piece = at, b
	return nil
}

// Close implements io.Closer; nothing is held open.
func (r *objectReader) Close() error { return nil }
