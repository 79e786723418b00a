package collector

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// A limit that a request ran into; each is answered with 413 but errStalled.
type limitError string

func (e limitError) Error() string { return "past the limit: " + string(e) }

const (
	errBody        limitError = "body"
	errUnpacked    limitError = "unpacked"
	errAnnotations limitError = "annotations"
	errParts       limitError = "parts"
	errDumps       limitError = "dumps"
	errHeader      limitError = "header"
)

var (
	errStalled  = errors.New("the client sent nothing for too long")
	errEncoding = errors.New("the compressed body is broken")
	errCut      = errors.New("the body ended before its announced length")
)

// wire reads a request's body as it comes: it counts, stops past the limit, and
// moves the read deadline on with each piece that arrives.
type wire struct {
	body    io.Reader
	control *http.ResponseController
	limit   int64
	stall   time.Duration
	until   time.Time // the whole body must have come by then
	next    time.Time // when to move the deadline again
	n       int64     // bytes read
	err     error
}

func (w *wire) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if now := time.Now(); now.After(w.next) {
		deadline := now.Add(w.stall)
		if deadline.After(w.until) {
			deadline = w.until
		}
		// Not supported by in-memory test connections: no deadline there.
		_ = w.control.SetReadDeadline(deadline)
		w.next = now.Add(w.stall / 16)
	}
	n, err := w.body.Read(p)
	w.n += int64(n)
	switch {
	case w.n > w.limit:
		w.err = errBody
		return 0, w.err
	case err == nil || err == io.EOF:
		w.err = err
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.err = errStalled
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.err = errCut
	default:
		w.err = err
	}
	return n, w.err
}

// What is read of a body that is refused: a client that is still sending would
// have its connection reset and never see the answer.
const (
	maxDiscard  = 64 << 20
	discardTime = 10 * time.Second
)

// discard reads what the client still sends, within bounds.
func (w *wire) discard() {
	if w.err != nil && w.err != errBody {
		return // at its end, or no longer sending
	}
	_ = w.control.SetReadDeadline(time.Now().Add(discardTime)) // as in Read
	_, _ = io.CopyN(io.Discard, w.body, maxDiscard)            // best effort
}

// unpacked counts what comes out of decompression and stops past the limit.
type unpacked struct {
	r     io.Reader
	limit int64
	n     int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	if u.n > u.limit {
		return 0, errUnpacked
	}
	return n, err
}

// encodingOf names the compression of a body; one that is not known is "" and
// the body is read as it is.
func encodingOf(header string) string {
	switch strings.ToLower(strings.TrimSpace(header)) {
	case "gzip", "x-gzip":
		return "gzip"
	case "deflate":
		return "deflate"
	case "zstd":
		return "zstd"
	}
	return ""
}

const (
	// zstdWindow is the most memory a zstd body may ask for: what RFC 8878
	// says every decoder should give.
	zstdWindow = 8 << 20
	// zstdAtOnce bounds the requests that may ask for it at one time. Others
	// wait; clients of other encodings do not notice.
	zstdAtOnce = 8
)

var (
	bufios = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}
	gzips  = sync.Pool{New: func() any { return new(gzip.Reader) }}
)

// decompress gives what r holds under that encoding, and a func to call when
// done. A broken stream reads as errEncoding, unless the wire itself failed.
func (c *Collector) decompress(ctx context.Context, encoding string, r *wire) (io.Reader, func(), error) {
	if encoding == "" {
		return r, func() {}, nil
	}
	b := bufios.Get().(*bufio.Reader)
	b.Reset(r)
	release := func() {
		b.Reset(nil)
		bufios.Put(b)
	}
	var out io.Reader
	switch encoding {
	case "gzip":
		z := gzips.Get().(*gzip.Reader)
		if err := z.Reset(b); err != nil {
			gzips.Put(z)
			return nil, release, encodingError(r, err)
		}
		out = &members{z: z, b: b}
		old := release
		release = func() { gzips.Put(z); old() }
	case "deflate":
		out = deflate(b)
	case "zstd":
		free, err := slot(ctx, c.zstd)
		if err != nil {
			return nil, release, err
		}
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(zstdWindow))
		if err != nil {
			free()
			return nil, release, encodingError(r, err)
		}
		out = z
		old := release
		release = func() { z.Close(); free(); old() }
	}
	return &decoded{out, r}, release, nil
}

// deflate reads zlib streams, as the standard says, and bare deflate streams,
// as some clients send.
func deflate(b *bufio.Reader) io.Reader {
	head, _ := b.Peek(2) // an error comes again on reading
	if len(head) == 2 && head[0]&15 == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		z, err := zlib.NewReader(b)
		if err != nil {
			return failing{err}
		}
		return z
	}
	return flate.NewReader(b)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// decoded gives errors of a decoder their meaning.
type decoded struct {
	io.Reader
	wire *wire
}

func (d *decoded) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = encodingError(d.wire, err)
	}
	return n, err
}

func encodingError(w *wire, err error) error {
	// A body that is cut is a broken stream too, but a client that stalls or
	// sends too much is answered for that.
	if w.err != nil && w.err != io.EOF && w.err != errCut {
		return w.err
	}
	return errors.Join(errEncoding, err)
}

// members reads all members of a gzip stream; junk after a complete one is
// passed over, as other servers do.
type members struct {
	z    *gzip.Reader
	b    *bufio.Reader
	once bool // the reader was told to stop after each member
}

func (m *members) Read(p []byte) (int, error) {
	if !m.once {
		m.z.Multistream(false)
		m.once = true
	}
	for {
		n, err := m.z.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		head, peekErr := m.b.Peek(2)
		if len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
			if peekErr != nil && peekErr != io.EOF {
				return 0, peekErr
			}
			return 0, io.EOF
		}
		if err := m.z.Reset(m.b); err != nil {
			return 0, err
		}
		m.z.Multistream(false)
	}
}
