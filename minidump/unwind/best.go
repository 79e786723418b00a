package unwind

import (
	"encoding/binary"

	"mayday/minidump/format"
)

// The Best heuristics try the same techniques, but look at what comes out, and
// know more places to look:
//
//   - The tables in the module's own binary come first, where it is at hand: they
//     are whole, and right at each instruction.
//   - A caller must lie in code: in executable memory where the dump has a map
//     of it, and in a function where the module has symbols. If it does not, or
//     if its stack pointer lies outside the stack, the next technique has a go.
//   - What scanning finds must follow a call instruction where the dump or
//     the binary holds the code, and must not be the start of a function. It may lie in executable
//     memory that belongs to no module, such as the output of a JIT compiler, if
//     there is a frame record.
//   - The stack ends where CFI says that there is no return address and at
//     functions that are known to start threads. Where an unbroken chain of frame
//     pointers ends in 0, scanning goes on into functions of modules with symbols
//     alone, since code without frame pointers may have followed.
//   - A thread that crashed because it called an address that is no code stands
//     before the first instruction of a function, whatever frame pointers say.
//   - A function that has not called anything yet, on CPUs with a link register,
//     returns there.
//   - A return to a signal trampoline restores the registers that the kernel
//     saved below, and leads back to the stack that was interrupted.
//   - On Windows, rsi and rdi are preserved by calls too.
//   - A rule that finds the return address where it found it before, without a
//     look at the stack, would find it there for ever.
//
// bestCaller is the step of a walk.
func bestCaller(k *walk) bool {
	a := k.arch
	innermost := k.innermost()
	if innermost && !k.isExecutable(k.callee.instruction) && strayedCall(k) {
		return true
	}
	if !innermost && a.signal != nil && a.signal(k) {
		return true
	}
	if a.cpu == format.ARM64 && k.callee.trust == FramePointer && arm64Record(k) {
		return true
	}
	for _, byRules := range [...]func(*walk) bool{byBinary, a.byCFI} {
		moves := k.moves
		if byRules(k) {
			switch {
			case k.moves != moves:
				return true // stack pointers of another stack do not compare
			case k.runsInCircles():
				k.truncated = truncatedCircle
				return false
			case k.believable():
				return true
			case k.caller.IP() == 0 && k.callee.trust <= CFI:
				return false // the word that systems begin their stacks with
			}
		}
		if k.ended {
			return false
		}
	}
	if innermost && a.lr != format.NoRegister && leafCall(k) {
		return true
	}
	if a.byFramePointer != nil && a.byFramePointer(k) && k.believable() {
		return true
	}
	if k.ended || !innermost && k.startsThread() {
		return false // the innermost may be the parent, on its way out of clone
	}
	k.sceptical = k.endOfChain()
	found := a.byScan(k) && k.believable()
	k.sceptical = false
	return found
}

// believable reports whether the caller can be one.
func (k *walk) believable() bool {
	ip := k.caller.IP()
	if ip < lowestCode || !k.arch.progress(k) || k.stack.beyond(k.caller.SP()) {
		return false
	}
	adjust := k.arch.adjust
	if k.caller.interrupted {
		adjust = 0
	}
	if k.caller.trust == CFI && k.callee.trust > CFI && !k.caller.interrupted {
		// The rules were applied to a stack pointer that is a guess.
		return k.isKnownCode(ip - adjust)
	}
	return k.isExecutable(ip - adjust)
}

// isKnownCode reports whether address is known to lie in code, or at least in a
// module.
func (k *walk) isKnownCode(address uint64) bool {
	if code := k.process.Code; code != nil {
		if executable, known := code.Executable(address); known {
			return executable
		}
	}
	_, _, ok := k.process.Modules.Find(address)
	return ok
}

// isExecutable reports whether address may hold code, as far as is known: by
// the memory map if there is one, else by the modules. Where neither says
// anything the answer is yes, since frames of generated code lie there.
func (k *walk) isExecutable(address uint64) bool {
	if code := k.process.Code; code != nil {
		if executable, known := code.Executable(address); known {
			return executable
		}
	}
	return k.isKnownCode(address) || address >= lowestCode && (k.arch.cpu != format.AMD64 || canonical(address))
}

// mayReturnTo is isCode of the Best heuristics.
func (k *walk) mayReturnTo(address uint64) bool {
	if address <= lowestCode {
		return false
	}
	before := address - 1
	executable, known := false, false
	code := k.process.Code
	if code != nil {
		executable, known = code.Executable(before)
	}
	if known && !executable {
		return false
	}
	module, base, ok := k.process.Modules.Find(before)
	if !ok {
		if !known {
			return false
		}
	} else if before-base < headerBytes {
		return false
	} else if table := k.process.Modules.Symbols(k.ctx, module); table != nil {
		function, ok := table.Function(before - base)
		if !ok || function.Name == "" {
			return false
		}
		// What points at the start of a function is a pointer to it. The function
		// before it may end in a call that does not return, but that is rare.
		if starts(table, address-base) {
			return false
		}
	} else if k.sceptical {
		return false
	}
	n := callBytes(k.arch.cpu)
	b := k.codeBefore(address, n)
	return b == nil || endsInCall(k.arch.cpu, b, k.order())
}

// starts reports whether a function starts at offset.
func starts(table Symbols, offset uint64) bool {
	if s, ok := table.(Starts); ok {
		return s.Starts(offset)
	}
	f, ok := table.Function(offset)
	return ok && f.Address == offset && !f.Public
}

// headerBytes is how much of a module is no code for certain: the headers of
// all formats are longer, and pointers to them are on every main thread's stack
// (AT_PHDR).
const headerBytes = 0x100

// inModule reports whether address lies behind code of a module.
func (k *walk) inModule(address uint64) bool {
	_, _, ok := k.process.Modules.Find(address - 1)
	return ok
}

// isRecord reports whether slot looks like the return address of a frame
// record: the word below leads farther up the stack. Generated code has such
// records, and executable memory with other things than code in it is pointed at
// from elsewhere.
func (k *walk) isRecord(slot uint64) bool {
	fp, ok := k.stack.word(slot - uint64(k.arch.pointer))
	fp &= k.addressBits()
	return ok && fp > slot && fp-slot <= maxFrameBytes && k.stack.readable(fp)
}

// knowsCode reports whether there is more to tell code by than the range of a
// module; then scanning farther finds more true frames than false ones.
func (k *walk) knowsCode() bool {
	if k.symbols(k.callee) != nil || k.binary(k.callee) != nil {
		return true
	}
	if k.process.Code == nil {
		return false
	}
	_, known := k.process.Code.Executable(k.callee.instruction)
	return known
}

// thumb is the bit of a code address that is none of the address.
func (k *walk) thumb() uint64 {
	if k.arch.cpu == format.ARM {
		return 1
	}
	return 0
}

func (k *walk) order() binary.ByteOrder {
	if k.stack.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// strayedCall is for a thread whose instruction pointer is no code: most
// likely it called through a bad pointer. Then nothing of a frame was set up:
// the return address is in the link register, or on top of the stack.
func strayedCall(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok {
		return false
	}
	var address uint64
	if k.arch.lr != format.NoRegister {
		address, ok = k.callee.Get(k.arch.lr)
		address &= k.addressBits()
	} else {
		address, ok = k.stack.word(sp)
		sp += uint64(k.arch.pointer)
	}
	if !ok || !k.mayReturnTo(address) {
		return false
	}
	k.returnTo(address, sp)
	return true
}

// leafCall is for a function that has called nothing yet: the link register
// still holds its return address. Once it has called, the link register points
// into the function itself.
//
// Most such functions have saved the link register already, since they will
// call something. Then the frame ends where it lies.
func leafCall(k *walk) bool {
	lr, ok := k.callee.Get(k.arch.lr)
	sp, known := k.callee.Get(k.arch.sp)
	lr &= k.addressBits()
	if !ok || !known || !k.mayReturnTo(lr) {
		return false
	}
	here, ok := k.functionAt(k.callee.instruction)
	if !ok {
		return false
	}
	there, ok := k.functionAt(lr - k.arch.adjust)
	if !ok || here == there {
		return false
	}
	if k.arch.byFramePointer != nil && k.arch.byFramePointer(k) && k.caller.IP() == lr {
		return k.believable()
	}
	for i := range uint64(scanWordsFar) {
		slot := sp + i*uint64(k.arch.pointer)
		saved, ok := k.stack.word(slot)
		if !ok {
			break
		}
		if saved&k.addressBits() == lr {
			k.found(hit{value: lr, slot: slot})
			return k.believable()
		}
	}
	k.returnTo(lr, sp)
	return k.believable()
}

// arm64Record follows a second frame record before CFI is asked. The first one
// did not tell the stack pointer: compilers for Linux and Windows put the record
// at the bottom of the frame, those of Apple at the top. Rules that start from
// the stack pointer may be off then. If they agree with the record, they are
// better, since they recover more registers.
func arm64Record(k *walk) bool {
	if !arm64FramePointer(k) || !k.believable() || !k.mayReturnTo(k.caller.IP()) {
		return false
	}
	record := *k.caller
	for _, byRules := range [...]func(*walk) bool{byBinary, k.arch.byCFI} {
		if byRules(k) && k.caller.IP() == record.IP() && k.believable() {
			return true
		}
		k.ended = false
	}
	*k.caller = record
	return true
}

// functionAt is where the function that covers address starts.
func (k *walk) functionAt(address uint64) (uint64, bool) {
	module, base, ok := k.process.Modules.Find(address)
	if !ok || address < base {
		return 0, false
	}
	table := k.process.Modules.Symbols(k.ctx, module)
	if table == nil {
		return 0, false
	}
	function, ok := table.Function(address - base)
	return base + function.Address, ok && !function.Public
}

// returnTo makes the caller what a return to address leads to, with the
// registers that calls preserve.
func (k *walk) returnTo(address, sp uint64) {
	k.forward()
	k.caller.trust = Scan
	k.caller.Set(k.arch.ip, address)
	k.caller.Set(k.arch.sp, sp)
}

// addressBits are the bits of a link register that are address.
func (k *walk) addressBits() uint64 {
	if k.arch.cpu == format.ARM64 {
		return k.pacMask
	}
	return ^uint64(0)
}

// chainedFrames is how many frames in a row must have been found by frame
// pointer before a frame pointer of 0 means that there are no more: code
// without frame pointers in between leaves anything there.
const chainedFrames = 2

// endOfChain reports whether the frame pointers have come to their end: the
// last one is 0, or points at a record of zeros with which the system began the
// stack.
func (k *walk) endOfChain() bool {
	fp, ok := k.callee.Get(k.arch.fp)
	if !ok {
		return false
	}
	if fp == 0 {
		return k.callee.chained >= chainedFrames
	}
	saved, ok := k.stack.word(fp)
	ip, readable := k.stack.word(fp + uint64(k.arch.pointer))
	return ok && readable && saved == 0 && ip == 0 && k.callee.chained > 0
}

// startsThread reports whether the callee is a function that nothing called.
func (k *walk) startsThread() bool {
	table := k.symbols(k.callee)
	if table == nil {
		return false
	}
	function, ok := table.Function(k.callee.instruction - k.callee.base)
	return ok && threadStarts[function.Name]
}

// threadStarts are the functions at the outer end of stacks.
var threadStarts = map[string]bool{
	"_start": true, "clone": true, "__clone": true, "clone3": true, "__clone3": true, // glibc, musl
	"__bionic_clone": true, "__start_thread": true, // Android
	"start": true, "_dyld_start": true, "thread_start": true, "_thread_start": true, "start_wqthread": true, // macOS
	"RtlUserThreadStart": true, "_RtlUserThreadStart": true, "__RtlUserThreadStart": true, // Windows
	"runtime.goexit": true, "runtime.goexit.abi0": true, "runtime.rt0_go": true, "runtime.rt0_go.abi0": true, // Go
}

// runsInCircles reports whether CFI gave the callee's own address back without
// having loaded it from anywhere.
func (k *walk) runsInCircles() bool {
	return k.caller.IP() == k.callee.IP() && !k.loaded && k.arch.lr == format.NoRegister
}

// The layout of what the Linux kernel leaves on the stack of an amd64 signal
// handler above its return address (struct rt_sigframe): a ucontext whose
// general registers start at 40.
const (
	ucontextRegisters = 40
	ucontextFlags     = ucontextRegisters + 17*8
	ucontextSegments  = ucontextRegisters + 18*8 // cs, gs, fs and ss, 16 bits each
)

// ucontextOrder is the order of the general registers.
var ucontextOrder = [...]string{"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip"}

// amd64Signal recognises the frame of a signal trampoline by the saved
// registers at its stack pointer: the segments of user space and flags that
// can be are not there by chance. All registers of the interrupted frame are
// known then, and its instruction is not a call.
func amd64Signal(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok || k.process.Platform == Windows {
		return false
	}
	const userSegments, userSegmentsOld = 0x002b_0000_0000_0033, 0x33
	segments, ok := k.stack.word(sp + ucontextSegments)
	if !ok || segments != userSegments && segments != userSegmentsOld {
		return false
	}
	flags, ok := k.stack.word(sp + ucontextFlags)
	const alwaysSet, highest = 1 << 1, 1 << 22
	if !ok || flags&alwaysSet == 0 || flags >= highest {
		return false
	}
	k.clear(CFI)
	k.caller.interrupted = true
	for i, name := range ucontextOrder {
		v, ok := k.stack.word(sp + ucontextRegisters + 8*uint64(i))
		if !ok {
			return false
		}
		r, _ := format.AMD64.Register(name)
		k.caller.Set(r, v)
	}
	if !canonical(k.caller.IP()) {
		return false
	}
	if k.stack.readable(k.caller.SP()) && k.caller.SP() > sp {
		return true
	}
	return k.moveTo(k.caller.SP())
}

// stackPage is the granularity of guard pages: a stack that ran over has its
// stack pointer up to that far below the memory that there is.
const stackPage = 4096

// moveTo goes on with the stack that a signal handler on a stack of its own
// interrupted. Where there is no memory of it, the interrupted frame cannot be
// followed.
func (k *walk) moveTo(sp uint64) bool {
	if k.process.Stacks == nil || k.moves >= maxMoves || sp > sp+stackPage {
		return false
	}
	for _, at := range [...]uint64{sp, (sp + stackPage) &^ (stackPage - 1)} {
		m := newMemory(k.process.Stacks.Stack(at), k.arch.pointer)
		if !m.empty() && m.base != k.stack.base && m.readable(at) {
			k.stack = m
			k.moves++
			return true
		}
	}
	return false
}
