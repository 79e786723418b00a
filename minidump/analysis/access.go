package analysis

import (
	"slices"

	"mayday/minidump/format"
)

// jumpKind says what is known of where an instruction leads.
type jumpKind uint8

const (
	jumpUnknown jumpKind = iota
	jumpNone             // to the next instruction
	jumpKnown            // Result.Jump says
)

// fullRegister reads a register by its 64-bit name; parts of registers are not
// known by theirs.
func fullRegister(c *format.Context, name string) (uint64, bool) { return c.Named(name) }

// accesses lists the memory that an instruction touches, nil when a register
// it needs is not known.
func (s *scene) accesses(code *instruction) []Access {
	list := []Access{}
	if code.memSize == 0 {
		return list
	}
	size := max(code.memSize, 0)
	for i := range code.operands {
		o := &code.operands[i]
		// What a mask leaves of an operand is unknown; minidump-stackwalk then has
		// no access at all.
		if !o.memory || code.op == "lea" || o.masked && !s.in.Best {
			continue
		}
		address, null, ok := s.address(o)
		if !ok {
			return nil
		}
		list = append(list, Access{Address: address, Size: size, Kind: code.accessKind(i), null: null})
	}
	sp, ok := fullRegister(s.context, "rsp")
	if !ok {
		return list
	}
	implicit := func(address uint64, kind string) {
		list = append(list, Access{Address: address, Size: size, Kind: kind, null: address == 0})
	}
	switch code.op {
	case "call", "push":
		implicit(sp-8, Write) // the fault comes before the stack pointer moves
	case "pop", "ret", "retf":
		implicit(sp, Read)
	}
	return list
}

// address works out where a memory operand points. A base register that holds
// zero is a null pointer, whatever is added to it. The bases of fs and gs are
// not known and count as 0, and so does the length of the instruction in
// addresses relative to it.
func (s *scene) address(o *operand) (address uint64, null, ok bool) {
	if o.base != "" {
		v, ok := fullRegister(s.context, o.base)
		if !ok {
			return 0, false, false
		}
		address, null = v, v == 0
	}
	if o.index != "" {
		v, ok := fullRegister(s.context, o.index)
		if !ok {
			return 0, false, false
		}
		address += v * uint64(o.scale)
	}
	return address + uint64(o.displacement), null, true
}

// jumps works out where a jump, call or return leads.
func (s *scene) jumps(code *instruction) {
	d := s.in.Dump
	known := func(address uint64) {
		s.result.Jump, s.jump = &Jump{Address: address}, jumpKnown
	}
	switch {
	case slices.Contains([]string{"call", "callf", "jmp", "jmpf"}, code.op):
		if len(code.operands) == 0 {
			return
		}
		o := &code.operands[0]
		switch {
		case o.register != "":
			if v, ok := fullRegister(s.context, o.register); ok {
				known(v)
			}
		case o.memory:
			if a, _, ok := s.address(o); ok {
				if v, ok := d.Uint(a, 8); ok {
					known(v)
				}
			}
		}
	case slices.Contains([]string{"ret", "retf", "iret", "iretd", "iretq"}, code.op):
		i, ok := d.ThreadByID(s.exception.ThreadID)
		if !ok {
			return
		}
		if stack := d.StackOf(&d.Threads[i]); stack != nil {
			if v, ok := stack.Uint(s.context.SP(), 8); ok {
				known(v)
			}
		}
	case code.conditional():
	default:
		s.jump = jumpNone
	}
}
