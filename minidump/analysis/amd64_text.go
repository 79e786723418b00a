package analysis

import (
	"fmt"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// opNames are the instructions that the text names otherwise than x86asm.
var opNames = map[string]string{
	"je": "jz", "jne": "jnz", "jae": "jnb", "jbe": "jna",
	"sete": "setz", "setne": "setnz", "setae": "setae", "setbe": "setbe",
	"cmove": "cmovz", "cmovne": "cmovnz", "cmovae": "cmovnb", "cmovbe": "cmovna",
	"lret": "retf", "lcall": "callf", "ljmp": "jmpf", "movsd_xmm": "movsd", "cmpsd_xmm": "cmpsd",
	"movsb": "movs", "movsw": "movs", "movsq": "movs", "stosb": "stos", "stosw": "stos", "stosd": "stos", "stosq": "stos",
	"lodsb": "lods", "lodsw": "lods", "lodsd": "lods", "lodsq": "lods", "scasb": "scas", "scasw": "scas", "scasd": "scas", "scasq": "scas",
	"cmpsb": "cmps", "cmpsw": "cmps", "cmpsq": "cmps", "insb": "ins", "insw": "ins", "insd": "ins", "outsb": "outs", "outsw": "outs", "outsd": "outs",
}

// sizeNames are the sizes of memory operands.
var sizeNames = map[int]string{1: "byte", 2: "word", 4: "dword", 6: "far", 8: "qword", 10: "mword", 16: "xmmword", 32: "ymmword", 64: "zmmword", -1: "ptr"}

func opName(in *x86asm.Inst) string {
	name := strings.ToLower(in.Op.String())
	switch name {
	case "movsd", "cmpsd":
		return name[:4] // the string instructions: those of SSE are named _xmm
	}
	if n, ok := opNames[name]; ok {
		return n
	}
	return name
}

// text writes the instruction: operands in Intel's order, numbers in
// hexadecimal with a sign.
func text(in *x86asm.Inst, i *instruction) string {
	var b strings.Builder
	b.WriteString(prefix(in, i))
	b.WriteString(i.op)
	segment := segmentOf(in)
	for n, a := range in.Args {
		if a == nil {
			break
		}
		if n == 0 {
			b.WriteString(" ")
		} else {
			b.WriteString(", ")
		}
		switch a := a.(type) {
		case x86asm.Reg:
			b.WriteString(i.operands[n].register)
		case x86asm.Mem:
			size := sizeNames[i.memSize]
			if size == "" {
				size = "ptr"
			}
			b.WriteString(size)
			b.WriteString(" ")
			b.WriteString(segment)
			writeMemory(&b, in, &i.operands[n])
		case x86asm.Imm:
			writeImmediate(&b, in, i, n, int64(a))
		case x86asm.Rel:
			writeRelative(&b, int64(a))
		}
	}
	return b.String()
}

// prefix writes lock and repeat prefixes where they mean something.
func prefix(in *x86asm.Inst, i *instruction) string {
	for _, p := range in.Prefix {
		if p == 0 {
			break
		}
		if p&x86asm.PrefixIgnored != 0 {
			continue
		}
		switch p &^ (x86asm.PrefixImplicit | x86asm.PrefixInvalid) {
		case x86asm.PrefixLOCK:
			return "lock "
		case x86asm.PrefixREP:
			if stringOp(i.op) {
				return "rep "
			}
		case x86asm.PrefixREPN:
			if stringOp(i.op) {
				return "repnz "
			}
		}
	}
	return ""
}

func stringOp(op string) bool {
	switch op {
	case "movs", "stos", "lods", "scas", "cmps", "ins", "outs":
		return true
	}
	return false
}

// segmentOf is the segment that was asked for; in 64-bit mode only fs and gs
// have a base.
func segmentOf(in *x86asm.Inst) string {
	for _, a := range in.Args {
		if m, ok := a.(x86asm.Mem); ok && (m.Segment == x86asm.FS || m.Segment == x86asm.GS) {
			return registerName(m.Segment) + ":"
		}
	}
	return ""
}

func writeMemory(b *strings.Builder, in *x86asm.Inst, o *operand) {
	b.WriteString("[")
	plus := ""
	if o.base != "" {
		b.WriteString(o.base)
		plus = " + "
	}
	if o.index != "" {
		fmt.Fprintf(b, "%s%s * %d", plus, o.index, o.scale)
		plus = " + "
	}
	d := o.displacement
	switch {
	case plus == "" && wideAddress(in):
		fmt.Fprintf(b, "%#x", uint64(d)) // the one form with a 64-bit address
	case plus == "":
		fmt.Fprintf(b, "%#x", uint32(d))
	case d < 0:
		fmt.Fprintf(b, " - %#x", -d)
	case d > 0:
		fmt.Fprintf(b, " + %#x", d)
	}
	b.WriteString("]")
}

func writeImmediate(b *strings.Builder, in *x86asm.Inst, i *instruction, n int, v int64) {
	if v < 0 && !unsignedImmediate(in, i, n) {
		fmt.Fprintf(b, "-%#x", uint64(-v))
		return
	}
	if v < 0 {
		v &= 0xff
	}
	fmt.Fprintf(b, "%#x", uint64(v))
}

// unsignedImmediate reports whether a number is a count or a selector and no
// value to compute with.
func unsignedImmediate(in *x86asm.Inst, i *instruction, n int) bool {
	switch i.op {
	case "rol", "ror", "rcl", "rcr", "shl", "shr", "sar", "shld", "shrd", "int", "in", "out", "bt", "bts", "btr", "btc", "ret", "retf", "enter":
		return true
	}
	for _, o := range i.operands[:n] {
		if strings.Contains(o.register, "mm") {
			return true
		}
	}
	return false
}

func writeRelative(b *strings.Builder, v int64) {
	if v < 0 {
		fmt.Fprintf(b, "$-%#x", -v)
		return
	}
	fmt.Fprintf(b, "$+%#x", v)
}
