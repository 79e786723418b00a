// Package jsontext writes JSON by appending it, piece by piece, and makes Go
// values of what it wrote. The writer does not check that brackets match and
// keys differ: the caller knows its schema. Values reads nothing that others
// wrote.
package jsontext

import (
	"io"
	"strconv"
	"unicode/utf8"
)

// MaxPending is how much JSON a Writer holds before it hands it on.
const MaxPending = 64 << 10

// Writer appends JSON to B. Objects and arrays are opened and closed with Raw;
// between them come pairs of Key and a value, or elements after Item.
type Writer struct {
	B []byte
	// W takes what was written when there is much of it; nil keeps everything
	// in B.
	W   io.Writer
	Err error // the first of W
}

// Flush hands what exceeds limit to W, but for the last bytes kept: Key looks at
// the last one.
func (w *Writer) Flush(limit, kept int) {
	if w.W == nil || len(w.B) <= limit {
		return
	}
	n := len(w.B) - kept
	if w.Err == nil {
		_, w.Err = w.W.Write(w.B[:n])
	}
	w.B = append(w.B[:0], w.B[n:]...)
}

// Key starts a pair of an object.
func (w *Writer) Key(k string) {
	if c := w.B[len(w.B)-1]; c != '{' {
		w.B = append(w.B, ',')
	}
	w.B = append(w.B, '"')
	w.B = append(w.B, k...)
	w.B = append(w.B, '"', ':')
}

// Item separates the elements of an array; i is the number of the one to come.
func (w *Writer) Item(i int) {
	if i > 0 {
		w.B = append(w.B, ',')
		w.Flush(MaxPending, 1)
	}
}

// Raw appends s as it is.
func (w *Writer) Raw(s string) { w.B = append(w.B, s...) }

// Null appends null.
func (w *Writer) Null() { w.Raw("null") }

// Boolean appends true or false.
func (w *Writer) Boolean(v bool) { w.B = strconv.AppendBool(w.B, v) }

// Number appends a number.
func (w *Writer) Number(v uint64) { w.B = strconv.AppendUint(w.B, v, 10) }

// Hex appends a text of 0x and at least width digits.
func (w *Writer) Hex(v uint64, width int) {
	var digits [16]byte
	n := len(digits)
	for ; v > 0 || n > len(digits)-width; v >>= 4 {
		n--
		digits[n] = "0123456789abcdef"[v&15]
	}
	w.B = append(w.B, '"', '0', 'x')
	w.B = append(w.B, digits[n:]...)
	w.B = append(w.B, '"')
}

// Text appends a text: what JSON demands is escaped, and nothing else. Bytes
// that are no UTF-8 are replaced.
func (w *Writer) Text(s string) {
	w.B = append(w.B, '"')
	for len(s) > MaxPending {
		n := MaxPending
		for i := 1; i < utf8.UTFMax && !utf8.RuneStart(s[n]); i++ {
			n--
		}
		w.escape(s[:n])
		w.Flush(MaxPending, 1)
		s = s[n:]
	}
	w.escape(s)
	w.B = append(w.B, '"')
}

// plain counts the bytes at the front of s that stand for themselves, eight at a
// time: none is a control character, a quote, a backslash or beyond ASCII.
func plain(s string) int {
	const every, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		b := s[i : i+8]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		// A byte below a number borrows from its top bit when that is taken away.
		if (x|(x-every*' ')|((x^every*'"')-every)|((x^every*'\\')-every))&high != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

func (w *Writer) escape(s string) {
	from := 0
	for i := plain(s); i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				w.B = append(append(w.B, s[from:i]...), "\uFFFD"...)
				from = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		w.B = append(w.B, s[from:i]...)
		switch c {
		case '"', '\\':
			w.B = append(w.B, '\\', c)
		case '\n':
			w.Raw(`\n`)
		case '\r':
			w.Raw(`\r`)
		case '\t':
			w.Raw(`\t`)
		case '\b':
			w.Raw(`\b`)
		case '\f':
			w.Raw(`\f`)
		default:
			w.B = append(w.B, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		i++
		from = i
	}
	w.B = append(w.B, s[from:]...)
}
