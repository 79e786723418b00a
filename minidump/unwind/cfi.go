package unwind

import (
	"mayday/minidump/cfi"
	"mayday/minidump/format"
	"mayday/symbols"
)

// byCFI recovers the caller by the call frame information of the callee's
// module. Its result is believed as it is.
func byCFI(k *walk) bool {
	if _, ok := k.callee.Get(k.arch.sp); !ok {
		return false
	}
	table := k.symbols(k.callee)
	if table == nil {
		return false
	}
	offset := k.callee.instruction - k.callee.base
	k.forward()
	if k.arch.cpu == format.X86 {
		if win, ok := table.Win(offset); ok && byWin(k, win) {
			return true
		}
	}
	info, ok := table.CFI(offset)
	if !ok {
		return false
	}
	k.rules.Reset()
	k.eval.Work += uint64(len(info.Init))
	if !k.rules.Add(info.Init) {
		return false
	}
	for _, delta := range info.Deltas {
		k.eval.Work += uint64(len(delta))
		if !k.rules.Add(delta) {
			return false
		}
	}
	k.ruleInit = k.callee.base + info.Start
	return k.apply()
}

// forward begins the caller as a copy of the callee in which the registers
// that calls preserve are known. The others keep the callee's value without
// being known; a STACK WIN program that does not give eip relies on that.
func (k *walk) forward() {
	k.caller.Context = k.callee.Context
	k.caller.trust, k.caller.interrupted = CFI, false
	saved := k.arch.saved
	if k.best() && k.process.Platform == Windows {
		saved |= k.arch.savedWindows
	}
	if k.callee.trust == FramePointer {
		// The frame pointer of a frame that was found by frame pointer is a guess
		// on CPUs whose functions need not keep one: it may be read by rules, but
		// does not hold in the caller.
		saved &^= k.arch.guessedFP()
	}
	k.caller.Valid = k.callee.Valid & saved
}

// apply evaluates k.rules.
func (k *walk) apply() bool {
	if k.rules.CFA == "" {
		return false
	}
	// The function says that nothing called it; so does, where calls push the
	// return address, one that says nothing: dump_syms leaves the rule out.
	k.ended = k.rules.RA == ".undef" || k.rules.RA == "" && k.arch.lr == format.NoRegister
	if k.ended || k.rules.RA == "" {
		return false
	}
	m := (*machine)(k)
	k.loaded = false
	cfa, ok := k.eval.Evaluate(k.rules.CFA, m, cfi.CFA{})
	if !ok {
		return false
	}
	known := cfi.CFA{Value: cfa, Known: true}
	ra, ok := k.eval.Evaluate(k.rules.RA, m, known)
	if !ok || !k.fits(cfa) || !k.fits(ra) {
		return false
	}
	k.caller.Set(k.arch.sp, cfa)
	k.caller.Set(k.arch.ip, ra)
	for _, rule := range k.rules.Others {
		r, ok := k.register(rule.Register)
		if !ok {
			continue
		}
		v, ok := k.eval.Evaluate(rule.Expression, m, known)
		switch {
		case !ok && (k.best() || k.arch.cpu.RegisterName(r) == rule.Register):
			k.caller.Forget(r)
		case ok && k.fits(v):
			k.caller.Set(r, v)
		}
	}
	return true
}

// fits reports whether v can be the value of a register.
func (k *walk) fits(v uint64) bool { return k.arch.pointer == 8 || v>>32 == 0 }

// register finds the register that a rule names. Only those that are listed
// take part, and the numbers that MIPS registers have are no names.
func (k *walk) register(name string) (format.Register, bool) {
	r, ok := k.arch.cpu.Register(name)
	return r, ok && int(r) < k.arch.cpu.RegisterCount() && (name[0] > '9' || name[0] < '0')
}

// machine lets expressions read the callee.
type machine walk

// Register is the value of a register of the callee.
func (m *machine) Register(name string) (uint64, bool) {
	k := (*walk)(m)
	r, ok := k.register(name)
	if !ok || r == k.arch.lr && k.lrIsGuess() {
		return 0, false
	}
	v, ok := k.callee.Get(r)
	if k.arch.pointer == 4 {
		v &= 0xffff_ffff // MIPS keeps 32-bit registers in 64-bit slots
	}
	return v, ok
}

// Load reads a word of the stack.
func (m *machine) Load(address uint64) (uint64, bool) {
	m.loaded = true
	return m.stack.word(address)
}

// byWin recovers the caller by STACK WIN. A program that fails is not made up
// for by a record of the other kind.
func byWin(k *walk, win symbols.Win) bool {
	record := preferred(win)
	if record == nil {
		return false
	}
	callee := cfi.X86{GrandCallee: k.grandKnown, GrandCalleeParams: k.grandCalleeParams(), Load: k.load32}
	get := func(name string) (uint32, bool) {
		v, ok := k.callee.Named(name)
		return uint32(v), ok
	}
	callee.EIP, _ = get("eip")
	callee.ESP, callee.KnownESP = get("esp")
	callee.EBP, callee.KnownEBP = get("ebp")
	callee.EBX, callee.KnownEBX = get("ebx")
	in := cfi.WinRecord{ParamSize: record.ParamSize, SavedRegsSize: record.SavedRegsSize, LocalsSize: record.LocalsSize,
		Program: record.Program, AllocatesBasePointer: record.AllocatesBasePointer}
	var out cfi.WinRegisters
	var ok bool
	if win.FrameData != nil {
		out, ok = k.win.Program(&in, &callee)
	} else {
		out, ok = cfi.FPO(&in, &callee)
	}
	if !ok || k.best() && out.Set&(1<<cfi.EIP) == 0 {
		return false
	}
	k.loaded = true
	for i, name := range winRegisters {
		if out.Set>>i&1 != 0 {
			r, _ := format.X86.Register(name)
			k.caller.Set(r, uint64(out.Values[i]))
		}
	}
	return true
}

// winRegisters are the registers of cfi.WinRegisters, by its indices.
var winRegisters = [...]string{cfi.EIP: "eip", cfi.ESP: "esp", cfi.EBP: "ebp", cfi.EBX: "ebx", cfi.ESI: "esi", cfi.EDI: "edi"}

func (k *walk) load32(address uint64) (uint32, bool) {
	v, ok := k.stack.word(address)
	return uint32(v), ok
}
