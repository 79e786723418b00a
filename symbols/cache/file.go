package cache

import (
	"encoding/binary"
	"hash/crc32"
	"os"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

// A compiled file is
//
//	header     64 bytes
//	blocks     each of 64 KiB but the last, as the table has them
//	directory  source tag, then per block its length and CRC-32C, then the table's directory
//
// The header, little-endian:
//
//	 0  magic "MAYDSYMC"
//	 8  version, uint32
//	12  number of blocks, uint32
//	16  offset of the directory, uint64
//	24  length of the directory, uint64
//	32  CRC-32C of the directory, uint32
//	36  zeros
//	60  CRC-32C of the 60 bytes before, uint32
//
// Version is that of the format; files of another are compiled anew.
const Version = 3

const (
	magic      = "MAYDSYMC"
	headerSize = 64
	// maxDirectory bounds what is read at open; 4 GiB of blocks need 1 MiB, and
	// an index about as much.
	maxDirectory = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// File is a compiled lookup file, mapped into memory. Lookups go through View;
// they may come from several goroutines, but none may be under way or come
// after Close.
type File struct {
	table  *lookup.Table
	data   []byte
	unmap  func() error
	source string
}

// OpenFile maps the compiled file at path. A file that is damaged, cut or of
// another version is Malformed: it is to be compiled again.
func OpenFile(path string) (_ *File, err error) {
	defer fault.In(&err, "open compiled symbols %s", path)
	f, err := os.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, fault.As(fault.NotFound, err, "no file")
		}
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < headerSize {
		return nil, fault.New(fault.Malformed, "%d bytes are less than a header", st.Size())
	}
	data, unmap, err := mapFile(f, st.Size())
	if err != nil {
		return nil, err
	}
	c, err := Open(data)
	if err != nil {
		_ = unmap() // the file is refused already
		return nil, err
	}
	c.unmap = unmap
	return c, nil
}

// Open reads a compiled file that lies in memory. Header and directory are
// checked here, the blocks when they are used.
func Open(data []byte) (*File, error) {
	if len(data) < headerSize || string(data[:8]) != magic {
		return nil, fault.New(fault.Malformed, "compiled symbols: no header")
	}
	h := data[:headerSize]
	if got := crc32.Checksum(h[:60], castagnoli); got != binary.LittleEndian.Uint32(h[60:]) {
		return nil, fault.New(fault.Malformed, "compiled symbols: header checksum %08x is wrong", got)
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v != Version {
		return nil, fault.New(fault.Malformed, "compiled symbols: version %d, not %d", v, Version)
	}
	count := uint64(binary.LittleEndian.Uint32(h[12:]))
	at, size := binary.LittleEndian.Uint64(h[16:]), binary.LittleEndian.Uint64(h[24:])
	if at < headerSize || at > uint64(len(data)) || size > uint64(len(data))-at || size > maxDirectory {
		return nil, fault.New(fault.Malformed, "compiled symbols: directory of %d bytes at %d, the file has %d", size, at, len(data))
	}
	dir := data[at : at+size]
	if got := crc32.Checksum(dir, castagnoli); got != binary.LittleEndian.Uint32(h[32:]) {
		return nil, fault.New(fault.Malformed, "compiled symbols: directory checksum %08x is wrong", got)
	}
	return open(data, dir, count, at)
}

// open reads the directory and makes a table of the blocks.
func open(data, dir []byte, count, end uint64) (*File, error) {
	broken := fault.New(fault.Malformed, "compiled symbols: the list of %d blocks is broken", count)
	n, used := binary.Uvarint(dir)
	if used <= 0 || n > uint64(len(dir)-used) {
		return nil, broken
	}
	f := &File{data: data, source: string(dir[used : used+int(n)]), unmap: func() error { return nil }}
	dir = dir[used+int(n):]
	if count > uint64(len(dir)) {
		return nil, broken
	}
	blocks := make([][]byte, count)
	sums := make([][]byte, count)
	for k := range blocks {
		n, used := binary.Uvarint(dir)
		pieces := (n + lookup.BlockSize - 1) / lookup.BlockSize
		at := uint64(headerSize) + uint64(k)*lookup.BlockSize
		if used <= 0 || n > uint64(len(data)) || pieces*4 > uint64(len(dir)-used) {
			return nil, broken
		}
		dir = dir[used:]
		if n == 0 {
			continue
		}
		if at > end || n > end-at {
			return nil, broken
		}
		blocks[k], sums[k] = data[at:at+n:at+n], dir[:pieces*4]
		dir = dir[pieces*4:]
	}
	t, err := lookup.Open(dir, blocks, func(k int) bool { return sound(blocks[k], sums[k]) })
	f.table = t
	return f, err
}

// sound checks a block against its checksums.
func sound(b, sums []byte) bool {
	for ; len(b) > 0; sums = sums[4:] {
		n := min(len(b), lookup.BlockSize)
		if crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(sums) {
			return false
		}
		b = b[n:]
	}
	return true
}

// View is the file under one reading.
func (f *File) View(r symbols.Reading) lookup.View { return f.table.View(r) }

// Table is the table of the file.
func (f *File) Table() *lookup.Table { return f.table }

// Source is the tag of the text that the file was made of.
func (f *File) Source() string { return f.source }

// Size is how many bytes the file has.
func (f *File) Size() int64 { return int64(len(f.data)) }

// Damaged reports whether a block failed its check.
func (f *File) Damaged() bool { return f.table.Damaged() }

// Close unmaps the file.
func (f *File) Close() error {
	f.data = nil
	return f.unmap()
}
