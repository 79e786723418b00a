package fetch

import (
	"bufio"
	"context"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/symbols"
)

// Prefix is where a bucket keeps symbols: v1/xul.pdb/44E4…7C2/xul.sym, as
// Tecken does. TryPrefix holds those of trial builds.
const (
	Prefix    = "v1/"
	TryPrefix = "try/v1/"
)

// Bucket is the supplier that reads uploaded symbols.
type Bucket struct{ bucket *blob.Bucket }

// NewBucket makes a supplier over b, which stays the caller's to close.
func NewBucket(b *blob.Bucket) *Bucket { return &Bucket{b} }

// keys are where the symbols of id may be, the first one that is there counts.
func keys(id symbols.ModuleID) (list []string) {
	for _, path := range id.Paths() {
		list = append(list, Prefix+path, TryPrefix+path)
	}
	return list
}

// Fetch opens the .sym text of a module; NotFound when the bucket lacks it.
// Text that is kept compressed is unpacked, at most MaxFileSize of it.
func (s *Bucket) Fetch(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	for _, key := range keys(id) {
		r, err := s.bucket.NewReader(ctx, key, nil)
		if gcerrors.Code(err) == gcerrors.NotFound {
			continue
		}
		if err != nil {
			return nil, fault.As(fault.Unavailable, err, "symbols %s", key)
		}
		return unpacked(r, key)
	}
	return nil, fault.New(fault.NotFound, "no symbols of %s %s", id.DebugFile, id.DebugID)
}

// hashKey is where an upload leaves the MD5 of the text, as Tecken does.
const hashKey = "original_md5_hash"

// Tag changes when the text of a module does; "" when the bucket lacks it. It
// is the hash of the text where the bucket keeps one, so that the same text
// uploaded again stays the same.
func (s *Bucket) Tag(ctx context.Context, id symbols.ModuleID) (string, error) {
	for _, key := range keys(id) {
		a, err := s.bucket.Attributes(ctx, key)
		if gcerrors.Code(err) == gcerrors.NotFound {
			continue
		}
		if err != nil {
			return "", fault.As(fault.Unavailable, err, "symbols %s", key)
		}
		if hash := a.Metadata[hashKey]; hash != "" {
			return "md5:" + hash, nil
		}
		if a.ETag != "" {
			return a.ETag, nil
		}
		return strconv.FormatInt(a.ModTime.UnixNano(), 36) + "-" + strconv.FormatInt(a.Size, 36), nil
	}
	return "", nil
}

// text is an unpacked symbol file over the object it is read from.
type text struct {
	io.Reader
	object io.Closer
}

func (t text) Close() error { return t.object.Close() }

func unpacked(r io.ReadCloser, key string) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(2)
	if err != nil && err != io.EOF {
		r.Close()
		return nil, fault.As(fault.Unavailable, err, "symbols %s", key)
	}
	if len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return text{&limited{r: b, left: MaxFileSize, what: key}, r}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		r.Close()
		return nil, fault.As(fault.Malformed, err, "symbols %s", key)
	}
	return text{&limited{r: z, left: MaxFileSize, what: key}, r}, nil
}

// limited refuses to read more than a symbol file may have.
type limited struct {
	r    io.Reader
	left int64
	what string
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, fault.New(fault.TooLarge, "symbols %s: more than %d bytes of text", l.what, int64(MaxFileSize))
	}
	return n, err
}
