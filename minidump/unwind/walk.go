package unwind

import (
	"context"

	"mayday/minidump/cfi"
	"mayday/minidump/format"
	"mayday/symbols"
)

// The limits. The first is far above what any real stack has; the others keep
// a dump from taking long that lists very many threads, or whose symbols hold
// very long programs.
const (
	// MaxThreadFrames ends the walk of one thread. A stack of 8 MB that ran over
	// holds some 15,000 to 50,000 frames of a small function.
	MaxThreadFrames = 64 << 10
	// MaxFrames is the number of frames of all threads together.
	MaxFrames = 256 << 10
	// MaxScannedWords is the number of words of stack that are looked at in
	// search of a return address, in all threads together.
	MaxScannedWords = 16 << 20
	// MaxProgramBytes is the length of all the CFI and STACK WIN programs that
	// are run, in all threads together; a program is some tens of bytes long.
	MaxProgramBytes = 256 << 20
)

// Reasons to end a walk early.
const (
	truncatedThread   = "more than 65536 frames in one thread"
	truncatedDump     = "more than 262144 frames in all threads"
	truncatedScan     = "more than 16777216 words of stack scanned"
	truncatedPrograms = "more than 268435456 bytes of unwind programs run"
	truncatedOutside  = "the stack pointer left the stack"
	truncatedDeadline = "out of time"
	truncatedCircle   = "the unwind rules of a function lead back to it"
)

// maxMoves is how often a walk goes on with another stack: a thread has one
// alternate signal stack at a time, and handlers rarely change it.
const maxMoves = 8

// lowestCode is the lowest address that can be a return address: the first
// page of every process is left unmapped to catch null pointers.
const lowestCode = 4096

// Budget is what walks may still use, those of all threads of a dump together.
type Budget struct {
	Frames   int64 // of MaxFrames
	Words    int64 // of MaxScannedWords
	Programs int64 // of MaxProgramBytes
}

// NewBudget is the budget of a dump.
func NewBudget() Budget {
	return Budget{Frames: MaxFrames, Words: MaxScannedWords, Programs: MaxProgramBytes}
}

// Spent says which part of the budget is used up, "" while none is: further
// walks would yield next to nothing.
func (b *Budget) Spent() string {
	switch {
	case b.Frames <= 0:
		return truncatedDump
	case b.Words <= 0:
		return truncatedScan
	case b.Programs < 0:
		return truncatedPrograms
	}
	return ""
}

// Walker walks the threads of one process, one after the other. For several at
// a time there must be several walkers.
type Walker struct {
	// Left is the budget for the walks to come.
	Left Budget

	process  Process
	binaries Binaries // nil for none
	walk     walk
}

// NewWalker returns a walker for the threads of p.
func NewWalker(p Process) *Walker {
	w := &Walker{Left: NewBudget(), process: p}
	if p.Heuristics == Best {
		w.binaries, _ = p.Modules.(Binaries)
	}
	return w
}

// Walk walks one thread. When ctx ends, or a limit is reached, the frames so
// far are returned with the reason.
func (w *Walker) Walk(ctx context.Context, t Thread) CallStack {
	var cs CallStack
	cs.Truncated = w.Each(ctx, t, func(f *Frame) bool {
		out := *f
		if out.Registers != nil && len(cs.Frames) > 0 {
			registers := *f.Registers
			out.Registers = &registers
		}
		cs.Frames = append(cs.Frames, out)
		return true
	})
	return cs
}

// Each walks one thread and hands out its frames one by one, innermost first.
// A frame and its registers are valid only until each returns: a walk of very
// many frames need not hold them all. It returns why the walk was ended early,
// "" if it was not or each ended it by returning false.
func (w *Walker) Each(ctx context.Context, t Thread, each func(*Frame) bool) (truncated string) {
	if t.Context == nil {
		return ""
	}
	a := archOf(t.Context.CPU)
	if a.silent && w.process.Heuristics == Parity {
		return ""
	}
	k := &w.walk
	k.begin(ctx, w, a, t)
	return k.run(t, each)
}

// frame is a frame that is being unwound.
type frame struct {
	format.Context
	instruction uint64 // to look up
	trust       Trust
	module      int // NoModule if none
	base        uint64
	interrupted bool // by a signal: it stands at an instruction of its own, no call
	chained     int  // frames in a row, up to this one, that frame pointers led to
}

// walk is the state of one walk.
type walk struct {
	ctx     context.Context
	walker  *Walker
	process *Process
	arch    *arch
	stack   memory
	pacMask uint64

	grand, callee, caller *frame // the caller is the one being worked out
	buffers               [3]frame
	grandKnown            bool

	rules    cfi.Rules
	eval     cfi.Evaluator
	win      cfi.WinEvaluator
	ruleInit uint64 // where the STACK CFI INIT range in force starts

	truncated string
	moves     int  // to other stacks
	ended     bool // the callee says that it has no caller
	loaded    bool // CFI looked at the stack
	sceptical bool // the stack seems to end here: only what symbols confirm is found
}

func (k *walk) begin(ctx context.Context, w *Walker, a *arch, t Thread) {
	k.ctx, k.walker, k.process, k.arch = ctx, w, &w.process, a
	k.stack = newMemory(t.Stack, a.pointer)
	k.grand, k.callee, k.caller = &k.buffers[0], &k.buffers[1], &k.buffers[2]
	k.grandKnown = false
	k.truncated, k.ended, k.moves = "", false, 0
	k.eval.Work, k.win.Work = 0, 0
	if a.cpu == format.ARM64 {
		k.pacMask = pacMask(w.process.Modules.End())
	}
}

func (k *walk) run(t Thread, each func(*Frame) bool) (truncated string) {
	*k.callee = frame{Context: *t.Context, instruction: t.Context.IP(), trust: Context}
	k.locate(k.callee)
	var out Frame
	k.export(&out, k.callee, t.Context.IP())
	out.Registers = t.Context
	if !each(&out) {
		return ""
	}
	left := &k.walker.Left
	if left.Frames--; left.Frames < 0 {
		return truncatedDump
	}
	if k.stack.empty() || k.arch.byScan == nil || !k.arch.walked && !k.best() {
		return ""
	}
	outside := false
	for n := 1; k.mayContinue(n); n++ {
		if !k.step() {
			break
		}
		ip, sp := k.caller.IP(), k.caller.SP()
		beyond := k.stack.beyond(sp)
		if beyond && outside {
			k.truncated = truncatedOutside
			break
		}
		outside = beyond
		k.caller.instruction = ip
		if !k.caller.interrupted {
			k.caller.instruction -= k.arch.adjust
		}
		k.caller.chained = 0
		if k.caller.trust == FramePointer {
			k.caller.chained = k.callee.chained + 1
		}
		k.locate(k.caller)
		k.export(&out, k.caller, ip)
		if !each(&out) {
			break
		}
		left.Frames--
		k.grand, k.callee, k.caller = k.callee, k.caller, k.grand
		k.grandKnown = true
	}
	k.ctx = nil
	return k.truncated
}

// mayContinue checks the limits before another frame is looked for.
func (k *walk) mayContinue(frames int) bool {
	switch {
	case k.truncated != "": // found while looking for the last one
	case frames >= MaxThreadFrames:
		k.truncated = truncatedThread
	case k.walker.Left.Frames <= 0:
		k.truncated = truncatedDump
	case !k.spend():
		k.truncated = truncatedPrograms
	case frames%64 == 0 && k.ctx.Err() != nil:
		k.truncated = truncatedDeadline
	default:
		return true
	}
	return false
}

// spend charges the programs run since it was last called.
func (k *walk) spend() bool {
	work := int64(k.eval.Work + k.win.Work)
	k.eval.Work, k.win.Work = 0, 0
	k.walker.Left.Programs -= work
	return k.walker.Left.Programs >= 0
}

// step works out the caller of the callee. It reports false at the end of the
// stack.
func (k *walk) step() bool {
	find := parityCaller
	if k.best() {
		find = bestCaller
	}
	moves := k.moves
	if !find(k) || k.truncated != "" {
		return false
	}
	if k.moves != moves {
		return true // to another stack, where stack pointers start anew
	}
	// The techniques themselves accept nonsense here and there: these checks tell
	// the end of the stack, for all of them.
	return k.caller.IP() >= lowestCode && k.arch.progress(k)
}

func (k *walk) best() bool { return k.process.Heuristics == Best }

// locate finds the module of f.
func (k *walk) locate(f *frame) {
	module, base, ok := k.process.Modules.Find(f.instruction)
	if !ok || f.instruction < base {
		module, base = NoModule, 0
	}
	f.module, f.base = module, base
}

// symbols are those of the module of f, nil when there are none.
func (k *walk) symbols(f *frame) Symbols {
	if f.module == NoModule {
		return nil
	}
	return k.process.Modules.Symbols(k.ctx, f.module)
}

// export describes f to the outside.
func (k *walk) export(out *Frame, f *frame, ip uint64) {
	*out = Frame{Instruction: f.instruction, Return: ip, StackPointer: f.SP(), Module: f.module, Base: f.base, Trust: f.trust}
	if f.trust != Context && k.process.Registers {
		out.Registers = &f.Context
	}
}

// clear makes the caller a frame of which nothing is known.
func (k *walk) clear(t Trust) {
	*k.caller = frame{Context: format.Context{CPU: k.callee.CPU}, trust: t}
}

// grandCalleeParams is the size of the parameters that the callee pushed for
// the function it had called. STACK WIN knows best, except of a PUBLIC.
func (k *walk) grandCalleeParams() uint32 {
	if !k.grandKnown {
		return 0
	}
	table := k.symbols(k.grand)
	if table == nil {
		return 0
	}
	offset := k.grand.instruction - k.grand.base
	function, ok := table.Function(offset)
	if !ok || function.Public {
		return function.ParamSize
	}
	win, _ := table.Win(offset)
	if r := preferred(win); r != nil {
		return r.ParamSize
	}
	return function.ParamSize
}

// preferred is the record with a program, else the one without.
func preferred(win symbols.Win) *symbols.WinFrame {
	if win.FrameData != nil {
		return win.FrameData
	}
	return win.FPO
}
