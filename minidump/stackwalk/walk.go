package stackwalk

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/reason"
	"mayday/minidump/stackwalk/jsontext"
	"mayday/minidump/stackwalk/machine"
	"mayday/minidump/unwind"
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

	// Workers is how many threads are walked at a time, 0 for as many as there
	// are processors. Stacks do not depend on it. Under unwind.Parity it is 1.
	Workers int

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
	w := &walker{ctx: ctx, dump: d, options: &o, modules: newModules(d, source, o.Heuristics == unwind.Best), client: machine.ReadClient(o.Extra), mappings: d.NewMappings(),
		left: newAllowance(), none: &Stack{}, spent: &Stack{}, nowhere: &Place{}}
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

// maxSoftErrors is how long a list of soft errors is read; crash reporters
// write some kilobytes.
const maxSoftErrors = 256 << 10

// walker holds what the steps of Walk share.
type walker struct {
	ctx      context.Context
	dump     *minidump.Dump
	options  *Options
	modules  *modules
	mappings *minidump.Mappings
	client   machine.Client
	state    State

	crashed     int // number of the thread that crashed, in the dump
	left        allowance
	none, spent *Stack // what threads without frames share
	nowhere     *Place // what is known of addresses that symbols do not cover
}

// describe fills in what needs no walk.
func (w *walker) describe() {
	d, s := w.dump, &w.state
	s.System = machine.Read(d, w.options.Heuristics, w.client)
	s.Crash.Reason, _ = reason.Of(d)
	if a, ok := reason.Address(d); ok {
		s.Crash.Address = &a
	}
	s.RequestingThread, s.size = -1, uint64(d.Size)
	s.Unloaded, s.Handles = d.Unloaded, d.Handles
	s.PID = machine.ProcessID(d)
	if up, ok := d.Uptime(); ok {
		s.Uptime = &up
	}
	s.LSBRelease, s.Limits = machine.ReadRelease(d), machine.ReadLimits(d)
	if d.MemoryMaps != nil {
		n := d.MemoryMaps.Len()
		s.MapCount = &n
	}
	s.MacCrashInfo, s.MacBootArgs = d.MacCrashInfo, d.MacBootArgs
	s.CertSubjects = w.client.Certs
	s.Assertion, s.Crashpad, s.Comments, s.Errors = d.Assertion, d.Crashpad, d.Comments, d.Errors
	if n := len(d.SoftErrors); n > maxSoftErrors {
		s.Errors = append(slices.Clip(s.Errors), &minidump.FormatError{Stream: format.StreamSoftErrors, Detail: fmt.Sprintf("%d bytes are more than the %d that are read", n, maxSoftErrors)})
	} else {
		s.SoftErrors = jsontext.Normal(d.SoftErrors)
	}
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
	statsOf := w.modules.statsOf()
	for i := range w.state.Modules {
		m := &w.state.Modules[i]
		m.Binary = w.modules.binaries.used(i)
		if stats := statsOf(i); stats != nil {
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
