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
//	columns how the function is laid out, see columns.go
//	records the INLINE and line records as they came, see records.go
//
// The columns have fields of a fixed width, so that an answer takes two binary
// searches however many records there are. In nearly all functions calls nest
// and lines follow one another; then the columns hold the records themselves
// and the second part is left out. In odd functions, where records overlap,
// leave the function or come out of order, the columns hold what symbolic makes
// of them (layout.go) and the records follow. The few that do not fit columns,
// such as those of 4 GiB, have the records alone and are laid out at each
// lookup.
//
// # Rules
//
// An answer follows symbolic or minidump-stackwalk, as the caller asks: see
// Function.Answer. For other than odd functions both see the same calls.
//
// Function takes any bytes: what cannot be decoded answers nothing.
package function

import (
	"encoding/binary"

	"mayday/symbols/lookup/packed"
)

// Flags of a packed function.
const (
	// Multiple is the m flag of the FUNC record.
	Multiple   = 1 << iota
	flagOdd    // the records follow the columns
	flagParams // there is a size of parameters
	flagBare   // there are no columns
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
// The answer changes at marks: the start of the function, of each line, and
// start and end of each INLINE range. Symbolic answers for the last mark at or
// before p, so that a gap between lines goes on with the line before; behind an
// inlined call, before the next line, it knows nothing, which Answer reports as
// false. With parity the answer is that of minidump-stackwalk, for p itself.
func (f *Function) Answer(h *Hit, p uint64, parity bool) bool {
	h.SetHead(f.start, &f.Head)
	switch {
	case parity && f.Flags&flagOdd != 0:
		spans, lines := f.Records()
		layOutParity(h, spans, lines, p)
		return true
	case f.Flags&flagBare != 0:
		spans, lines := f.Records()
		inlines, _ := place(spans, f.start, len(spans)+maxPlaced)
		return layOut(h, inlines, keepLines(lines, f.start, f.Size), f.start, p)
	}
	var c columns
	return c.read(f.b, f.i) && c.answer(h, p-f.start, f.Size, parity)
}

// Records unpacks all records of the function in the order they came.
func (f *Function) Records() (spans []Span, lines []Line) {
	i := f.i
	if f.Flags&flagBare == 0 {
		var c columns
		if !c.read(f.b, i) {
			return nil, nil
		}
		if f.Flags&flagOdd == 0 {
			return c.records(f.start, f.Size)
		}
		i = c.end
	}
	d := packed.Decoder{B: f.b, I: i}
	return unpack(&d, f.start)
}

// Marks lists the addresses at which symbolic's answer changes, unsorted.
func (f *Function) Marks() []uint64 {
	spans, lines := f.Records()
	out := []uint64{f.start}
	inlines, _ := place(spans, f.start, len(spans)+maxPlaced)
	for _, s := range inlines {
		out = append(out, s.Start, s.Start+s.Size)
	}
	for _, l := range keepLines(lines, f.start, f.Size) {
		out = append(out, l.Start)
	}
	return out
}
