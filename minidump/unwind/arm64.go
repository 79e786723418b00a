package unwind

import (
	"math/bits"

	"mayday/minidump/format"
)

func archARM64() arch {
	a := newArch(format.ARM64, 4, "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "fp")
	a.walked = true
	a.byCFI, a.byFramePointer, a.byScan, a.signal = arm64CFI, arm64FramePointer, byScan(arm64Plausible), arm64Signal
	a.progress = arm64Progress
	return a
}

// arm64Plausible reports whether p can be a code address: user space has at
// most 52 bits, and nothing is mapped at 0.
func arm64Plausible(p uint64) bool { return p >= 0x1000 && p <= 0x000f_ffff_ffff_ffff }

// pacMask are the bits of a pointer that are address. Pointer authentication
// (ARMv8.3, used by Apple) signs return addresses and frame pointers in the
// bits above; how many those are depends on the system's page tables, so it is
// taken from where modules lie, and is 17 at most, as Apple has it.
func pacMask(highest uint64) uint64 {
	highest = max(highest, 1<<47-1)
	if highest&(highest-1) == 0 {
		return highest - 1
	}
	if n := bits.Len64(highest); n < 64 {
		return 1<<n - 1
	}
	return ^uint64(0)
}

// arm64CFI is byCFI with the signatures taken off.
func arm64CFI(k *walk) bool {
	if !byCFI(k) {
		return false
	}
	k.unsign()
	return true
}

// arm64FramePointer follows frame records: x29 points at the caller's x29,
// with the return address above. Functions that call nothing need not have one;
// if the callee is such, this yields the caller's caller, and all is well from
// there on. The caller's own record gives its lr at entry, which CFI needs for
// a frame that stands at its function's first instruction.
func arm64FramePointer(k *walk) bool {
	fp, known := k.callee.Get(k.arch.fp)
	_, ok := k.callee.Get(k.arch.sp)
	if !known || !ok || fp == 0 || fp >= ^uint64(0)-16 {
		return false
	}
	callerFP, ok := k.stack.word(fp)
	if !ok {
		return false
	}
	pc, ok := k.stack.word(fp + 8)
	if !ok {
		return false
	}
	callerFP &= k.pacMask
	pc &= k.pacMask
	if !arm64Plausible(pc) {
		return false
	}
	k.clear(FramePointer)
	k.caller.Set(k.arch.ip, pc)
	k.caller.Set(k.arch.sp, fp+16)
	k.caller.Set(k.arch.fp, callerFP)
	if callerFP != 0 && callerFP+8 > callerFP {
		if lr, ok := k.stack.word(callerFP + 8); ok {
			k.caller.Set(k.arch.lr, lr&k.pacMask)
		}
	}
	return true
}

// lrIsGuess reports whether the callee's lr was read from the next frame
// record. That is its value at the start of the callee's function and nowhere
// else.
func (k *walk) lrIsGuess() bool {
	return k.arch.cpu == format.ARM64 && k.callee.trust == FramePointer && k.ruleInit != k.callee.instruction
}

// guessedFP is the frame pointer of CPUs on which a frame record does not say
// that the next function out keeps one as well.
func (a *arch) guessedFP() uint64 {
	if a.cpu == format.ARM64 || a.cpu == format.ARM {
		return 1 << a.fp
	}
	return 0
}

// arm64Progress allows a function that did not touch the stack where that can
// be: innermost, or when CFI says so.
func arm64Progress(k *walk) bool {
	sp, last := k.caller.SP(), k.callee.SP()
	if sp != last {
		return sp > last
	}
	return k.caller.IP() != k.callee.IP() && (k.callee.trust == Context || k.callee.interrupted || k.caller.trust == CFI)
}
