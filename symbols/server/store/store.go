// Package store keeps symbol files: their objects in a bucket and what the
// catalog knows of them.
//
// # Keys
//
// v1/<debug file>/<debug id>/<file> in the bucket, below try/ for trial builds;
// ids in capitals. A .sym file is kept gzipped, whatever it came as. Other
// objects are kept as they came. Objects that other programs put there are
// read too, gzipped or not.
//
// Raw debug files are also found by either of their ids alone: the object
// ids/<ID>/<kind>/<file> (below try/ for trial builds) holds the key of the
// object, so that a reader of the bucket finds a binary that was uploaded under
// another name than a crash knows it by.
//
// An upload is a Batch of files. All of them are examined (Examiner) before one
// is kept: size, content hash, what the head says, what is wrong. Put writes an
// object; the catalog's record is written when all objects are there. Objects
// are never shared between keys, so that deleting one harms no other.
package store

import (
	"context"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"gocloud.dev/blob"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
)

// Options say what a Store works on.
type Options struct {
	Catalog *catalog.DB
	Bucket  *blob.Bucket
	// Changed is called for each module whose symbols came, changed or went.
	Changed func(ctx context.Context, id symbols.ModuleID)
	// Arrived is called for each file that came, once the catalog knows it.
	Arrived func(ctx context.Context, f catalog.SymbolFile) error
	// Refuse are the codes of faults that a file is not taken with.
	Refuse []string
	Limits Limits
	Now    func() time.Time
}

// maxUploads is how many uploads are worked on at a time; more wait.
const maxUploads = 4

// Store keeps symbol files; it is safe for concurrent use.
type Store struct {
	catalog *catalog.DB
	bucket  *blob.Bucket
	changed func(ctx context.Context, id symbols.ModuleID)
	arrived func(ctx context.Context, f catalog.SymbolFile) error
	refuse  []string
	limits  Limits
	now     func() time.Time
	keys    Locks
	uploads chan struct{} // one for each upload that is worked on

	mu      sync.Mutex
	pending map[Owner]int64 // guarded by mu; bytes that are being kept for each owner
}

// New makes a store.
func New(o Options) *Store {
	return &Store{catalog: o.Catalog, bucket: o.Bucket, changed: o.Changed, arrived: o.Arrived, refuse: o.Refuse, uploads: make(chan struct{}, maxUploads), limits: o.Limits, now: o.Now, pending: map[Owner]int64{}}
}

// Lock waits until nobody else works on a key and returns what gives it back.
func (s *Store) Lock(key string, try bool) (unlock func()) { return s.keys.Lock(Object(key, try)) }

// Have finds the record of a file that is kept already under the same key with
// the same content; NotFound when there is none, or another.
func (s *Store) Have(ctx context.Context, f catalog.SymbolFile) (same, other bool, err error) {
	old, err := s.catalog.SymbolFileByKey(ctx, f.Key, f.Try)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, false, err
	}
	known := err == nil
	there, err := s.bucket.Exists(ctx, Object(f.Key, f.Try))
	if err != nil {
		return false, false, fault.As(fault.Unavailable, err, "symbols bucket")
	}
	if !there {
		return false, false, nil
	}
	same = known && old.TextSize == f.TextSize && old.MD5 == f.MD5
	return same, !same, nil
}

// Put writes the bytes of a file to the bucket and calls what waits for it.
func (s *Store) Put(ctx context.Context, f *catalog.SymbolFile, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an unfinished write leaves no object
	o := &blob.WriterOptions{ContentType: "application/octet-stream", CacheControl: "no-transform"}
	if Packed(f.Key) {
		o.ContentType = "text/plain"
		if f.Compressed {
			o.ContentEncoding = "gzip"
		}
		o.Metadata = map[string]string{"original_size": strconv.FormatInt(f.TextSize, 10), "original_md5_hash": f.MD5}
	}
	w, err := s.bucket.NewWriter(ctx, Object(f.Key, f.Try), o)
	if err != nil {
		return fault.As(fault.Unavailable, err, "keep %s", f.Key)
	}
	n, err := io.Copy(w, r)
	if err != nil {
		cancel()
		_ = w.Close() // it was cancelled; err says why
		return fault.As(fault.Unavailable, err, "keep %s", f.Key)
	}
	if err := w.Close(); err != nil {
		return fault.As(fault.Unavailable, err, "keep %s", f.Key)
	}
	if err := s.point(ctx, f); err != nil {
		return err
	}
	f.Size, f.Completed = n, s.now()
	return nil
}

// Gzipped compresses what it reads; the reader must be read to its end or
// closed.
func Gzipped(r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		z := gzip.NewWriter(pw)
		_, err := io.Copy(z, r)
		if err == nil {
			err = z.Close()
		}
		pw.CloseWithError(err) // the reading side ends this goroutine
	}()
	return pr
}
