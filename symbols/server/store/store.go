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
// A file is examined (Examiner) before it is kept: size, content hash and what
// its head says. Put writes the object; the catalog's record is written by
// whoever knows the upload that the file belongs to. Objects are never shared
// between keys, so that deleting one harms no other.
package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

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
	Now     func() time.Time
}

// Store keeps symbol files; it is safe for concurrent use.
type Store struct {
	catalog *catalog.DB
	bucket  *blob.Bucket
	changed func(ctx context.Context, id symbols.ModuleID)
	now     func() time.Time
	keys    Locks
}

// New makes a store.
func New(o Options) *Store {
	return &Store{catalog: o.Catalog, bucket: o.Bucket, changed: o.Changed, now: o.Now}
}

// Lock waits until nobody else works on a key and returns what gives it back.
func (s *Store) Lock(key string, try bool) (unlock func()) { return s.keys.Lock(Object(key, try)) }

// Days say how long uploads are kept; 0 is for good.
type Days struct{ Try, Regular int }

const (
	// maxHead is how much of a symbol file is looked at for what it says of
	// itself: MODULE and INFO stand first.
	maxHead = 64 << 10
	// MaxText is the longest text that is kept of a symbol file's head.
	MaxText = 200
)

// Examiner learns what must be known of a file by having it written through
// it: size, hash, and what its head says.
type Examiner struct {
	size int64
	sum  hash.Hash
	head bytes.Buffer
}

// NewExaminer begins to examine a file.
func NewExaminer() *Examiner { return &Examiner{sum: md5.New()} }

// Write takes the next bytes of the file.
func (e *Examiner) Write(p []byte) (int, error) {
	e.size += int64(len(p))
	e.sum.Write(p)
	if room := maxHead - e.head.Len(); room > 0 {
		e.head.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Describe fills in what was learned. A file that says nothing of itself is
// known by its key alone.
func (e *Examiner) Describe(f *catalog.SymbolFile) {
	f.TextSize, f.MD5 = e.size, hex.EncodeToString(e.sum.Sum(nil))
	f.DebugFile, f.DebugID, _, _ = Split(f.Key)
	if !Packed(f.Key) {
		return
	}
	f.Kind = "sym"
	lines := bufio.NewScanner(bytes.NewReader(e.head.Bytes()))
	lines.Buffer(make([]byte, 0, 4096), maxHead)
	for n := 0; lines.Scan(); n++ {
		words := strings.SplitN(strings.TrimRight(lines.Text(), "\r"), " ", 5)
		switch {
		case n == 0 && words[0] == "MODULE" && len(words) == 5:
			if id, ok := symbols.NormalizeDebugID(words[3]); ok && GoodPart(words[4]) {
				f.DebugFile, f.DebugID = words[4], id
			}
		case n > 0 && words[0] == "INFO" && len(words) >= 3:
			describeInfo(f, words[1], strings.SplitN(lines.Text(), " ", 3)[2])
		default:
			return
		}
	}
}

func describeInfo(f *catalog.SymbolFile, what, text string) {
	text = strings.TrimSpace(text)
	switch what {
	case "CODE_ID":
		id, file, _ := strings.Cut(text, " ")
		if id, ok := symbols.NormalizeCodeID(id); ok {
			f.CodeID = id
		}
		if file = strings.TrimSpace(file); len(file) <= MaxText {
			f.CodeFile = file
		}
	case "GENERATOR":
		f.Generator = strings.ToValidUTF8(text[:min(len(text), MaxText)], "")
	}
}

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
		o.Metadata = map[string]string{"original_md5_hash": f.MD5}
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

// Retain deletes the objects and records of uploads older than they may get.
func (s *Store) Retain(ctx context.Context, keep Days) error {
	now := s.now()
	for _, rule := range []struct {
		try  bool
		days int
	}{{true, keep.Try}, {false, keep.Regular}} {
		if rule.days <= 0 {
			continue
		}
		before := now.AddDate(0, 0, -rule.days)
		if err := s.dropObjects(ctx, rule.try, catalog.Stamp(before)); err != nil {
			return err
		}
		if err := s.catalog.DropSymbolUploads(ctx, rule.try, before); err != nil {
			return err
		}
	}
	return nil
}

// dropObjects deletes the objects whose newest record is older than a time.
func (s *Store) dropObjects(ctx context.Context, try bool, before string) error {
	const batch = 500
	last := int64(0)
	for {
		files, err := s.catalog.SymbolFiles(ctx, catalog.Page{OrderBy: "id", Limit: batch, Where: []catalog.Condition{
			{SQL: "try = ? AND created < ? AND id > ?", Args: []any{try, before, last}},
			{SQL: "NOT EXISTS (SELECT 1 FROM symbol_files n WHERE n.key = f.key AND n.try = f.try AND n.created >= ?)", Args: []any{before}}}})
		if err != nil {
			return err
		}
		for _, f := range files {
			last = f.ID
			err := s.bucket.Delete(ctx, Object(f.Key, f.Try))
			if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
				return fault.As(fault.Unavailable, err, "drop %s", f.Key)
			}
			s.changed(ctx, Module(f))
		}
		if len(files) < batch {
			return nil
		}
	}
}
