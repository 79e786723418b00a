package format

import "encoding/binary"

// Cursor reads numbers off a byte slice. The first read past the end makes it
// fail for good: later reads give zero, and Failed says where it went wrong.
// So a decoder reads straight down and checks once.
type Cursor struct {
	data   []byte
	order  binary.ByteOrder
	off    int
	failed int // offset of the first failed read, plus one
}

// NewCursor reads data from its start.
func NewCursor(data []byte, order binary.ByteOrder) *Cursor {
	return &Cursor{data: data, order: order}
}

// Failed reports whether a read went past the end, and at which offset it began.
func (c *Cursor) Failed() (offset int, failed bool) { return c.failed - 1, c.failed > 0 }

// Offset is where the next read begins.
func (c *Cursor) Offset() int { return c.off }

// Left is how many bytes remain.
func (c *Cursor) Left() int { return len(c.data) - c.off }

// Bytes takes the next n bytes; they are not copied.
func (c *Cursor) Bytes(n int) []byte {
	if c.failed > 0 {
		return nil
	}
	if n < 0 || n > len(c.data)-c.off {
		c.failed = c.off + 1
		return nil
	}
	b := c.data[c.off : c.off+n]
	c.off += n
	return b
}

// Skip moves on by n bytes.
func (c *Cursor) Skip(n int) { c.Bytes(n) }

// Seek moves to offset.
func (c *Cursor) Seek(offset int) {
	if c.failed == 0 && (offset < 0 || offset > len(c.data)) {
		c.failed = c.off + 1
		return
	}
	c.off = offset
}

// U8 takes one byte.
func (c *Cursor) U8() uint8 {
	if b := c.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes two bytes.
func (c *Cursor) U16() uint16 {
	if b := c.Bytes(2); b != nil {
		return c.order.Uint16(b)
	}
	return 0
}

// U32 takes four bytes.
func (c *Cursor) U32() uint32 {
	if b := c.Bytes(4); b != nil {
		return c.order.Uint32(b)
	}
	return 0
}

// U64 takes eight bytes.
func (c *Cursor) U64() uint64 {
	if b := c.Bytes(8); b != nil {
		return c.order.Uint64(b)
	}
	return 0
}

// Location takes a Location.
func (c *Cursor) Location() Location { return Location{Size: c.U32(), RVA: c.U32()} }

// Record fills v, a pointer to one of this package's structs.
func (c *Cursor) Record(v any) {
	b := c.Bytes(binary.Size(v))
	if b == nil {
		return
	}
	// The size is right, so Decode can only fail on a v that is no record,
	// which every test of its reader would show.
	_, _ = binary.Decode(b, c.order, v)
}
