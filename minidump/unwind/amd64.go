package unwind

import "mayday/minidump/format"

func archAMD64() arch {
	a := newArch(format.AMD64, 1, "rbx", "rbp", "r12", "r13", "r14", "r15")
	a.walked = true
	a.byCFI, a.byFramePointer, a.byScan, a.signal = byCFI, amd64FramePointer, amd64Scan, amd64Signal
	a.progress = upwards
	a.savedWindows = registerMask(format.AMD64, "rsi", "rdi")
	return a
}

// canonical reports whether p can be an address: bits 48 to 63 repeat bit 47.
func canonical(p uint64) bool { return p < 0x0000_8000_0000_0000 || p > 0xffff_7fff_ffff_ffff }

// windowsFrameSlots is how many places above rbp are tried on Windows, 16
// bytes apart: there, a frame pointer may be set anywhere into the first 240
// bytes of the fixed part of the frame (x64 exception handling, UNWIND_INFO
// frame register offset).
const windowsFrameSlots = 16

// amd64FramePointer assumes the standard prologue: the callee pushed rbp
// below the return address and let rbp point there.
func amd64FramePointer(k *walk) bool {
	bp, known := k.callee.Get(k.arch.fp)
	sp, ok := k.callee.Get(k.arch.sp)
	if !known || !ok || bp >= ^uint64(0)-16 {
		return false
	}
	slots := 1
	if k.process.Platform == Windows {
		slots = windowsFrameSlots
	}
	for i := range uint64(slots) {
		slot := bp + 16*i
		ip, ok := k.stack.word(slot + 8)
		if !ok {
			return false
		}
		callerBP, ok := k.stack.word(slot)
		if !ok {
			return false
		}
		callerSP := slot + 16
		if callerBP < callerSP {
			continue
		}
		if !k.stack.readable(callerBP) {
			return false
		}
		if !canonical(ip) || callerSP <= sp {
			continue
		}
		if !k.stack.readable(callerSP) {
			return false
		}
		k.clear(FramePointer)
		k.caller.Set(k.arch.ip, ip)
		k.caller.Set(k.arch.sp, callerSP)
		k.caller.Set(k.arch.fp, callerBP)
		return true
	}
	return false
}

// amd64Scan also recovers rbp where the word below the return address is what
// the callee's rbp points at, or where the callee left it alone.
func amd64Scan(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok {
		return false
	}
	h, ok := k.scan(sp, k.scanRange(), canonical)
	if !ok {
		return false
	}
	k.found(h)
	bp, ok := k.callee.Get(k.arch.fp)
	if !ok || h.index == 0 {
		return true
	}
	below := h.slot - 8
	saved, _ := k.stack.word(below)
	switch {
	case bp == below && saved > h.slot && saved-below <= maxFrameBytes:
		if k.stack.readable(saved) {
			k.caller.Set(k.arch.fp, saved)
		}
	case bp >= h.slot+8:
		k.caller.Set(k.arch.fp, bp)
	}
	return true
}
