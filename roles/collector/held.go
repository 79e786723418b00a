package collector

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"mayday/app/fault"
)

const (
	// smallFile is the largest file of a crash that is held in memory.
	smallFile = 256 << 10
	// maxHeld bounds the memory that the files of one crash take.
	maxHeld = 512 << 10
	// maxOwn bounds the open files of one request; further large files share
	// one. Real crashes have one or two dumps.
	maxOwn = 4
)

// held keeps the files of one request until it is decided what becomes of them:
// small ones in one block of memory, large ones each in a file on disk that the
// bucket may take over, hashed on the way. Nothing reaches the bucket before the
// decision.
type held struct {
	dir   string  // where files are made
	room  *budget // for the files of all requests; nil: no bound
	mem   []byte
	disks []*disk // the last is shared once there are maxOwn
}

// budget bounds the bytes that requests under way hold on disk, so that many
// bodies that unpack to zeros cannot fill it.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int) error {
	if b != nil && b.used.Add(int64(n)) > b.limit {
		return fault.New(fault.Unavailable, "crashes under way take more than %d bytes of disk", b.limit)
	}
	return nil
}

func (b *budget) free(n int64) {
	if b != nil {
		b.used.Add(-n)
	}
}

// disk is a file that holds one large file of a crash, or several.
type disk struct {
	*os.File
	size   int64
	taken  int64 // of the budget
	shared bool
}

// section is where a file's bytes are.
type section struct {
	disk *disk // nil: in memory
	at   int64
	size int64
	sum  string // SHA-256 in hex
}

// take reads the current part of m.
func (h *held) take(m *multipart) (section, error) {
	start := len(h.mem)
	s := section{at: int64(start)}
	sum := sha256.New()
	for {
		chunk, err := m.chunk()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s, err
		}
		sum.Write(chunk)
		if s.disk == nil && (s.size+int64(len(chunk)) > smallFile || len(h.mem)+len(chunk) > maxHeld) {
			if s.disk, err = h.open(); err != nil {
				return s, err
			}
			s.at = s.disk.size
			if err := h.add(s.disk, h.mem[start:]); err != nil {
				return s, err
			}
			h.mem = h.mem[:start]
		}
		if s.disk != nil {
			if err := h.add(s.disk, chunk); err != nil {
				return s, err
			}
		} else {
			h.mem = append(h.mem, chunk...)
		}
		s.size += int64(len(chunk))
	}
	s.sum = hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

// open gives the file for one more large file.
func (h *held) open() (*disk, error) {
	if n := len(h.disks); n > maxOwn {
		return h.disks[n-1], nil
	}
	var random [12]byte
	rand.Read(random[:])
	f, err := os.OpenFile(filepath.Join(h.dir, "incoming-"+hex.EncodeToString(random[:])+newSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "hold a crash on disk")
	}
	d := &disk{File: f, shared: len(h.disks) == maxOwn}
	h.disks = append(h.disks, d)
	return d, nil
}

func (h *held) add(d *disk, p []byte) error {
	d.taken += int64(len(p))
	if err := h.room.take(len(p)); err != nil {
		return err
	}
	n, err := d.Write(p)
	d.size += int64(n)
	return fault.As(fault.Unavailable, err, "hold a crash on disk")
}

// reader gives the bytes of a section, any number of times.
func (h *held) reader(s section) io.ReadCloser {
	switch {
	case s.disk == nil:
		return io.NopCloser(bytes.NewReader(h.mem[s.at : s.at+s.size]))
	case s.disk.shared:
		return io.NopCloser(io.NewSectionReader(s.disk, s.at, s.size))
	}
	return wholeFile{io.NewSectionReader(s.disk, 0, s.size), s.disk.File}
}

// wholeFile reads a large file of a crash that has a file on disk to itself.
type wholeFile struct {
	*io.SectionReader
	file *os.File
}

// Close does nothing: the file stays open until the request is answered.
func (wholeFile) Close() error { return nil }

// Whole is the file, for a bucket on the same disk to take over.
func (w wholeFile) Whole() *os.File { return w.file }

// close forgets everything and leaves h ready for the next request. Files that
// the bucket took over have another name by now.
func (h *held) close() {
	h.mem = h.mem[:0]
	for _, d := range h.disks {
		h.room.free(d.taken)
		d.Close()
		os.Remove(d.Name())
	}
	h.disks = nil
}
