package unwind

import "mayday/minidump/format"

// arch is how stacks of one CPU are walked.
type arch struct {
	cpu     format.CPU
	pointer int    // bytes
	adjust  uint64 // from a return address back into the call instruction
	silent  bool   // Parity yields no frame at all, not even of the context

	ip, sp, fp, lr format.Register
	// saved are the registers that a function leaves as they were, so that they
	// hold in the caller unless a rule says otherwise.
	saved uint64

	// caller works out k.caller from k.callee and reports whether there is one;
	// nil if stacks of this CPU are not walked.
	caller func(k *walk) bool
	// progress reports whether the caller is farther out than the callee.
	progress func(k *walk) bool
}

func newArch(cpu format.CPU, adjust uint64, saved ...string) arch {
	a := arch{cpu: cpu, pointer: cpu.PointerSize(), adjust: adjust,
		ip: cpu.IPRegister(), sp: cpu.SPRegister(), fp: cpu.FPRegister(), lr: cpu.LRRegister()}
	for _, name := range saved {
		r, ok := cpu.Register(name)
		if !ok {
			panic("unwind: " + cpu.String() + " has no register " + name)
		}
		a.saved |= 1 << r
	}
	return a
}

// archs says how each CPU is walked.
var archs = tabulate(archX86(), archAMD64(), archARM(), archARM64(), archMIPS(),
	silentArch(format.MIPS64), silentArch(format.RISCV), silentArch(format.RISCV64))

func tabulate(list ...arch) map[format.CPU]*arch {
	table := make(map[format.CPU]*arch, len(list))
	for _, a := range list {
		table[a.cpu] = &a
	}
	return table
}

// silentArch is for CPUs that minidump-stackwalk does not know.
func silentArch(cpu format.CPU) arch {
	a := newArch(cpu, 4)
	a.silent = true
	return a
}

// archOf is how cpu is walked; of an unlisted one there is the context frame.
func archOf(cpu format.CPU) *arch {
	if a := archs[cpu]; a != nil {
		return a
	}
	return &arch{cpu: cpu, pointer: cpu.PointerSize()}
}

// anyOf tries CFI, frame pointer and scan in turn.
func anyOf(techniques ...func(k *walk) bool) func(k *walk) bool {
	return func(k *walk) bool {
		for _, technique := range techniques {
			if technique(k) {
				return true
			}
			if k.truncated != "" {
				return false
			}
		}
		return false
	}
}

// upwards is the progress of CPUs whose calls push the return address: the
// caller's stack pointer is above the callee's.
func upwards(k *walk) bool { return k.caller.SP() > k.callee.SP() }

// upwardsOrLeaf is the progress of CPUs with a link register: the innermost
// function may not have touched the stack.
func upwardsOrLeaf(k *walk) bool {
	sp, last := k.caller.SP(), k.callee.SP()
	return sp > last || sp == last && k.callee.trust == Context
}
