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
	text := f.text
	// 90 is nop; only with REX.B does it exchange anything.
	if d.table == 1 && d.opcode == 0x90 && d.bb == 0 {
		text, i.memSize = "nop", 0
		if d.rep == 0xf3 {
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
	case bracket && place == "{m}":
		return label + " " + d.segment + d.memory.String(), d.memory
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
	r := d.register(text[1:])
	return r, operand{register: r}
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
// ModRM.rm, o in the opcode, v in VEX.vvvv, 4 in the high half of a constant;
// then its kind.
func (d *decoder) register(place string) string {
	var n byte
	switch place[0] {
	case 'g':
		n = d.modrm>>3&7 | d.r
	case 'e':
		n = d.modrm&7 | d.bb
	case 'o':
		n = d.opcode&7 | d.bb
	case 'v':
		n = d.vector
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
