// Package function packs what a symbol file says about one function – its
// FUNC, INLINE and line records – and answers which line and which inlined
// calls cover an address in it.
//
// # Form
//
//	flags   byte
//	size    uvarint
//	params  uvarint, where the flags say so
//	name    uint32, where the text of the name is
//	columns its records, see columns.go
//
// The columns have fields of a fixed width, so that an answer takes two binary
// searches however many records there are. They hold the records of functions
// in which calls nest and lines follow one another, which is nearly all. Odd
// functions, where records overlap, leave the function or come out of order,
// have in place of columns
//
//	layout  what symbolic makes of the records (tree.go), see marks.go
//	records the INLINE and line records as they came, see records.go
//
// Those that do not fit either, such as functions of 4 GiB, have the records
// alone and are laid out at each lookup.
//
// # Rules
//
// An answer follows symbolic or minidump-stackwalk, as the caller asks: see
// Function.Answer. For other than odd functions both are answered from the same
// columns.
//
// Function takes any bytes: what cannot be decoded answers nothing.
package function

import (
	"encoding/binary"

	"mayday/symbols"
	"mayday/symbols/lookup/packed"
)

// Flags of a packed function.
const (
	// Multiple is the m flag of the FUNC record.
	Multiple   = 1 << iota
	flagOdd    // there is a layout, not columns, and the records
	flagParams // there is a size of parameters
	flagBare   // there are only the records
)

// Head is the front of a packed function: its FUNC record.
type Head struct {
	Flags     byte
	Size      uint64
	ParamSize uint32
	Name      uint32
}

// Function is a packed function.
type Function struct {
	Head
	start uint64
	b     []byte
	i     int // where the columns start
}

// At reads the front of the function that starts at an address and is packed
// at the front of b. It reports false when it is not whole.
func At(b []byte, start uint64) (f Function, ok bool) {
	if len(b) == 0 {
		return f, false
	}
	f.start, f.b, f.Flags = start, b, b[0]
	var i int
	f.Size, i = packed.Number(b, 1)
	if f.Flags&flagParams != 0 {
		var v uint64
		v, i = packed.Number(b, i)
		f.ParamSize = uint32(v)
	}
	if i > len(b)-4 {
		return f, false
	}
	f.Name = binary.LittleEndian.Uint32(b[i:])
	f.i = i + 4
	return f, true
}

// Start is the address of the function.
func (f *Function) Start() uint64 { return f.start }

// Call is the call site of an inlined call, in ids.
type Call struct{ Line, File, Origin uint32 }

// Hit is the answer of a lookup in ids of the symbol file. It may be used for
// many lookups, one after the other, which then allocate nothing.
type Hit struct {
	Address, Size uint64
	ParamSize     uint32
	Name          uint32 // as in Head
	Multiple      bool
	Public        bool
	HasLine       bool
	Line, File    uint32 // of the innermost code
	// Calls are the sites of inlined calls, outermost first.
	Calls []Call
}

// SetHead starts an answer with what a FUNC or PUBLIC record says.
func (h *Hit) SetHead(start uint64, hd *Head) {
	h.Address, h.Size, h.ParamSize, h.Name = start, hd.Size, hd.ParamSize, hd.Name
	h.Multiple, h.Public = hd.Flags&Multiple != 0, false
	h.HasLine, h.Line, h.File = false, 0, 0
	h.Calls = h.Calls[:0]
}

func (h *Hit) setLine(line, file uint32) { h.HasLine, h.Line, h.File = true, line, file }

// setCall notes the call site at a depth.
func (h *Hit) setCall(depth uint32, c Call) {
	if depth > maxNesting {
		return
	}
	for uint32(len(h.Calls)) <= depth {
		h.Calls = append(h.Calls, Call{})
	}
	h.Calls[depth] = c
}

// Answer says what the function knows about p, an address from its start on.
//
// The answer changes at marks: the start of the function, of each line, of each
// inlined call and of what no line covers in one. Symbolic answers for the last
// mark at or before p, so that a gap between lines goes on with the line before.
// Where no line covers code of an inlined call, the call is left out and what
// stands there is its site. Behind inlined calls, before the next line, nothing
// is known, which Answer reports as false. The best reading keeps the call that
// no line covers. In parity the answer is that of minidump-stackwalk, for p
// itself.
func (f *Function) Answer(h *Hit, p uint64, r symbols.Reading) bool {
	h.SetHead(f.start, &f.Head)
	switch {
	case r == symbols.Parity && f.Flags&flagOdd != 0:
		spans, lines := f.Records()
		layOutParity(h, spans, lines, p)
		return true
	case f.Flags&flagBare != 0:
		l := f.layOut()
		return l.answer(h, p)
	case f.Flags&flagOdd != 0:
		l, ok := readLaid(f.b, f.i)
		return ok && l.answer(h, p-f.start)
	}
	var c columns
	return c.read(f.b, f.i) && c.answer(h, p-f.start, f.Size, r)
}

// layOut lays the function out by its records.
func (f *Function) layOut() layout {
	spans, lines := f.Records()
	l, _ := layOut(spans, lines, f.start, f.Size, len(spans)+maxPlaced)
	return l
}

// Records unpacks all records of the function in the order they came.
func (f *Function) Records() (spans []Span, lines []Line) {
	i := f.i
	switch {
	case f.Flags&flagBare != 0:
	case f.Flags&flagOdd != 0:
		l, ok := readLaid(f.b, i)
		if !ok {
			return nil, nil
		}
		i = l.end
	default:
		var c columns
		if !c.read(f.b, i) {
			return nil, nil
		}
		return c.records(f.start, f.Size)
	}
	d := packed.Decoder{B: f.b, I: i}
	return unpack(&d, f.start)
}

// Marks lists the addresses at which symbolic's answer changes.
func (f *Function) Marks() []Mark { return f.layOut().marks }
