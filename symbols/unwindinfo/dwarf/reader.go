package dwarf

import "encoding/binary"

// reader takes numbers off the front of bytes. After the first that is not there
// everything it gives is 0 and broken is set.
type reader struct {
	b      []byte
	order  binary.ByteOrder
	broken bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.broken, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// uint reads a number of n bytes: 1, 2, 4 or 8.
func (r *reader) uint(n int) uint64 {
	b := r.take(n)
	if b == nil {
		return 0
	}
	switch n {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(r.order.Uint16(b))
	case 4:
		return uint64(r.order.Uint32(b))
	case 8:
		return r.order.Uint64(b)
	}
	r.broken = true
	return 0
}

// int reads a number with a sign.
func (r *reader) int(n int) int64 {
	v := r.uint(n)
	shift := 64 - 8*uint(n)
	return int64(v<<shift) >> shift
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

// uleb and sleb read numbers of variable length (DWARF 5, section 7.6).
func (r *reader) uleb() uint64 {
	v, _ := r.leb()
	return v
}

func (r *reader) sleb() int64 {
	v, bits := r.leb()
	if bits >= 64 {
		return int64(v)
	}
	return int64(v<<(64-bits)) >> (64 - bits)
}

// leb returns the bits of a number and how many they are.
func (r *reader) leb() (v uint64, bits uint) {
	for i, c := range r.b {
		if bits < 64 {
			v |= uint64(c&0x7f) << bits
		}
		bits += 7
		if c&0x80 == 0 {
			r.b = r.b[i+1:]
			return v, bits
		}
		if i == maxLEB {
			break
		}
	}
	r.broken, r.b = true, nil
	return 0, 64
}

// maxLEB is the most bytes of a number that are read: ten hold 64 bits, writers
// may pad.
const maxLEB = 16

// maxText is the most bytes of a text: those that tables hold are letters for
// what an entry has.
const maxText = 32

// string reads text that ends with a zero.
func (r *reader) string() string {
	for i, c := range r.b[:min(len(r.b), maxText)] {
		if c == 0 {
			s := string(r.b[:i])
			r.b = r.b[i+1:]
			return s
		}
	}
	r.broken, r.b = true, nil
	return ""
}
