package unwind

// What the Linux kernel leaves on the stack of a signal handler of arm64 and arm,
// above the handler's frame. The stack pointer of the
// trampoline that the handler returns to leads there; no symbols describe it.
//
// Sources: arch/{arm64,arm}/include/uapi/asm/{sigcontext,ucontext}.h.

// userRegisters is where the registers of an interrupted frame lie, one word
// each.
type userRegisters struct {
	at    uint64 // address of the first
	order []string
}

// interruptedBy makes the caller the frame whose registers lie at u. It reports
// false when they cannot be those of a frame.
func (k *walk) interruptedBy(u userRegisters) bool {
	k.clear(CFI)
	k.caller.interrupted = true
	for i, name := range u.order {
		v, ok := k.stack.word(u.at + uint64(i*k.arch.pointer))
		if !ok {
			return false
		}
		if r, ok := k.arch.cpu.Register(name); ok {
			k.caller.Set(r, v)
		}
	}
	if !k.isKnownCode(k.caller.IP() &^ k.thumb()) {
		return false
	}
	if sp := k.caller.SP(); sp <= u.at || !k.stack.readable(sp) {
		return k.moveTo(sp)
	}
	return true
}

// The frame of a signal on arm64: siginfo, then a ucontext whose registers are
// followed by records, of which that of the floating point registers comes
// first.
const (
	arm64SignalRegisters = 128 + 176 + 8
	arm64SignalState     = arm64SignalRegisters + 33*8
	arm64SignalRecords   = 128 + 176 + 288
	arm64FloatRecord     = 0x0000_0210_4650_8001 // its magic, and its size
	// signalDistance is how far above the stack pointer such a frame is looked
	// for when the stack pointer is a guess.
	signalDistance = 2048
)

var arm64SignalOrder = []string{"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
	"x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp", "pc"}

// arm64Signal recognises the frame by the record of floating point registers.
func arm64Signal(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok || k.process.Platform == Windows || k.process.Platform == IOS {
		return false
	}
	// A frame record at the bottom of the handler's frame, where compilers for
	// Linux put it, does not tell where that frame ends.
	distance := uint64(0)
	if _, known := k.functionAt(k.callee.instruction); k.callee.trust != CFI && !known {
		distance = signalDistance
	}
	for at := sp; at <= sp+distance; at += 16 { // the kernel aligns it so
		records, ok := k.stack.word(at + arm64SignalRecords)
		if !ok {
			return false
		}
		if records != arm64FloatRecord {
			continue
		}
		const mode = 0x1f // 0 in user space, in the 64-bit state
		if state, ok := k.stack.word(at + arm64SignalState); !ok || state&mode != 0 || state>>32 != 0 {
			continue
		}
		if k.interruptedBy(userRegisters{at + arm64SignalRegisters, arm64SignalOrder}) {
			return true
		}
	}
	return false
}

// The frame of a signal on arm: a ucontext, after siginfo if the handler asked
// for it.
const (
	armSignalMagic     = 0x5ac3c35a // in the flags of a ucontext without siginfo
	armSignalInfo      = 128
	armSignalRegisters = 20 + 3*4
	armSignalState     = armSignalRegisters + 16*4
	highestSignal      = 64
)

var armSignalOrder = []string{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "fp", "r12", "sp", "lr", "pc"}

// armSignal recognises the frame by the processor's state, which says that it
// was in user space, and by the magic number or the number of the signal.
func armSignal(k *walk) bool {
	sp, ok := k.callee.Get(k.arch.sp)
	if !ok || k.process.Platform == Windows || k.process.Platform == IOS {
		return false
	}
	first, ok := k.stack.word(sp)
	context := sp
	switch {
	case !ok:
		return false
	case first == armSignalMagic:
	case first > 0 && first <= highestSignal:
		context += armSignalInfo
	default:
		return false
	}
	const mode, user = 0x1f, 0x10
	state, ok := k.stack.word(context + armSignalState)
	return ok && state&mode == user && k.interruptedBy(userRegisters{context + armSignalRegisters, armSignalOrder})
}
