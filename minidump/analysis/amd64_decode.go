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
// byte, 2 0F, 3 0F38, 4 0F3A, 5-7 VEX maps 1-3), the opcode, which ModRM bytes
// it is for ("-" has none, "m" and "r" memory and register forms with a mask
// of the values of reg, "x" one value), a mask of the prefixes it is for, the
// bytes of memory, the bytes of constants, and the text with places for the
// operands.
//
//go:embed opcodes.tsv
var opcodeText string

type form struct {
	mod      byte // one of "-mrx"
	value    byte // reg mask or ModRM
	prefixes uint32
	size     int8
	constant uint8
	text     string
}

// forms holds the table by map and opcode.
type forms [8][256][]form

var opcodes = sync.OnceValue(func() *forms { return parseOpcodes(opcodeText) })

func parseOpcodes(text string) *forms {
	t := &forms{}
	for line := range strings.Lines(text) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) != 7 {
			continue // the comment
		}
		number := func(s string, base int) int64 {
			v, err := strconv.ParseInt(s, base, 64)
			if err != nil {
				panic("opcode table: " + line)
			}
			return v
		}
		f := form{mod: c[2][0], prefixes: uint32(number(c[3], 16)), size: int8(number(c[4], 10)), constant: uint8(number(c[5], 10)), text: c[6]}
		if f.mod != '-' {
			f.value = byte(number(c[2][1:], 16))
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

	rep            byte // 0, 0xf3 or 0xf2
	wide16, addr32 bool
	lock           bool
	segment        string
	rex            byte // 0 when there is none
	w, r, x, bb    byte // the bits of REX or VEX, as 0 or 8 (w 0 or 1)
	vector         byte // VEX.vvvv
	modrm          byte
	memory         operand
	table, opcode  byte
	prefixes       uint32 // the bit of the row mask
	constants      []byte
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

// decode decodes the amd64 instruction that b starts with. It returns nil when
// b is no instruction that is known, or is too short for one. EVEX (AVX-512)
// and 3DNow! are not known.
func decode(b []byte) *instruction {
	if len(b) > maxInstruction {
		b = b[:maxInstruction]
	}
	d := &decoder{b: b}
	if !d.prefix() {
		return nil
	}
	f := d.form()
	if f == nil || d.short {
		return nil
	}
	if d.table >= 5 && d.vector != 0 && !strings.Contains(f.text, "{v") {
		return nil // the field must say that there is no such operand
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
			// Only a REX right before the opcode counts.
			if n := d.peek(); legacyPrefix(n) || n >= 0x40 && n <= 0x4f {
				continue
			}
			d.rex = c
			d.w, d.r, d.x, d.bb = c>>3&1, c<<1&8, c<<2&8, c<<3&8
		case c == 0xc4, c == 0xc5:
			return d.rex == 0 && !d.wide16 && d.rep == 0 && !d.lock && d.vex(c)
		case c == 0x62:
			return false // EVEX
		case c == 0x0f:
			d.table = 2
			switch c = d.next(); c {
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
	key := uint32(d.w)
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
	d.table = 5
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
	d.prefixes = 1 << (uint32(p&3)*4 + uint32(d.w)*2 + uint32(p>>2&1))
	d.opcode = d.next()
	return !d.short
}

// form finds the row for the opcode, reading ModRM and what belongs to it.
func (d *decoder) form() *form {
	rows := opcodes()[d.table&7][d.opcode]
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
	d.modrm = d.next()
	mod, value := byte('m'), byte(1)<<(d.modrm>>3&7)
	if d.modrm >= 0xc0 {
		mod = 'r'
	} else {
		d.address()
	}
	for i := range rows {
		f := &rows[i]
		if f.prefixes&d.prefixes == 0 {
			continue
		}
		if f.mod == mod && f.value&value != 0 || f.mod == 'x' && f.value == d.modrm {
			return f
		}
	}
	return nil
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
		if index := sib>>3&7 | d.x; index != 4 {
			m.index, m.scale = name(index), 1<<(sib>>6)
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
