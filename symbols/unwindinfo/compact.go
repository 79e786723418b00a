package unwindinfo

import (
	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/dwarf"
	"mayday/symbols/unwindinfo/rule"
)

// compact is __unwind_info: a word for each function, found by two steps of
// binary search. It describes functions after their prologue.
type compact struct {
	image  *executable.Image
	info   *executable.Section
	frames *dwarf.Frames // __eh_frame, nil without one
}

// Values of the compact unwind format.
const (
	compactRegular    = 2 // pages of pairs of offset and word,
	compactCompressed = 3 // or of offset and number of a word
	compactMode       = 0x0f00_0000
	compactIsNotStart = 0x8000_0000
	maxCompactEntries = 4 << 20
)

// compactFunction is what the table says of a function.
type compactFunction struct {
	start, end uint64 // offsets of the module; end is 0 when the table does not say
	word       uint32
}

func (c *compact) u32(offset uint64) (uint32, bool) {
	b := c.image.Read(c.info, offset, 4)
	if b == nil {
		return 0, false
	}
	return c.image.Order.Uint32(b), true
}

func (c *compact) u16(offset uint64) (uint16, bool) {
	b := c.image.Read(c.info, offset, 2)
	if b == nil {
		return 0, false
	}
	return c.image.Order.Uint16(b), true
}

// last finds the last of count entries of size bytes at first whose number, by
// key, is at most target.
func last(count uint64, target uint64, key func(i uint64) (uint64, bool)) (uint64, bool) {
	low, high := uint64(0), count
	for low < high {
		mid := (low + high) / 2
		v, ok := key(mid)
		if !ok {
			return 0, false
		}
		if v <= target {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1, low > 0
}

// function finds the word for an offset.
func (c *compact) function(offset uint64) (f compactFunction, ok bool) {
	h := c.image.Read(c.info, 0, 28)
	o := c.image.Order
	if h == nil || o.Uint32(h) != 1 {
		return f, false
	}
	common, commonCount := uint64(o.Uint32(h[4:])), uint64(o.Uint32(h[8:]))
	index, count := uint64(o.Uint32(h[20:])), uint64(o.Uint32(h[24:]))
	if count < 2 || count > maxCompactEntries {
		return f, false
	}
	// The last entry of the index is the end of the code.
	start := func(i uint64) (uint64, bool) {
		v, ok := c.u32(index + 12*i)
		return uint64(v), ok
	}
	i, ok := last(count, offset, start)
	if !ok || i == count-1 {
		return f, false
	}
	first, _ := start(i)
	page, ok := c.u32(index + 12*i + 4)
	if !ok || page == 0 {
		return f, false
	}
	after, _ := start(i + 1)
	kind, ok := c.u32(uint64(page))
	if !ok {
		return f, false
	}
	switch kind {
	case compactRegular:
		return c.regular(uint64(page), offset, after)
	case compactCompressed:
		return c.compressed(uint64(page), offset, first, after, common, commonCount)
	}
	return f, false
}

// regular reads a page of whole entries; after is where the next page starts.
func (c *compact) regular(page, offset, after uint64) (f compactFunction, ok bool) {
	at, ok := c.u16(page + 4)
	count, ok2 := c.u16(page + 6)
	if !ok || !ok2 {
		return f, false
	}
	entry := func(i uint64) uint64 { return page + uint64(at) + 8*i }
	key := func(i uint64) (uint64, bool) {
		v, ok := c.u32(entry(i))
		return uint64(v), ok
	}
	i, ok := last(uint64(count), offset, key)
	if !ok {
		return f, false
	}
	f.start, _ = key(i)
	f.end = after
	if i+1 < uint64(count) {
		if f.end, ok = key(i + 1); !ok {
			return f, false
		}
	}
	f.word, ok = c.u32(entry(i) + 4)
	return f, ok
}

// compressed reads a page of offsets of 24 bits, relative to first, and numbers
// of words.
func (c *compact) compressed(page, offset, first, after, common, commonCount uint64) (f compactFunction, ok bool) {
	h := c.image.Read(c.info, page+4, 8)
	if h == nil {
		return f, false
	}
	o := c.image.Order
	at, count, words, wordCount := uint64(o.Uint16(h)), uint64(o.Uint16(h[2:])), uint64(o.Uint16(h[4:])), uint64(o.Uint16(h[6:]))
	entry := func(i uint64) (uint32, bool) { return c.u32(page + at + 4*i) }
	key := func(i uint64) (uint64, bool) {
		v, ok := entry(i)
		return first + uint64(v&0xff_ffff), ok
	}
	i, ok := last(count, offset, key)
	if !ok {
		return f, false
	}
	f.start, _ = key(i)
	f.end = after
	if i+1 < count {
		if f.end, ok = key(i + 1); !ok {
			return f, false
		}
	}
	v, _ := entry(i)
	n := uint64(v >> 24)
	switch {
	case n < commonCount:
		f.word, ok = c.u32(common + 4*n)
	case n-commonCount < wordCount:
		f.word, ok = c.u32(page + words + 4*(n-commonCount))
	default:
		return f, false
	}
	return f, ok
}

// Rules implements source.
func (c *compact) Rules(q rule.Query) (rule.Set, bool) {
	f, ok := c.function(q.Offset)
	if !ok || f.word&compactMode == 0 {
		return rule.Set{}, false
	}
	text := ""
	switch c.image.Machine {
	case executable.AMD64, executable.X86:
		if f.word&compactMode == x86DWARF {
			return c.dwarf(f, q)
		}
		text, ok = c.x86(f, q)
	case executable.ARM64:
		if f.word&compactMode == arm64DWARF {
			return c.dwarf(f, q)
		}
		text, ok = c.arm64(f, q)
	default:
		return rule.Set{}, false
	}
	return rule.Set{CFI: symbols.CFI{Start: f.start, Size: f.end - f.start, Init: text}}, ok
}

// dwarf is for functions that the format has no words for: the word holds where
// in __eh_frame they are described.
func (c *compact) dwarf(f compactFunction, q rule.Query) (rule.Set, bool) {
	if c.frames == nil {
		return rule.Set{}, false
	}
	return c.frames.At(uint64(f.word&0xff_ffff), c.image.Base+q.Offset, q)
}

// The words of x86 and amd64.
const (
	x86Frame    = 0x0100_0000
	x86Stack    = 0x0200_0000
	x86Indirect = 0x0300_0000
	x86DWARF    = 0x0400_0000
)

// compactNames are the registers that the words of x86 and amd64 number.
var (
	compactAMD64 = rule.Names("- rbx r12 r13 r14 r15 rbp -")
	compactX86   = rule.Names("- ebx ecx edx edi esi ebp -")
)

// x86 describes a frame of x86 or amd64.
func (c *compact) x86(f compactFunction, q rule.Query) (string, bool) {
	word, bp, sp, list := int64(8), "$rbp", "$rsp", compactAMD64
	if c.image.Machine == executable.X86 {
		word, bp, sp, list = 4, "$ebp", "$esp", compactX86
	}
	s := x86Undo{word: word, sp: sp, bp: bp}
	if q.Innermost && s.partial(c.image, f, q.Offset) {
		return s.text(), true
	}
	switch f.word & compactMode {
	case x86Frame:
		s.base, s.depth = bp, 0
		s.pop(bp)
		// The others lie below, by distance and in the order of three bits each.
		at := -word * int64(f.word>>16&0xff)
		for bits := f.word & 0x7fff; bits != 0; bits >>= 3 {
			if name := list[bits&7]; name != "" {
				s.saved = append(s.saved, savedRegister{name, bp, at})
			}
			at += word
		}
	case x86Stack, x86Indirect:
		size, ok := c.stackSize(f, word)
		if !ok {
			return "", false
		}
		registers, ok := permuted(f.word&0x3ff, int(f.word>>10&7))
		if !ok {
			return "", false
		}
		s.base, s.depth = sp, size-word-word*int64(len(registers))
		for _, n := range registers {
			s.pop(list[n])
		}
	default:
		return "", false
	}
	return s.text(), true
}

// stackSize is the size of a frame without a frame pointer, with the return
// address. Larger ones are the operand of an instruction of the prologue.
func (c *compact) stackSize(f compactFunction, word int64) (int64, bool) {
	size := int64(f.word >> 16 & 0xff)
	if f.word&compactMode == x86Stack {
		return size * word, true
	}
	b := c.image.Bytes(f.start+uint64(size), 4)
	if b == nil {
		return 0, false
	}
	return int64(c.image.Order.Uint32(b)) + word*int64(f.word>>13&7), true
}

// permuted decodes which of six registers were pushed, and in which order: the
// number counts permutations.
func permuted(code uint32, count int) ([]int, bool) {
	if count > 6 {
		return nil, false
	}
	digits := make([]int, count)
	// Each digit says how many of the registers left precede this one; the last
	// digit has radix 1 if all six take part.
	radix := 7 - count
	for i := count - 1; i >= 0; i-- {
		digits[i] = int(code) % radix
		code /= uint32(radix)
		radix++
	}
	var used [7]bool
	out := make([]int, count)
	for i, d := range digits {
		for n := 1; n <= 6; n++ {
			if used[n] {
				continue
			}
			if d == 0 {
				used[n], out[i] = true, n
				break
			}
			d--
		}
		if out[i] == 0 {
			return nil, false
		}
	}
	return out, true
}

// The words of arm64.
const (
	arm64Frameless = 0x0200_0000
	arm64DWARF     = 0x0300_0000
	arm64Record    = 0x0400_0000
)

// arm64 describes a frame of arm64.
func (c *compact) arm64(f compactFunction, q rule.Query) (string, bool) {
	s := newARM64Frame()
	if q.Innermost && s.partial(c.image, f, q.Offset) {
		return s.result(0, 0).CFI.Init, true
	}
	saved := int64(0) // where the last register that is saved ends
	switch f.word & compactMode {
	case arm64Frameless:
		s.depth = int64(f.word>>12&0xfff) * 16
	case arm64Record:
		s.base, s.depth = "$x29", 16
		s.restore(fpNumber, -16)
		s.restore(lrNumber, -8)
		saved = -16
	default:
		return "", false
	}
	for pair := range 5 { // x19 and x20 to x27 and x28
		if f.word>>pair&1 != 0 {
			s.restore(19+2*pair, saved-8)
			s.restore(20+2*pair, saved-16)
			saved -= 16
		}
	}
	return s.result(0, 0).CFI.Init, true
}
