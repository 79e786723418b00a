package executable

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"mayday/app/fault"
)

// Content reads a whole section of at most limit bytes and unpacks it.
func (im *Image) Content(s *Section, limit int) ([]byte, error) {
	r, size, err := im.Stream(s, uint64(max(limit, 0)))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	out.Grow(int(min(size, expansion*s.FileSize)))
	if _, err := io.Copy(&out, r); err != nil {
		return nil, fault.As(fault.Malformed, err, "section %s", s.Name)
	}
	if uint64(out.Len()) != size {
		return nil, short("section " + s.Name)
	}
	return out.Bytes(), nil
}

const (
	// expansion is what packed bytes grow to before more than a claim says so:
	// debug information packs to a third or less.
	expansion = 8
	// window is what a reader of a section reads at once.
	window = 64 << 10
)

// Stream reads a section from its start, unpacked, and says how many bytes that
// makes: an error of kind fault.TooLarge when it is more than limit. The reader
// must be closed; it ends early where the file does.
func (im *Image) Stream(s *Section, limit uint64) (io.ReadCloser, uint64, error) {
	tooLarge := func(size uint64) error {
		return fault.New(fault.TooLarge, "section %s of %d bytes, where %d are allowed", s.Name, size, limit)
	}
	file := bufio.NewReaderSize(io.NewSectionReader(im.file.r, int64(s.Offset), int64(s.FileSize)), window)
	if !s.Compressed && !strings.HasPrefix(s.Name, oldPacked) {
		if s.FileSize > limit {
			return nil, 0, tooLarge(s.FileSize)
		}
		return io.NopCloser(file), s.FileSize, nil
	}
	kind, size, err := im.packing(s, file)
	if err != nil {
		return nil, 0, err
	}
	if size > limit {
		return nil, 0, tooLarge(size)
	}
	var r io.ReadCloser
	switch kind {
	case packedZlib:
		z, err := zlib.NewReader(file)
		if err != nil {
			return nil, 0, fault.As(fault.Malformed, err, "section %s", s.Name)
		}
		r = z
	case packedZstd:
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit+1<<20), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, 0, fault.As(fault.Malformed, err, "section %s", s.Name)
		}
		r = z.IOReadCloser()
	default:
		return nil, 0, fault.New(fault.Unsupported, "section %s is packed in way %d", s.Name, kind)
	}
	return unpacked{io.LimitReader(r, int64(min(size, 1<<62))), r}, size, nil
}

const packedZlib, packedZstd = 1, 2

// oldPacked begins the names of sections that were packed the way before the
// gABI had one: "ZLIB" and the size, highest byte first.
const oldPacked = ".zdebug_"

// packing reads the header of a packed section: how, and how many bytes there
// are without.
func (im *Image) packing(s *Section, r io.Reader) (kind uint32, size uint64, err error) {
	head := make([]byte, 12)
	if im.wide && s.Compressed {
		head = make([]byte, 24)
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, 0, short("section " + s.Name)
	}
	switch {
	case !s.Compressed:
		if string(head[:4]) != "ZLIB" {
			return 0, 0, fault.New(fault.Malformed, "section %s begins with %q", s.Name, head[:4])
		}
		return packedZlib, binary.BigEndian.Uint64(head[4:]), nil
	case im.wide:
		return im.Order.Uint32(head), im.Order.Uint64(head[8:]), nil
	}
	return im.Order.Uint32(head), uint64(im.Order.Uint32(head[4:])), nil
}

// maxWindow is the most that a zstd stream may look back: the format recommends
// that decoders support 8 MB, and levels up to 19 of the reference encoder use no
// more.
const maxWindow = 8 << 20

// unpacked is a limited stream with what it must close.
type unpacked struct {
	io.Reader
	io.Closer
}
