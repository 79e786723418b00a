package analysis

import (
	"encoding/binary"
	"strconv"
	"strings"
)

var (
	segments    = [8]string{"es", "cs", "ss", "ds", "fs", "gs", "es", "cs"}
	repetitions = []string{"rep ", "repnz ", "xacquire ", "xrelease "}
)

// render fills the operands into a row's text.
func (d *decoder) render(f *form) *instruction {
	i := &instruction{memSize: int(f.size)}
	d.unit = f.size
	text := f.text
	// 90 is nop; only with REX.B does it exchange anything.
	if d.table == 1 && d.opcode == 0x90 && d.bb == 0 {
		text, i.memSize = "nop", 0
		if d.rep == 0xf3 && d.best {
			text = "pause"
		}
	}
	if d.addr32 {
		text = strings.Replace(text, "jrcxz", "jecxz", 1)
	}
	var out strings.Builder
	if d.lock {
		switch d.rep {
		case 0xf2:
			out.WriteString("xacquire ")
		case 0xf3:
			out.WriteString("xrelease ")
		}
		out.WriteString("lock ")
		text = strings.TrimPrefix(strings.TrimPrefix(text, "xacquire "), "xrelease ")
	}
	for _, r := range repetitions {
		if strings.HasPrefix(text, r) {
			out.WriteString(r)
			text = text[len(r):]
		}
	}
	mnemonic, operands, _ := strings.Cut(text, " ")
	i.op = mnemonic
	out.WriteString(mnemonic)
	separator := " "
	for operands != "" {
		var one string
		one, operands, _ = strings.Cut(operands, ", ")
		d.first = len(i.operands) == 0
		shown, o := d.operand(one)
		out.WriteString(separator)
		out.WriteString(shown)
		separator = ", "
		i.operands = append(i.operands, o)
	}
	i.text, i.length = out.String(), d.at
	return i
}

// operand renders one operand of a row.
func (d *decoder) operand(text string) (string, operand) {
	label, place, bracket := strings.Cut(text, " ")
	switch {
	case bracket && strings.HasPrefix(place, "{m"):
		m, rest := d.place(place)
		m.masked = d.mask != 0 && strings.HasPrefix(rest, "{k")
		return label + " " + d.segment + m.String() + d.decoration(rest), m
	case bracket && strings.Contains(place, "["):
		return d.implied(label, place)
	case !strings.HasPrefix(text, "{"):
		if text[0] == '0' || text[0] == '-' {
			return text, operand{} // a constant that is part of the instruction
		}
		return text, operand{register: text}
	}
	switch text[1] {
	case 's', 'u', 'j':
		if text != "{st}" {
			return d.constant(text[1], int(text[2]-'0')), operand{}
		}
		r := "st(" + strconv.Itoa(int(d.modrm&7)) + ")"
		return r, operand{register: r}
	}
	end := strings.IndexByte(text, '}')
	r := d.register(text[1:])
	return r + d.decoration(text[end+1:]), operand{register: r}
}

// place is the memory operand at a place such as {m}, and what is behind that. In
// {m4} a displacement of one byte counts in units of 4 bytes; in {mx} the index
// is a vector register.
func (d *decoder) place(text string) (m operand, rest string) {
	m = d.memory
	kind, rest, _ := strings.Cut(text[len("{m"):], "}")
	unit := int64(d.unit)
	switch {
	case kind == "":
	case kind[0] >= '0' && kind[0] <= '9':
		unit = int64(kind[0] - '0')
	case d.indexed:
		m.index = kind + "mm" + strconv.Itoa(int(d.index|d.high))
	}
	if d.short8 && d.table >= mapEVEX && d.table != map3D {
		m.displacement *= unit
	}
	return m, rest
}

// decoration is what stands behind an operand: masks, and words of the row.
func (d *decoder) decoration(text string) string {
	switch {
	case text == "":
		return ""
	case strings.HasPrefix(text, "{k"):
		_, rest, _ := strings.Cut(text, "}")
		if d.mask == 0 {
			return rest
		}
		s := "{k" + strconv.Itoa(int(d.mask)) + "}"
		if d.zero {
			s += "{z}"
		}
		return s + rest
	}
	return text
}

// implied is a memory operand that is part of the instruction: [rdi] of a
// string instruction or an absolute address.
func (d *decoder) implied(label, place string) (string, operand) {
	segment, inner, _ := strings.Cut(place, "[")
	inner = strings.TrimSuffix(inner, "]")
	if d.segment != "" && segment != "es:" {
		segment = d.segment
	}
	if strings.HasPrefix(inner, "{") {
		v := binary.LittleEndian.Uint64(append(append([]byte(nil), d.constants...), make([]byte, 8)...))
		return label + " " + segment + "[0x" + strconv.FormatUint(v, 16) + "]", operand{memory: true, displacement: int64(v)}
	}
	if d.addr32 && strings.HasPrefix(inner, "r") {
		inner = "e" + inner[1:]
	}
	base, _, _ := strings.Cut(inner, " ")
	return label + " " + segment + "[" + inner + "]", operand{memory: true, base: base}
}

// constant takes the next n bytes of the constants: s signed, u unsigned, j a
// distance to jump.
func (d *decoder) constant(kind byte, n int) string {
	if n > len(d.constants) {
		n = len(d.constants)
	}
	var full [8]byte
	copy(full[:], d.constants[:n])
	d.constants = d.constants[n:]
	u := binary.LittleEndian.Uint64(full[:])
	if kind == 'u' {
		return "0x" + strconv.FormatUint(u, 16)
	}
	shift := 64 - 8*uint(n)
	s := int64(u<<shift) >> shift
	if kind == 'j' {
		return "$" + signed(s, "+")
	}
	return signed(s, "")
}

func signed(v int64, plus string) string {
	if v < 0 {
		return "-0x" + strconv.FormatUint(-uint64(v), 16)
	}
	return plus + "0x" + strconv.FormatInt(v, 16)
}

// register names the register of a place: g the one in ModRM.reg, e in
// ModRM.rm, o in the opcode, v in VEX.vvvv, a in EVEX.aaa, 4 in the high half of a constant;
// then its kind.
func (d *decoder) register(place string) string {
	var n byte
	switch place[0] {
	case 'g':
		n = d.modrm>>3&7 | d.r
	case 'e':
		n = d.modrm&7 | d.bb
		// minidump-stackwalk does not look at EVEX.X where the register is the one
		// that is written.
		if k := place[1]; d.table >= mapEVEX && (k == 'x' || k == 'y' || k == 'z') && (d.best || !d.first) {
			n |= d.x << 1
		}
	case 'o':
		n = d.opcode&7 | d.bb
	case 'v':
		n = d.vector | d.high
	case 'a':
		n = d.mask
	case '4':
		n = d.constants[0] >> 4
	}
	kind := place[1]
	if place[0] == '4' { // spelled "4xmm" in the table
		return place[1:4] + strconv.Itoa(int(n))
	}
	switch kind {
	case 'x':
		return "xmm" + strconv.Itoa(int(n))
	case 'y':
		return "ymm" + strconv.Itoa(int(n))
	case 'z':
		return "zmm" + strconv.Itoa(int(n))
	case 'k':
		return "k" + strconv.Itoa(int(n))
	case 'm':
		return "mm" + strconv.Itoa(int(n&7))
	case 's':
		return segments[n&7]
	case 'c':
		return "cr" + strconv.Itoa(int(n))
	}
	if strings.HasPrefix(place, "gd_") {
		return "dr" + strconv.Itoa(int(n))
	}
	return registerName(n, kind, d.rex != 0)
}

// String writes a memory operand in brackets.
func (o operand) String() string {
	var s strings.Builder
	s.WriteByte('[')
	switch {
	case o.base == "" && o.index == "":
		s.WriteString("0x" + strconv.FormatUint(uint64(uint32(o.displacement)), 16) + "]")
		return s.String()
	case o.base != "" && o.index != "":
		s.WriteString(o.base + " + ")
	default:
		s.WriteString(o.base)
	}
	if o.index != "" {
		s.WriteString(o.index + " * " + strconv.FormatUint(uint64(o.scale), 10))
	}
	switch {
	case o.displacement > 0:
		s.WriteString(" + 0x" + strconv.FormatInt(o.displacement, 16))
	case o.displacement < 0:
		s.WriteString(" - 0x" + strconv.FormatUint(-uint64(o.displacement), 16))
	}
	s.WriteByte(']')
	return s.String()
}
