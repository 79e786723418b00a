package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
)

const (
	// maxHead is how much of a symbol file is looked at for what it says of
	// itself: MODULE and INFO stand first.
	maxHead = 64 << 10
	// maxText is the longest text that is kept of a symbol file's head.
	maxText = 200
)

// examiner learns what must be known of a file by having it written through
// it: size, hash, and what its head says.
type examiner struct {
	size int64
	sum  hash.Hash
	head bytes.Buffer
}

func newExaminer() *examiner { return &examiner{sum: md5.New()} }

func (e *examiner) Write(p []byte) (int, error) {
	e.size += int64(len(p))
	e.sum.Write(p)
	if room := maxHead - e.head.Len(); room > 0 {
		e.head.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// describe fills in what was learned. A file that says nothing of itself is
// known by its key alone.
func (e *examiner) describe(f *catalog.SymbolFile) {
	f.TextSize, f.MD5 = e.size, hex.EncodeToString(e.sum.Sum(nil))
	f.DebugFile, f.DebugID, _, _ = splitKey(f.Key)
	if !packed(f.Key) {
		return
	}
	f.Kind = "sym"
	lines := bufio.NewScanner(bytes.NewReader(e.head.Bytes()))
	lines.Buffer(make([]byte, 0, 4096), maxHead)
	for n := 0; lines.Scan(); n++ {
		words := strings.SplitN(strings.TrimRight(lines.Text(), "\r"), " ", 5)
		switch {
		case n == 0 && words[0] == "MODULE" && len(words) == 5:
			if id, ok := symbols.NormalizeDebugID(words[3]); ok && goodPart(words[4]) {
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
		if file = strings.TrimSpace(file); len(file) <= maxText {
			f.CodeFile = file
		}
	case "GENERATOR":
		f.Generator = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	}
}

// have finds the record of a file that is kept already under the same key with
// the same content; NotFound when there is none, or another.
func (s *Server) have(ctx context.Context, f catalog.SymbolFile) (same, other bool, err error) {
	old, err := s.files.SymbolFileByKey(ctx, f.Key, f.Try)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, false, err
	}
	known := err == nil
	there, err := s.bucket.Exists(ctx, objectKey(f.Key, f.Try))
	if err != nil {
		return false, false, fault.As(fault.Unavailable, err, "symbols bucket")
	}
	if !there {
		return false, false, nil
	}
	same = known && old.TextSize == f.TextSize && old.MD5 == f.MD5
	return same, !same, nil
}

// put writes the bytes of a file to the bucket and calls what waits for it.
func (s *Server) put(ctx context.Context, f *catalog.SymbolFile, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an unfinished write leaves no object
	o := &blob.WriterOptions{ContentType: "application/octet-stream", CacheControl: "no-transform"}
	if packed(f.Key) {
		o.ContentType = "text/plain"
		if f.Compressed {
			o.ContentEncoding = "gzip"
		}
		o.Metadata = map[string]string{"original_md5_hash": f.MD5}
	}
	w, err := s.bucket.NewWriter(ctx, objectKey(f.Key, f.Try), o)
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

// arrived tells everybody that the symbols of a file came.
func (s *Server) arrived(ctx context.Context, f catalog.SymbolFile) error {
	id := moduleOf(f)
	s.codes.forget()
	s.missing.found(id.DebugFile, id.DebugID)
	if err := s.files.FoundSymbol(ctx, id.DebugFile, id.DebugID); err != nil {
		return err
	}
	s.o.Arrived(ctx, id)
	return nil
}

// gzipped compresses what it reads; the reader must be read to its end or
// closed.
func gzipped(r io.Reader) io.ReadCloser {
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

// retain deletes the objects and records of uploads older than they may get.
func (s *Server) retain(ctx context.Context) error {
	now := s.now()
	for _, rule := range []struct {
		try  bool
		days int
	}{{true, s.o.Config.TryDays}, {false, s.o.Config.Days}} {
		if rule.days <= 0 {
			continue
		}
		before := now.AddDate(0, 0, -rule.days)
		if err := s.dropObjects(ctx, rule.try, catalog.Stamp(before)); err != nil {
			return err
		}
		if err := s.files.DropSymbolUploads(ctx, rule.try, before); err != nil {
			return err
		}
	}
	return nil
}

// dropObjects deletes the objects whose newest record is older than a time.
func (s *Server) dropObjects(ctx context.Context, try bool, before string) error {
	const batch = 500
	last := int64(0)
	for {
		files, err := s.files.SymbolFiles(ctx, catalog.Page{OrderBy: "id", Limit: batch, Where: []catalog.Condition{
			{SQL: "try = ? AND created < ? AND id > ?", Args: []any{try, before, last}},
			{SQL: "NOT EXISTS (SELECT 1 FROM symbol_files n WHERE n.key = f.key AND n.try = f.try AND n.created >= ?)", Args: []any{before}}}})
		if err != nil {
			return err
		}
		for _, f := range files {
			last = f.ID
			err := s.bucket.Delete(ctx, objectKey(f.Key, f.Try))
			if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
				return fault.As(fault.Unavailable, err, "drop %s", f.Key)
			}
			s.o.Arrived(ctx, moduleOf(f))
		}
		if len(files) < batch {
			return nil
		}
	}
}
