package minidump

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"mayday/app/fault"
	"mayday/minidump/format"
)

// Limits on what a file may make us hold. Each is far above real dumps.
const (
	// maxResident is the largest dump that is held in memory as a whole; larger
	// ones are full dumps, of which a walk needs little.
	maxResident = 256 << 20
	// maxStreams bounds the directory; real dumps have up to 40 streams.
	maxStreams = 1 << 20
	// maxPart bounds a stream or record of a dump that is not held in memory.
	maxPart = 64 << 20
	// maxErrors bounds Dump.Errors; one broken list can hold many broken entries.
	maxErrors = 100
	// freeTexts is what texts may take beyond the size of the dump itself:
	// Windows shares the names of modules and handles freely.
	freeTexts = 8 << 20
)

// Dump is a minidump as read. Its fields do not change after Read; its methods
// may be called from several goroutines.
type Dump struct {
	Header format.Header
	// Order is the byte order of the file and of the memory in it.
	Order binary.ByteOrder
	// Size is the length of the file.
	Size int64
	// Streams are the directory's entries in file order, the unused ones
	// included.
	Streams []format.Directory
	// Errors says what could not be read, in the order it was noticed.
	Errors []*FormatError

	// System says what machine it was; nil when the stream is missing.
	System *SystemInfo
	// Threads is nil when the stream is missing or broken.
	Threads []Thread
	// Modules are the loaded modules in file order; those of size 0 are left
	// out. Find them by address with ModuleAt.
	Modules []Module
	// Unloaded are the modules that had been unloaded; nil when the stream is
	// missing or broken.
	Unloaded *UnloadedModules
	// Exception is why the dump was written; nil when nobody said.
	Exception *Exception
	// Misc has the process id and times; nil when the stream is missing.
	Misc *MiscInfo
	// Breakpad names the thread that wrote the dump; nil when the stream is missing.
	Breakpad *BreakpadInfo
	// Assertion is the failed assertion that Breakpad noticed, if any.
	Assertion *Assertion
	// MemoryMaps is Linux' map of the address space, nil when the stream is
	// missing or broken. Mappings unites it with that of Windows.
	MemoryMaps *MemoryMaps
	// Handles are the open handles; nil when the stream is missing.
	Handles *Handles
	// Crashpad has the annotations that Crashpad's client set; nil if it was not
	// Crashpad.
	Crashpad *CrashpadInfo
	// MacCrashInfo are the notes that macOS libraries leave in __crash_info; nil
	// when the stream is missing.
	MacCrashInfo []MacCrashRecord
	// MacBootArgs are the kernel's boot arguments.
	MacBootArgs *string
	// Linux has the files of /proc and /etc that writers on Linux add.
	Linux LinuxFiles
	// SoftErrors is the JSON in which the dump's writer lists what went wrong
	// for it; nil when the stream is missing. It is not checked.
	SoftErrors []byte
	// Comments are the texts of the comment streams.
	Comments []string

	src         source
	texts       budget
	threadsByID []uint32 // numbers of Threads
	threadInfo  []byte   // entries of the stream
	memoryInfo  []byte   // entries of the stream, nil when it is missing
	moduleIdx   rangeIndex
	memoryIdx   rangeIndex // its items are offsets in the file
	hasMemory   bool       // one of the lists of memory was read
}

// Read reads the dump that takes up the first size bytes of r. It fails when
// the header or the directory is broken (kind Malformed, with a *FormatError
// that has a Name) or r cannot be read. The dump reads from r later if it is
// large, so r must stay open while the dump is used.
func Read(r io.ReaderAt, size int64) (*Dump, error) {
	d := &Dump{Size: max(size, 0), src: source{r: r, size: uint64(max(size, 0))}}
	d.texts = d.newBudget()
	if size <= maxResident {
		d.src.data = make([]byte, d.Size)
		n, err := r.ReadAt(d.src.data, 0)
		if err != nil && err != io.EOF {
			return nil, fault.Wrap(err, "read dump of %d bytes", size)
		}
		d.src.data = d.src.data[:n]
		d.src.size, d.Size = uint64(n), int64(n)
	}
	return d, d.read()
}

// FromBytes reads a dump that is in memory already; it keeps b, which must not
// change.
func FromBytes(b []byte) (*Dump, error) {
	d := &Dump{Size: int64(len(b)), src: source{data: b, size: uint64(len(b))}}
	d.texts = d.newBudget()
	return d, d.read()
}

func (d *Dump) read() error {
	if err := d.readHeader(); err != nil {
		return err
	}
	if err := d.readDirectory(); err != nil {
		return err
	}
	d.readStreams()
	return nil
}

func (d *Dump) readHeader() error {
	b, ok := d.src.slice(0, format.HeaderSize)
	if !ok {
		return broken(MissingHeader, 0, "the file has %d bytes, a header has %d", d.Size, format.HeaderSize)
	}
	d.Order = binary.LittleEndian
	if binary.BigEndian.Uint32(b) == format.Signature {
		d.Order = binary.BigEndian
	}
	c := format.NewCursor(b, d.Order)
	c.Record(&d.Header)
	switch {
	case d.Header.Signature != format.Signature:
		return broken(HeaderMismatch, 0, "the file begins with %#08x, not with MDMP", d.Header.Signature)
	case d.Header.Version&format.VersionMask != format.Version:
		return broken(VersionMismatch, 4, "version %#x is not %#x", d.Header.Version&format.VersionMask, format.Version)
	}
	return nil
}

func (d *Dump) readDirectory() error {
	h := &d.Header
	size := uint64(h.StreamCount) * format.DirectorySize
	if h.StreamCount > maxStreams {
		return broken(MissingDirectory, 8, "%d streams are claimed, at most %d are read", h.StreamCount, maxStreams)
	}
	if size == 0 {
		return nil // wherever it is
	}
	b, ok := d.src.slice(uint64(h.DirectoryRVA), size)
	if !ok {
		return broken(MissingDirectory, uint64(h.DirectoryRVA), "%d streams are claimed, %d bytes are left", h.StreamCount, d.src.left(uint64(h.DirectoryRVA)))
	}
	c := format.NewCursor(b, d.Order)
	d.Streams = make([]format.Directory, h.StreamCount)
	for i := range d.Streams {
		d.Streams[i] = format.Directory{Type: format.StreamType(c.U32()), Location: c.Location()}
	}
	return nil
}

// Stream returns the bytes of the last stream of type t. They must not be
// changed. It reports false when there is none or it lies outside the file.
func (d *Dump) Stream(t format.StreamType) ([]byte, bool) {
	b, err := d.stream(t)
	return b, err == nil && b != nil
}

// stream is Stream; a nil slice without an error says that there is none.
func (d *Dump) stream(t format.StreamType) ([]byte, *FormatError) {
	for i := len(d.Streams) - 1; i >= 0; i-- {
		if d.Streams[i].Type != t {
			continue
		}
		l := d.Streams[i].Location
		b, ok := d.src.slice(uint64(l.RVA), uint64(l.Size))
		if !ok {
			return nil, &FormatError{Stream: t, Offset: uint64(l.RVA), Detail: fmt.Sprintf("%d bytes are claimed, %d are left", l.Size, d.src.left(uint64(l.RVA)))}
		}
		if b == nil {
			b = []byte{}
		}
		return b, nil
	}
	return nil, nil
}

// location returns the bytes at l; it reports false when they are not all in
// the file.
func (d *Dump) location(l format.Location) ([]byte, bool) {
	return d.src.slice(uint64(l.RVA), uint64(l.Size))
}

// source is the file: all of it in data, or r.
type source struct {
	r    io.ReaderAt
	data []byte // nil when the file is too large to hold
	size uint64
	mu   sync.Mutex
	last block // the part read last; stacks are read word by word
}

type block struct {
	off  uint64
	data []byte
}

// left is how many bytes there are from off.
func (s *source) left(off uint64) uint64 {
	if off > s.size {
		return 0
	}
	return s.size - off
}

// slice returns n bytes at off, or false when they are not all there. The
// bytes must not be changed.
func (s *source) slice(off, n uint64) ([]byte, bool) {
	if off > s.size || n > s.size-off {
		return nil, false
	}
	if s.data != nil || s.r == nil {
		return s.data[off : off+n : off+n], true
	}
	if n > maxPart {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.last; off >= b.off && off+n <= b.off+uint64(len(b.data)) {
		return b.data[off-b.off:][:n:n], true
	}
	// Small reads come in clusters: read ahead, so that the next is at hand.
	const ahead = 64 << 10
	b := make([]byte, max(n, min(ahead, s.size-off)))
	if _, err := s.r.ReadAt(b, int64(off)); err != nil && err != io.EOF {
		return nil, false
	}
	s.last = block{off, b}
	return b[:n:n], true
}

// newBudget is what texts of this dump may take.
func (d *Dump) newBudget() budget { return budget{d.src.size + freeTexts} }

// budget pays for what is copied out of the file. Records may all point at the
// same long text; without it a dump of some megabytes could ask for terabytes.
type budget struct{ left uint64 }

func (b *budget) take(n int) bool {
	if uint64(n) > b.left {
		b.left = 0
		return false
	}
	b.left -= uint64(n)
	return true
}
