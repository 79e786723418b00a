package unwind

import "mayday/minidump/format"

func archARM() arch {
	a := newArch(format.ARM, 2, "r4", "r5", "r6", "r7", "r8", "r9", "r10", "fp")
	a.walked = true
	a.byCFI, a.byFramePointer, a.byScan, a.signal = byCFI, armFramePointer, byScan(func(uint64) bool { return true }), armSignal
	a.progress = upwardsOrLeaf
	return a
}

// armFramePointer follows frame records, on iOS alone: elsewhere r11 is a
// general register in most code. A frame pointer of 0 ends the stack.
func armFramePointer(k *walk) bool {
	if k.process.Platform != IOS {
		return false
	}
	fp, known := k.callee.Get(k.arch.fp)
	sp, ok := k.callee.Get(k.arch.sp)
	if !known || !ok || fp >= 0xffff_ffff-8 {
		return false
	}
	var callerFP, pc uint64
	callerSP := sp
	if fp != 0 {
		if callerFP, ok = k.stack.word(fp); !ok {
			return false
		}
		if pc, ok = k.stack.word(fp + 4); !ok {
			return false
		}
		callerSP = fp + 8
	}
	k.clear(FramePointer)
	k.caller.Set(k.arch.ip, pc)
	k.caller.Set(k.arch.sp, callerSP)
	k.caller.Set(k.arch.fp, callerFP)
	return true
}
