package unwindinfo

import (
	"encoding/binary"

	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// pdataAMD64 is the exception directory of x64 images: RUNTIME_FUNCTION records
// of twelve bytes, sorted, each with an UNWIND_INFO.
type pdataAMD64 struct{ image *executable.Image }

// maxChain is how many UNWIND_INFO may refer to another; compilers need two.
const maxChain = 32

// Values of UNWIND_INFO.
const (
	unwindChained   = 4
	runtimeFunction = 12

	opPushNonvolatile    = 0
	opAllocateLarge      = 1
	opAllocateSmall      = 2
	opSetFramePointer    = 3
	opSaveNonvolatile    = 4
	opSaveNonvolatileFar = 5
	opEpilogue           = 6 // of version 2; before, the saving of half an XMM register
	opSpare              = 7
	opSaveXMM            = 8
	opSaveXMMFar         = 9
	opPushMachineFrame   = 10
)

// amd64Numbers are the registers by their numbers in instructions and unwind
// codes.
var amd64Numbers = rule.Names("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15")

// function is the record that covers an offset.
func (p *pdataAMD64) function(offset uint64) (start, end, info uint32, ok bool) {
	at, ok := searchPdata(p.image, runtimeFunction, offset)
	if !ok {
		return 0, 0, 0, false
	}
	return p.record(at)
}

func (p *pdataAMD64) record(offset uint64) (start, end, info uint32, ok bool) {
	b := p.image.Bytes(offset, runtimeFunction)
	if b == nil {
		return 0, 0, 0, false
	}
	le := binary.LittleEndian
	return le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), true
}

// searchPdata finds the last record of size bytes that starts at or before
// offset.
func searchPdata(im *executable.Image, size int, offset uint64) (at uint64, ok bool) {
	d := im.Exceptions
	low, high := uint64(0), d.Size/uint64(size)
	for low < high {
		mid := (low + high) / 2
		b := im.Bytes(d.Offset+mid*uint64(size), 4)
		if b == nil {
			return 0, false
		}
		if uint64(binary.LittleEndian.Uint32(b)) <= offset {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return d.Offset + (low-1)*uint64(size), low > 0
}

// Rules implements source.
func (p *pdataAMD64) Rules(q rule.Query) (rule.Set, bool) {
	start, end, info, ok := p.function(q.Offset)
	if !ok || q.Offset >= uint64(end) || q.Offset < uint64(start) {
		// Functions that leave the stack alone have no record.
		if p.image.Exceptions.Size == 0 || !p.image.Executable(q.Offset) {
			return rule.Set{}, false
		}
		f := amd64Frame{base: "$rsp"}
		return f.result(q.Offset, 1), true
	}
	// A record may stand for a part of a function whose record is elsewhere.
	for range maxChain {
		if info&1 == 0 {
			break
		}
		if _, _, info, ok = p.record(uint64(info &^ 1)); !ok {
			return rule.Set{}, false
		}
	}
	if q.Innermost {
		if f, ok := p.epilogue(q.Offset, uint64(start), uint64(end), uint64(info)); ok {
			return f.result(uint64(start), uint64(end-start)), true
		}
	}
	f := &amd64Frame{base: "$rsp"}
	if !p.undo(f, uint64(info), q.Offset-uint64(start)) {
		return rule.Set{}, false
	}
	return f.result(uint64(start), uint64(end-start)), true
}

// amd64Frame is the stack while a function is being undone: the stack pointer
// as a register of the callee and a distance.
type amd64Frame struct {
	base  string
	depth int64
	saved []savedRegister
	trap  bool // the system pushed the frame
}

// savedRegister lies at a distance from a register of the callee.
type savedRegister struct {
	name, base string
	depth      int64
}

func (f *amd64Frame) save(name, base string, depth int64) {
	f.saved = append(f.saved, savedRegister{name, base, depth})
}

func (f *amd64Frame) pop(name string) {
	f.save(name, f.base, f.depth)
	f.depth += 8
}

// What a trap pushes: the instruction pointer, the segment of the code, flags
// and the stack pointer, eight bytes each.
const trapStackPointer = 24

func (f *amd64Frame) result(start, size uint64) rule.Set {
	var out rule.Record
	slot := rule.Plus(f.base, f.depth)
	if f.trap {
		out.Add(rule.CFA, rule.Load(rule.Plus(f.base, f.depth+trapStackPointer)))
		out.Add(".ra", rule.Load(slot))
	} else {
		out.Add(rule.CFA, rule.Plus(f.base, f.depth+8))
		out.Add(".ra", rule.Load(slot))
	}
	for _, s := range f.saved {
		if s.name != "$rsp" {
			out.Add(s.name, rule.Load(rule.Plus(s.base, s.depth)))
		}
	}
	return rule.Set{CFI: symbols.CFI{Start: start, Size: size, Init: out.Text()}, Interrupted: f.trap}
}

// unwindInfo is the fixed part of UNWIND_INFO.
type unwindInfo struct {
	version, flags byte
	prologue       uint64
	register       byte // 0 for none
	distance       int64
	codes          []byte
	chained        uint64 // where the record of what comes next lies
}

func (p *pdataAMD64) info(offset uint64) (u unwindInfo, ok bool) {
	h := p.image.Bytes(offset, 4)
	if h == nil {
		return u, false
	}
	u = unwindInfo{version: h[0] & 7, flags: h[0] >> 3, prologue: uint64(h[1]), register: h[3] & 15, distance: 16 * int64(h[3]>>4)}
	count := int(h[2])
	u.codes = p.image.Bytes(offset+4, 2*count)
	u.chained = offset + 4 + 2*uint64(count+count&1)
	return u, u.codes != nil && (u.version == 1 || u.version == 2)
}

// undo takes back the prologue of a function, as far as it had run at an offset
// of it, and that of the functions it is chained to.
func (p *pdataAMD64) undo(f *amd64Frame, info, into uint64) bool {
	for range maxChain {
		u, ok := p.info(info)
		if !ok || !u.undo(f, into) {
			return false
		}
		if f.trap || u.flags&unwindChained == 0 {
			return true
		}
		_, _, next, ok := p.record(u.chained)
		if !ok {
			return false
		}
		info, into = uint64(next&^1), ^uint64(0) // the prologue of another part ran whole
	}
	return false
}

// undo takes back the unwind codes, which are in the order in which their
// instructions are undone.
func (u *unwindInfo) undo(f *amd64Frame, into uint64) bool {
	frame, frameDepth := f.base, f.depth
	if u.register != 0 && (into >= u.prologue || u.framed(into)) {
		frame, frameDepth = amd64Numbers[u.register], -u.distance
	}
	le := binary.LittleEndian
	c := u.codes
	for len(c) >= 2 {
		at, op, info := uint64(c[0]), c[1]&15, c[1]>>4
		slots := codeSlots(u.version, op, info)
		if slots == 0 || 2*slots > len(c) {
			return false
		}
		args := c[2 : 2*slots]
		c = c[2*slots:]
		if into < at && op != opEpilogue {
			continue // not done yet
		}
		switch op {
		case opPushNonvolatile:
			f.pop(amd64Numbers[info])
		case opAllocateLarge:
			if info == 0 {
				f.depth += 8 * int64(le.Uint16(args))
			} else {
				f.depth += int64(le.Uint32(args))
			}
		case opAllocateSmall:
			f.depth += 8*int64(info) + 8
		case opSetFramePointer:
			f.base, f.depth = amd64Numbers[u.register], -u.distance
		case opSaveNonvolatile:
			f.save(amd64Numbers[info], frame, frameDepth+8*int64(le.Uint16(args)))
		case opSaveNonvolatileFar:
			f.save(amd64Numbers[info], frame, frameDepth+int64(le.Uint32(args)))
		case opPushMachineFrame:
			f.depth += 8 * int64(info&1) // the error code
			f.trap = true
			return true
		}
	}
	return true
}

// framed reports whether the frame pointer is set at an offset within the
// prologue.
func (u *unwindInfo) framed(into uint64) bool {
	for c := u.codes; len(c) >= 2; {
		if c[1]&15 == opSetFramePointer {
			return into >= uint64(c[0])
		}
		slots := codeSlots(u.version, c[1]&15, c[1]>>4)
		if slots == 0 || 2*slots > len(c) {
			return false
		}
		c = c[2*slots:]
	}
	return false
}

// codeSlots is how many pairs of bytes a code takes, 0 for none that is known.
func codeSlots(version, op, info byte) int {
	switch op {
	case opPushNonvolatile, opAllocateSmall, opSetFramePointer, opPushMachineFrame:
		return 1
	case opAllocateLarge:
		if info > 1 {
			return 0
		}
		return 2 + int(info)
	case opSaveNonvolatile, opSaveXMM:
		return 2
	case opSaveNonvolatileFar, opSaveXMMFar:
		return 3
	case opEpilogue:
		if version == 1 {
			return 2
		}
		return 1
	case opSpare:
		if version == 1 {
			return 3
		}
		return 2
	}
	return 0
}

// maxEpilogue is more than the bytes of the longest epilogue: the release of the
// frame, eight pops of two bytes, and a jump.
const maxEpilogue = 64

// epilogue undoes the rest of an epilogue, if the instructions from offset on
// are one: "add rsp" or "lea rsp", pops, and a return or a jump out of the
// function. Nothing else may stand there.
func (p *pdataAMD64) epilogue(offset, start, end, info uint64) (*amd64Frame, bool) {
	u, ok := p.info(info)
	if !ok {
		return nil, false
	}
	code := p.image.Bytes(offset, int(min(maxEpilogue, end-offset)))
	f := &amd64Frame{base: "$rsp"}
	n, ok := f.release(code, u)
	if !ok {
		return nil, false
	}
	at := offset + uint64(n)
	code = code[n:]
	for len(code) > 0 {
		number, size := popped(code)
		if size == 0 {
			break
		}
		f.pop(amd64Numbers[number])
		code, at = code[size:], at+uint64(size)
	}
	return f, leaves(code, at, start, end)
}

// release undoes the instruction that gives back the fixed part of a frame, and
// returns its length: 0 when there is none.
func (f *amd64Frame) release(code []byte, u unwindInfo) (int, bool) {
	if len(code) < 4 || code[0]&0xf0 != 0x40 || code[0]&8 == 0 {
		return 0, true
	}
	le := binary.LittleEndian
	switch {
	case code[0] == 0x48 && code[1] == 0x83 && code[2] == 0xc4: // add rsp, imm8
		f.depth += int64(int8(code[3]))
		return 4, u.register == 0
	case code[0] == 0x48 && code[1] == 0x81 && code[2] == 0xc4 && len(code) >= 7: // add rsp, imm32
		f.depth += int64(int32(le.Uint32(code[3:])))
		return 7, u.register == 0
	case code[1] == 0x8d && code[2]>>3&7 == 4: // lea rsp, [frame register+disp]
		register := code[2]&7 | code[0]&1<<3
		if register != u.register || u.register == 0 || code[2]&7 == 4 {
			return 0, false
		}
		f.base = amd64Numbers[register]
		switch code[2] >> 6 {
		case 1:
			f.depth = int64(int8(code[3]))
			return 4, true
		case 2:
			if len(code) < 7 {
				return 0, false
			}
			f.depth = int64(int32(le.Uint32(code[3:])))
			return 7, true
		}
		return 0, false
	}
	return 0, true
}

// popped is the register of a pop instruction and the instruction's length.
func popped(code []byte) (number byte, size int) {
	if code[0]&0xf8 == 0x58 {
		return code[0] & 7, 1
	}
	if len(code) >= 2 && code[0]&0xf0 == 0x40 && code[1]&0xf8 == 0x58 {
		return code[1]&7 | code[0]&1<<3, 2
	}
	return 0, 0
}

// leaves reports whether code, at an offset of the module, returns or jumps out
// of the function from start to end.
func leaves(code []byte, at, start, end uint64) bool {
	if len(code) == 0 {
		return false
	}
	outside := func(next int, distance int64) bool {
		to := at + uint64(next) + uint64(distance)
		// A jump to the start is a call of oneself in the place of a return.
		return to <= start || to >= end
	}
	switch {
	case code[0] == 0xc3, code[0] == 0xc2, code[0] == 0xf3 && len(code) > 1 && code[1] == 0xc3:
		return true
	case code[0] == 0xeb && len(code) >= 2:
		return outside(2, int64(int8(code[1])))
	case code[0] == 0xe9 && len(code) >= 5:
		return outside(5, int64(int32(binary.LittleEndian.Uint32(code[1:]))))
	case code[0] == 0xff && len(code) >= 2 && code[1] == 0x25: // jmp [rip+x]
		return true
	case code[0]&0xf8 == 0x48 && len(code) >= 3 && code[1] == 0xff && code[2]>>3&7 == 4: // jmp through a register, marked as a tail call by REX.W
		return true
	}
	return false
}
