package analysis

import (
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// maxInstruction is the length that no x86-64 instruction exceeds.
const maxInstruction = 15

// instruction is a decoded instruction, its names as the text has them.
type instruction struct {
	text     string
	op       string
	operands []operand
	// memSize is how many bytes of memory it touches at a time: 0 when it touches
	// none, -1 when that depends on more than the instruction.
	memSize int
}

// operand is a register, memory, or else a number.
type operand struct {
	register     string
	memory       bool
	base, index  string // "" if there is none
	scale        uint8
	displacement int64
}

// addressRegisters are the registers that addresses are made of, in the order
// of their names.
func (i *instruction) addressRegisters() []string {
	var names []string
	for _, o := range i.operands {
		if o.memory {
			names = append(names, o.base, o.index)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 0 && names[0] == "" {
		names = names[1:]
	}
	return names
}

// conditional reports whether i is a jump on a condition.
func (i *instruction) conditional() bool {
	switch i.op {
	case "jo", "jno", "jb", "jnb", "jz", "jnz", "ja", "jna", "js", "jns", "jp", "jnp", "jl", "jge", "jg", "jle":
		return true
	}
	return false
}

// derivable reports whether it is known how i touches its operands. The list
// is of instructions that crash often, or that faulty processors crash on.
func (i *instruction) derivable() bool {
	if i == nil {
		return false
	}
	switch i.op {
	case "add", "sub", "call", "cmp", "dec", "inc", "jmp", "jmpf", "lea", "mov", "movaps", "movups", "pop", "push", "ret", "retf", "ucomiss":
		return true
	}
	return i.conditional()
}

// accessKind is how i touches its operand n.
func (i *instruction) accessKind(n int) string {
	switch i.op {
	case "add", "sub":
		if n == 0 {
			return ReadWrite
		}
		return Read
	case "inc", "dec":
		return ReadWrite
	case "call", "jmp", "jmpf", "push", "cmp", "ucomiss":
		return Read
	case "pop":
		return Write
	case "mov", "movaps", "movups":
		if n == 0 {
			return Write
		}
		return Read
	}
	return ""
}

func (i *instruction) division() bool { return i.op == "div" || i.op == "idiv" }

// privilegedOps are the instructions that may fault for want of privilege; mov
// is among them for the control registers, int for gates.
const privilegedOps = " cli clts hlt in ins int into invd invept invlpg invvpid iret iretd iretq lgdt lidt lldt lmsw ltr monitor mov mwait " +
	"out outs rdmsr rdpmc rdtsc rdtscp retf sti swapgs sysexit sysret vmcall vmclear vmlaunch vmptrld vmptrst vmread vmresume vmwrite vmxoff vmxon " +
	"wbinvd wrmsr xsetbv "

func (i *instruction) privileged() bool { return strings.Contains(privilegedOps, " "+i.op+" ") }

// decode decodes the instruction at the start of b, nil if there is none.
func decode(b []byte) *instruction {
	in, err := x86asm.Decode(b, 64)
	if err != nil || in.Op == 0 || in.Len > len(b) {
		return nil
	}
	i := &instruction{op: opName(&in)}
	for _, a := range in.Args {
		if a == nil {
			break
		}
		o := operandOf(a)
		if o.memory && o.base == "" && o.index == "" && !wideAddress(&in) {
			o.displacement = int64(int32(o.displacement)) // as the processor extends it
		}
		i.operands = append(i.operands, o)
	}
	i.memSize = memSize(&in, i)
	i.text = text(&in, i)
	return i
}

// wideAddress reports whether in is one of the moves that hold an address of 64
// bits.
func wideAddress(in *x86asm.Inst) bool { return in.Opcode>>24 >= 0xa0 && in.Opcode>>24 <= 0xa3 }

func operandOf(a x86asm.Arg) operand {
	switch a := a.(type) {
	case x86asm.Reg:
		return operand{register: registerName(a)}
	case x86asm.Mem:
		o := operand{memory: true, scale: a.Scale, displacement: a.Disp}
		if a.Base != 0 {
			o.base = registerName(a.Base)
		}
		if a.Index != 0 {
			o.index = registerName(a.Index)
		}
		return o
	}
	return operand{}
}

// memSize is the size of what i touches. Pushes, pops, calls and returns touch
// the stack even when no operand says so.
func memSize(in *x86asm.Inst, i *instruction) int {
	if in.MemBytes > 0 {
		return in.MemBytes
	}
	for _, o := range i.operands {
		if o.memory {
			return -1
		}
	}
	switch i.op {
	case "push", "pop":
		if in.DataSize == 16 {
			return 2
		}
		return 8
	case "call", "ret", "retf", "leave", "enter", "pushf", "popf":
		return 8
	}
	return 0
}

// registerName writes a register as assemblers do.
func registerName(r x86asm.Reg) string {
	name := r.String()
	switch {
	case r >= x86asm.R8L && r <= x86asm.R15L:
		return strings.ToLower(strings.TrimSuffix(name, "L")) + "d"
	case r >= x86asm.X0 && r <= x86asm.X15 || r > x86asm.X15 && strings.HasPrefix(name, "X"):
		return "xmm" + name[1:]
	case strings.HasPrefix(name, "Y"):
		return "ymm" + name[1:]
	case strings.HasPrefix(name, "Z"):
		return "zmm" + name[1:]
	case r >= x86asm.M0 && r <= x86asm.M7:
		return "mm" + name[1:]
	case r >= x86asm.F0 && r <= x86asm.F7:
		return "st(" + name[1:] + ")"
	}
	switch name {
	case "SPB", "BPB", "SIB", "DIB":
		return strings.ToLower(name[:2]) + "l"
	}
	return strings.ToLower(name)
}
