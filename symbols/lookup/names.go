package lookup

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"

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

// name returns the text at r as a string; bytes that are no UTF-8 are replaced,
// as answers are JSON.
func (t *Table) name(r ref) string {
	b, form := t.kept(r)
	switch {
	case form == formName:
		b = t.names.Unpack(b)
	case form == formPath:
		b = t.paths.Unpack(b)
	default:
		b = bytes.Clone(b)
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return unsafe.String(unsafe.SliceData(b), len(b)) // nobody else has b
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
