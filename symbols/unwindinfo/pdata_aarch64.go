package unwindinfo

import (
	"encoding/binary"
	"slices"
	"strconv"

	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// pdataARM64 is the exception directory of ARM64 images: records of eight bytes,
// sorted. A record says all itself where a function's prologue is of the usual
// kind, or refers to .xdata with a code for each instruction of the prologue and
// of the epilogues.
type pdataARM64 struct{ image *executable.Image }

// Limits of the format's own fields.
const (
	maxCodeBytes = 255 * 4
	maxScopes    = 1 << 16
)

// Rules implements source.
func (p *pdataARM64) Rules(q rule.Query) (rule.Set, bool) {
	leaf := func() (rule.Set, bool) {
		if p.image.Exceptions.Size == 0 || !p.image.Executable(q.Offset) {
			return rule.Set{}, false
		}
		f := newARM64Frame() // it leaves the stack and the link register alone
		return f.result(q.Offset, 4), true
	}
	at, ok := searchPdata(p.image, 8, q.Offset)
	if !ok {
		return leaf()
	}
	b := p.image.Bytes(at, 8)
	if b == nil {
		return rule.Set{}, false
	}
	le := binary.LittleEndian
	start, data := uint64(le.Uint32(b)), le.Uint32(b[4:])
	into := q.Offset - start
	var codes []arm64Code
	var size uint64
	switch data & 3 {
	case 0:
		codes, size, ok = p.unpacked(uint64(data&^3), into, q.Innermost)
	case 1, 2:
		size = uint64(data>>2&0x7ff) * 4
		codes, ok = packed(data, into, size, q.Innermost)
	default:
		return rule.Set{}, false
	}
	if into >= size {
		return leaf()
	}
	f := newARM64Frame()
	if !ok || !f.undo(codes) {
		return rule.Set{}, false
	}
	return f.result(start, size), true
}

// arm64Op is what an instruction of a prologue does.
type arm64Op uint8

const (
	opNothing arm64Op = iota
	opAllocate
	opSaveOne     // register at sp+value
	opSavePair    // register and the next at sp+value
	opSaveLRPair  // register and lr at sp+value
	opSavePushOne // the same, after sp moved down by value
	opSavePushPair
	opSavePushLRPair
	opSaveFloat // of no interest, but for moving sp
	opSaveFloatPush
	opSaveNext // the pair after the one that the next code saves
	opSetFP
	opAddFP
	opMachineFrame
	opContext
	opEnd
)

// arm64Code is one unwind code.
type arm64Code struct {
	op       arm64Op
	register int // of x0 to x30
	value    int64
}

// unpacked reads .xdata and gives the codes that are left to undo at an offset
// of the function.
func (p *pdataARM64) unpacked(at, into uint64, innermost bool) (codes []arm64Code, size uint64, ok bool) {
	le := binary.LittleEndian
	h := p.image.Bytes(at, 4)
	if h == nil {
		return nil, 0, false
	}
	word := le.Uint32(h)
	size = uint64(word&0x3ffff) * 4
	scopes, words, single := uint64(word>>22&31), uint64(word>>27), word>>21&1 != 0
	at += 4
	if scopes == 0 && words == 0 {
		if h = p.image.Bytes(at, 4); h == nil {
			return nil, 0, false
		}
		more := le.Uint32(h)
		scopes, words = uint64(more&0xffff), uint64(more>>16&0xff)
		at += 4
	}
	if word>>18&3 != 0 {
		return nil, size, false // a version to come
	}
	list := at
	if !single {
		at += 4 * min(scopes, maxScopes)
	}
	if into >= size {
		return nil, size, true
	}
	bytes := p.image.Bytes(at, int(min(4*words, maxCodeBytes)))
	if bytes == nil {
		return nil, size, false
	}
	prologue, ok := decodeARM64(bytes)
	if !ok || !innermost {
		return prologue, size, ok
	}
	if n := uint64(len(prologue)); into/4 < n {
		return prologue[n-into/4:], size, true // the last done is the first undone
	}
	// rest is what is left of an epilogue that begins at an offset.
	rest := func(begin, index uint64) ([]arm64Code, bool) {
		if into < begin || index > uint64(len(bytes)) {
			return nil, false
		}
		epilogue, ok := decodeARM64(bytes[index:])
		done := (into - begin) / 4
		if !ok || done > uint64(len(epilogue)) {
			return nil, false
		}
		return epilogue[done:], true
	}
	if single {
		// The field holds where its codes begin; it ends with the function.
		epilogue, ok := decodeARM64(bytes[min(scopes, uint64(len(bytes))):])
		if length := 4 * uint64(len(epilogue)+1); ok && length <= size && into >= size-length {
			return epilogue[(into-(size-length))/4:], size, true
		}
		return prologue, size, true
	}
	for i := range min(scopes, maxScopes) {
		b := p.image.Bytes(list+4*i, 4)
		if b == nil {
			return nil, size, false
		}
		if codes, ok := rest(uint64(le.Uint32(b)&0x3ffff)*4, uint64(le.Uint32(b)>>22)); ok {
			return codes, size, true
		}
	}
	return prologue, size, true
}

// decodeARM64 decodes codes up to the end of the sequence.
func decodeARM64(b []byte) ([]arm64Code, bool) {
	var list []arm64Code
	for len(b) > 0 {
		c, n := decodeARM64Code(b)
		if n == 0 {
			return nil, false
		}
		if c.op == opEnd {
			return list, true
		}
		list = append(list, c)
		b = b[n:]
	}
	return list, true // the sequence may lack its end where the words are full
}

// decodeARM64Code decodes one code; its length is 0 if it is none.
func decodeARM64Code(b []byte) (arm64Code, int) {
	first := b[0]
	switch {
	case first < 0x20: // alloc_s
		return arm64Code{opAllocate, 0, int64(first&0x1f) * 16}, 1
	case first < 0x40: // save_r19r20_x
		return arm64Code{opSavePushPair, 19, int64(first&0x1f) * 8}, 1
	case first < 0x80: // save_fplr
		return arm64Code{opSavePair, 29, int64(first&0x3f) * 8}, 1
	case first < 0xc0: // save_fplr_x
		return arm64Code{opSavePushPair, 29, int64(first&0x3f)*8 + 8}, 1
	}
	length := arm64CodeLength(first)
	if length == 0 || len(b) < length {
		return arm64Code{}, 0
	}
	var second byte
	if length > 1 {
		second = b[1]
	}
	low, register := int64(second&0x3f)*8, 19+int(first&3)<<2+int(second>>6)
	switch {
	case first < 0xc8: // alloc_m
		return arm64Code{opAllocate, 0, (int64(first&7)<<8 | int64(second)) * 16}, length
	case first < 0xcc: // save_regp
		return arm64Code{opSavePair, register, low}, length
	case first < 0xd0: // save_regp_x
		return arm64Code{opSavePushPair, register, low + 8}, length
	case first < 0xd4: // save_reg
		return arm64Code{opSaveOne, register, low}, length
	case first < 0xd6: // save_reg_x
		return arm64Code{opSavePushOne, 19 + int(first&1)<<3 + int(second>>5), int64(second&0x1f)*8 + 8}, length
	case first < 0xd8: // save_lrpair
		return arm64Code{opSaveLRPair, 19 + 2*(int(first&1)<<2+int(second>>6)), low}, length
	case first < 0xda, first == 0xdc, first == 0xdd: // save_fregp, save_freg
		return arm64Code{op: opSaveFloat}, length
	case first < 0xdc: // save_fregp_x
		return arm64Code{opSaveFloatPush, 0, low + 8}, length
	case first == 0xde: // save_freg_x
		return arm64Code{opSaveFloatPush, 0, int64(second&0x1f)*8 + 8}, length
	case first == 0xe0: // alloc_l
		return arm64Code{opAllocate, 0, (int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])) * 16}, length
	case first == 0xe2: // add_fp
		return arm64Code{opAddFP, 0, int64(second) * 8}, length
	case first == 0xe7:
		return anyRegister(b), length
	}
	switch first {
	case 0xe1:
		return arm64Code{op: opSetFP}, length
	case 0xe4, 0xe5: // end, end_c
		return arm64Code{op: opEnd}, length
	case 0xe6:
		return arm64Code{op: opSaveNext}, length
	case 0xe9:
		return arm64Code{op: opMachineFrame}, length
	case 0xea:
		return arm64Code{op: opContext}, length
	}
	return arm64Code{op: opNothing}, length // nop, clear_unwound_to_call, pac_sign_lr
}

// arm64CodeLength is the length of the codes from 0xc0 on, 0 for those that are
// not handled.
func arm64CodeLength(first byte) int {
	switch {
	case first < 0xdf:
		return 2
	case first == 0xe0:
		return 4
	case first == 0xe2:
		return 2
	case first == 0xe7:
		return 3
	case first == 0xe1, first == 0xe3, first == 0xe4, first == 0xe5, first == 0xe6, first == 0xe9, first == 0xea, first == 0xec, first == 0xfc:
		return 1
	}
	return 0 // alloc_z and others of scalable vectors, reserved ones
}

// anyRegister decodes save_any_reg: any register, by itself or with the next,
// with or without moving sp.
func anyRegister(b []byte) arm64Code {
	pair, push := b[1]&0x40 != 0, b[1]&0x20 != 0
	register, kind, value := int(b[1]&0x1f), b[2]>>6, int64(b[2]&0x3f)
	scale := int64(8)
	if pair || push || kind == 2 {
		scale = 16
	}
	value *= scale
	if push {
		value += 16
	}
	if kind != 0 { // a floating point register
		if push {
			return arm64Code{opSaveFloatPush, 0, value}
		}
		return arm64Code{op: opSaveFloat}
	}
	op := opSaveOne
	switch {
	case pair && push:
		op = opSavePushPair
	case pair:
		op = opSavePair
	case push:
		op = opSavePushOne
	}
	return arm64Code{op, register, value}
}

// packed gives the codes of a packed record: those of the prologue that it
// stands for.
func packed(data uint32, into, size uint64, innermost bool) ([]arm64Code, bool) {
	floats, integers := int(data>>13&7), int(data>>16&15)
	home, link, frame := data>>20&1, data>>21&3, int64(data>>23)*16
	intBytes := int64(integers) * 8
	if link == 1 {
		intBytes += 8
	}
	floatBytes := int64(0)
	if floats > 0 {
		floatBytes = int64(floats)*8 + 8
	}
	saved := (intBytes + floatBytes + 64*int64(home) + 15) &^ 15
	local := frame - saved
	if local < 0 || integers > 10 || into >= size {
		return nil, false
	}
	prologue := packedPrologue(floats, integers, home, link, saved, local)
	slices.Reverse(prologue)       // the last done is the first undone
	if !innermost || data&3 == 2 { // a part without a prologue of its own
		return prologue, true
	}
	n := uint64(len(prologue))
	if into/4 < n {
		return prologue[n-into/4:], true
	}
	// The epilogue is the prologue backwards, without what does nothing on
	// the way out, and a return.
	epilogue := prologue
	epilogue = undone(epilogue)
	if link == 2 {
		epilogue = append(epilogue, arm64Code{op: opNothing}) // autibsp
	}
	length := 4 * uint64(len(epilogue)+1)
	if length <= size && into >= size-length {
		return epilogue[(into-(size-length))/4:], true
	}
	return prologue, true
}

// undone leaves out what an epilogue does not undo: the storing of arguments,
// and the frame pointer, which is restored with the others.
func undone(codes []arm64Code) []arm64Code {
	var out []arm64Code
	for _, c := range codes {
		if c.op != opNothing && c.op != opSetFP {
			out = append(out, c)
		}
	}
	return out
}

// packedPrologue lists the instructions that the description of the format gives
// for a packed record, in the order they run.
func packedPrologue(floats, integers int, home, link uint32, saved, local int64) []arm64Code {
	var list []arm64Code
	add := func(op arm64Op, register int, value int64) { list = append(list, arm64Code{op, register, value}) }
	if link == 2 {
		add(opNothing, 0, 0) // pacibsp
	}
	pushed := false // the first store makes room for all
	store := func(push, plain arm64Op, register int, value int64) {
		if pushed {
			add(plain, register, value)
			return
		}
		pushed = true
		add(push, register, saved)
	}
	at := int64(0)
	for i := 0; i < integers; i += 2 {
		switch {
		case i+1 < integers:
			store(opSavePushPair, opSavePair, 19+i, at)
			at += 16
		case link == 1:
			store(opSavePushLRPair, opSaveLRPair, 19+i, at)
			at += 16
		default:
			store(opSavePushOne, opSaveOne, 19+i, at)
			at += 8
		}
	}
	if link == 1 && integers%2 == 0 {
		store(opSavePushOne, opSaveOne, 30, at)
	}
	for i := 0; floats > 0 && i <= floats; i += 2 {
		if pushed {
			add(opSaveFloat, 0, 0)
			continue
		}
		pushed = true
		add(opSaveFloatPush, 0, saved)
	}
	if home != 0 {
		if !pushed {
			add(opSaveFloatPush, 0, saved) // the first pair of arguments makes room
		} else {
			add(opNothing, 0, 0)
		}
		for range 3 {
			add(opNothing, 0, 0)
		}
	}
	return packedLocals(list, link, local)
}

// packedLocals ends a prologue: room for locals, and the frame record below
// them.
func packedLocals(list []arm64Code, link uint32, local int64) []arm64Code {
	add := func(op arm64Op, register int, value int64) { list = append(list, arm64Code{op, register, value}) }
	const farthest, farthestStore = 4080, 512 // what fits in one instruction
	chained := link >= 2
	switch {
	case chained && local <= farthestStore:
		if local > 0 {
			add(opSavePushPair, 29, local)
		} else {
			add(opSavePair, 29, 0)
		}
	case local > farthest:
		add(opAllocate, 0, farthest)
		add(opAllocate, 0, local-farthest)
	case local > 0:
		add(opAllocate, 0, local)
	}
	if chained {
		if local > farthestStore {
			add(opSavePair, 29, 0)
		}
		add(opSetFP, 0, 0)
	}
	return list
}

// arm64Frame is the stack while a function is being undone.
type arm64Frame struct {
	base    string // a register of the callee
	depth   int64
	saved   map[int]string // expressions for where registers lie
	next    int            // pairs that the next save adds
	trap    bool
	trapSP  string
	trapIP  string
	ordered []int
}

func newARM64Frame() *arm64Frame {
	return &arm64Frame{base: "$sp", saved: map[int]string{}}
}

// at is the address at a distance from the stack pointer.
func (f *arm64Frame) at(distance int64) string { return rule.Plus(f.base, f.depth+distance) }

func (f *arm64Frame) restore(register int, distance int64) {
	if _, twice := f.saved[register]; !twice {
		f.ordered = append(f.ordered, register)
	}
	f.saved[register] = f.at(distance)
}

const (
	fpNumber = 29
	lrNumber = 30
	// contextRegisters, contextSP and contextPC are offsets in the CONTEXT record
	// of Windows (winnt.h).
	contextRegisters, contextSP, contextPC = 8, 0x100, 0x108
)

func (f *arm64Frame) undo(codes []arm64Code) bool {
	for _, c := range codes {
		switch c.op {
		case opNothing, opSaveFloat:
		case opAllocate, opSaveFloatPush:
			f.depth += c.value
		case opSaveOne, opSavePushOne:
			f.restore(c.register, pushes(c))
		case opSavePair, opSavePushPair:
			f.restore(c.register, pushes(c))
			f.restore(c.register+1, pushes(c)+8)
			for i := 1; i <= f.next && c.register+2*i+1 <= fpNumber; i++ {
				f.restore(c.register+2*i, pushes(c)+16*int64(i))
				f.restore(c.register+2*i+1, pushes(c)+16*int64(i)+8)
			}
			f.next = 0
		case opSaveLRPair, opSavePushLRPair:
			f.restore(c.register, pushes(c))
			f.restore(lrNumber, pushes(c)+8)
		case opSaveNext:
			f.next++
		case opSetFP, opAddFP:
			if _, restored := f.saved[fpNumber]; restored {
				return false
			}
			f.base, f.depth = "$x29", -c.value
		case opMachineFrame:
			f.trap, f.trapSP, f.trapIP = true, rule.Load(f.at(0)), rule.Load(f.at(8))
			return true
		case opContext:
			for r := range lrNumber + 1 {
				f.restore(r, contextRegisters+8*int64(r))
			}
			f.trap, f.trapSP, f.trapIP = true, rule.Load(f.at(contextSP)), rule.Load(f.at(contextPC))
			return true
		default:
			return false
		}
		switch c.op {
		case opSavePushOne, opSavePushPair, opSavePushLRPair:
			f.depth += c.value
		}
	}
	return true
}

// pushes is the distance of what a code saved: 0 if it moved sp for it.
func pushes(c arm64Code) int64 {
	switch c.op {
	case opSavePushOne, opSavePushPair, opSavePushLRPair:
		return 0
	}
	return c.value
}

func (f *arm64Frame) result(start, size uint64) rule.Set {
	var out rule.Record
	ra := "$x30"
	if at, ok := f.saved[lrNumber]; ok {
		ra = rule.Load(at)
	}
	if f.trap {
		out.Add(rule.CFA, f.trapSP)
		out.Add(".ra", f.trapIP)
	} else {
		out.Add(rule.CFA, f.at(0))
		out.Add(".ra", ra)
	}
	for _, r := range f.ordered {
		if r == lrNumber && !f.trap || r > lrNumber {
			continue
		}
		out.Add("$x"+strconv.Itoa(r), rule.Load(f.saved[r]))
	}
	return rule.Set{CFI: symbols.CFI{Start: start, Size: size, Init: out.Text()}, Interrupted: f.trap}
}
