package unwind

import "mayday/minidump/format"

// arch is how stacks of one CPU are walked.
type arch struct {
	cpu     format.CPU
	pointer int    // bytes
	adjust  uint64 // from a return address back into the call instruction
	silent  bool   // Parity yields no frame at all, not even of the context
	walked  bool   // Parity yields more than the context

	ip, sp, fp, lr format.Register
	// saved are the registers that a function leaves as they were, so that they
	// hold in the caller unless a rule says otherwise.
	saved uint64
	// savedWindows are those that are preserved on Windows as well; the peer does
	// not know.
	savedWindows uint64

	// The techniques work out k.caller from k.callee and report whether they
	// found one. byFramePointer is nil where there is no such thing, byScan where
	// stacks are not walked at all; signal recovers the registers that a signal
	// interrupted, by Best only.
	byCFI, byFramePointer, byScan, signal func(k *walk) bool
	// progress reports whether the caller is farther out than the callee.
	progress func(k *walk) bool
}

func newArch(cpu format.CPU, adjust uint64, saved ...string) arch {
	a := arch{cpu: cpu, pointer: cpu.PointerSize(), adjust: adjust,
		ip: cpu.IPRegister(), sp: cpu.SPRegister(), fp: cpu.FPRegister(), lr: cpu.LRRegister()}
	a.saved = registerMask(cpu, saved...)
	return a
}

func registerMask(cpu format.CPU, names ...string) (mask uint64) {
	for _, name := range names {
		r, ok := cpu.Register(name)
		if !ok {
			panic("unwind: " + cpu.String() + " has no register " + name)
		}
		mask |= 1 << r
	}
	return mask
}

// archs says how each CPU is walked.
var archs = tabulate(archX86(), archAMD64(), archARM(), archARM64(), archMIPS(), archMIPS64(),
	archRISCV(format.RISCV), archRISCV(format.RISCV64), archPPC(format.PPC), archPPC(format.PPC64))

func tabulate(list ...arch) map[format.CPU]*arch {
	table := make(map[format.CPU]*arch, len(list))
	for _, a := range list {
		table[a.cpu] = &a
	}
	return table
}

// archOf is how cpu is walked; of an unlisted one there is the context frame.
func archOf(cpu format.CPU) *arch {
	if a := archs[cpu]; a != nil {
		return a
	}
	return &arch{cpu: cpu, pointer: cpu.PointerSize()}
}

// parityCaller tries the techniques in turn and believes the first that finds
// something.
func parityCaller(k *walk) bool {
	a := k.arch
	if a.byCFI(k) {
		return true
	}
	if a.byFramePointer != nil && a.byFramePointer(k) {
		return true
	}
	return a.byScan(k)
}

// upwards is the progress of CPUs whose calls push the return address: the
// caller's stack pointer is above the callee's.
func upwards(k *walk) bool { return k.caller.SP() > k.callee.SP() }

// upwardsOrLeaf is the progress of CPUs with a link register: the innermost
// function may not have touched the stack.
func upwardsOrLeaf(k *walk) bool {
	sp, last := k.caller.SP(), k.callee.SP()
	return sp > last || sp == last && (k.callee.trust == Context || k.callee.interrupted)
}
