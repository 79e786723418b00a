package stackwalk

import (
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/stackwalk/machine"
)

// Memory reads numbers from the memory of the process; a dump does.
type Memory interface {
	Uint(address uint64, size int) (uint64, bool)
}

// arguments writes what the stack holds where the arguments of a frame's function
// would be. It is a guess: that all arguments are words on the stack, that a name
// with scopes is a member's, and that the function did not use the words for
// something else. Only x86 passes arguments like this.
func (p *printer) arguments(s *State, stack *Stack, n int) {
	f := &stack.Frames[n]
	if p.options.Arguments == nil || s.System.CPU != format.X86 || !f.HasFunction {
		return
	}
	how, names, ok := analysis.Arguments(f.Function, s.System.OS == machine.OSName(format.Windows))
	if !ok {
		return
	}
	sp := func(n int) (uint64, bool) {
		if n >= len(stack.Frames) {
			return 0, false
		}
		return stack.Registers(n).Get(format.X86.SPRegister())
	}
	// The words are between the stack pointers of the caller and of its caller.
	at, known := sp(n + 1)
	end, bounded := sp(n + 2)
	p.text("    Arguments (assuming ").text(how.String()).text(")").end()
	for i, name := range names {
		p.text("        arg ").number(uint64(i), 0).text(" (").text(oneLine(name)).text(") = ")
		v, ok := uint64(0), false
		if i == 0 && how == analysis.WindowsThis {
			if r, found := format.X86.Register("ecx"); found {
				v, ok = stack.Registers(n).Get(r)
			}
		} else if known && (!bounded || at < end) {
			v, ok = p.options.Arguments.Uint(at, 4)
			at += 4
		}
		if ok {
			p.hex(v, 8).end()
		} else {
			p.text("<unknown>").end()
		}
	}
	p.end()
}
