package synth

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// byteOrder reads, stores and appends; binary.LittleEndian and BigEndian do.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// buffer gathers bytes in one byte order.
type buffer struct {
	b     []byte
	order byteOrder
}

func (w *buffer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *buffer) u16(v uint16) { w.b = w.order.AppendUint16(w.b, v) }
func (w *buffer) u32(v uint32) { w.b = w.order.AppendUint32(w.b, v) }
func (w *buffer) u64(v uint64) { w.b = w.order.AppendUint64(w.b, v) }

func (w *buffer) u32s(vs ...uint32) {
	for _, v := range vs {
		w.u32(v)
	}
}

func (w *buffer) bytes(b []byte) { w.b = append(w.b, b...) }
func (w *buffer) zero(n int)     { w.b = append(w.b, make([]byte, n)...) }
func (w *buffer) location(l Location) {
	w.u32(l.Size)
	w.u32(l.RVA)
}

// guid stores the text order of id (as printed, without dashes) the way a
// GUID is laid out: its first three parts are numbers.
func (w *buffer) guid(id [16]byte) {
	w.u32(binary.BigEndian.Uint32(id[0:]))
	w.u16(binary.BigEndian.Uint16(id[4:]))
	w.u16(binary.BigEndian.Uint16(id[6:]))
	w.bytes(id[8:])
}

// fixed16 stores s as UTF-16 in exactly n units, cut or padded with zeros.
func (w *buffer) fixed16(s string, n int) {
	u := utf16.Encode([]rune(s))
	for i := range n {
		if i < len(u) {
			w.u16(u[i])
			continue
		}
		w.u16(0)
	}
}

// Location is a LOCATION_DESCRIPTOR: where in the file some bytes lie.
type Location struct {
	Size uint32
	RVA  uint32
}

// File puts a minidump together piece by piece, for shapes that Dump does not
// offer. The header and a directory of the size given to NewFile come first;
// everything else follows in the order of the calls.
type File struct {
	buffer
	directory []directoryEntry
	reserved  int // directory entries there is room for after the header
	// Header fields; they may be changed until Bytes is called.
	Signature, Version, Checksum, Time uint32
	Flags                              uint64
}

type directoryEntry struct {
	kind uint32
	at   Location
}

const (
	headerSize         = 32
	directoryEntrySize = 12
	signature          = 0x504d444d // "MDMP"
	version            = 0xa793
)

// NewFile starts a file whose directory has room for the number of streams.
func NewFile(bigEndian bool, streams int) *File {
	f := &File{Signature: signature, Version: version}
	f.order = binary.LittleEndian
	if bigEndian {
		f.order = binary.BigEndian
	}
	f.b = make([]byte, headerSize+streams*directoryEntrySize, 16<<10)
	f.reserved = streams
	return f
}

// Order is the byte order of the file.
func (f *File) Order() binary.ByteOrder { return f.order }

// Put appends bytes, aligned to 4, and says where they are.
func (f *File) Put(b []byte) Location {
	f.align()
	at := Location{Size: uint32(len(b)), RVA: uint32(len(f.b))}
	f.b = append(f.b, b...)
	return at
}

func (f *File) align() {
	for len(f.b)%4 != 0 {
		f.b = append(f.b, 0)
	}
}

// PutString appends a MINIDUMP_STRING (UTF-16 with its length in bytes) and
// gives its RVA.
func (f *File) PutString(s string) uint32 {
	f.align()
	at := uint32(len(f.b))
	f.u32(0)
	n := 0
	for _, r := range s {
		if r >= 0x10000 {
			hi, lo := utf16.EncodeRune(r)
			f.u16(uint16(hi))
			f.u16(uint16(lo))
			n += 4
			continue
		}
		f.u16(uint16(r))
		n += 2
	}
	f.order.PutUint32(f.b[at:], uint32(n))
	f.u16(0)
	return at
}

// PutUTF8 appends a MinidumpUTF8String (length, bytes, a zero) and gives its
// RVA; Crashpad's streams use them.
func (f *File) PutUTF8(s string) uint32 {
	f.align()
	at := uint32(len(f.b))
	f.u32(uint32(len(s)))
	f.b = append(f.b, s...)
	f.u8(0)
	return at
}

// Stream appends a stream's bytes and its directory entry.
func (f *File) Stream(kind uint32, b []byte) { f.StreamAt(kind, f.Put(b)) }

// StreamAt adds a directory entry for bytes that are already there, or that
// are not there at all.
func (f *File) StreamAt(kind uint32, at Location) {
	f.directory = append(f.directory, directoryEntry{kind, at})
}

// Bytes finishes the file. More streams than NewFile was told of move the
// directory to the end of the file, which readers accept as well.
func (f *File) Bytes() []byte {
	rva := headerSize
	if len(f.directory) > f.reserved {
		f.align()
		rva = len(f.b)
		f.zero(len(f.directory) * directoryEntrySize)
	}
	o := f.order
	o.PutUint32(f.b[0:], f.Signature)
	o.PutUint32(f.b[4:], f.Version)
	o.PutUint32(f.b[8:], uint32(len(f.directory)))
	o.PutUint32(f.b[12:], uint32(rva))
	o.PutUint32(f.b[16:], f.Checksum)
	o.PutUint32(f.b[20:], f.Time)
	o.PutUint64(f.b[24:], f.Flags)
	for i, d := range f.directory {
		e := f.b[rva+i*directoryEntrySize:]
		o.PutUint32(e, d.kind)
		o.PutUint32(e[4:], d.at.Size)
		o.PutUint32(e[8:], d.at.RVA)
	}
	return slices.Clip(f.b)
}
