package unwind

import "mayday/minidump/format"

func archMIPS() arch {
	a := newArch(format.MIPS, 8, "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "gp", "sp", "fp")
	a.walked = true
	a.byCFI, a.byScan = byCFI, mipsScan
	a.progress = upwardsOrLeaf
	return a
}

// The o32 calling convention keeps four words at the bottom of each frame in
// which the function it calls may save its arguments.
const (
	mipsScanWords     = 256
	mipsArgumentWords = 4
)

// mipsScan scans above the argument words; the innermost function may be one
// that has none.
func mipsScan(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok {
		return false
	}
	sp &= 0xffff_ffff
	count := mipsScanWords
	if k.callee.trust != Context && !k.callee.interrupted {
		sp += mipsArgumentWords * 4
		count -= mipsArgumentWords
	}
	if !k.fits(sp) {
		return false
	}
	h, ok := k.scan(sp, count, func(p uint64) bool { return p >= lowestCode })
	if !ok {
		return false
	}
	k.found(h)
	return true
}
