// Package packed writes numbers and names in few bytes, for compiled symbol
// files: numbers as varints, signed differences as zigzag varints, names with a
// dictionary of the texts that are common among them.
//
// Readers take any bytes: what is not there reads as 0 or "". Nothing here
// checks a sum; symbols/cache does.
package packed

import "encoding/binary"

// Decoder reads packed numbers; after the first one that is not there all read
// as zero.
type Decoder struct {
	B   []byte
	I   int  // where the next one starts
	Bad bool // one was not there
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if d.I >= len(d.B) {
		d.Bad = true
		return 0
	}
	d.I++
	return d.B[d.I-1]
}

// Uvarint reads a number.
func (d *Decoder) Uvarint() uint64 {
	if d.I < len(d.B) {
		if v := d.B[d.I]; v < 0x80 {
			d.I++
			return uint64(v)
		}
	}
	v, n := binary.Uvarint(d.B[min(d.I, len(d.B)):])
	if n <= 0 {
		d.Bad = true
		d.I = len(d.B)
		return 0
	}
	d.I += n
	return v
}

// Uint32 reads four bytes.
func (d *Decoder) Uint32() uint32 {
	if len(d.B)-d.I < 4 {
		d.Bad = true
		d.I = len(d.B)
		return 0
	}
	d.I += 4
	return binary.LittleEndian.Uint32(d.B[d.I-4:])
}

// Zigzag reads a signed difference.
func (d *Decoder) Zigzag() uint64 {
	return signed(d.Uvarint())
}

// Bytes reads n bytes; they are not copied.
func (d *Decoder) Bytes(n uint64) []byte {
	if n > uint64(len(d.B)-d.I) {
		d.Bad = true
		return nil
	}
	d.I += int(n)
	return d.B[d.I-int(n) : d.I : d.I]
}

// Text reads a text of at most limit bytes with its length before it.
func (d *Decoder) Text(limit uint64) string {
	n := d.Uvarint()
	if n > limit {
		d.Bad = true
		return ""
	}
	return string(d.Bytes(n))
}

// Number reads a number at i and returns where the next one is. Past the end
// it reads 0 and returns Beyond.
func Number(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longNumber(b, i)
}

// Beyond is past the end of any data.
const Beyond = 1 << 40

func longNumber(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) {
		if i+1 < len(b) && b[i+1] < 0x80 {
			return uint64(b[i]&0x7f) | uint64(b[i+1])<<7, i + 2
		}
		if v, n := binary.Uvarint(b[i:]); n > 0 {
			return v, i + n
		}
	}
	return 0, Beyond
}

// signed turns a packed number into the difference it stands for.
func signed(v uint64) uint64 { return v>>1 ^ -(v & 1) }

// AppendZigzag appends the signed difference v; it may wrap around.
func AppendZigzag(b []byte, v uint64) []byte {
	return binary.AppendUvarint(b, v<<1^uint64(int64(v)>>63))
}
