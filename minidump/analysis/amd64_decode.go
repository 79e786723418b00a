package analysis

import (
	_ "embed"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"
)

// maxInstruction is the longest instruction the processor accepts.
const maxInstruction = 15

// The table has one row per form of an instruction: the opcode map (1 one
// byte, 2 0F, 3 0F38, 4 0F3A, 5-7 VEX maps 1-3, 8-10 EVEX maps 1-3, 11 3DNow!,
// whose opcode comes last), the opcode, which ModRM bytes it is for ("-" has
// none, "m" and "r" memory and register forms with a mask of the values of reg,
// "M" a memory form that minidump-stackwalk does not know, "c" registers whatever
// ModRM says, "x" one value), a mask of the prefixes it is for, the bytes of
// memory, the bytes of constants, and the text with places for the operands.
//
//go:embed opcodes.tsv
var opcodeText string

// EVEX instructions have a table of their own, which is read when the first one
// comes.
//
//go:embed evex.tsv
var evexText string

type form struct {
	mod      byte // one of "-mMrcx"
	value    byte // reg mask or ModRM
	prefixes uint64
	size     int8
	constant uint8
	text     string
}

// forms holds the table by map and opcode.
type forms [maps][256][]form

// The maps that are not those of the one-byte opcodes and of 0F, 0F38 and 0F3A.
const (
	mapVEX  = 5
	mapEVEX = 8
	map3D   = 11
	maps    = 12
)

var (
	opcodes     = sync.OnceValue(func() *forms { return parseOpcodes(opcodeText) })
	evexOpcodes = sync.OnceValue(func() *forms { return parseOpcodes(evexText) })
)

func parseOpcodes(text string) *forms {
	t := &forms{}
	for line := range strings.Lines(text) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 7 {
			continue // the comment
		}
		number := func(s string, base int) uint64 {
			v, err := strconv.ParseUint(s, base, 64)
			if err != nil {
				panic("opcode table: " + line)
			}
			return v
		}
		f := form{mod: c[2][0], prefixes: number(c[3], 16), constant: uint8(number(c[5], 10)), text: c[6]}
		if f.mod != '-' {
			f.value = byte(number(c[2][1:], 16))
		}
		if f.size = -1; c[4] != "-1" {
			f.size = int8(number(c[4], 10))
		}
		at := &t[number(c[0], 10)][number(c[1], 16)]
		*at = append(*at, f)
	}
	return t
}

// decoder reads one instruction. Reading past the end sets short.
type decoder struct {
	b     []byte
	at    int
	short bool

	rep             byte // 0, 0xf3 or 0xf2
	wide16, addr32  bool
	lock            bool
	segment         string
	rex             byte // 0 when there is none
	w, r, x, bb     byte // the bits of REX or VEX, as 0 or 8 (w 0 or 1)
	vector          byte // VEX.vvvv
	high            byte // EVEX.V', as 0 or 16: of the vector or of an index
	mask            byte // EVEX.aaa
	zero            bool // EVEX.z
	modrm           byte
	memory          operand
	index           byte // of SIB
	indexed, short8 bool // there is SIB; the displacement has one byte
	table, opcode   byte
	prefixes        uint64 // the bit of the row mask
	constants       []byte
	best            bool
	unit            int8 // of a displacement of one byte in EVEX
	first           bool // the operand at hand is the first
}

func (d *decoder) next() byte {
	if d.at >= len(d.b) {
		d.short = true
		return 0
	}
	d.at++
	return d.b[d.at-1]
}

func (d *decoder) take(n int) []byte {
	if d.at+n > len(d.b) {
		d.short = true
		return make([]byte, n)
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

// decode decodes the amd64 instruction that b starts with, best with those that
// minidump-stackwalk does not know. It returns nil when b is no instruction that
// is known, or is too short for one.
func decode(b []byte, best bool) *instruction {
	if len(b) > maxInstruction {
		b = b[:maxInstruction]
	}
	d := &decoder{b: b, best: best}
	if !d.prefix() {
		return nil
	}
	f := d.form()
	if f == nil || d.short {
		return nil
	}
	if !d.fits(f) {
		return nil
	}
	n := int(f.constant)
	if n == 8 && d.addr32 && strings.Contains(f.text, "[{") {
		n = 4 // the absolute addresses of a0 to a3
	}
	d.constants = d.take(n)
	if d.short {
		return nil
	}
	i := d.render(f)
	if d.lock && !lockable(i) {
		return nil
	}
	return i
}

// fits reports whether the fields of prefixes that a row has no place for say
// that there is nothing.
func (d *decoder) fits(f *form) bool {
	if f.mod == 'c' {
		return d.special(f)
	}
	if d.table < mapVEX || d.table == map3D {
		return true
	}
	vector := d.vector
	if !vectorIndex(f.text) {
		vector |= d.high
	}
	if d.r != 0 && strings.Contains(f.text, "{gk}") || d.vector > 7 && strings.Contains(f.text, "{vk}") {
		return false // there are eight masks
	}
	if d.r >= 16 && (strings.Contains(f.text, "{gd}") || strings.Contains(f.text, "{gq}")) {
		return false // and sixteen general registers
	}
	if vector != 0 && !strings.Contains(f.text, "{v") {
		return false
	}
	switch {
	case strings.Contains(f.text, "{ak}"):
		return !d.zero
	case strings.Contains(f.text, "{kz}"):
		return d.mask != 0 || !d.zero
	case strings.Contains(f.text, "{k}"):
		// Gathers and scatters need a mask.
		return !d.zero && (d.mask != 0 || !vectorIndex(f.text))
	}
	return d.mask == 0 && !d.zero
}

// special reports whether there is a control or debug register of the number.
func (d *decoder) special(f *form) bool {
	n := d.modrm>>3&7 | d.r
	if strings.Contains(f.text, "{gc}") {
		return n <= 4 || n == 8
	}
	return n <= 7
}

// vectorIndex reports whether a row has memory at several addresses, which an
// index register of vectors gives.
func vectorIndex(text string) bool {
	return strings.Contains(text, "{mx}") || strings.Contains(text, "{my}") || strings.Contains(text, "{mz}")
}

// prefix reads prefixes and the opcode.
func (d *decoder) prefix() bool {
	for {
		switch c := d.next(); {
		case d.short:
			return false
		case c == 0x66:
			d.wide16 = true
		case c == 0x67:
			d.addr32 = true
		case c == 0xf2, c == 0xf3:
			d.rep = c
		case c == 0xf0:
			d.lock = true
		case c == 0x2e, c == 0x36, c == 0x3e, c == 0x26: // without effect in 64-bit mode
		case c == 0x64:
			d.segment = "fs:"
		case c == 0x65:
			d.segment = "gs:"
		case c >= 0x40 && c <= 0x4f:
			// Only a REX right before the opcode counts, and there is one: of two
			// that an instruction begins with the first only widens.
			if n := d.peek(); legacyPrefix(n) {
				continue
			} else if n >= 0x40 && n <= 0x4f && d.at > 1 {
				return false
			}
			d.rex = c
			d.w, d.r, d.x, d.bb = d.w|c>>3&1, c<<1&8, c<<2&8, c<<3&8
		case c == 0xc4, c == 0xc5:
			return d.rex == 0 && !d.wide16 && d.rep == 0 && !d.lock && d.vex(c)
		case c == 0x62:
			return d.rex == 0 && !d.wide16 && d.rep == 0 && !d.lock && d.evex()
		case c == 0x0f:
			d.table = 2
			switch c = d.next(); c {
			case 0x0f:
				d.table = map3D // the opcode comes behind the operands
				return d.legacy(0)
			case 0x38:
				d.table, c = 3, d.next()
			case 0x3a:
				d.table, c = 4, d.next()
			}
			return d.legacy(c)
		default:
			d.table = 1
			return d.legacy(c)
		}
	}
}

func (d *decoder) peek() byte {
	if d.at < len(d.b) {
		return d.b[d.at]
	}
	return 0
}

func legacyPrefix(c byte) bool {
	switch c {
	case 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65:
		return true
	}
	return false
}

func (d *decoder) legacy(opcode byte) bool {
	d.opcode = opcode
	key := uint(d.w)
	if d.wide16 {
		key += 2
	}
	switch d.rep {
	case 0xf3:
		key += 4
	case 0xf2:
		key += 8
	}
	d.prefixes = 1 << key
	return !d.short
}

func (d *decoder) vex(c byte) bool {
	p := d.next()
	d.table = mapVEX
	d.r = ^p >> 4 & 8
	if c == 0xc4 {
		d.x, d.bb = ^p>>3&8, ^p>>2&8
		switch p & 0x1f {
		case 1:
		case 2:
			d.table = 6
		case 3:
			d.table = 7
		default:
			return false
		}
		p = d.next()
		d.w = p >> 7
	}
	d.vector = ^p >> 3 & 15
	d.prefixes = 1 << (uint(p&3)*4 + uint(d.w)*2 + uint(p>>2&1))
	d.opcode = d.next()
	return !d.short
}

// evex reads the prefix of AVX-512 and the opcode.
func (d *decoder) evex() bool {
	p := d.take(3)
	m := p[0] & 15
	if d.short || m < 1 || m > 3 || p[1]&4 == 0 {
		return false
	}
	d.table = mapEVEX + m - 1
	d.r = ^p[0]>>4&8 | ^p[0]&16
	d.x, d.bb = ^p[0]>>3&8, ^p[0]>>2&8
	d.w = p[1] >> 7
	d.vector = ^p[1] >> 3 & 15
	d.high = ^p[2] << 1 & 16
	d.mask, d.zero = p[2]&7, p[2]&0x80 != 0
	d.prefixes = 1 << (uint(p[1]&3)*16 + uint(d.w)*8 + uint(p[2]>>4&7))
	d.opcode = d.next()
	return !d.short
}

// form finds the row for the opcode, reading ModRM and what belongs to it.
func (d *decoder) form() *form {
	table := opcodes
	if d.table >= mapEVEX && d.table != map3D {
		table = evexOpcodes
	}
	if d.table == map3D {
		d.operands()
		d.opcode = d.next()
	}
	rows := table()[d.table][d.opcode]
	if len(rows) == 0 {
		return nil
	}
	if rows[0].mod == '-' {
		for i := range rows {
			if rows[i].prefixes&d.prefixes != 0 {
				return &rows[i]
			}
		}
		return nil
	}
	switch {
	case rows[0].mod == 'c':
		d.modrm = d.next()
	case d.table != map3D:
		d.operands()
	}
	mod, value := byte('m'), byte(1)<<(d.modrm>>3&7)
	if d.modrm >= 0xc0 {
		mod = 'r'
	}
	for i := range rows {
		f := &rows[i]
		if f.prefixes&d.prefixes == 0 {
			continue
		}
		if f.value&value != 0 && (f.mod == mod || f.mod == 'c' || f.mod == 'M' && mod == 'm' && d.best) || f.mod == 'x' && f.value == d.modrm {
			return f
		}
	}
	return nil
}

// operands reads ModRM and what belongs to it.
func (d *decoder) operands() {
	if d.modrm = d.next(); d.modrm < 0xc0 {
		d.address()
	}
}

// address decodes the memory operand that ModRM and SIB describe.
func (d *decoder) address() {
	name := func(n byte) string { return registerName(n, 'q', true) }
	ip := "rip"
	if d.addr32 {
		name = func(n byte) string { return registerName(n, 'd', true) }
		ip = "eip"
	}
	m := operand{memory: true}
	mod, rm := d.modrm>>6, d.modrm&7
	wide := mod == 2
	switch {
	case rm == 4:
		sib := d.next()
		d.index, d.indexed = sib>>3&7|d.x, true
		m.scale = 1 << (sib >> 6)
		if index := d.index; index != 4 {
			m.index = name(index)
		}
		if mod == 0 && sib&7 == 5 {
			wide = true
			break
		}
		m.base = name(sib&7 | d.bb)
	case mod == 0 && rm == 5:
		m.base, wide = ip, true
	default:
		m.base = name(rm | d.bb)
	}
	switch {
	case wide:
		m.displacement = int64(int32(binary.LittleEndian.Uint32(d.take(4))))
	case mod == 1:
		m.displacement = int64(int8(d.next()))
		d.short8 = true
	}
	d.memory = m
}

var (
	low8  = [8]string{"al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"}
	wide8 = [8]string{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"}
)

// registerName names a general register of a width: b, w, d or q. rex says
// whether a REX prefix makes 4 to 7 the low bytes of sp, bp, si and di.
func registerName(n byte, width byte, rex bool) string {
	if n >= 8 {
		s := "r" + strconv.Itoa(int(n))
		if width != 'q' {
			s += string(width)
		}
		return s
	}
	switch width {
	case 'b':
		if rex && n >= 4 {
			return wide8[n] + "l"
		}
		return low8[n]
	case 'w':
		return wide8[n]
	case 'd':
		return "e" + wide8[n]
	}
	return "r" + wide8[n]
}

// lockable says whether the lock prefix may stand before an instruction.
func lockable(i *instruction) bool {
	if len(i.operands) == 0 || !i.operands[0].memory {
		return false
	}
	switch i.op {
	case "add", "adc", "and", "btc", "btr", "bts", "cmpxchg", "cmpxchg8b", "cmpxchg16b", "dec", "inc", "neg", "not", "or", "sbb", "sub", "xor", "xadd", "xchg":
		return true
	}
	return false
}
