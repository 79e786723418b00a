package collector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"mayday/app/fault"
)

const (
	// smallFile is the largest file of a crash that is held in memory.
	smallFile = 256 << 10
	// maxHeld bounds the memory that the files of one crash take.
	maxHeld = 512 << 10
)

// held keeps the files of one request until it is decided what becomes of them:
// small ones in one block of memory, the others one after the other in one file
// on disk, hashed on the way. Nothing reaches the bucket before the decision.
type held struct {
	dir  string // where the file is made
	mem  []byte
	disk *os.File // nil until needed; it has no name any more where the system allows
	size int64    // bytes on disk
}

// section is where a file's bytes are.
type section struct {
	onDisk bool
	at     int64
	size   int64
	sum    string // SHA-256 in hex
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
		if !s.onDisk && (s.size+int64(len(chunk)) > smallFile || len(h.mem)+len(chunk) > maxHeld) {
			if err := h.open(); err != nil {
				return s, err
			}
			s.onDisk, s.at = true, h.size
			if err := h.write(h.mem[start:]); err != nil {
				return s, err
			}
			h.mem = h.mem[:start]
		}
		if s.onDisk {
			if err := h.write(chunk); err != nil {
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

func (h *held) open() error {
	if h.disk != nil {
		return nil
	}
	f, err := os.CreateTemp(h.dir, "incoming-*.tmp")
	if err != nil {
		return fault.As(fault.Unavailable, err, "hold a crash on disk")
	}
	h.disk = f
	// Without a name it vanishes with the process; where an open file cannot
	// lose its name, close removes it and Run cleans up after a crash.
	os.Remove(f.Name())
	return nil
}

func (h *held) write(p []byte) error {
	n, err := h.disk.Write(p)
	h.size += int64(n)
	return fault.As(fault.Unavailable, err, "hold a crash on disk")
}

// reader gives the bytes of a section, any number of times.
func (h *held) reader(s section) io.ReadCloser {
	if s.onDisk {
		return io.NopCloser(io.NewSectionReader(h.disk, s.at, s.size))
	}
	return io.NopCloser(bytes.NewReader(h.mem[s.at : s.at+s.size]))
}

// close forgets everything and leaves h ready for the next request.
func (h *held) close() {
	h.mem = h.mem[:0]
	if h.disk != nil {
		h.disk.Close()
		os.Remove(h.disk.Name())
	}
	h.disk, h.size = nil, 0
}
