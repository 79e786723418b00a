package lookup

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"

	"mayday/symbols"
	"mayday/symbols/lookup/packed"
)

// Forms of a packed name, in the low bits of its length.
const (
	formRaw = iota
	formName
	formPath
	formBits = 2
)

// text returns the text at r. The bytes belong to the table.
func (t *Table) text(r ref) []byte {
	b, form := t.kept(r)
	switch form {
	case formName:
		return t.names.Unpack(b)
	case formPath:
		return t.paths.Unpack(b)
	}
	return b
}

// Scratch is memory for the texts of a Location, for those who ask for many one
// after the other. The zero value is ready.
type Scratch struct {
	b       []byte
	inlines []symbols.Inline
	keep    bool // answers stay as they are, and nothing of them lies in the table
}

// scratchSize is how much memory a Scratch takes at a time.
const (
	scratchSize    = 16 << 10
	scratchInlines = 128 // and of those whose answers stay
)

// take returns n bytes of s, new ones when s is nil.
func (s *Scratch) take(n int) []byte {
	if s == nil {
		return make([]byte, n)
	}
	if cap(s.b)-len(s.b) < n {
		s.b = make([]byte, 0, max(n, scratchSize))
	}
	at := len(s.b)
	s.b = s.b[:at+n]
	return s.b[at : at+n : at+n]
}

// most is at least what unpacking b takes. Where the rest is given back, a bound
// does, which is known sooner.
func (s *Scratch) most(d *packed.Dictionary, b []byte) int {
	if n := packed.Most(len(b)); s != nil && n <= scratchSize/8 {
		return n
	}
	return d.Room(b)
}

// give takes back what of the last take was not needed.
func (s *Scratch) give(n int) {
	if s != nil {
		s.b = s.b[:len(s.b)-n]
	}
}

// name returns the text at r as a string; bytes that are no UTF-8 are replaced,
// as answers are JSON. With a Scratch the string lies there, or in the table.
func (t *Table) name(r ref, s *Scratch) string {
	b, form := t.kept(r)
	d := t.names
	switch {
	case form == formPath:
		d = t.paths
	case form != formName:
		d = nil
	}
	switch {
	case d != nil:
		to := s.take(s.most(d, b))
		b = d.UnpackTo(to, b)
		s.give(len(to) - len(b))
	case s == nil:
		b = bytes.Clone(b)
	case s.keep:
		to := s.take(len(b))
		copy(to, b)
		b = to
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return unsafe.String(unsafe.SliceData(b), len(b)) // nobody writes to b
}

// room returns memory for n inlined calls.
func (s *Scratch) room(n int) []symbols.Inline {
	switch {
	case s == nil:
		return make([]symbols.Inline, 0, n)
	case !s.keep:
		return s.inlines
	}
	if cap(s.inlines)-len(s.inlines) < n {
		s.inlines = make([]symbols.Inline, 0, max(n, scratchInlines))
	}
	at := len(s.inlines)
	s.inlines = s.inlines[:at+n]
	return s.inlines[at : at : at+n]
}

// kept returns the bytes kept at r and their form.
func (t *Table) kept(r ref) ([]byte, uint64) {
	b := t.store.from(r)
	head, k := binary.Uvarint(b)
	n := head >> formBits
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, formRaw
	}
	return b[k : k+int(n)], head & (1<<formBits - 1)
}

// namePacker packs the names of one kind.
type namePacker struct {
	form  byte // of those that are packed; formRaw packs none
	names packed.Names
}

// pack returns the form and the bytes to keep of t, valid until the next call.
func (n *namePacker) pack(t []byte) (form byte, b []byte) {
	if n.form == formRaw {
		return formRaw, t
	}
	b, ok := n.names.Pack(t)
	if !ok {
		return formRaw, b
	}
	return n.form, b
}
