// Package rule holds what the readers of unwind information have in common: a
// place that is asked for, and the answer as the rules of a STACK CFI record.
package rule

import (
	"strconv"
	"strings"

	"mayday/symbols"
	"mayday/symbols/executable"
)

// Query is a place in a module.
type Query struct {
	// Base is where the module was loaded, Offset the place in it: an instruction
	// that was about to run, or one within a call.
	Base, Offset uint64
	// Innermost says that the thread stood there, or was interrupted there;
	// otherwise it is a call that has not returned.
	Innermost bool
}

// Set are the rules in force at a place: how the registers of the caller are
// found.
type Set struct {
	// CFI holds the rules in Init, and the range of code that the tables describe
	// together: a function or a part of one.
	CFI symbols.CFI
	// Interrupted says that the function was not called: the system made its frame
	// when a signal or trap interrupted the caller, which stands before an
	// instruction and not behind a call.
	Interrupted bool
	// Cost is how many bytes of table were interpreted for it, also where nothing
	// was found.
	Cost int
}

// Record builds the text of a set.
type Record struct{ b strings.Builder }

// Add adds the rule for a register.
func (r *Record) Add(register, expression string) {
	if r.b.Len() > 0 {
		r.b.WriteByte(' ')
	}
	r.b.WriteString(register)
	r.b.WriteString(": ")
	r.b.WriteString(expression)
}

// Text is the record.
func (r *Record) Text() string { return r.b.String() }

// Plus is an expression and a distance.
func Plus(expression string, distance int64) string {
	if distance == 0 {
		return expression
	}
	return expression + " " + strconv.FormatInt(distance, 10) + " +"
}

// Load is what lies at an address.
func Load(address string) string { return address + " ^" }

// CFA is the address of the frame: the stack pointer before the call.
const CFA = ".cfa"

// Undefined is the value of what is lost; as a return address it ends the stack.
const Undefined = ".undef"

// dwarfNames are the registers of each processor by their DWARF numbers, those
// that dumps hold. A dash stands for one that has no name in rules.
var dwarfNames = map[executable.Machine][]string{
	executable.X86:     Names("eax ecx edx ebx esp ebp esi edi eip"),
	executable.AMD64:   Names("rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip"),
	executable.ARM:     Names("r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15"),
	executable.ARM64:   append(numbered("x", 31), "$sp", "$pc"),
	executable.MIPS:    mipsNames,
	executable.MIPS64:  mipsNames,
	executable.PPC:     numbered("r", 32),
	executable.PPC64:   numbered("r", 32),
	executable.RISCV:   riscvNames,
	executable.RISCV64: riscvNames,
}

var (
	mipsNames  = Names("- - v0 v1 a0 a1 a2 a3 t0 t1 t2 t3 t4 t5 t6 t7 s0 s1 s2 s3 s4 s5 s6 s7 t8 t9 k0 k1 gp sp fp ra")
	riscvNames = Names("- ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6")
)

// Names splits a list of register names; a dash stands for one without.
func Names(list string) []string {
	out := strings.Fields(list)
	for i, n := range out {
		if n == "-" {
			out[i] = ""
			continue
		}
		out[i] = "$" + n
	}
	return out
}

func numbered(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, "$"+prefix+strconv.Itoa(i))
	}
	return out
}

// ppcLink is the DWARF number of the link register of PowerPC.
const ppcLink = 65

// IPNumber is the DWARF number by which expressions read the instruction
// pointer, none where that cannot be.
func IPNumber(m executable.Machine) uint64 {
	switch m {
	case executable.X86:
		return 8
	case executable.AMD64:
		return 16
	}
	return NoNumber
}

// NoNumber is the number of no register.
const NoNumber = ^uint64(0)

// DWARFName is the name of a register in rules, "" when it has none.
func DWARFName(im *executable.Image, number uint64) string {
	if im.Machine == executable.X86 && im.Format == executable.MachO && (number == 4 || number == 5) {
		number = 9 - number // Apple has these two the other way around
	}
	if number == ppcLink && (im.Machine == executable.PPC || im.Machine == executable.PPC64) {
		return "$lr"
	}
	list := dwarfNames[im.Machine]
	if number >= uint64(len(list)) {
		return ""
	}
	return list[number]
}
