// Package filebucket keeps a gocloud bucket in a folder of the local disk.
//
// It exists beside gocloud's own fileblob because crashes must survive a power
// cut and days with a hundred thousand crashes must be listed quickly:
//
//   - An object is written to a temporary file in the folder it will live in,
//     synced, and renamed; then the folder is synced, and so is the parent of
//     each folder that had to be made. An object is there whole or not at all.
//     Options.Fsync = false leaves the syncing to the operating system.
//   - A listing reads only the folders its prefix points to, each once a page;
//     pages are large.
//   - There are no attribute files: content type, encoding and metadata given
//     by a writer are not kept. What must survive belongs into the key or into
//     an object beside it.
//   - A bucket whose folder has vanished does not come back by itself: every
//     operation fails until somebody puts the folder (or the mount) back, so
//     that objects never land beside an unmounted disk.
//
// Keys become paths: "/" separates folders, and a part that the file system
// could not hold (control characters, "..", an empty part, *.tmp) is escaped
// with %XX (see path.go). As in any folder, "a" and "a/b" cannot both be
// objects, and a part of a key is at most 240 bytes long after escaping. File
// systems that fold case fold keys.
//
// Temporary files left by a crash of the machine are removed by Clean.
// Several processes may use one folder at a time.
package filebucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// Scheme is how URLs of such buckets begin.
const Scheme = "file"

// Options says how objects are written.
type Options struct {
	// Fsync syncs each object and the folders on its way before a write
	// returns.
	Fsync bool
}

// Counters count what a bucket did; read them with Load. bucket.As fills a
// **Counters.
type Counters struct {
	FileSyncs   atomic.Int64 // files synced
	FolderSyncs atomic.Int64 // folders synced
	FolderReads atomic.Int64 // folders read for listings
}

// contentType is what every object claims to be: none is recorded.
const contentType = "application/octet-stream"

var (
	errGone     = errors.New("the bucket's folder is not there")
	errExists   = errors.New("object exists already")
	errBadKey   = errors.New("key cannot be a path")
	errUnsigned = errors.New("signed URLs are not supported")
)

type bucket struct {
	root     string
	fsync    bool
	counters Counters

	mu sync.Mutex
	// folders whose entry in their parent is known to be on disk, guarded by
	// mu; only filled when fsync is on.
	synced map[string]bool

	rounds sync.Mutex
	// The sync of a folder that is under way, and the one that waits for it;
	// guarded by rounds.
	now, next map[string]*round
}

// maxSynced bounds the folders remembered; a symbol store has millions.
const maxSynced = 10_000

// Open gives the bucket in the folder dir, which is made if need be.
func Open(dir string, o Options) (*blob.Bucket, error) {
	b, err := open(dir, o)
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(b), nil
}

func open(dir string, o Options) (*bucket, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bucket folder %q: %w", dir, err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("bucket folder: %w", err)
	}
	b := &bucket{root: root, fsync: o.Fsync, synced: map[string]bool{}, now: map[string]*round{}, next: map[string]*round{}}
	if err := b.syncFolder(filepath.Dir(root)); err != nil {
		return nil, fmt.Errorf("bucket folder: %w", err)
	}
	return b, nil
}

// OpenURL opens file:///absolute/folder and file://./relative/folder.
func OpenURL(rawURL string, o Options) (*blob.Bucket, error) {
	dir, err := Folder(rawURL)
	if err != nil {
		return nil, err
	}
	return Open(dir, o)
}

// Folder is the path that a URL of this kind names.
func Folder(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("bucket URL: %w", err)
	}
	if u.Scheme != Scheme || u.RawQuery != "" || u.Opaque != "" {
		return "", fmt.Errorf("bucket URL %q: want %s://FOLDER without parameters", rawURL, Scheme)
	}
	if u.Host != "" && u.Host != "." && u.Host != ".." && u.Host != "localhost" {
		return "", fmt.Errorf("bucket URL %q: %q is read as a host; write %s://./FOLDER for a relative folder", rawURL, u.Host, Scheme)
	}
	dir := u.Path
	if strings.HasPrefix(u.Host, ".") {
		dir = u.Host + u.Path
	}
	if dir == "" || dir == "/" {
		return "", fmt.Errorf("bucket URL %q names no folder", rawURL)
	}
	return filepath.FromSlash(dir), nil
}

// Close does nothing: a bucket holds no open file.
func (b *bucket) Close() error { return nil }

// As gives the bucket's *Counters.
func (b *bucket) As(i any) bool {
	p, ok := i.(**Counters)
	if ok {
		*p = &b.counters
	}
	return ok
}

// ErrorAs gives the *fs.PathError behind an error.
func (b *bucket) ErrorAs(err error, i any) bool {
	p, ok := i.(**fs.PathError)
	return ok && errors.As(err, p)
}

func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errGone):
		return gcerrors.Internal
	case errors.Is(err, errExists):
		return gcerrors.FailedPrecondition
	case errors.Is(err, errUnsigned):
		return gcerrors.Unimplemented
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return gcerrors.NotFound
	case errors.Is(err, errBadKey), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EISDIR):
		return gcerrors.InvalidArgument
	case errors.Is(err, fs.ErrPermission):
		return gcerrors.PermissionDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Code(err) // contexts
}

// explain turns "no such file" into errGone when the whole bucket is missing.
func (b *bucket) explain(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, statErr := os.Stat(b.root); errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", errGone, b.root)
	}
	return err
}

// find opens an object and looks at it.
func (b *bucket) find(key string) (*os.File, fs.FileInfo, error) {
	path, err := b.path(key)
	if err != nil {
		// A key that cannot be written is not there.
		return nil, nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, syscall.ENAMETOOLONG) {
			err = fs.ErrNotExist
		}
		return nil, nil, b.explain(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Attributes reads an object's size and time.
func (b *bucket) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, syscall.ENAMETOOLONG) || err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, b.explain(err)
	}
	return &driver.Attributes{
		ContentType: contentType,
		ModTime:     info.ModTime(),
		Size:        info.Size(),
		ETag:        fmt.Sprintf("\"%x-%x\"", info.ModTime().UnixNano(), info.Size()),
	}, nil
}

type reader struct {
	io.Reader
	file  *os.File
	attrs driver.ReaderAttributes
}

func (r *reader) Close() error                         { return r.file.Close() }
func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attrs }

// As gives the *os.File that is being read.
func (r *reader) As(i any) bool {
	p, ok := i.(**os.File)
	if ok {
		*p = r.file
	}
	return ok
}

// Download hands the open file over, so that the kernel can copy it to a
// socket or another file.
func (r *reader) Download(w io.Writer) error {
	_, err := io.Copy(w, r.file)
	return err
}

// NewRangeReader opens an object for reading. It goes on giving the old bytes
// when the object is replaced meanwhile.
func (b *bucket) NewRangeReader(_ context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	f, info, err := b.find(key)
	if err != nil {
		return nil, err
	}
	r := &reader{file: f, Reader: f, attrs: driver.ReaderAttributes{ContentType: contentType, ModTime: info.ModTime(), Size: info.Size()}}
	if opts.BeforeRead != nil {
		if err := opts.BeforeRead(r.As); err != nil {
			f.Close()
			return nil, err
		}
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return nil, err
		}
	}
	if length >= 0 {
		r.Reader = io.LimitReader(f, length)
	}
	return r, nil
}

// SignedURL is not supported: the program serves what may be downloaded.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnsigned
}

// Clean removes temporary files below dir that nobody has written to for the
// given time, and returns how many. It is meant for the background: it reads
// each folder once.
func Clean(ctx context.Context, dir string, unused time.Duration) (int, error) {
	removed := 0
	oldest := time.Now().Add(-unused)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		if !isTemporary(d.Name()) || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(oldest) {
			return nil
		}
		if err := os.Remove(path); err == nil {
			removed++
		}
		return nil
	})
	return removed, err
}
