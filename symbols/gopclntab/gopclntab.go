// Package gopclntab reads the table that every Go program carries for its own
// runtime, stripped or not: which functions there are, their files, lines and
// inlined calls, and how far the stack pointer is from the caller's at each
// instruction.
//
// The format is that of Go's runtime (src/runtime/symtab.go, runtime2.go and
// internal/abi/symtab.go; written by cmd/link/internal/ld/pcln.go): versions 1.16,
// 1.18 and 1.20, the last of which Go 1.26 still writes. Tables of Go 1.2 to 1.15
// are not read. Where code and inlined calls begin stands in the module data,
// which the runtime starts from; it is found by its first two words, pointers into
// the table. Without it there are functions and lines, but no inlined calls.
//
// Files come from strangers. Nothing is kept of the table but where its parts
// lie: each question reads what it needs of the file, in pieces that are checked
// against the segment they lie in. Functions must lie in code that the file holds
// and may not overlap, so that all answers together take no more steps than the
// file has bytes.
package gopclntab

import (
	"encoding/binary"
	"strings"

	"mayday/app/fault"
	"mayday/symbols/executable"
)

// The limits, far above what Go's tools make.
const (
	maxName  = 16 << 10 // bytes of a name of a function or file; generic ones have thousands
	maxDepth = 128      // of inlined calls in each other
	maxTree  = 1 << 16  // inlined calls of one function
	maxCode  = 1 << 17  // pieces of code of all inlined calls of one function
)

// version is that of the table's layout.
type version uint8

const (
	go116 version = iota + 1
	go118
	go120
)

// Table is the table of one binary. It is safe for concurrent use.
type Table struct {
	version        version
	order          binary.ByteOrder
	piece                  // the table, and what the file holds behind it
	code           []piece // where functions may lie
	quantum        uint64  // of instruction addresses
	pointer        uint64  // size
	count          int
	names, units   uint64 // parts of the table, as all that follow
	files, values  uint64
	functions      uint64
	text           uint64 // offset in the module from which functions count
	trees          piece  // from where inlined calls count
	treesKnown     bool
	field, records uint64 // size of a number in the list of functions; and of a function's record
}

// Open finds the table of a binary. A binary without one is an error of kind
// fault.NotFound, a table that makes no sense one of kind fault.Malformed.
func Open(im *executable.Image) (*Table, error) {
	for _, p := range candidates(im) {
		t := &Table{piece: p, code: code(im)}
		if !t.header() {
			continue
		}
		if err := t.place(); err != nil {
			return nil, err
		}
		return t, nil
	}
	return nil, fault.New(fault.NotFound, "no table of Go functions")
}

// The magic numbers of the versions.
const (
	magic116 = 0xfffffffa
	magic118 = 0xfffffff0
	magic120 = 0xfffffff1
)

// versionOf is the version that the head of a table names, 0 for none.
func versionOf(head []byte, order binary.ByteOrder) version {
	if len(head) < 8 || head[4] != 0 || head[5] != 0 || head[6] != 1 && head[6] != 2 && head[6] != 4 || head[7] != 4 && head[7] != 8 {
		return 0
	}
	switch order.Uint32(head) {
	case magic116:
		return go116
	case magic118:
		return go118
	case magic120:
		return go120
	}
	return 0
}

// header reads where the parts of the table lie. It reports false when they
// cannot be those of a table.
func (t *Table) header() bool {
	t.order = t.image.Order
	head := t.bytes(0, 8)
	if t.version = versionOf(head, t.order); t.version == 0 {
		return false
	}
	t.quantum, t.pointer = uint64(head[6]), uint64(head[7])
	if t.pointer != uint64(t.image.Machine.PointerSize()) {
		return false
	}
	t.field, t.records = 4, 40
	skip := uint64(3) // functions, files, and what was once the start of the code
	switch t.version {
	case go116:
		t.field, t.records, skip = t.pointer, t.pointer+36, 2
	case go120:
		t.records = 44
	}
	count := t.word(8)
	for i, part := range []*uint64{&t.names, &t.units, &t.files, &t.values, &t.functions} {
		*part = t.word(8 + (skip+uint64(i))*t.pointer)
		if *part == 0 || *part >= t.size {
			return false
		}
	}
	if count == 0 || count > (t.size-t.functions)/(2*t.field) || t.names > t.functions {
		return false
	}
	t.count = int(count)
	return true
}

// word reads a number of the size of a pointer.
func (t *Table) word(at uint64) uint64 {
	b := t.bytes(at, int(t.pointer))
	switch {
	case b == nil:
		return 0
	case t.pointer == 4:
		return uint64(t.order.Uint32(b))
	}
	return t.order.Uint64(b)
}

// blockSize is the size of the pieces in which running text is read.
const blockSize = 4 << 10

// block reads some bytes from a place of the table on, none at its end.
func (t *Table) block(at uint64) []byte {
	if at >= t.size {
		return nil
	}
	return t.bytes(at, int(min(blockSize-(t.start+at)%blockSize, t.size-at)))
}

// string reads a string that ends in a zero.
func (t *Table) string(at uint64) string {
	var out []byte
	for len(out) < maxName {
		b := t.block(at)
		if len(b) == 0 {
			return "" // not closed
		}
		for i, c := range b {
			if c == 0 {
				if out == nil {
					return string(b[:i])
				}
				return string(append(out, b[:i]...))
			}
		}
		out = append(out, b...)
		at += uint64(len(b))
	}
	return ""
}

// Flags say what the runtime must know of a function.
type Flags uint8

// The flags.
const (
	// TopFrame marks a function that nothing called.
	TopFrame Flags = 1 << iota
	// WritesSP marks a function that moves the stack pointer in ways that the
	// table cannot tell, such as to another stack.
	WritesSP
	// Assembly marks a function that was not compiled.
	Assembly
)

// Function is a function. Numbers that are not exported are places in the table.
type Function struct {
	// Start and End are offsets in the module.
	Start, End uint64
	// Flags are none in tables of Go 1.16.
	Flags Flags
	// Special says that the runtime knows the function by a number.
	Special bool

	name, unit                uint32
	delta, file, line, inline uint32
	tree                      uint32
	hasTree                   bool
}

// Len is the number of functions.
func (t *Table) Len() int { return t.count }

// entry reads where a function starts, as an offset in the module, and where its
// record lies. Of the one behind the last there is only the first.
func (t *Table) entry(i int) (start, record uint64, ok bool) {
	n := 2 * t.field
	if i == t.count {
		n = t.field
	}
	b := t.bytes(t.functions+uint64(i)*2*t.field, int(n))
	if b == nil {
		return 0, 0, false
	}
	if t.field == 4 {
		start = uint64(t.order.Uint32(b))
		if n == 8 {
			record = uint64(t.order.Uint32(b[4:]))
		}
	} else {
		start = t.order.Uint64(b)
		if n == 16 {
			record = t.order.Uint64(b[8:])
		}
	}
	if t.version == go116 {
		return start - t.image.Base, record, start >= t.image.Base
	}
	return t.text + start, record, true
}

// Function reads one of the functions, which are sorted by their places. It
// reports false for one that makes no sense.
func (t *Table) Function(i int) (f Function, ok bool) {
	if i < 0 || i >= t.count {
		return f, false
	}
	start, record, ok := t.entry(i)
	if !ok {
		return f, false
	}
	if f.End, _, ok = t.entry(i + 1); !ok || f.End <= start || !t.isCode(start, f.End) {
		return f, false
	}
	f.Start = start
	if record > t.size {
		return f, false
	}
	record += t.functions
	b := t.bytes(record, int(t.records))
	if b == nil {
		return f, false
	}
	o, flags := t.order, b[len(b)-3]
	f.Special = b[len(b)-4] != 0
	if t.version != go116 {
		f.Flags = Flags(flags)
	}
	if t.version == go116 {
		b = b[t.pointer-4:] // the address of the function takes a pointer
	}
	f.name, f.unit = o.Uint32(b[4:]), o.Uint32(b[32:])
	f.delta, f.file, f.line = o.Uint32(b[16:]), o.Uint32(b[20:]), o.Uint32(b[24:])
	t.inlined(&f, record+t.records, uint64(o.Uint32(b[28:])), uint64(b[len(b)-1]))
	return f, true
}

// The numbers of the tables for inlined calls among the others of a function.
const (
	pcdataInline = 2
	dataTree     = 3
)

// inlined reads which tables tell of a function's inlined calls: the lists of
// values, of which there are some, and of other data follow its record.
func (t *Table) inlined(f *Function, at, values, data uint64) {
	if !t.treesKnown || values <= pcdataInline || data <= dataTree || values > t.size/4 {
		return
	}
	b := t.bytes(at+4*pcdataInline, 4)
	tree := t.bytes(at+4*(values+dataTree), 4)
	if b == nil || tree == nil {
		return
	}
	if off := t.order.Uint32(tree); off != 1<<32-1 {
		f.inline, f.tree, f.hasTree = t.order.Uint32(b), off, true
	}
}

// Find finds the function that covers an offset of the module.
func (t *Table) Find(offset uint64) (Function, bool) {
	low, high := 0, t.count
	for low < high { // the first that starts behind it
		middle := int(uint(low+high) / 2)
		start, _, ok := t.entry(middle)
		if !ok {
			return Function{}, false
		}
		if start > offset {
			high = middle
		} else {
			low = middle + 1
		}
	}
	f, ok := t.Function(low - 1)
	return f, ok && f.Start <= offset && offset < f.End
}

// Covers reports whether an offset lies in what the table describes as a whole.
func (t *Table) Covers(offset uint64) bool {
	first, _, ok := t.entry(0)
	end, _, known := t.entry(t.count)
	return ok && known && first <= offset && offset < end
}

// isCode reports whether a range lies in code that the file holds.
func (t *Table) isCode(start, end uint64) bool {
	for i := range t.code {
		if c := &t.code[i]; start >= c.start && start-c.start < c.size && end-c.start <= c.size {
			return start < end
		}
	}
	return false
}

// Name is the name of a function, as the runtime prints it.
func (t *Table) Name(f *Function) string { return t.NameAt(f.name) }

// NameAt is the name that an Inline refers to.
func (t *Table) NameAt(at uint32) string {
	return strings.TrimSuffix(t.string(t.names+uint64(at)), ".abi0")
}
