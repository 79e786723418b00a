package stackwalk

import (
	"cmp"
	"context"
	"fmt"
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
	w := &walker{ctx: ctx, dump: d, options: &o, modules: newModules(d, source), extra: parseExtra(o.Extra), mappings: d.NewMappings()}
	if o.Heuristics == unwind.Best {
		w.modules.binaries = newBinaries(d, o.Binaries)
	}
	w.describe()
	w.walkThreads()
	if fault.Is(ctx.Err(), fault.Canceled) {
		return nil, fault.Wrap(ctx.Err(), "walk dump")
	}
	w.analyse()
	w.listModules()
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
	s.Unloaded, s.UnloadedOrder, s.Handles = d.Unloaded, d.UnloadedByAddress(), d.Handles
	s.PID = processID(d)
	if up, ok := d.Uptime(); ok {
		s.Uptime = &up
	}
	s.LSBRelease, s.Limits = lsbRelease(d), limits(d)
	if d.MemoryMaps != nil {
		n := len(d.MemoryMaps)
		s.MapCount = &n
	}
	s.MacCrashInfo, s.MacBootArgs = d.MacCrashInfo, d.MacBootArgs
	s.SoftErrors = normalJSON(d.SoftErrors)
	s.CertSubjects = w.extra.certs
	s.Assertion, s.Crashpad, s.Comments, s.Errors = d.Assertion, d.Crashpad, d.Comments, d.Errors
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
	if first >= 0 {
		w.thread(u, first)
	}
	for i := range d.Threads {
		if i != first {
			w.thread(u, i)
		}
	}
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
	to.ID = from.ID()
	if w.dumper(to.ID) {
		return
	}
	if from.HasName {
		to.Name = &from.Name
	}
	if a, ok := d.LastErrorAddress(from); ok {
		if v, ok := d.Uint(a, 4); ok {
			to.LastError = reason.WindowsError(uint32(v))
		}
	}
	if to.Truncated = u.Spent(); to.Truncated != "" && i != w.state.RequestingThread {
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
	cs := u.Walk(w.ctx, unwind.Thread{Context: c, Stack: stack})
	to.Truncated = cs.Truncated
	if cs.Truncated != "" && w.state.Truncated == "" {
		w.state.Truncated = fmt.Sprintf("thread %d: %s", to.ID, cs.Truncated)
	}
	to.Frames = make([]Frame, len(cs.Frames))
	for i := range cs.Frames {
		w.name(&cs.Frames[i], &to.Frames[i])
		if !w.options.Registers && (i > 0 || to != w.requestingThread()) {
			to.Frames[i].Registers = nil
		}
	}
}

// requestingThread is the thread that the dump is about, nil if none is.
func (w *walker) requestingThread() *Thread {
	if w.state.RequestingThread < 0 {
		return nil
	}
	return &w.state.Threads[w.state.RequestingThread]
}

// name looks up the function and line of a frame.
func (w *walker) name(from *unwind.Frame, to *Frame) {
	*to = Frame{Instruction: from.Instruction, Return: from.Return, Trust: from.Trust, Module: from.Module, Registers: from.Registers}
	if from.Module == unwind.NoModule {
		to.Unloaded = w.unloadedAt(from.Instruction)
		return
	}
	to.ModuleOffset = from.Offset()
	s := w.modules.of(w.ctx, from.Module)
	if s == nil {
		return
	}
	l, ok := s.Locate(to.ModuleOffset)
	if !ok {
		return
	}
	to.HasFunction, to.Function, to.FunctionOffset = true, l.Name, to.ModuleOffset-l.Address
	to.HasFile, to.File, to.HasLine, to.Line = l.HasFile, l.File, l.HasLine, l.Line
	to.Inlines = l.Inlines
}

// unloadedAt lists the unloaded modules that had covered addr, by name.
func (w *walker) unloadedAt(addr uint64) []UnloadedHit {
	var hits []UnloadedHit
	for _, i := range w.dump.UnloadedAt(addr) {
		u := &w.dump.Unloaded[i]
		at := slices.IndexFunc(hits, func(h UnloadedHit) bool { return h.Name == u.Name })
		if at < 0 {
			at = len(hits)
			hits = append(hits, UnloadedHit{Name: u.Name})
		}
		hits[at].Offsets = append(hits[at].Offsets, addr-u.Base)
	}
	slices.SortFunc(hits, func(a, b UnloadedHit) int { return cmp.Compare(a.Name, b.Name) })
	for i := range hits {
		slices.Sort(hits[i].Offsets)
		hits[i].Offsets = slices.Compact(hits[i].Offsets)
	}
	return hits
}

func (w *walker) listModules() {
	d, s := w.dump, &w.state
	s.Modules = make([]Module, len(d.Modules))
	s.moduleIdx = make([]int, 0, len(d.Modules))
	for i := range d.Modules {
		m := &s.Modules[i]
		m.Module = &d.Modules[i]
		m.Symbols = w.modules.stats[symbols.Leaf(m.Name)]
		m.Binary = w.modules.binaries.used(i)
		if at, ok := d.ModuleAt(m.Base); ok && at == i {
			s.moduleIdx = append(s.moduleIdx, i)
		}
	}
	slices.SortFunc(s.moduleIdx, func(a, b int) int { return cmp.Compare(s.Modules[a].Base, s.Modules[b].Base) })
	if len(s.Modules) > 0 {
		s.mainBase = s.Modules[0].Base
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
