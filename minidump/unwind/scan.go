package unwind

// The number of words that are scanned: more after a frame that can be relied
// on, since then there is likely to be a caller, perhaps beyond a frame of
// generated code that cannot be recognised.
const (
	scanWords     = 40
	scanWordsFar  = 160
	maxFrameBytes = 128 << 10 // nearly all functions have smaller frames
	bestWordCost  = 4         // words that count for one that the Best heuristics look at, by the time it takes
)

// scanRange is the number of words to scan for the caller.
func (k *walk) scanRange() int {
	if k.callee.trust == Context || k.callee.trust == CFI || k.callee.interrupted {
		return scanWordsFar
	}
	if k.best() && k.knowsCode() {
		return scanWordsFar
	}
	return scanWords
}

// hit is a word on the stack that could be a return address.
type hit struct {
	value uint64 // the return address
	slot  uint64 // where it lies
	index int    // words above the start
}

// scan looks at count words from address start upwards for one that plausible
// accepts and that points just behind an instruction of a module.
func (k *walk) scan(start uint64, count int, plausible func(uint64) bool) (hit, bool) {
	size := uint64(k.arch.pointer)
	seen := 0
	defer func() {
		if k.best() {
			seen *= bestWordCost
		}
		k.walker.Left.Words -= int64(seen)
	}()
	if k.walker.Left.Words <= 0 {
		k.truncated = truncatedScan
		return hit{}, false
	}
	for i := range count {
		slot := start + uint64(i)*size
		if slot < start || !k.fits(slot) {
			return hit{}, false
		}
		value, ok := k.stack.word(slot)
		if !ok {
			return hit{}, false
		}
		seen++
		if k.best() {
			value &= k.addressBits()
		}
		if plausible(value) && k.isCode(value, slot) {
			if next := slot + size; next < slot || !k.fits(next) {
				return hit{}, false
			}
			return hit{value, slot, i}, true
		}
	}
	return hit{}, false
}

// isCode reports whether the instruction before a return address, found at
// slot, lies in a function of a module, as far as that is known. One byte before
// is enough: the function may end with the call, if what it calls does not
// return.
func (k *walk) isCode(address, slot uint64) bool {
	if k.best() {
		return k.mayReturnTo(address) && (k.inModule(address) || k.isRecord(slot))
	}
	if address <= 1 {
		return false
	}
	address--
	module, base, ok := k.process.Modules.Find(address)
	if !ok || address < base {
		return false
	}
	table := k.process.Modules.Symbols(k.ctx, module)
	if table == nil {
		return true
	}
	function, ok := table.Function(address - base)
	return ok && function.Name != ""
}

// byScan is the scan of the CPUs that recover nothing but the instruction
// and the stack pointer.
func byScan(plausible func(uint64) bool) func(k *walk) bool {
	return func(k *walk) bool {
		sp, ok := k.callee.Get(k.arch.sp)
		if !ok {
			return false
		}
		h, ok := k.scan(sp, k.scanRange(), plausible)
		if !ok {
			return false
		}
		k.found(h)
		return true
	}
}

// found makes the caller the frame that h returns to.
func (k *walk) found(h hit) {
	k.clear(Scan)
	k.caller.Set(k.arch.ip, h.value)
	k.caller.Set(k.arch.sp, h.slot+uint64(k.arch.pointer))
}
