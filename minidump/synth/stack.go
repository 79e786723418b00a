package synth

import "math/rand/v2"

// Call is one frame of a thread: a place in a binary. For the innermost frame
// it is the instruction pointer, for the others the return address, which is
// the instruction after the call.
type Call struct {
	Binary *Binary
	Offset uint32
}

// Address is the call's address in the process.
func (c Call) Address() uint64 { return c.Binary.Base + uint64(c.Offset) }

// frameLayout is where the parts of a frame lie, counted from the stack pointer
// inside the function. size reaches to the caller's stack pointer.
type frameLayout struct {
	size   int64
	ra     int64 // slot of the return address
	fp     int64 // slot of the saved frame pointer, -1 when not saved
	saved  []savedRegister
	setsFP bool
	fpTo   int64 // what the frame pointer holds inside the function
}

type savedRegister struct {
	name string
	at   int64
}

// layoutOf places return address, frame pointer and saved registers as
// compilers for the CPU do.
func layoutOf(cpu CPU, f *Function) frameLayout {
	p := int64(cpu.PointerSize())
	word := func(n uint32) int64 { return (int64(n) + p - 1) / p * p }
	l := frameLayout{fp: -1}
	saves := int64(len(f.Saves)) * p
	switch cpu {
	case X86, AMD64:
		return pushedFrame(cpu, f, p, word(f.Locals))
	case ARM64, ARM64Old:
		// The frame record is at the bottom: stp x29, x30, [sp, #-size]!
		l.size = (2*p + saves + word(f.Locals) + 15) &^ 15
		l.fp, l.ra, l.fpTo, l.setsFP = 0, p, 0, true
		if f.Frame == Bare {
			l.fp, l.setsFP = -1, false
		}
		l.save(f.Saves, 2*p, p)
	case PPC, PPC64:
		// The link register is saved in the caller's frame; sp points at the
		// back chain.
		l.size = (4*p + saves + word(f.Locals) + 15) &^ 15
		l.ra, l.fp = l.size+2*p, l.size-p
		if p == 4 {
			l.ra = l.size + p
		}
		l.save(f.Saves, 3*p, p)
	default:
		// arm, mips, riscv64, sparc: the return address is saved on top with
		// the frame pointer below it.
		l.size = (2*p + saves + word(f.Locals) + 4*p + 15) &^ 15
		l.ra, l.fp = l.size-p, l.size-2*p
		l.fpTo, l.setsFP = l.size-2*p, f.Frame == FramePointer
		if cpu == RISCV64 {
			l.fpTo = l.size
		}
		l.save(f.Saves, l.size-2*p-saves, p)
	}
	if f.Frame == Bare {
		l.fp = -1
	}
	if l.fp >= 0 {
		l.saved = append(l.saved, savedRegister{cpu.FP(), l.fp})
	}
	return l
}

func (l *frameLayout) save(names []string, at, p int64) {
	for i, n := range names {
		l.saved = append(l.saved, savedRegister{n, at + int64(i)*p})
	}
}

// pushedFrame is the frame of x86 and amd64, where the call pushes the return
// address.
func pushedFrame(cpu CPU, f *Function, p, locals int64) frameLayout {
	l := frameLayout{fp: -1}
	saves := int64(len(f.Saves)) * p
	switch f.Frame {
	case FramePointer, Program:
		l.size = locals + saves + 2*p
		l.ra, l.fp = l.size-p, l.size-2*p
		l.fpTo, l.setsFP = l.fp, true
		l.saved = append(l.saved, savedRegister{cpu.FP(), l.fp})
		l.save(f.Saves, locals, p)
	case CFI:
		l.size = locals + saves + 2*p
		l.ra, l.fp = l.size-p, l.size-2*p
		l.saved = append(l.saved, savedRegister{cpu.FP(), l.fp})
		l.save(f.Saves, locals, p)
	default: // FPO, Bare
		l.size = locals + saves + p
		l.ra = l.size - p
		l.save(f.Saves, locals, p)
	}
	return l
}

// stackBuilder lays frames out from the outermost down.
type stackBuilder struct {
	cpu  CPU
	p    int64
	top  uint64 // address after the last byte of the stack
	mem  []byte // grows downwards: mem[len-1] is at top-1
	used int64  // bytes of mem in use, from the end
	regs map[string]uint64
	o    byteOrder
	rng  *rand.Rand
	heap uint64 // where pointers among the locals point
}

// stackMargin is what lies above the outermost frame: the place where a real
// stack has the thread's block or the arguments of the program.
const stackMargin = 256

// reserve moves the stack pointer down by n bytes and fills them with what
// locals look like: small numbers, zeros, pointers into the heap.
func (s *stackBuilder) reserve(n int64) {
	s.used += n
	if s.used > int64(len(s.mem)) {
		grown := make([]byte, max(2*int64(len(s.mem)), s.used+1024))
		copy(grown[int64(len(grown))-int64(len(s.mem)):], s.mem)
		s.mem = grown
	}
	bottom := s.mem[int64(len(s.mem))-s.used:][:n]
	for i := int64(0); i+s.p <= n; i += s.p {
		s.put(bottom[i:], s.filler())
	}
}

func (s *stackBuilder) filler() uint64 {
	r := s.rng.Uint32()
	switch r & 7 {
	case 0, 1, 2:
		return 0
	case 3, 4:
		return uint64(r >> 3 & 0x7ff)
	}
	return s.heap + uint64(r>>3&0xfffff)&^7
}

func (s *stackBuilder) put(b []byte, v uint64) {
	if s.p == 4 {
		s.o.PutUint32(b, uint32(v))
		return
	}
	s.o.PutUint64(b, v)
}

func (s *stackBuilder) sp() uint64 { return s.top - uint64(s.used) }

// set stores a word at an offset from the stack pointer.
func (s *stackBuilder) set(offset int64, v uint64) {
	s.put(s.mem[int64(len(s.mem))-s.used+offset:], v)
}

// enter calls a function: ret is where it will return to.
func (s *stackBuilder) enter(f *Function, ret uint64) {
	l := layoutOf(s.cpu, f)
	s.reserve(l.size)
	s.set(l.ra, ret)
	if s.cpu == PPC || s.cpu == PPC64 {
		s.set(0, s.sp()+uint64(l.size)) // back chain
	}
	for _, r := range l.saved {
		s.set(r.at, s.regs[r.name])
		s.regs[r.name] = s.filler() // the function uses it for its own ends
	}
	switch {
	case l.setsFP:
		s.regs[s.cpu.FP()] = s.sp() + uint64(l.fpTo)
	case f.Frame == Bare:
		s.regs[s.cpu.FP()] = uint64(s.rng.Uint32N(64))
	}
	if link := s.cpu.traits().link; link != "" {
		s.regs[link] = ret
	}
}

// buildStack lays out a thread's calls, innermost first, below top, and gives
// the memory and the registers inside the innermost function.
func buildStack(cpu CPU, o byteOrder, calls []Call, top, heap uint64, rng *rand.Rand) (Memory, *Context) {
	s := &stackBuilder{cpu: cpu, p: int64(cpu.PointerSize()), top: top, o: o, rng: rng, heap: heap, regs: map[string]uint64{}}
	s.mem = make([]byte, 2048)
	s.reserve(stackMargin)
	s.regs[cpu.FP()] = 0
	for i := len(calls) - 1; i >= 0; i-- {
		c := calls[i]
		f := c.Binary.Lookup(c.Offset)
		if f == nil {
			f = &Function{Frame: Bare, Locals: 32}
		}
		var ret uint64
		if i+1 < len(calls) {
			ret = calls[i+1].Address()
			if caller := calls[i+1].Binary.Lookup(calls[i+1].Offset); cpu == X86 && caller != nil && caller.Frame != CFI && caller.Frame != Bare {
				s.reserve(int64(f.Parameters) &^ 3) // pushed arguments
			}
		}
		s.enter(f, ret)
	}
	ctx := &Context{CPU: cpu, Registers: make([]Register, 0, len(s.regs)+8)}
	if len(calls) > 0 {
		ctx.Set(cpu.IP(), calls[0].Address())
	}
	ctx.Set(cpu.SP(), s.sp())
	for _, name := range cpu.saved() {
		if v, ok := s.regs[name]; ok {
			ctx.Set(name, v)
		}
	}
	return Memory{Start: s.sp(), Data: s.mem[int64(len(s.mem))-s.used:]}, ctx
}

// saved lists the registers a stack can give values to, in a fixed order.
func (c CPU) saved() []string {
	t := c.traits()
	names := []string{t.fp}
	if t.link != "" {
		names = append(names, t.link)
	}
	return append(names, calleeSaved[c]...)
}

var calleeSaved = [cpuCount][]string{
	X86:      {"ebx", "esi", "edi"},
	AMD64:    {"rbx", "r12", "r13", "r14", "r15"},
	ARM:      {"r4", "r5", "r6", "r7", "r8", "r9", "r10"},
	ARM64:    {"x19", "x20", "x21", "x22", "x23", "x24"},
	ARM64Old: {"x19", "x20", "x21", "x22", "x23", "x24"},
	MIPS:     {"s0", "s1", "s2", "s3"},
	MIPS64:   {"s0", "s1", "s2", "s3"},
	PPC:      {"r29", "r30"},
	PPC64:    {"r29", "r30"},
	RISCV64:  {"s1", "s2", "s3", "s4"},
}
