package stackwalk

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"runtime/debug"
	"slices"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/reason"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// Options choose how a dump is walked. The zero value is the product's default.
type Options struct {
	// Heuristics is unwind.Best, or unwind.Parity for what minidump-stackwalk
	// does.
	Heuristics unwind.Heuristics
	// Extra are the annotations of the crash as a JSON object, for what is not in
	// the dump: ModuleSignatureInfo, CPUMicrocodeVersion. It may be nil.
	Extra []byte
	// Registers keeps the known registers of every frame, not of the first alone.
	Registers bool
	// Binaries finds the files of modules themselves, for unwinding by their own
	// tables; it may be nil, and is not asked under unwind.Parity.
	Binaries BinarySource

	// each, when set, gets every thread when it has been walked; its stack is
	// forgotten afterwards.
	each func(s *State, thread int)
}

// Walk walks all threads of a dump and names their frames; source may be nil.
// It fails when the dump lacks system info or the thread list (a
// *minidump.FormatError with a Name), and when ctx is cancelled. A deadline
// does not fail it: what was found by then is returned, with Truncated set.
func Walk(ctx context.Context, d *minidump.Dump, source SymbolSource, o Options) (s *State, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fault.New(fault.Internal, "walk dump: panic: %v\n%s", r, debug.Stack())
		}
	}()
	if err := d.Usable(); err != nil {
		return nil, err
	}
	w := &walker{ctx: ctx, dump: d, options: &o, modules: newModules(d, source, o.Heuristics == unwind.Best), extra: parseExtra(o.Extra), mappings: d.NewMappings(),
		none: &Stack{}, spent: &Stack{}, nowhere: &Place{}}
	if o.Heuristics == unwind.Best {
		w.modules.binaries = newBinaries(d, o.Binaries)
	}
	w.describe()
	w.analyse()
	w.listModules()
	w.walkThreads()
	if fault.Is(ctx.Err(), fault.Canceled) {
		return nil, fault.Wrap(ctx.Err(), "walk dump")
	}
	w.listSymbols()
	return &w.state, nil
}

// walker holds what the steps of Walk share.
type walker struct {
	ctx      context.Context
	dump     *minidump.Dump
	options  *Options
	modules  *modules
	mappings *minidump.Mappings
	extra    *extra
	state    State

	frames      []Frame  // room for those of the thread that is being walked
	registers   []uint64 // and for theirs
	none, spent *Stack   // what threads without frames share
	nowhere     *Place   // what is known of addresses that symbols do not cover
	names, hits int      // used of maxFrameNames and maxUnloadedHits
}

// describe fills in what needs no walk.
func (w *walker) describe() {
	d, s := w.dump, &w.state
	s.System = systemInfo(d, w.options, w.extra)
	s.Crash.Reason, _ = reason.Of(d)
	if a, ok := reason.Address(d); ok {
		s.Crash.Address = &a
	}
	s.RequestingThread = -1
	s.Unloaded, s.Handles = d.Unloaded, d.Handles
	s.PID = processID(d)
	if up, ok := d.Uptime(); ok {
		s.Uptime = &up
	}
	s.LSBRelease, s.Limits = lsbRelease(d), limits(d)
	if d.MemoryMaps != nil {
		n := d.MemoryMaps.Len()
		s.MapCount = &n
	}
	s.MacCrashInfo, s.MacBootArgs = d.MacCrashInfo, d.MacBootArgs
	s.CertSubjects = w.extra.certs
	s.Assertion, s.Crashpad, s.Comments, s.Errors = d.Assertion, d.Crashpad, d.Comments, d.Errors
	if n := len(d.SoftErrors); n > maxSoftErrors {
		s.Errors = append(slices.Clip(s.Errors), &minidump.FormatError{Stream: format.StreamSoftErrors, Detail: fmt.Sprintf("%d bytes are more than the %d that are read", n, maxSoftErrors)})
	} else {
		s.SoftErrors = normalJSON(d.SoftErrors)
	}
}

func (w *walker) walkThreads() {
	d := w.dump
	u := unwind.NewWalker(unwind.Process{
		Modules: w.modules, Code: code{d, w.mappings}, Stacks: code{d, w.mappings}, Platform: platform(d.System.OS),
		Heuristics: w.options.Heuristics, Registers: w.options.Registers,
	})
	requesting, known := d.RequestingThread()
	w.state.Threads = make([]Thread, len(d.Threads))
	for i := range d.Threads {
		if known && requesting == d.Threads[i].ID() && !w.dumper(d.Threads[i].ID()) {
			w.state.RequestingThread = i
		}
	}
	// The crashed thread comes first: if a limit ends the walk, not there. What
	// the other walker says about modules of one name depends on the order.
	first := w.state.RequestingThread
	if w.options.Heuristics == unwind.Parity {
		first = -1
	}
	if w.options.each != nil {
		first = w.state.RequestingThread // it is printed first
	}
	if first >= 0 {
		w.thread(u, first)
		w.done(first)
	}
	for i := range d.Threads {
		if i != first {
			w.thread(u, i)
			w.done(i)
		}
	}
}

// done hands a thread out.
func (w *walker) done(i int) {
	if w.options.each != nil {
		w.options.each(&w.state, i)
		w.state.Threads[i].Stack = w.none
	}
}

// cut is a stack of no frames that was truncated; threads share it.
func (w *walker) cut(truncated string) *Stack {
	switch {
	case truncated == "":
		return w.none
	case w.spent.Truncated != truncated:
		w.spent = &Stack{Truncated: truncated}
	}
	if w.state.Truncated == "" {
		w.state.Truncated = truncated
	}
	return w.spent
}

// dumper reports whether a thread is the one that wrote the dump: it has
// nothing to tell.
func (w *walker) dumper(id uint32) bool {
	b := w.dump.Breakpad
	return b != nil && b.HasDumpThread && b.DumpThread == id
}

// thread describes and walks a thread.
func (w *walker) thread(u *unwind.Walker, i int) {
	d, from, to := w.dump, &w.dump.Threads[i], &w.state.Threads[i]
	to.ID, to.Stack = from.ID(), w.none
	if w.dumper(to.ID) {
		return
	}
	if from.HasName {
		to.Name = &from.Name
	}
	if a, ok := d.LastErrorAddress(from); ok {
		if v, ok := d.Uint(a, 4); ok {
			to.lastError, to.hasLastError = uint32(v), true
		}
	}
	if spent := u.Spent(); spent != "" && i != w.state.RequestingThread {
		to.Stack = w.cut(spent)
		return
	}
	c, _ := d.Context(from.Raw.Context)
	if id, known := d.RequestingThread(); known && id == to.ID {
		if e := w.exceptionContext(); e != nil {
			c = e
		}
	}
	w.walkThread(u, from, to, c)
}

// exceptionContext are the registers at the exception; nil when they cannot be
// read.
func (w *walker) exceptionContext() *format.Context {
	if w.dump.Exception == nil {
		return nil
	}
	c, _ := w.dump.Context(w.dump.Exception.Raw.Context)
	return c
}

func (w *walker) walkThread(u *unwind.Walker, from *minidump.Thread, to *Thread, c *format.Context) {
	if c == nil {
		return
	}
	stack := unwind.Stack{Order: w.dump.Order}
	// Eight bytes, on every processor: so the region is chosen elsewhere too.
	if r := w.dump.ThreadStack(from, c.SP(), 8); r != nil {
		stack.Base, stack.Bytes = r.Base, r.All()
	}
	// Frames are gathered where there is room, and kept without any.
	frames, registers := w.frames[:0], w.registers[:0]
	first := to == w.requestingThread()
	full := false
	truncated := u.Each(w.ctx, unwind.Thread{Context: c, Stack: stack}, func(f *unwind.Frame) bool {
		if full = !w.affordable(f); full {
			return false
		}
		at := uint32(0)
		if f.Registers != nil && (w.options.Registers || first && len(frames) == 0) {
			registers = appendRegisters(registers, f.Registers)
			at = uint32(len(registers) - bits.OnesCount64(f.Registers.Valid))
		}
		frames = append(frames, Frame{Instruction: f.Instruction, Place: w.place(f), Module: int32(f.Module), Trust: f.Trust,
			back: uint8(f.Return - f.Instruction), registers: at})
		return true
	})
	if full {
		truncated = truncatedNames
	}
	w.frames, w.registers = frames, registers
	if len(frames) == 0 {
		to.Stack = w.cut(truncated)
		return
	}
	to.Stack = &Stack{Frames: slices.Clone(frames), Truncated: truncated}
	if len(registers) > 0 {
		known := slices.Clone(registers)
		to.Stack.registers = &known
	}
	if truncated != "" && w.state.Truncated == "" {
		w.state.Truncated = fmt.Sprintf("thread %d: %s", to.ID, truncated)
	}
}

// Limits on what frames repeat of the dump: modules can have names of
// megabytes, and any number of unloaded modules can have covered an address.
const (
	maxFrameNames   = 32 << 20 // bytes; the names of modules under 256 Ki frames of paths of 128 bytes
	maxUnloadedHits = 64 << 10

	truncatedNames    = "more than 33554432 bytes of module names under frames"
	truncatedUnloaded = "more than 65536 unloaded modules under frames"
)

// affordable charges the name of a frame's module.
func (w *walker) affordable(f *unwind.Frame) bool {
	if f.Module == unwind.NoModule {
		return true
	}
	w.names += len(w.dump.Modules[f.Module].Name)
	return w.names <= maxFrameNames
}

// requestingThread is the thread that the dump is about, nil if none is.
func (w *walker) requestingThread() *Thread {
	if w.state.RequestingThread < 0 {
		return nil
	}
	return &w.state.Threads[w.state.RequestingThread]
}

// place looks up the function and line of a frame.
func (w *walker) place(f *unwind.Frame) *Place {
	if f.Module == unwind.NoModule {
		return w.unloadedAt(f.Instruction)
	}
	if s := w.modules.of(w.ctx, f.Module); s != nil {
		if found := s.at(f.Offset()); found != nil {
			return &found.place
		}
	}
	return w.nowhere
}

// unloadedAt lists the unloaded modules that had covered addr, by name.
func (w *walker) unloadedAt(addr uint64) *Place {
	var found []minidump.UnloadedModule
	for i := range w.dump.Unloaded.Covering(addr) {
		if w.hits++; w.hits > maxUnloadedHits || w.names > maxFrameNames {
			if w.state.Truncated == "" {
				w.state.Truncated = truncatedUnloaded
			}
			break
		}
		u := w.dump.Unloaded.At(i)
		w.names += len(u.Name)
		found = append(found, u)
	}
	if found == nil {
		return w.nowhere
	}
	slices.SortFunc(found, func(a, b minidump.UnloadedModule) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(addr-a.Base, addr-b.Base))
	})
	p := &Place{}
	for _, u := range found {
		if n := len(p.Unloaded); n == 0 || p.Unloaded[n-1].Name != u.Name {
			p.Unloaded = append(p.Unloaded, UnloadedHit{Name: u.Name})
		}
		h := &p.Unloaded[len(p.Unloaded)-1]
		if n := len(h.Offsets); n == 0 || h.Offsets[n-1] != addr-u.Base {
			h.Offsets = append(h.Offsets, addr-u.Base)
		}
	}
	return p
}

func (w *walker) listModules() {
	d, s := w.dump, &w.state
	s.Modules = make([]Module, len(d.Modules))
	unasked := &SymbolStats{}
	for i := range d.Modules {
		s.Modules[i] = Module{Module: &d.Modules[i], Symbols: unasked}
	}
	s.modulesByAddress = d.ModulesByAddress()
}

// listSymbols says of each module what became of its symbols.
func (w *walker) listSymbols() {
	if len(w.modules.stats) == 0 && w.modules.binaries == nil {
		return
	}
	for i := range w.state.Modules {
		m := &w.state.Modules[i]
		m.Binary = w.modules.binaries.used(i)
		if stats := w.modules.stats[symbols.Leaf(m.Name)]; stats != nil {
			m.Symbols = stats
		}
	}
}

func platform(os format.OS) unwind.Platform {
	switch os {
	case format.Windows:
		return unwind.Windows
	case format.IOS:
		return unwind.IOS
	}
	return unwind.OtherPlatform
}

// code tells the walker about memory outside the stack.
type code struct {
	dump     *minidump.Dump
	mappings *minidump.Mappings
}

// Bytes implements unwind.Code.
func (c code) Bytes(address uint64, n int) []byte { return c.dump.Bytes(address, uint64(n)) }

// Stack implements unwind.Stacks.
func (c code) Stack(address uint64) unwind.Stack {
	s := unwind.Stack{Order: c.dump.Order}
	if r := c.dump.RegionAt(address); r != nil {
		s.Base, s.Bytes = r.Base, r.All()
	}
	return s
}

// Executable implements unwind.Code.
func (c code) Executable(address uint64) (executable, known bool) {
	m, ok := c.mappings.At(address)
	if !ok && c.dump.HasMappings() {
		// The map is whole, so there is nothing there; but modules that the list
		// knows better may lie in what a broken map leaves out.
		_, ok = c.dump.ModuleAt(address)
		return ok, true
	}
	return m.Executable, ok
}

// analyse looks at the crashing instruction.
func (w *walker) analyse() {
	if a := w.state.Crash.Address; a != nil {
		w.state.Crash.Result = analysis.Analyze(analysis.Input{Dump: w.dump, Mappings: w.mappings, Address: *a, Best: w.options.Heuristics == unwind.Best})
	}
}
