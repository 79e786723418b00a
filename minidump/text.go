package minidump

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"mayday/minidump/format"
)

// utf16At reads a MINIDUMP_STRING: a length in bytes, then UTF-16. It reports
// false when the text is not all in the file, is not UTF-16 or the budget for
// texts is used up.
func (d *Dump) utf16At(rva uint64) (string, bool) { return d.utf16From(rva, &d.texts) }

// utf16From is utf16At with a budget of its own.
func (d *Dump) utf16From(rva uint64, texts *budget) (string, bool) {
	b, ok := d.countedAt(rva, texts)
	if !ok || len(b)%2 != 0 {
		return "", false
	}
	var out strings.Builder
	out.Grow(len(b) / 2)
	low, high := 0, 1 // of the two bytes of a unit
	if d.Order == binary.BigEndian {
		low, high = 1, 0
	}
	for i := 0; i < len(b); i += 2 {
		if b[i+high] == 0 && b[i+low] < utf8.RuneSelf {
			out.WriteByte(b[i+low])
			continue
		}
		r, wide, ok := d.runeAt(b, i)
		if !ok {
			return "", false
		}
		i += wide
		out.WriteRune(r)
	}
	return out.String(), true
}

// isUTF16 reports whether utf16At can read the text at rva, and pays for it.
func (d *Dump) isUTF16(rva uint64) bool {
	b, ok := d.countedAt(rva, &d.texts)
	if !ok || len(b)%2 != 0 {
		return false
	}
	for i := 0; i < len(b); i += 2 {
		_, wide, ok := d.runeAt(b, i)
		if !ok {
			return false
		}
		i += wide
	}
	return true
}

// runeAt decodes the character at i; wide is 2 when it takes another word.
func (d *Dump) runeAt(b []byte, i int) (r rune, wide int, ok bool) {
	r = rune(d.Order.Uint16(b[i:]))
	if !utf16.IsSurrogate(r) {
		return r, 0, true
	}
	if i+4 > len(b) {
		return 0, 0, false
	}
	r = utf16.DecodeRune(r, rune(d.Order.Uint16(b[i+2:])))
	return r, 2, r != utf8.RuneError
}

// utf8At reads a MinidumpUTF8String: a length in bytes, UTF-8, and a 0.
func (d *Dump) utf8At(rva uint64) (string, bool) {
	b, ok := d.countedAt(rva, &d.texts)
	if !ok || !utf8.Valid(b) {
		return "", false
	}
	end, ok := d.src.slice(rva+4+uint64(len(b)), 1)
	return string(b), ok && end[0] == 0
}

// countedAt reads a length and that many bytes, and pays for them.
func (d *Dump) countedAt(rva uint64, texts *budget) ([]byte, bool) {
	head, ok := d.src.slice(rva, 4)
	if !ok {
		return nil, false
	}
	b, ok := d.src.slice(rva+4, uint64(d.Order.Uint32(head)))
	return b, ok && texts.take(len(b))
}

// fixedUTF16 is the text in a fixed array that ends at the first 0.
func fixedUTF16(s []uint16) string {
	for i, c := range s {
		if c == 0 {
			return string(utf16.Decode(s[:i]))
		}
	}
	return string(utf16.Decode(s))
}

// untilNUL is the text in b up to the first 0 byte; what is not UTF-8 is
// replaced.
func untilNUL(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return ValidText(b)
}

// ValidText is b as text. What is not UTF-8 is replaced, one character for each
// part that could have begun one, as Unicode recommends (chapter 3.9,
// "U+FFFD Substitution of Maximal Subparts").
func ValidText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = subpart(b)
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// subpart is how many bytes at the front of b, which are no character, could
// begin one.
func subpart(b []byte) int {
	low, high, want := byte(0x80), byte(0xbf), 0 // of the next byte; how many follow the first
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 1
	case c >= 0xe0 && c <= 0xef:
		want = 2
	case c >= 0xf0 && c <= 0xf4:
		want = 3
	}
	switch b[0] {
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	n := 1
	for n <= want && n < len(b) && b[n] >= low && b[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}

// guidHex writes a GUID as 32 digits in the order people write it.
func guidHex(g format.GUID, digits string) []byte {
	b := make([]byte, 0, 40)
	put := func(v uint64, n int) {
		for i := n - 1; i >= 0; i-- {
			b = append(b, digits[v>>(4*i)&15])
		}
	}
	put(uint64(g.Data1), 8)
	put(uint64(g.Data2), 4)
	put(uint64(g.Data3), 4)
	for _, x := range g.Data4 {
		put(uint64(x), 2)
	}
	return b
}
