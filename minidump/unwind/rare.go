package unwind

import "mayday/minidump/format"

// The CPUs that minidump-stackwalk does not walk. They have dump writers
// (Breakpad, Crashpad) and are walked with the Best heuristics alone.

func plausibleCode(p uint64) bool { return p >= lowestCode }

func archMIPS64() arch {
	a := newArch(format.MIPS64, 8, "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "gp", "sp", "fp")
	a.silent = true
	a.byCFI, a.byScan = byCFI, byScan(plausibleCode)
	a.progress = upwardsOrLeaf
	return a
}

func archRISCV(cpu format.CPU) arch {
	a := newArch(cpu, 2, "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "gp", "tp")
	a.silent = true
	a.byCFI, a.byFramePointer, a.byScan = byCFI, riscvFramePointer, byScan(plausibleCode)
	a.progress = upwardsOrLeaf
	return a
}

// riscvFramePointer follows s0, which points at the end of the frame: below it
// lie the return address and the caller's s0.
func riscvFramePointer(k *walk) bool {
	fp, ok := k.callee.Get(k.arch.fp)
	size := uint64(k.arch.pointer)
	if !ok || fp < 2*size {
		return false
	}
	pc, ok := k.stack.word(fp - size)
	if !ok {
		return false
	}
	callerFP, ok := k.stack.word(fp - 2*size)
	if !ok {
		return false
	}
	k.clear(FramePointer)
	k.caller.Set(k.arch.ip, pc)
	k.caller.Set(k.arch.sp, fp)
	k.caller.Set(k.arch.fp, callerFP)
	return true
}

func archPPC(cpu format.CPU) arch {
	a := newArch(cpu, 4, "r2", "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23",
		"r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31")
	a.byCFI, a.byFramePointer, a.byScan = byCFI, ppcBackChain, ppcScan
	a.progress = upwardsOrLeaf
	return a
}

// ppcSavedLink is where in a frame the function that it called saves its
// return address.
func ppcSavedLink(k *walk) uint64 {
	if k.arch.pointer == 8 {
		return 16
	}
	return 4
}

// ppcScan scans above the saved return address, which is one into the frame
// itself.
func ppcScan(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	start := sp + ppcSavedLink(k) + uint64(k.arch.pointer)
	if !ok || start < sp || !k.fits(start) {
		return false
	}
	h, ok := k.scan(start, k.scanRange(), plausibleCode)
	if !ok {
		return false
	}
	k.found(h)
	return true
}

// ppcBackChain follows the back chain: every frame begins with the address of
// the next one out, in which the callee's return address is saved: in the third
// doubleword on 64-bit CPUs, in the second word on 32-bit ones.
func ppcBackChain(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok {
		return false
	}
	next, ok := k.stack.word(sp)
	if !ok {
		return false
	}
	if next == 0 {
		k.ended = k.callee.chained > 0
		return false
	}
	pc, ok := k.stack.word(next + ppcSavedLink(k))
	if !ok {
		return false
	}
	k.clear(FramePointer)
	k.caller.Set(k.arch.ip, pc)
	k.caller.Set(k.arch.sp, next)
	return true
}
