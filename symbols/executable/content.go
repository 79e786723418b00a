package executable

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"mayday/app/fault"
)

// Content reads a whole section of at most limit bytes and unpacks it.
func (im *Image) Content(s *Section, limit int) ([]byte, error) {
	if s.FileSize > uint64(min(limit, MaxRead)) {
		return nil, fault.New(fault.TooLarge, "section %s of %d bytes", s.Name, s.FileSize)
	}
	b := im.file.bytes(s.Offset, int(s.FileSize))
	if uint64(len(b)) != s.FileSize {
		return nil, short("section " + s.Name)
	}
	if !s.Compressed {
		return b, nil
	}
	return im.unpack(s.Name, b, limit)
}

// unpack follows the header that the gABI puts before packed bytes.
func (im *Image) unpack(name string, b []byte, limit int) ([]byte, error) {
	const packedZlib, packedZstd = 1, 2
	head := 12
	if im.wide {
		head = 24
	}
	if len(b) < head {
		return nil, short("section " + name)
	}
	kind, size := im.Order.Uint32(b), uint64(im.Order.Uint32(b[4:]))
	if im.wide {
		size = im.Order.Uint64(b[8:])
	}
	if size > uint64(limit) {
		return nil, fault.New(fault.TooLarge, "section %s of %d bytes", name, size)
	}
	var r io.Reader
	switch kind {
	case packedZlib:
		z, err := zlib.NewReader(bytes.NewReader(b[head:]))
		if err != nil {
			return nil, fault.As(fault.Malformed, err, "section %s", name)
		}
		defer z.Close()
		r = z
	case packedZstd:
		z, err := zstd.NewReader(bytes.NewReader(b[head:]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fault.As(fault.Malformed, err, "section %s", name)
		}
		defer z.Close()
		r = z
	default:
		return nil, fault.New(fault.Unsupported, "section %s is packed in way %d", name, kind)
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(r, int64(size))); err != nil {
		return nil, fault.As(fault.Malformed, err, "section %s", name)
	}
	return out.Bytes(), nil
}
