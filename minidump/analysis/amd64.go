package analysis

import (
	"slices"
	"strings"
)

// instruction is a decoded instruction, its names as the text has them.
type instruction struct {
	text     string
	op       string
	operands []operand
	// memSize is how many bytes of memory it touches at a time: 0 when it touches
	// none, -1 when that depends on more than the instruction.
	memSize int
	// length is how many bytes of code it has.
	length int
}

// operand is a register, memory, or else a number.
type operand struct {
	register     string
	memory       bool
	masked       bool   // elements that a mask leaves out are not touched
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
