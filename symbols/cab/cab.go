// Package cab reads Microsoft cabinet files (MS-CAB), which hold the files of
// Windows symbol servers whose names end in an underscore: libc.pd_, libc.dl_.
// It reads folders that are stored or compressed by MSZIP (MS-MCI) or LZX; of
// Quantum it says that it is not supported. A cabinet that is a part of
// several, or reserves room for signatures, is read as far as it goes alone.
//
// Members of a folder lie in one stream behind each other, so a folder is
// unpacked from its start to the member that is wanted.
package cab

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/flate"

	"mayday/app/fault"
)

const (
	// MaxFiles and maxFolders bound one cabinet; the format's own bound is
	// 65,535 each.
	MaxFiles   = 65_535
	maxFolders = 4096
	// blockSize is how much one block unpacks to at most (MS-CAB 2.4).
	blockSize = 32 << 10
	// maxPacked is the most that a block takes packed: it may grow a little.
	maxPacked = blockSize + 6144
	// maxName bounds a name.
	maxName = 256

	headerSize = 36
	folderSize = 8
	fileSize   = 16
	dataSize   = 8
)

// The methods of compression.
const (
	methodStored = 0
	methodMSZIP  = 1
	methodLZX    = 3
)

// The flags of the header.
const (
	hasPrevious = 1
	hasNext     = 2
	hasReserve  = 4
)

// Magic reports whether a file begins as a cabinet does.
func Magic(head []byte) bool { return bytes.HasPrefix(head, []byte("MSCF\x00\x00\x00\x00")) }

// Reader is a cabinet whose directory was read.
type Reader struct {
	Files []File

	r       io.ReaderAt
	size    int64
	folders []folder
	reserve int // bytes before each block's own
}

// File is a member.
type File struct {
	Name string // as it stands there: parts divided by \
	Size int64

	folder int
	offset int64 // in the unpacked folder
}

// Before is how much of the folder must be unpacked to reach the member.
func (f File) Before() int64 { return f.offset }

type folder struct {
	at     int64 // where its first block lies
	blocks int
	method uint16
}

func malformed(format string, args ...any) error { return fault.New(fault.Malformed, format, args...) }

// cursor reads numbers and names; its error sticks.
type cursor struct {
	r    io.ReaderAt
	at   int64
	size int64
	err  error
}

func (c *cursor) bytes(n int) []byte {
	b := make([]byte, n)
	if c.err != nil {
		return b
	}
	if int64(n) > c.size-c.at {
		c.err = malformed("the cabinet breaks off: %d bytes at %d of %d", n, c.at, c.size)
		return b
	}
	if _, err := c.r.ReadAt(b, c.at); err != nil {
		c.err = fault.As(fault.Malformed, err, "cabinet")
	}
	c.at += int64(n)
	return b
}

// text reads a name that ends in a NUL.
func (c *cursor) text() string {
	b := make([]byte, min(maxName, max(c.size-c.at, 0)))
	if c.err != nil {
		return ""
	}
	if n, err := c.r.ReadAt(b, c.at); n < len(b) {
		c.err = fault.As(fault.Malformed, err, "cabinet")
		return ""
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		c.err = malformed("a name in the cabinet has no end within %d bytes", len(b))
		return ""
	}
	c.at += int64(end) + 1
	return string(b[:end])
}

// NewReader reads the directory of a cabinet of size bytes.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	le := binary.LittleEndian
	c := &cursor{r: r, size: size}
	h := c.bytes(headerSize)
	if c.err != nil || !Magic(h) {
		return nil, malformed("no cabinet")
	}
	out := &Reader{r: r, size: min(size, int64(le.Uint32(h[8:])))}
	folders, files, flags := int(le.Uint16(h[26:])), int(le.Uint16(h[28:])), le.Uint16(h[30:])
	if folders == 0 || folders > maxFolders {
		return nil, malformed("cabinet of %d folders", folders)
	}
	folderReserve := 0
	if flags&hasReserve != 0 {
		s := c.bytes(4)
		folderReserve, out.reserve = int(s[2]), int(s[3])
		c.at += int64(le.Uint16(s))
	}
	for _, flag := range []uint16{hasPrevious, hasNext} {
		if flags&flag != 0 {
			c.text()
			c.text()
		}
	}
	for range folders {
		b := c.bytes(folderSize + folderReserve)
		out.folders = append(out.folders, folder{at: int64(le.Uint32(b)), blocks: int(le.Uint16(b[4:])), method: le.Uint16(b[6:])})
	}
	c.at = int64(le.Uint32(h[16:]))
	for range files {
		b := c.bytes(fileSize)
		f := File{Size: int64(le.Uint32(b)), offset: int64(le.Uint32(b[4:])), folder: int(le.Uint16(b[8:]))}
		f.Name = c.text()
		if c.err != nil {
			return nil, c.err
		}
		out.Files = append(out.Files, f)
	}
	return out, c.err
}

// Open reads a member. The error of a reader that breaks off is of kind
// Malformed, of a method that is not known of kind Unsupported.
func (r *Reader) Open(f File) (io.Reader, error) {
	if f.folder >= len(r.folders) { // 0xfffd and beyond: goes on in another cabinet
		return nil, fault.New(fault.Unsupported, "%q lies in another cabinet", f.Name)
	}
	d := r.folders[f.folder]
	b := &blocks{r: r, at: d.at, left: d.blocks, unpack: stored}
	switch method := d.method & 15; method {
	case methodStored:
	case methodMSZIP:
		b.unpack = (&mszip{}).block
	case methodLZX:
		l, err := newLZX(int(d.method >> 8 & 31))
		if err != nil {
			return nil, err
		}
		b.unpack = l.frame
	default:
		return nil, fault.New(fault.Unsupported, "compression method %d of cabinets (1 is MSZIP, 2 Quantum, 3 LZX)", method)
	}
	if f.offset+f.Size > int64(d.blocks)*blockSize {
		return nil, malformed("%q of %d bytes at %d does not fit into %d blocks", f.Name, f.Size, f.offset, d.blocks)
	}
	if _, err := io.CopyN(io.Discard, b, f.offset); err != nil {
		return nil, fault.As(fault.Malformed, err, "%q", f.Name)
	}
	return &member{r: b, left: f.Size, name: f.Name}, nil
}

// member reads as much as a member claims, no less.
type member struct {
	r    io.Reader
	left int64
	name string
}

func (m *member) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	if err == io.EOF && m.left > 0 {
		err = malformed("%q breaks off, %d bytes are missing", m.name, m.left)
	}
	return n, err
}

// blocks reads a folder block by block.
type blocks struct {
	r    *Reader
	at   int64
	left int
	// unpack appends what a block unpacks to, size bytes, to out.
	unpack func(data, out []byte, size int) ([]byte, error)

	room   []byte // that unread lies in
	unread []byte
	err    error
}

func (b *blocks) Read(p []byte) (int, error) {
	for len(b.unread) == 0 {
		if b.err == nil {
			b.err = b.next()
		}
		if b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

// next unpacks a block (MS-CAB 2.4, CFDATA):
//
//	0  checksum  u32, 0 is none
//	4  packed    u16
//	6  unpacked  u16, 0 when the block goes on in another cabinet
func (b *blocks) next() error {
	if b.left == 0 {
		return io.EOF
	}
	b.left--
	le := binary.LittleEndian
	c := &cursor{r: b.r.r, at: b.at, size: b.r.size}
	h := c.bytes(dataSize + b.r.reserve)
	packed, size := int(le.Uint16(h[4:])), int(le.Uint16(h[6:]))
	if c.err == nil && (size == 0 || size > blockSize || packed > maxPacked) {
		c.err = malformed("a block of %d bytes that unpacks to %d", packed, size)
	}
	if c.err != nil {
		return c.err
	}
	data := c.bytes(packed)
	if c.err != nil {
		return c.err
	}
	b.at = c.at
	if want := le.Uint32(h); want != 0 && want != checksum(h[4:], checksum(data, 0)) {
		return malformed("bad checksum of the block at %d", b.at-int64(packed))
	}
	out, err := b.unpack(data, b.room[:0], size)
	if err != nil {
		return fault.Wrap(err, "block at %d", b.at-int64(packed))
	}
	b.room, b.unread = out, out
	return nil
}

// stored takes a block as it is.
func stored(data, out []byte, size int) ([]byte, error) {
	if len(data) != size {
		return nil, malformed("a stored block of %d bytes claims %d", len(data), size)
	}
	return append(out, data...), nil
}

// mszip unpacks blocks of MSZIP: deflated each by itself, but they may refer to
// what the one before unpacked to.
type mszip struct{ window []byte }

func (m *mszip) block(data, out []byte, size int) ([]byte, error) {
	if len(data) < 2 || data[0] != 'C' || data[1] != 'K' {
		return nil, malformed("no MSZIP block")
	}
	out = append(out, make([]byte, size)...)
	z := flate.NewReaderDict(bytes.NewReader(data[2:]), m.window)
	if _, err := io.ReadFull(z, out); err != nil {
		return nil, fault.As(fault.Malformed, err, "MSZIP block")
	}
	m.window = append(m.window[:0], out...)
	return out, nil
}

// checksum is that of MS-CAB 2.4: the words of the data, XORed together.
func checksum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	last := uint32(0)
	for _, c := range b {
		last = last<<8 | uint32(c)
	}
	return sum ^ last
}
