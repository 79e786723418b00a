package unwind

import "mayday/minidump/format"

// What the Linux kernel leaves on the stack of an x86 signal handler above its
// return address. Old handlers get the number of the signal and struct
// sigcontext; those with SA_SIGINFO the number, pointers to siginfo_t and
// ucontext_t, and these two.
const (
	x86Contexts       = 8  // the pointer to ucontext_t, from the number on
	x86UcontextOffset = 20 // of its struct sigcontext
)

// sigcontextOrder is the order of struct sigcontext; the first four are segment
// registers, others that matter to nobody are left out.
var sigcontextOrder = [...]string{"", "", "", "", "edi", "esi", "ebp", "esp", "ebx", "edx", "ecx", "eax", "", "", "eip"}

const (
	x86Code  = 4 * len(sigcontextOrder) // cs follows eip
	x86Flags = x86Code + 4
	x86Stack = x86Flags + 8 // ss, behind the stack pointer once more
)

// x86Signal recognises the frame of a signal trampoline, as amd64Signal does:
// here the two kinds of handlers leave different frames.
func x86Signal(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok || k.process.Platform == Windows {
		return false
	}
	// The trampoline of an old handler pops the number first.
	for _, at := range [...]uint64{sp + 4, sp} {
		if k.sigcontext(at) {
			return true
		}
	}
	if ucontext, ok := k.stack.word(sp + x86Contexts); ok && ucontext > sp {
		return k.sigcontext(ucontext + x86UcontextOffset)
	}
	return false
}

// sigcontext takes the registers of the interrupted frame from a struct
// sigcontext, if there is one.
func (k *walk) sigcontext(at uint64) bool {
	code, ok := k.stack.word(at + uint64(x86Code))
	// Of a 32-bit kernel, and of a 64-bit one.
	if !ok || code != 0x73 && code != 0x23 {
		return false
	}
	stack, ok := k.stack.word(at + uint64(x86Stack))
	if !ok || stack != code+8 {
		return false
	}
	flags, ok := k.stack.word(at + uint64(x86Flags))
	const alwaysSet, highest = 1 << 1, 1 << 22
	if !ok || flags&alwaysSet == 0 || flags >= highest {
		return false
	}
	k.clear(CFI)
	k.caller.interrupted = true
	for i, name := range sigcontextOrder {
		v, ok := k.stack.word(at + 4*uint64(i))
		if !ok {
			return false
		}
		if r, known := format.X86.Register(name); known && name != "" {
			k.caller.Set(r, v)
		}
	}
	if k.stack.readable(k.caller.SP()) && k.caller.SP() > at {
		return true
	}
	return k.moveTo(k.caller.SP())
}
