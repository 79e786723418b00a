// Package archive reads zip files that strangers made (PKWARE APPNOTE 6.3.10),
// with ZIP64, members stored or deflated.
//
// It exists beside archive/zip because an upload must be refused before any of
// it is used: the directory is bounded by what it takes, not by the count it
// claims; local headers must agree with the directory; members may not overlap
// each other or the directory, which is how small zips unpack to exabytes; and
// encrypted or spanned members are an error. Nothing is unpacked here but what
// the caller reads.
package archive

import (
	"bytes"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"mayday/app/fault"
)

const (
	// MaxMembers bounds one archive. A browser build has 40 to 400 files.
	MaxMembers = 50_000
	// MaxDirectory bounds the directory: MaxMembers with long names.
	MaxDirectory = 16 << 20
	// maxComment is the longest comment, behind which the end record hides.
	maxComment = 1<<16 - 1
)

// The methods of members.
const (
	Stored   = 0
	Deflated = 8
)

const (
	endSignature    = 0x06054b50
	end64Signature  = 0x06064b50
	locateSignature = 0x07064b50
	dirSignature    = 0x02014b50
	localSignature  = 0x04034b50

	endSize    = 22
	end64Size  = 56
	locateSize = 20
	dirSize    = 46
	localSize  = 30
)

// Member is one file of an archive.
type Member struct {
	Name   string
	Method uint16
	CRC    uint32
	// Packed is how many bytes it takes in the archive, Size how many it
	// claims to have unpacked.
	Packed, Size int64

	local int64 // where its local header lies
	start int64 // where its bytes lie
	from  io.ReaderAt
}

// IsDir reports whether the member stands for a folder.
func (m *Member) IsDir() bool { return m.Name != "" && m.Name[len(m.Name)-1] == '/' }

// Read reads the directory of a zip file of size bytes and checks that its
// members lie where it says.
func Read(r io.ReaderAt, size int64) ([]*Member, error) {
	offset, length, count, err := findDirectory(r, size)
	if err != nil {
		return nil, err
	}
	if length > MaxDirectory || count > MaxMembers {
		return nil, fault.New(fault.TooLarge, "zip directory of %d bytes with %d members; at most %d and %d are taken", length, count, MaxDirectory, MaxMembers)
	}
	b := make([]byte, length)
	if _, err := r.ReadAt(b, offset); err != nil {
		return nil, fault.As(fault.Malformed, err, "zip directory")
	}
	var list []*Member
	for len(b) > 0 {
		m, n, err := parseMember(b)
		if err != nil {
			return nil, err
		}
		if len(list) == MaxMembers {
			return nil, fault.New(fault.TooLarge, "more than %d members in the zip", MaxMembers)
		}
		m.from = r
		list, b = append(list, m), b[n:]
	}
	if uint64(len(list)) != count {
		return nil, fault.New(fault.Malformed, "zip directory of %d members claims %d", len(list), count)
	}
	return list, place(r, list, offset)
}

// findDirectory finds the end record and where it says the directory lies.
func findDirectory(r io.ReaderAt, size int64) (offset, length int64, count uint64, err error) {
	notZip := fault.New(fault.Malformed, "File is not a zip file")
	if size < endSize {
		return 0, 0, 0, notZip
	}
	tail := make([]byte, min(size, endSize+maxComment))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return 0, 0, 0, fault.As(fault.Unavailable, err, "zip")
	}
	at := -1
	for i := len(tail) - endSize; i >= 0; i-- {
		if binary.LittleEndian.Uint32(tail[i:]) == endSignature && int(binary.LittleEndian.Uint16(tail[i+20:])) <= len(tail)-i-endSize {
			at = i
			break
		}
	}
	if at < 0 {
		return 0, 0, 0, notZip
	}
	e := tail[at:]
	le := binary.LittleEndian
	disk, dirDisk := uint32(le.Uint16(e[4:])), uint32(le.Uint16(e[6:]))
	count = uint64(le.Uint16(e[10:]))
	n, o := uint64(le.Uint32(e[12:])), uint64(le.Uint32(e[16:]))
	end := size - int64(len(tail)) + int64(at)
	if count == 1<<16-1 || n == 1<<32-1 || o == 1<<32-1 {
		if count, n, o, end, err = zip64End(r, end, count, n, o); err != nil {
			return 0, 0, 0, err
		}
	} else if disk != 0 || dirDisk != 0 {
		return 0, 0, 0, fault.New(fault.Malformed, "the zip is a part of several")
	}
	if o > uint64(end) || n > uint64(end)-o {
		return 0, 0, 0, fault.New(fault.Malformed, "zip directory of %d bytes at %d does not fit into %d bytes", n, o, end)
	}
	return int64(o), int64(n), count, nil
}

// zip64End reads the ZIP64 end record before the end record at end; without
// one the numbers are what they are.
func zip64End(r io.ReaderAt, end int64, count, n, o uint64) (uint64, uint64, uint64, int64, error) {
	var l [locateSize]byte
	if end < locateSize+end64Size {
		return count, n, o, end, nil
	}
	if _, err := r.ReadAt(l[:], end-locateSize); err != nil {
		return 0, 0, 0, 0, fault.As(fault.Malformed, err, "zip end")
	}
	le := binary.LittleEndian
	if le.Uint32(l[:]) != locateSignature {
		return count, n, o, end, nil
	}
	at := le.Uint64(l[8:])
	if at > uint64(end-locateSize-end64Size) {
		return 0, 0, 0, 0, fault.New(fault.Malformed, "ZIP64 end record at %d of %d bytes", at, end)
	}
	var e [end64Size]byte
	if _, err := r.ReadAt(e[:], int64(at)); err != nil {
		return 0, 0, 0, 0, fault.As(fault.Malformed, err, "zip end")
	}
	if le.Uint32(e[:]) != end64Signature {
		return 0, 0, 0, 0, fault.New(fault.Malformed, "no ZIP64 end record at %d", at)
	}
	return le.Uint64(e[32:]), le.Uint64(e[40:]), le.Uint64(e[48:]), int64(at), nil
}

// parseMember reads one record of the directory and says how long it is.
func parseMember(b []byte) (*Member, int, error) {
	le := binary.LittleEndian
	if len(b) < dirSize || le.Uint32(b) != dirSignature {
		return nil, 0, fault.New(fault.Malformed, "zip directory breaks off, %d bytes left", len(b))
	}
	flags := le.Uint16(b[8:])
	name, extra, comment := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	total := dirSize + name + extra + comment
	if total > len(b) {
		return nil, 0, fault.New(fault.Malformed, "zip directory breaks off in a record of %d bytes, %d left", total, len(b))
	}
	m := &Member{Name: string(b[dirSize : dirSize+name]), Method: le.Uint16(b[10:]), CRC: le.Uint32(b[16:])}
	packed, size, local := uint64(le.Uint32(b[20:])), uint64(le.Uint32(b[24:])), uint64(le.Uint32(b[42:]))
	if err := zip64Sizes(b[dirSize+name:dirSize+name+extra], m.Name, &size, &packed, &local); err != nil {
		return nil, 0, err
	}
	switch {
	case flags&1 != 0:
		return nil, 0, fault.New(fault.Malformed, "File %q is encrypted", m.Name)
	case m.Method != Stored && m.Method != Deflated:
		return nil, 0, fault.New(fault.Malformed, "File %q: compression method %d is not supported", m.Name, m.Method)
	case packed > 1<<62 || size > 1<<62 || local > 1<<62:
		return nil, 0, fault.New(fault.Malformed, "File %q claims %d bytes at %d", m.Name, size, local)
	case m.Method == Stored && packed != size:
		return nil, 0, fault.New(fault.Malformed, "File %q is stored in %d bytes and claims %d", m.Name, packed, size)
	}
	m.Packed, m.Size, m.local = int64(packed), int64(size), int64(local)
	return m, total, nil
}

// zip64Sizes takes the numbers that did not fit from the ZIP64 extra field.
func zip64Sizes(extra []byte, name string, fields ...*uint64) error {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		tag, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			return nil // some writers pad with rubbish
		}
		field := extra[4 : 4+n]
		extra = extra[4+n:]
		if tag != 1 {
			continue
		}
		for _, f := range fields {
			if *f != 1<<32-1 {
				continue
			}
			if len(field) < 8 {
				return fault.New(fault.Malformed, "File %q: the ZIP64 field breaks off", name)
			}
			*f, field = le.Uint64(field), field[8:]
		}
		return nil
	}
	return nil
}

// place finds the bytes of each member behind its local header and refuses
// members that overlap.
func place(r io.ReaderAt, list []*Member, directory int64) error {
	byPlace := slices.Clone(list)
	slices.SortFunc(byPlace, func(a, b *Member) int {
		switch {
		case a.local < b.local:
			return -1
		case a.local > b.local:
			return 1
		}
		return 0
	})
	var h [localSize]byte
	var name []byte
	free := int64(0) // what lies before belongs to the member before
	for _, m := range byPlace {
		if m.local < free || m.local > directory-localSize {
			return fault.New(fault.Malformed, "File %q at %d overlaps another member or the directory", m.Name, m.local)
		}
		if _, err := r.ReadAt(h[:], m.local); err != nil {
			return fault.As(fault.Malformed, err, "File %q", m.Name)
		}
		n, extra := int64(binary.LittleEndian.Uint16(h[26:])), int64(binary.LittleEndian.Uint16(h[28:]))
		if binary.LittleEndian.Uint32(h[:]) != localSignature || int(n) != len(m.Name) || binary.LittleEndian.Uint16(h[8:]) != m.Method {
			return fault.New(fault.Malformed, "File %q: its local header says otherwise than the directory", m.Name)
		}
		m.start = m.local + localSize + n + extra
		if m.start > directory || m.Packed > directory-m.start {
			return fault.New(fault.Malformed, "File %q: %d bytes at %d overlap the directory", m.Name, m.Packed, m.start)
		}
		name = slices.Grow(name[:0], int(n))[:n]
		if _, err := r.ReadAt(name, m.local+localSize); err != nil {
			return fault.As(fault.Malformed, err, "File %q", m.Name)
		}
		if !bytes.Equal(name, []byte(m.Name)) {
			return fault.New(fault.Malformed, "File %q in the directory is named %q in its header", m.Name, name)
		}
		free = m.start + m.Packed
	}
	return nil
}

// Raw reads the bytes as they lie in the archive.
func (m *Member) Raw() *io.SectionReader { return io.NewSectionReader(m.from, m.start, m.Packed) }

// Open reads the member unpacked. The reader gives an error of kind Malformed
// at the end when it unpacks to another size or checksum than claimed, or when
// bytes are left over; it never gives more bytes than claimed.
func (m *Member) Open() io.ReadCloser {
	raw := &window{r: m.Raw()}
	o := &reader{m: m, sum: crc32.NewIEEE(), left: m.Size}
	if m.Method == Stored {
		o.r = raw
		return o
	}
	o.raw = raw
	f := flate.NewReader(raw)
	o.r, o.close = f, f
	return o
}

// window reads ahead in blocks and is an io.ByteReader, so that the unpacker
// takes no byte too many.
type window struct {
	r   io.Reader
	buf [16 << 10]byte
	b   []byte
	err error
}

func (w *window) fill() error {
	for len(w.b) == 0 {
		if w.err != nil {
			return w.err
		}
		var n int
		n, w.err = w.r.Read(w.buf[:])
		w.b = w.buf[:n]
	}
	return nil
}

func (w *window) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.fill(); err != nil {
		return 0, err
	}
	n := copy(p, w.b)
	w.b = w.b[n:]
	return n, nil
}

func (w *window) ReadByte() (byte, error) {
	if len(w.b) == 0 {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	c := w.b[0]
	w.b = w.b[1:]
	return c, nil
}

// reader unpacks a member and checks it.
type reader struct {
	m     *Member
	r     io.Reader
	raw   *window // of a deflated member
	close io.Closer
	sum   hash.Hash32
	left  int64
	done  error
}

func (o *reader) Read(p []byte) (int, error) {
	if o.done != nil {
		return 0, o.done
	}
	if int64(len(p)) > o.left {
		p = p[:o.left+1] // one more shows that there is more
	}
	n, err := o.r.Read(p)
	if int64(n) > o.left {
		o.done = fault.New(fault.Malformed, "File %q unpacks to more than the %d bytes it claims", o.m.Name, o.m.Size)
		return 0, o.done
	}
	o.left -= int64(n)
	o.sum.Write(p[:n])
	if err != nil {
		o.done = o.finish(err)
	}
	return n, o.done
}

func (o *reader) finish(err error) error {
	switch {
	case err != io.EOF:
		return fault.As(fault.Malformed, err, "File %q", o.m.Name)
	case o.left > 0:
		return fault.New(fault.Malformed, "File %q unpacks to %d bytes and claims %d", o.m.Name, o.m.Size-o.left, o.m.Size)
	case o.sum.Sum32() != o.m.CRC:
		return fault.New(fault.Malformed, "Bad CRC-32 for file %q", o.m.Name)
	}
	if o.raw != nil {
		if _, err := o.raw.ReadByte(); err != io.EOF {
			return fault.New(fault.Malformed, "File %q: bytes are left over behind its end", o.m.Name)
		}
	}
	return io.EOF
}

func (o *reader) Close() error {
	if o.close == nil {
		return nil
	}
	return o.close.Close()
}

// gzipHeader begins a gzip member (RFC 1952) without name and time.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// Gzip gives a deflated member as a gzip file without unpacking it: both hold
// the same stream, between other headers. Read it through Open first, which
// checks it.
func (m *Member) Gzip() (r io.Reader, size int64, ok bool) {
	if m.Method != Deflated {
		return nil, 0, false
	}
	var end [8]byte
	binary.LittleEndian.PutUint32(end[:], m.CRC)
	binary.LittleEndian.PutUint32(end[4:], uint32(m.Size))
	return io.MultiReader(bytes.NewReader(gzipHeader), m.Raw(), bytes.NewReader(end[:])), int64(len(gzipHeader)) + m.Packed + int64(len(end)), true
}

// mostName is how much of a name a message shows.
const mostName = 200

// Quote shows a name in a message.
func Quote(name string) string {
	if len(name) > mostName {
		name = name[:mostName] + "…"
	}
	return strconv.Quote(name)
}

// Plain is a name for a message that has quotes of its own: as it is, but for
// characters that nobody could see.
func Plain(name string) string {
	if len(name) > mostName {
		name = name[:mostName] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, name)
}

// Refused is the error of an archive that is not taken for what it is: one that
// is too large in itself is answered like a broken one.
func Refused(err error) error {
	if fault.Is(err, fault.TooLarge) || fault.Is(err, fault.Malformed) {
		return fault.New(fault.Invalid, "%s", err.Error())
	}
	return err
}
