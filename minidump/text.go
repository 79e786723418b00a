package minidump

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"mayday/minidump/format"
)

// utf16At reads a MINIDUMP_STRING: a length in bytes, then UTF-16. It reports
// false when the text is not all in the file, is not UTF-16 or the budget for
// texts is used up.
func (d *Dump) utf16At(rva uint64) (string, bool) {
	b, ok := d.countedAt(rva)
	if !ok || len(b)%2 != 0 {
		return "", false
	}
	out := make([]byte, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		r := rune(d.Order.Uint16(b[i:]))
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
			continue
		}
		if utf16.IsSurrogate(r) {
			if i+4 > len(b) {
				return "", false
			}
			i += 2
			if r = utf16.DecodeRune(r, rune(d.Order.Uint16(b[i:]))); r == utf8.RuneError {
				return "", false
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}

// utf8At reads a MinidumpUTF8String: a length in bytes, UTF-8, and a 0.
func (d *Dump) utf8At(rva uint64) (string, bool) {
	b, ok := d.countedAt(rva)
	if !ok || !utf8.Valid(b) {
		return "", false
	}
	end, ok := d.src.slice(rva+4+uint64(len(b)), 1)
	return string(b), ok && end[0] == 0
}

// countedAt reads a length and that many bytes, and pays for them.
func (d *Dump) countedAt(rva uint64) ([]byte, bool) {
	head, ok := d.src.slice(rva, 4)
	if !ok {
		return nil, false
	}
	b, ok := d.src.slice(rva+4, uint64(d.Order.Uint32(head)))
	return b, ok && d.texts.take(len(b))
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
	return string(bytes.ToValidUTF8(b, []byte("�")))
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
