package bundle

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"mayday/app/fault"
)

// xzReader reads the blocks of an .xz file (The .xz File Format 1.2.1) whose
// only filter is LZMA2, as all are that xz makes of itself. The container is
// read here because a block says how much memory it needs, and a stranger's
// block may say 4 GB. The index at the end is not compared: the blocks have
// checksums of their own.
type xzReader struct {
	most  int // bytes of the largest window so far
	in    *countingReader
	check byte // kind of checksum
	block io.Reader
	sum   hash.Hash
	done  error
}

const (
	xzMagic = "\xfd7zXZ\x00"
	// The kinds of checksums.
	xzNone, xzCRC32, xzCRC64, xzSHA256 = 0, 1, 4, 10
	lzma2Filter                        = 0x21
)

// countingReader counts, so that blocks can be aligned.
type countingReader struct {
	*bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func badXZ(what string) error { return fault.New(fault.Malformed, "xz: %s", what) }

// newXZ reads the header of a stream: magic, two bytes of flags, CRC-32.
func newXZ(r io.Reader) (*xzReader, error) {
	x := &xzReader{in: &countingReader{Reader: bufio.NewReaderSize(r, 64<<10)}}
	var h [12]byte
	if _, err := io.ReadFull(x.in, h[:]); err != nil || string(h[:6]) != xzMagic || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) || h[6] != 0 {
		return nil, badXZ("bad header")
	}
	switch x.check = h[7]; x.check {
	case xzNone, xzCRC32, xzCRC64, xzSHA256:
		return x, nil
	}
	return nil, fault.New(fault.Unsupported, "xz: checksums of kind %d", h[7])
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.done == nil {
		if x.block == nil {
			if x.done = x.next(); x.done != nil {
				break
			}
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		switch {
		case err == io.EOF:
			x.done = x.finish()
		case err != nil:
			x.done = fault.As(fault.Malformed, err, "xz")
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, x.done
}

// next begins a block; io.EOF when the index comes instead.
func (x *xzReader) next() error {
	size, err := x.in.ReadByte()
	if err != nil {
		return badXZ("the file breaks off")
	}
	if size == 0 {
		return io.EOF
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(x.in, h[1:]); err != nil {
		return badXZ("a block's header breaks off")
	}
	body, sum := h[:len(h)-4], binary.LittleEndian.Uint32(h[len(h)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return badXZ("bad checksum of a block's header")
	}
	window, err := blockWindow(body[1], body[2:])
	if err != nil {
		return err
	}
	x.most = max(x.most, window)
	if x.block, err = (lzma.Reader2Config{DictCap: window}).NewReader2(x.in); err != nil {
		return fault.As(fault.Malformed, err, "xz")
	}
	switch x.check {
	case xzCRC32:
		x.sum = crc32.NewIEEE()
	case xzCRC64:
		x.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	}
	return nil
}

// blockWindow reads how much memory a block needs, out of its flags and what
// follows them: sizes, when the flags say so, and one filter.
func blockWindow(flags byte, rest []byte) (int, error) {
	r := bytes.NewReader(rest)
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			if _, err := binary.ReadUvarint(r); err != nil {
				return 0, badXZ("a block's size breaks off")
			}
		}
	}
	filter, err1 := binary.ReadUvarint(r)
	length, err2 := binary.ReadUvarint(r)
	bits, err3 := r.ReadByte()
	if errors.Join(err1, err2, err3) != nil {
		return 0, badXZ("a block's filter breaks off")
	}
	if flags&0x3f != 0 || filter != lzma2Filter || length != 1 || bits > 40 {
		return 0, fault.New(fault.Unsupported, "xz: filters other than LZMA2")
	}
	window := uint64(2|bits&1) << (bits/2 + 11)
	if window > maxWindow {
		return 0, fault.New(fault.TooLarge, "xz: needs %d bytes of memory, at most %d are given: pack it with xz -9 or less", window, maxWindow)
	}
	return int(window), nil
}

// finish reads what follows a block: padding to a multiple of four, and its
// checksum. SHA-256 is read over, not compared.
func (x *xzReader) finish() error {
	x.block = nil
	for x.in.n%4 != 0 {
		if b, err := x.in.ReadByte(); err != nil || b != 0 {
			return badXZ("a block's padding is not there")
		}
	}
	length := map[byte]int{xzNone: 0, xzCRC32: 4, xzCRC64: 8, xzSHA256: 32}[x.check]
	want := make([]byte, length)
	if _, err := io.ReadFull(x.in, want); err != nil {
		return badXZ("a block's checksum breaks off")
	}
	if x.sum == nil {
		return nil
	}
	got := x.sum.Sum(nil) // most significant byte first, the file has the least
	for i := range got {
		if got[i] != want[len(want)-1-i] {
			return badXZ("bad checksum of a block")
		}
	}
	return nil
}
