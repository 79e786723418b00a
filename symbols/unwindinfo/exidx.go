package unwindinfo

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// exidx is .ARM.exidx: pairs of a function's start and how to leave it, sorted,
// with longer descriptions in .ARM.extab.
type exidx struct {
	image *executable.Image
	index *executable.Section
}

const (
	cannotUnwind    = 1
	maxExidxOps     = 4 + 255*4 // bytes: the count of words has eight bits
	maxBase         = 1 << 10   // bytes of text; each popped stack pointer makes it longer
	armStackPointer = 13
	armLink         = 14
	armCounter      = 15
)

// prel31 is an address relative to its own, in 31 bits.
func prel31(where uint64, word uint32) uint64 {
	return uint64(uint32(where) + uint32(int32(word<<1)>>1))
}

func (x *exidx) pair(i uint64) (start uint64, word uint32, ok bool) {
	b := x.image.Read(x.index, 8*i, 8)
	if b == nil {
		return 0, 0, false
	}
	o := x.image.Order
	return prel31(x.index.Address+8*i, o.Uint32(b)), o.Uint32(b[4:]), true
}

// Rules implements source.
func (x *exidx) Rules(q rule.Query) (rule.Set, bool) {
	address := x.image.Base + q.Offset
	count := x.index.FileSize / 8
	i, ok := last(count, address, func(i uint64) (uint64, bool) {
		start, _, ok := x.pair(i)
		return start, ok
	})
	if !ok {
		return rule.Set{}, false
	}
	start, word, _ := x.pair(i)
	end := start + 4 // the last entry marks the end, or covers what nobody knows
	if i+1 < count {
		if end, _, ok = x.pair(i + 1); !ok {
			return rule.Set{}, false
		}
	}
	r := rule.Set{CFI: symbols.CFI{Start: start - x.image.Base, Size: end - start}}
	if word == cannotUnwind {
		// The outermost function, or one of assembly: the table cannot say which.
		return rule.Set{}, false
	}
	if q.Innermost && q.Offset == r.CFI.Start {
		r.CFI.Init = ".cfa: $r13 .ra: $r14"
		return r, true
	}
	codes, ok := x.codes(x.index.Address+8*i+4, word)
	if !ok {
		return rule.Set{}, false
	}
	f := armFrame{base: "$r13", saved: map[int]string{}}
	if !f.undo(codes) {
		return rule.Set{}, false
	}
	r.CFI.Init = f.text()
	return r, true
}

// codes are the instructions of an entry whose second word lies at where.
func (x *exidx) codes(where uint64, word uint32) ([]byte, bool) {
	o := x.image.Order
	bytes := func(words ...uint32) []byte {
		var out []byte
		for _, w := range words {
			out = append(out, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
		}
		return out
	}
	if word>>31 != 0 {
		if word>>24 != 0x80 {
			return nil, false
		}
		return bytes(word)[1:], true
	}
	at := prel31(where, word) - x.image.Base
	b := x.image.Bytes(at, 4)
	if b == nil {
		return nil, false
	}
	first := o.Uint32(b)
	skip := 1 // bytes of the first word that are no instructions
	if first>>31 == 0 {
		// A personality routine of its own: what GCC's have follows.
		if at += 4; x.image.Bytes(at, 4) == nil {
			return nil, false
		}
		first = o.Uint32(x.image.Bytes(at, 4))
	}
	more := first >> 24 & 0xff
	if first>>31 != 0 {
		switch first >> 24 & 15 {
		case 0:
			more = 0
		case 1, 2:
			more, skip = first>>16&0xff, 2
		default:
			return nil, false
		}
	}
	out := bytes(first)[skip:]
	for i := range uint64(more) {
		if b = x.image.Bytes(at+4+4*i, 4); b == nil {
			return nil, false
		}
		out = append(out, bytes(o.Uint32(b))...)
	}
	return out, len(out) <= maxExidxOps
}

// armFrame is the stack while a function is being undone.
type armFrame struct {
	base    string
	depth   int64
	saved   map[int]string // where registers lie
	counter string         // the return address, "" for that in lr
}

func (f *armFrame) pop(register int) {
	at := rule.Plus(f.base, f.depth)
	f.depth += 4
	if register == armStackPointer {
		f.base, f.depth = rule.Load(at), 0
		return
	}
	f.saved[register] = at
	if register == armCounter {
		f.counter = rule.Load(at)
	}
}

func (f *armFrame) popMask(first int, mask uint32) {
	for ; mask != 0; mask &= mask - 1 {
		f.pop(first + bits.TrailingZeros32(mask))
	}
}

// undo carries out the instructions of the exception handling ABI, section
// 10.3.
func (f *armFrame) undo(codes []byte) bool {
	for len(codes) > 0 {
		c := codes[0]
		codes = codes[1:]
		second := byte(0)
		switch {
		case c >= 0x80 && c < 0x90, c == 0xb1, c == 0xb3, c >= 0xc6 && c < 0xca:
			if len(codes) == 0 {
				return false
			}
			second, codes = codes[0], codes[1:]
		}
		switch {
		case c < 0x40:
			f.depth += int64(c)<<2 + 4
		case c < 0x80:
			f.depth -= int64(c&0x3f)<<2 + 4
		case c < 0x90:
			mask := uint32(c&15)<<8 | uint32(second)
			if mask == 0 {
				return false // refuses
			}
			f.popMask(4, mask)
		case c < 0xa0:
			n := int(c & 15)
			if n == armStackPointer || n == armCounter {
				return false
			}
			f.base, f.depth = "$r"+strconv.Itoa(n), 0
			if at, ok := f.saved[n]; ok {
				f.base = rule.Load(at)
			}
		case c < 0xb0:
			f.popMask(4, 1<<(c&7+1)-1)
			if c&8 != 0 {
				f.pop(armLink)
			}
		case c == 0xb0:
			return true
		case c == 0xb1:
			f.popMask(0, uint32(second&15))
		case c == 0xb2:
			v, n := binary.Uvarint(codes)
			if n <= 0 {
				return false
			}
			f.depth += 0x204 + int64(min(v, 1<<28))<<2
			codes = codes[n:]
		case c == 0xb3: // FSTMX, with a word of padding
			f.depth += 8*(int64(second&15)+1) + 4
		case c == 0xb4: // the code that authenticates the return address
			f.depth += 4
		case c >= 0xb8 && c < 0xc0:
			f.depth += 8*(int64(c&7)+1) + 4
		case c >= 0xc0 && c < 0xc6, c >= 0xd0 && c < 0xd8:
			f.depth += 8 * (int64(c&7) + 1)
		case c == 0xc6, c == 0xc8, c == 0xc9:
			f.depth += 8 * (int64(second&15) + 1)
		case c == 0xc7:
			f.depth += 4 * int64(bits.OnesCount8(second&15))
		default:
			return false
		}
		if len(f.base) > maxBase {
			return false
		}
	}
	return true
}

func (f *armFrame) text() string {
	var out rule.Record
	out.Add(rule.CFA, rule.Plus(f.base, f.depth))
	switch at, ok := f.saved[armLink]; {
	case f.counter != "":
		out.Add(".ra", f.counter)
	case ok:
		out.Add(".ra", rule.Load(at))
	default:
		out.Add(".ra", "$r14")
	}
	for n := range armStackPointer {
		if at, ok := f.saved[n]; ok {
			out.Add("$r"+strconv.Itoa(n), rule.Load(at))
		}
	}
	return out.Text()
}
