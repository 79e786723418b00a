package unwindinfo

import (
	"encoding/binary"
	"slices"

	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// maxPrologue bounds the code that is looked at from the start of a function.
const maxPrologue = 128

// x86Undo is the stack of x86 or amd64 while a function is being undone.
type x86Undo struct {
	word   int64
	sp, bp string
	base   string
	depth  int64
	saved  []savedRegister
}

func (s *x86Undo) pop(name string) {
	if name != "" {
		s.saved = append(s.saved, savedRegister{name, s.base, s.depth})
	}
	s.depth += s.word
}

func (s *x86Undo) text() string {
	var out rule.Record
	out.Add(rule.CFA, rule.Plus(s.base, s.depth+s.word))
	out.Add(".ra", rule.Load(rule.Plus(s.base, s.depth)))
	for _, r := range s.saved {
		out.Add(r.name, rule.Load(rule.Plus(r.base, r.depth)))
	}
	return out.Text()
}

// partial handles a thread that stands in the prologue of a function, or in an
// epilogue. It reports false in the body, where the tables are right.
func (s *x86Undo) partial(im *executable.Image, f compactFunction, offset uint64) bool {
	wide := im.Machine == executable.AMD64
	into := offset - f.start
	if offset < f.start {
		return false
	}
	s.base, s.depth, s.saved = s.sp, 0, nil
	if into < maxPrologue {
		code := im.Bytes(f.start, int(into))
		if code == nil {
			return false
		}
		// Pushes from the start on are the prologue up to here.
		var pushed []string
		for len(code) > 0 {
			number, n := pushedRegister(code, wide)
			if n == 0 {
				if n = framePointerSet(code, wide); n == 0 {
					break
				}
				code = code[n:] // sp still tells where the pushed registers are
				continue
			}
			pushed = append(pushed, x86Name(number, wide))
			code = code[n:]
		}
		if len(code) == 0 && !s.popsOrReturns(im, offset) {
			for i := len(pushed) - 1; i >= 0; i-- {
				s.pop(pushed[i])
			}
			return true
		}
	}
	return s.epilogue(im, offset, wide)
}

// popsOrReturns reports whether the instruction at offset is of an epilogue,
// for functions that begin with pushes and do nothing else.
func (s *x86Undo) popsOrReturns(im *executable.Image, offset uint64) bool {
	b := im.Bytes(offset, 2)
	if b == nil {
		return false
	}
	_, n := popped(b)
	return n > 0 || b[0] == 0xc3
}

// epilogue undoes the pops before a return.
func (s *x86Undo) epilogue(im *executable.Image, offset uint64, wide bool) bool {
	for range 16 { // more registers than there are
		b := im.Bytes(offset, 2)
		if b == nil {
			if b = im.Bytes(offset, 1); b == nil {
				return false
			}
		}
		if b[0] == 0xc3 || b[0] == 0xc2 {
			return true
		}
		number, n := popped(b)
		if n == 0 || n == 2 && !wide {
			return false
		}
		s.pop(x86Name(number, wide))
		offset += uint64(n)
	}
	return false
}

// pushedRegister is the register of a push instruction and the instruction's
// length.
func pushedRegister(code []byte, wide bool) (number byte, size int) {
	if code[0]&0xf8 == 0x50 {
		return code[0] & 7, 1
	}
	if wide && len(code) >= 2 && code[0]&0xf0 == 0x40 && code[1]&0xf8 == 0x50 {
		return code[1]&7 | code[0]&1<<3, 2
	}
	return 0, 0
}

// framePointerSet is the length of "mov rbp, rsp" in its two forms, 0 for
// another instruction.
func framePointerSet(code []byte, wide bool) int {
	n := 0
	if wide && len(code) > 0 && code[0] == 0x48 {
		n = 1
	} else if wide {
		return 0
	}
	if len(code) >= n+2 && (code[n] == 0x89 && code[n+1] == 0xe5 || code[n] == 0x8b && code[n+1] == 0xec) {
		return n + 2
	}
	return 0
}

// x86Numbers are the registers of x86 by their numbers in instructions.
var x86Numbers = rule.Names("eax ecx edx ebx esp ebp esi edi")

func x86Name(number byte, wide bool) string {
	if wide {
		return amd64Numbers[number]
	}
	return x86Numbers[number&7]
}

// partial handles a thread that stands in the prologue of a function of arm64,
// or in an epilogue. It reports false in the body.
func (f *arm64Frame) partial(im *executable.Image, fn compactFunction, offset uint64) bool {
	if offset < fn.start || offset&3 != 0 {
		return false
	}
	into := offset - fn.start
	if into < maxPrologue && f.prologue(im.Bytes(fn.start, int(into)), im.Bytes(offset, 4)) {
		return true
	}
	*f = *newARM64Frame()
	return f.epilogue(im, offset)
}

// prologue undoes the instructions before the one that the thread stands at, if
// they and that one are of a prologue: stores to the stack, moves of sp and the
// setting of x29.
func (f *arm64Frame) prologue(done, next []byte) bool {
	if next == nil {
		return false
	}
	if len(done) == 0 {
		return true
	}
	if _, ok := arm64Prologue(binary.LittleEndian.Uint32(next)); !ok {
		return false
	}
	var codes []arm64Code
	for ; len(done) >= 4; done = done[4:] {
		c, ok := arm64Prologue(binary.LittleEndian.Uint32(done))
		if !ok {
			return false
		}
		codes = slices.Concat(c, codes)
	}
	return f.undo(codes)
}

// arm64Prologue decodes an instruction of a prologue, as the codes that undo it.
func arm64Prologue(op uint32) ([]arm64Code, bool) {
	switch {
	case op == 0xd503233f, op == 0xd503237f, op&0xffffff3f == 0xd503241f: // paciasp, pacibsp, bti
		return nil, true
	case op&0xff8003ff == 0xd10003ff: // sub sp, sp, #n
		return []arm64Code{{opAllocate, 0, addend(op)}}, true
	case op&0xff8003ff == 0x910003fd: // add x29, sp, #n; mov x29, sp
		return []arm64Code{{opAddFP, 0, addend(op)}}, true
	case op&0xffc003e0 == 0xa98003e0, op&0xffc003e0 == 0x6d8003e0: // stp a, b, [sp, #-n]!
		return movedPair(op, 0, -pairDistance(op)), true
	case op&0xffc003e0 == 0xa90003e0, op&0xffc003e0 == 0x6d0003e0: // stp a, b, [sp, #n]
		return movedPair(op, pairDistance(op), 0), true
	}
	return nil, false
}

// addend is the number in an instruction that adds or subtracts one.
func addend(op uint32) int64 {
	n := int64(op >> 10 & 0xfff)
	if op>>22&1 != 0 {
		n <<= 12
	}
	return n
}

// pairDistance is the distance in a store or load of a pair.
func pairDistance(op uint32) int64 { return int64(int32(op<<10)>>25) * 8 }

// movedPair are the codes for a pair that is stored at, or loaded from, sp and
// at, and for sp that moves by size. Apple's compiler has the second register of
// a pair below the first.
func movedPair(op uint32, at, size int64) []arm64Code {
	var codes []arm64Code
	if float := op>>26&1 != 0; !float {
		codes = append(codes, arm64Code{opSaveOne, int(op & 31), at}, arm64Code{opSaveOne, int(op >> 10 & 31), at + 8})
	}
	if size != 0 {
		codes = append(codes, arm64Code{opAllocate, 0, size})
	}
	return codes
}

// epilogue undoes the instructions up to a return.
func (f *arm64Frame) epilogue(im *executable.Image, offset uint64) bool {
	var codes []arm64Code
	for range 16 { // more than the longest epilogue
		b := im.Bytes(offset, 4)
		if b == nil {
			return false
		}
		op := binary.LittleEndian.Uint32(b)
		switch {
		case op == 0xd65f03c0, op == 0xd65f0fff, op == 0xd65f0bff: // ret, retab, retaa
			return f.undo(codes)
		case op == 0xd50323ff, op == 0xd50323bf: // autibsp, autiasp
		case op&0xff8003ff == 0x910003ff && addend(op) != 0: // add sp, sp, #n
			codes = append(codes, arm64Code{opAllocate, 0, addend(op)})
		case op&0xffc003e0 == 0xa8c003e0, op&0xffc003e0 == 0x6cc003e0: // ldp a, b, [sp], #n
			codes = append(codes, movedPair(op, 0, pairDistance(op))...)
		case op&0xffc003e0 == 0xa94003e0, op&0xffc003e0 == 0x6d4003e0: // ldp a, b, [sp, #n]
			codes = append(codes, movedPair(op, pairDistance(op), 0)...)
		default:
			return false
		}
		offset += 4
	}
	return false
}
