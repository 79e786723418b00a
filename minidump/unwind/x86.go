package unwind

import "mayday/minidump/format"

func archX86() arch {
	a := newArch(format.X86, 1, "ebp", "ebx", "edi", "esi")
	a.walked = true
	a.byCFI, a.byFramePointer, a.byScan, a.signal = byCFI, x86FramePointer, x86Scan, x86Signal
	a.progress = upwards
	return a
}

// x86FramePointer assumes the standard prologue, as amd64FramePointer does,
// but believes whatever it finds: most code has a frame pointer.
func x86FramePointer(k *walk) bool {
	bp, ok := k.callee.Get(k.arch.fp)
	if !ok || bp >= 0xffff_ffff-8 {
		return false
	}
	ip, ok := k.stack.word(bp + 4)
	if !ok {
		return false
	}
	callerBP, ok := k.stack.word(bp)
	if !ok {
		return false
	}
	k.clear(FramePointer)
	k.caller.Set(k.arch.ip, ip)
	k.caller.Set(k.arch.sp, bp+8)
	k.caller.Set(k.arch.fp, callerBP)
	return true
}

// x86Scan also recovers ebp where the word below the return address looks
// like one, or where the callee's could be that of the caller still.
func x86Scan(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok {
		return false
	}
	h, ok := k.scan(sp, k.scanRange(), func(uint64) bool { return true })
	if !ok {
		return false
	}
	k.found(h)
	if h.index == 0 {
		return true
	}
	below := h.slot - 4
	saved, _ := k.stack.word(below)
	if saved > h.slot && saved-below <= maxFrameBytes {
		if k.stack.readable(saved) {
			k.caller.Set(k.arch.fp, saved)
		}
		return true
	}
	if bp, ok := k.callee.Get(k.arch.fp); ok && bp >= h.slot+4 && k.stack.readable(bp) {
		k.caller.Set(k.arch.fp, bp)
	}
	return true
}
