package cache

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"mayday/app/fault"
	"mayday/symbols/lookup"
)

// Compile makes the compiled file at path of a .sym text, with the tag that
// tells which text it is. The file appears complete or not at all: it is written
// under another name in the same directory, synced and renamed. Memory is
// bounded whatever the text: what does not fit lies in a temporary file there,
// of twice the size of the text and 2 GB at most.
func Compile(path string, text io.Reader, source string) (size int64, err error) {
	defer fault.In(&err, "write compiled symbols %s", path)
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	spill := &spill{dir: filepath.Dir(path)}
	size, err = compileTo(f, text, source, spill)
	spill.close()
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), path)
}

// compileTo writes a compiled file in one pass but for the header.
func compileTo(f *os.File, text io.Reader, source string, spill lookup.Spill) (int64, error) {
	if _, err := f.Write(make([]byte, headerSize)); err != nil {
		return 0, err
	}
	w := &fileBlocks{f: f}
	t, err := lookup.Compile(text, w, spill)
	if err != nil {
		return 0, err
	}
	dir := binary.AppendUvarint(nil, uint64(len(source)))
	dir = append(dir, source...)
	dir = append(dir, w.list...)
	dir = t.AppendDirectory(dir)
	if len(dir) > maxDirectory {
		return 0, fault.New(fault.TooLarge, "the directory of %d bytes is larger than %d", len(dir), maxDirectory)
	}
	at := headerSize + w.size
	if _, err := f.Write(dir); err != nil {
		return 0, err
	}
	h := make([]byte, headerSize)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[8:], Version)
	binary.LittleEndian.PutUint32(h[12:], w.count)
	binary.LittleEndian.PutUint64(h[16:], uint64(at))
	binary.LittleEndian.PutUint64(h[24:], uint64(len(dir)))
	binary.LittleEndian.PutUint32(h[32:], crc32.Checksum(dir, castagnoli))
	binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
	_, err = f.WriteAt(h, 0)
	return at + int64(len(dir)), err
}

// fileBlocks are the blocks of a file that is being written. It implements
// lookup.Blocks.
type fileBlocks struct {
	f     *os.File
	size  int64  // of all blocks
	count uint32 // of all blocks, those too that one spans
	list  []byte // of the directory: length and checksums of each
	zeros []byte
}

// Put implements lookup.Blocks.
func (w *fileBlocks) Put(b []byte) error {
	if pad := -w.size & (lookup.BlockSize - 1); pad > 0 {
		if w.zeros == nil {
			w.zeros = make([]byte, lookup.BlockSize)
		}
		if _, err := w.f.Write(w.zeros[:pad]); err != nil {
			return err
		}
		w.size += pad
	}
	w.list = binary.AppendUvarint(w.list, uint64(len(b)))
	for n := 0; n < len(b); n += lookup.BlockSize {
		w.list = binary.LittleEndian.AppendUint32(w.list, crc32.Checksum(b[n:min(n+lookup.BlockSize, len(b))], castagnoli))
	}
	w.count++
	for n := lookup.BlockSize; n < len(b); n += lookup.BlockSize {
		w.list = append(w.list, 0) // spanned by this one
		w.count++
	}
	n, err := w.f.Write(b)
	w.size += int64(n)
	return err
}

// ReadAt implements lookup.Blocks.
func (w *fileBlocks) ReadAt(b []byte, at int64) (int, error) { return w.f.ReadAt(b, headerSize+at) }

// spill is a temporary file, made when it is first needed.
type spill struct {
	dir string
	f   *os.File
}

// Write implements lookup.Spill.
func (s *spill) Write(b []byte) (int, error) {
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, tempPrefix+"*")
		if err != nil {
			return 0, err
		}
		s.f = f
	}
	return s.f.Write(b)
}

// ReadAt implements lookup.Spill.
func (s *spill) ReadAt(b []byte, at int64) (int, error) {
	if s.f == nil {
		return 0, io.EOF
	}
	return s.f.ReadAt(b, at)
}

// close removes the file.
func (s *spill) close() {
	if s.f != nil {
		s.f.Close()
		_ = os.Remove(s.f.Name()) // else it goes as unfinished files do
	}
}
