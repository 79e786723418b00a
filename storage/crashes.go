package storage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/semaphore"

	"mayday/app/fault"
)

// uploadBuffer is the size of the parts a cloud writer sends: S3's client
// takes 64 MiB for one 25 MiB upload with its own defaults, and 5 MiB is the
// smallest part S3 allows.
const uploadBuffer = 5 << 20

// Options are what a store may be told; the zero value suits a local bucket.
type Options struct {
	// Uploads bounds the objects that are written at one time, because the
	// writers of cloud buckets buffer; 0 is no bound.
	Uploads int
}

// Crashes stores crashes in a bucket. It is safe for use by many goroutines.
type Crashes struct {
	bucket  *blob.Bucket
	uploads *semaphore.Weighted // nil: no bound
}

// NewCrashes makes a store over b, which stays the caller's to close.
func NewCrashes(b *blob.Bucket, o Options) *Crashes {
	c := &Crashes{bucket: b}
	if o.Uploads > 0 {
		c.uploads = semaphore.NewWeighted(int64(o.Uploads))
	}
	return c
}

// Dump is one file of a crash on its way into the bucket.
type Dump struct {
	Name string // see CheckDumpName
	// Open gives the bytes from the beginning. It may be called again when
	// the crash is saved again. What it gives may be Whole.
	Open func() (io.ReadCloser, error)
}

// Whole is a reader whose bytes are all there is in one file. A bucket on the
// same disk takes the file over by renaming it instead of copying; it stays
// readable through the open file.
type Whole interface{ Whole() *os.File }

// SaveRaw writes the dumps, the list of their names, and the raw crash last.
// An error may leave some of the objects behind, without the raw crash when it
// was not there before; saving again overwrites them, Delete removes them.
func (c *Crashes) SaveRaw(ctx context.Context, id CrashID, raw RawCrash, dumps []Dump) error {
	text, err := EncodeDocument(raw)
	if err != nil {
		return fault.Wrap(err, "save raw crash %s", id)
	}
	return c.SaveRawJSON(ctx, id, text, dumps)
}

// SaveRawJSON is SaveRaw with a raw crash that EncodeDocument wrote.
func (c *Crashes) SaveRawJSON(ctx context.Context, id CrashID, raw []byte, dumps []Dump) (err error) {
	defer fault.In(&err, "save raw crash %s", id)
	names := make([]string, 0, len(dumps))
	for _, d := range dumps {
		if err := CheckDumpName(d.Name); err != nil {
			return err
		}
		names = append(names, d.Name)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) || slices.Contains(names, "dump") && slices.Contains(names, MinidumpName) {
		return fault.New(fault.Invalid, "two dumps share a key among %q", names)
	}
	for _, d := range dumps {
		if err := c.saveDump(ctx, id, d); err != nil {
			return err
		}
	}
	list, err := json.Marshal(names)
	if err != nil {
		return fault.As(fault.Internal, err, "encode dump names")
	}
	if err := c.write(ctx, dumpNamesKey(id), list); err != nil {
		return err
	}
	return c.write(ctx, rawKey(id), raw)
}

func (c *Crashes) saveDump(ctx context.Context, id CrashID, d Dump) (err error) {
	defer fault.In(&err, "dump %s", d.Name)
	r, err := d.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return c.stream(ctx, dumpKey(id, d.Name), "application/octet-stream", r)
}

// Raw reads the raw crash, of the old key too.
func (c *Crashes) Raw(ctx context.Context, id CrashID) (RawCrash, error) {
	text, err := c.RawJSON(ctx, id)
	if err != nil {
		return nil, err
	}
	doc, err := DecodeDocument(text)
	return doc, fault.Wrap(err, "raw crash %s", id)
}

// RawJSON reads the raw crash as the bucket holds it.
func (c *Crashes) RawJSON(ctx context.Context, id CrashID) ([]byte, error) {
	text, err := c.read(ctx, rawKey(id))
	if fault.Is(err, fault.NotFound) {
		if old, oldErr := c.read(ctx, oldRawKey(id)); oldErr == nil {
			return old, nil
		}
	}
	return text, fault.Wrap(err, "raw crash %s", id)
}

// HasRaw reports whether there is a raw crash, of the old key too.
func (c *Crashes) HasRaw(ctx context.Context, id CrashID) (bool, error) {
	for _, key := range []string{rawKey(id), oldRawKey(id)} {
		if ok, err := c.exists(ctx, key); ok || err != nil {
			return ok, fault.Wrap(err, "raw crash %s", id)
		}
	}
	return false, nil
}

// DumpNames lists the dumps of a crash, sorted. A crash without the list is
// NotFound; one without dumps has an empty list.
func (c *Crashes) DumpNames(ctx context.Context, id CrashID) (names []string, err error) {
	defer fault.In(&err, "dump names of %s", id)
	text, err := c.read(ctx, dumpNamesKey(id))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &names); err != nil {
		return nil, fault.As(fault.Malformed, err, "decode %d bytes", len(text))
	}
	for i, name := range names {
		if name == "" { // buckets of old write the main dump so
			names[i] = MinidumpName
		} else if err := CheckDumpName(name); err != nil {
			return nil, fault.As(fault.Malformed, err, "stored list")
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// DumpReader streams one dump out of the bucket.
type DumpReader struct {
	io.ReadCloser
	Size int64 // of the whole dump, in bytes
}

// OpenDump opens one dump for streaming; the caller closes it.
func (c *Crashes) OpenDump(ctx context.Context, id CrashID, name string) (*DumpReader, error) {
	if err := CheckDumpName(name); err != nil {
		return nil, err
	}
	r, err := c.bucket.NewReader(ctx, dumpKey(id, name), nil)
	if err != nil {
		return nil, storeError(err, "dump %s of %s", name, id)
	}
	return &DumpReader{ReadCloser: r, Size: r.Size()}, nil
}

// SaveProcessed writes the processed crash, in the place of an earlier one.
func (c *Crashes) SaveProcessed(ctx context.Context, id CrashID, p ProcessedCrash) (err error) {
	defer fault.In(&err, "save processed crash %s", id)
	text, err := EncodeDocument(p)
	if err != nil {
		return err
	}
	return c.write(ctx, processedKey(id), text)
}

// Processed reads the processed crash.
func (c *Crashes) Processed(ctx context.Context, id CrashID) (ProcessedCrash, error) {
	text, err := c.ProcessedJSON(ctx, id)
	if err != nil {
		return nil, err
	}
	doc, err := DecodeDocument(text)
	return doc, fault.Wrap(err, "processed crash %s", id)
}

// ProcessedJSON reads the processed crash as the bucket holds it.
func (c *Crashes) ProcessedJSON(ctx context.Context, id CrashID) ([]byte, error) {
	text, err := c.read(ctx, processedKey(id))
	return text, fault.Wrap(err, "processed crash %s", id)
}

// HasProcessed reports whether there is a processed crash.
func (c *Crashes) HasProcessed(ctx context.Context, id CrashID) (bool, error) {
	ok, err := c.exists(ctx, processedKey(id))
	return ok, fault.Wrap(err, "processed crash %s", id)
}

// write stores a small object whole.
func (c *Crashes) write(ctx context.Context, key string, data []byte) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// WriteAll would hash the bytes for the bucket to compare.
	w, err := c.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/json", BufferSize: uploadBuffer, MaxConcurrency: 1})
	if err != nil {
		return writeError(err, "write %s", key)
	}
	if _, err := w.Write(data); err != nil {
		cancel() // a writer that is closed after its context ended makes nothing
		w.Close()
		return writeError(err, "write %s", key)
	}
	return writeError(w.Close(), "write %s", key)
}

// stream stores an object without holding it in memory. When r or the bucket
// fails, the object is not made.
func (c *Crashes) stream(ctx context.Context, key, contentType string, r io.Reader) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := &blob.WriterOptions{ContentType: contentType, BufferSize: uploadBuffer, MaxConcurrency: 1}
	adopted := false
	if whole, ok := r.(Whole); ok {
		o.BeforeWrite = func(as func(any) bool) error {
			// Buckets that cannot adopt do not know the type.
			var b interface{ Adopt(*os.File) }
			if adopted = as(&b); adopted {
				b.Adopt(whole.Whole())
			}
			return nil
		}
	}
	w, err := c.bucket.NewWriter(ctx, key, o)
	if err != nil {
		return writeError(err, "write %s", key)
	}
	if adopted {
		return writeError(w.Close(), "write %s", key)
	}
	if _, err := w.ReadFrom(r); err != nil {
		cancel() // a writer that is closed after its context ended makes nothing
		w.Close()
		return writeError(err, "write %s", key)
	}
	return writeError(w.Close(), "write %s", key)
}

func (c *Crashes) acquire(ctx context.Context) error {
	if c.uploads == nil {
		return nil
	}
	return fault.Wrap(c.uploads.Acquire(ctx, 1), "wait to write")
}

func (c *Crashes) release() {
	if c.uploads != nil {
		c.uploads.Release(1)
	}
}

// read fetches an object of at most MaxDocument bytes.
func (c *Crashes) read(ctx context.Context, key string) ([]byte, error) {
	r, err := c.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, storeError(err, "read %s", key)
	}
	defer r.Close()
	if r.Size() > MaxDocument {
		return nil, fault.New(fault.TooLarge, "read %s: %d bytes, at most %d are taken", key, r.Size(), MaxDocument)
	}
	data := make([]byte, r.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, storeError(err, "read %s", key)
	}
	return data, nil
}

func (c *Crashes) exists(ctx context.Context, key string) (bool, error) {
	ok, err := c.bucket.Exists(ctx, key)
	return ok, storeError(err, "look for %s", key)
}

// remove deletes one object and reports whether it was there.
func (c *Crashes) remove(ctx context.Context, key string) (bool, error) {
	err := c.bucket.Delete(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return false, nil
	}
	return err == nil, storeError(err, "delete %s", key)
}

// writeError is storeError for writes: what a write does not find is the bucket
// itself, or a folder of it.
func writeError(err error, format string, args ...any) error {
	err = storeError(err, format, args...)
	if fault.Is(err, fault.NotFound) {
		return fault.As(fault.Unavailable, err, "bucket")
	}
	return err
}

// storeError gives an error of gocloud its kind. What has one already (it came
// from the reader of an upload) keeps it. All that is not known to be the
// caller's doing counts as a bucket that does not answer.
func storeError(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || fault.Of(err) != fault.Internal {
		return fault.Wrap(err, format, args...)
	}
	kind := fault.Unavailable
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		kind = fault.NotFound
	case gcerrors.InvalidArgument:
		kind = fault.Invalid
	case gcerrors.AlreadyExists, gcerrors.FailedPrecondition:
		kind = fault.Conflict
	case gcerrors.Canceled:
		kind = fault.Canceled
	case gcerrors.DeadlineExceeded:
		kind = fault.Timeout
	case gcerrors.Unimplemented:
		kind = fault.Unsupported
	}
	return fault.As(kind, err, format, args...)
}
