package debuginfo

import "encoding/binary"

// cursor takes numbers off bytes, from at on. After the first that is not there
// everything it gives is 0 and broken is set.
type cursor struct {
	b      []byte
	at     int
	big    bool
	broken bool
}

func (c *cursor) fail() { c.broken, c.at = true, len(c.b) }

func (c *cursor) rest() int { return len(c.b) - c.at }

func (c *cursor) skip(n uint64) {
	if n > uint64(c.rest()) {
		c.fail()
		return
	}
	c.at += int(n)
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > c.rest() {
		c.fail()
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) u8() uint8 {
	if c.at >= len(c.b) {
		c.fail()
		return 0
	}
	c.at++
	return c.b[c.at-1]
}

func (c *cursor) u16() uint16 { return uint16(c.uint(2)) }
func (c *cursor) u32() uint32 { return uint32(c.uint(4)) }

// uint reads a number of 1, 2, 3, 4 or 8 bytes.
func (c *cursor) uint(n int) uint64 {
	b := c.take(n)
	if b == nil {
		return 0
	}
	switch {
	case n == 1:
		return uint64(b[0])
	case n == 2 && c.big:
		return uint64(binary.BigEndian.Uint16(b))
	case n == 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case n == 3 && c.big:
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	case n == 3:
		return uint64(b[2])<<16 | uint64(b[1])<<8 | uint64(b[0])
	case n == 4 && c.big:
		return uint64(binary.BigEndian.Uint32(b))
	case n == 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case n == 8 && c.big:
		return binary.BigEndian.Uint64(b)
	case n == 8:
		return binary.LittleEndian.Uint64(b)
	}
	c.fail()
	return 0
}

// uleb and sleb read numbers of variable length (DWARF 5, section 7.6).
func (c *cursor) uleb() uint64 {
	if c.at < len(c.b) && c.b[c.at] < 0x80 {
		c.at++
		return uint64(c.b[c.at-1])
	}
	v, _ := c.leb()
	return v
}

func (c *cursor) sleb() int64 {
	v, bits := c.leb()
	if bits >= 64 {
		return int64(v)
	}
	return int64(v<<(64-bits)) >> (64 - bits)
}

// maxLEB is the most bytes of a number that are read: ten hold 64 bits, writers
// may pad.
const maxLEB = 16

// leb returns the bits of a number and how many they are.
func (c *cursor) leb() (v uint64, bits uint) {
	for i := range maxLEB {
		if c.at+i >= len(c.b) {
			break
		}
		b := c.b[c.at+i]
		if bits < 64 {
			v |= uint64(b&0x7f) << bits
		}
		bits += 7
		if b&0x80 == 0 {
			c.at += i + 1
			return v, bits
		}
	}
	c.fail()
	return 0, 64
}

// text reads bytes up to a zero.
func (c *cursor) text() []byte {
	b := c.b[c.at:]
	i := indexZero(b)
	if i < 0 {
		c.fail()
		return nil
	}
	c.at += i + 1
	return b[:i]
}

// length reads how long a piece is, and says whether it is of the 64-bit form.
func (c *cursor) length() (n uint64, wide bool) {
	const escape = 0xffff_ffff
	if n = uint64(c.u32()); n == escape {
		return c.uint(8), true
	}
	return n, false
}

// offset reads an offset of the 32-bit or 64-bit form.
func (c *cursor) offset(wide bool) uint64 {
	if wide {
		return c.uint(8)
	}
	return uint64(c.u32())
}
