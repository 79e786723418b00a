package stackwalk

import (
	"context"
	"sync"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// Symbols answers what a walk asks of one module's symbols. The views of
// symbols/sym and symbols/cache implement it.
type Symbols interface {
	unwind.Symbols
	// Locate is the function, source line and inlined calls at offset.
	Locate(offset uint64) (symbols.Location, bool)
}

// Loaded are the symbols of a module as a SymbolSource found them.
type Loaded struct {
	// Symbols is nil when the file cannot be used.
	Symbols Symbols
	// Corrupt says that the file broke the rules of its format; it may be usable
	// in part.
	Corrupt bool
	// Verdict says which lines of a corrupt file broke the rules.
	Verdict symbols.Verdict
	// URL is where the file was downloaded from, "" if it was at hand.
	URL string
	// DebugFile and DebugID are set when the source found them out by the code
	// id of a module that has none.
	DebugFile, DebugID string
}

// SymbolSource finds the symbols of modules.
type SymbolSource interface {
	// Symbols returns the symbols of a module, or an error of kind NotFound when
	// there are none. It is called once for each module.
	Symbols(ctx context.Context, id symbols.ModuleID) (*Loaded, error)
}

// SymbolStats says what became of a module's symbols.
type SymbolStats struct {
	// Loaded says that there was a file, Missing that there was none, Corrupt
	// that its format was broken. All are false for a module that no frame and
	// no possible return address lay in.
	Loaded, Missing, Corrupt bool
	// Verdict says which lines of a corrupt file broke the rules.
	Verdict symbols.Verdict
	URL     string
	// Error is why the file could not be had, when that is more than that there
	// is none.
	Error string
	// DebugFile and DebugID replace those of the dump when they are set.
	DebugFile, DebugID string
}

// modules finds the modules of a dump for the walker and loads their symbols
// when they are first asked for.
type modules struct {
	dump   *minidump.Dump
	source SymbolSource // nil when there are no symbols at all
	best   bool
	// binaries are the files of the modules, nil when there are none.
	binaries *binaries

	mu     sync.Mutex // guards what follows
	loaded map[symbols.ModuleID]*slot
	stats  map[string]*SymbolStats // by the leaf of the code file
}

// slot holds the symbols of one module; done closes when they are there.
type slot struct {
	done    chan struct{}
	symbols *answers
}

// answers keeps what the symbols of a module answered: a walk asks of one
// address whether a function covers it, how to unwind it and what it is called,
// and the same addresses come up in many threads and in recursion. Only one
// goroutine may use it at a time.
type answers struct {
	Symbols
	best  bool
	found map[uint64]*answer // by offset
	cfi   map[uint64]symbols.CFI
}

type answer struct {
	function symbols.Function
	place    Place
}

// maxAnswers bounds what is kept of a module's answers; stacks have some
// thousand different addresses.
const maxAnswers = 64 << 10

func newAnswers(s Symbols, best bool) *answers {
	return &answers{Symbols: s, best: best, found: map[uint64]*answer{}, cfi: map[uint64]symbols.CFI{}}
}

// at is what covers offset, nil when nothing does.
func (a *answers) at(offset uint64) *answer {
	if found := a.found[offset]; found != nil {
		return found
	}
	l, ok := a.Locate(offset)
	if !ok {
		return nil
	}
	found := &answer{l.Function, Place{HasFunction: true, Function: l.Name, FunctionOffset: offset - l.Address,
		HasFile: l.HasFile, File: l.File, HasLine: l.HasLine, Line: l.Line, Inlines: l.Inlines}}
	if len(a.found) < maxAnswers {
		a.found[offset] = found
	}
	return found
}

// Function implements unwind.Symbols. In parity a function may cover an address
// of which Locate says nothing.
func (a *answers) Function(offset uint64) (symbols.Function, bool) {
	if !a.best {
		return a.Symbols.Function(offset)
	}
	if found := a.at(offset); found != nil {
		return found.function, true
	}
	return symbols.Function{}, false
}

// CFI implements unwind.Symbols.
func (a *answers) CFI(offset uint64) (symbols.CFI, bool) {
	if c, ok := a.cfi[offset]; ok {
		return c, true
	}
	c, ok := a.Symbols.CFI(offset)
	if ok && len(a.cfi) < maxAnswers {
		a.cfi[offset] = c
	}
	return c, ok
}

func newModules(d *minidump.Dump, source SymbolSource, best bool) *modules {
	return &modules{dump: d, source: source, best: best, loaded: map[symbols.ModuleID]*slot{}, stats: map[string]*SymbolStats{}}
}

// Find implements unwind.Modules.
func (m *modules) Find(address uint64) (int, uint64, bool) {
	i, ok := m.dump.ModuleAt(address)
	if !ok {
		return 0, 0, false
	}
	return i, m.dump.Modules[i].Base, true
}

// End implements unwind.Modules.
func (m *modules) End() uint64 { return m.dump.ModulesEnd() }

// Symbols implements unwind.Modules.
func (m *modules) Symbols(ctx context.Context, module int) unwind.Symbols {
	if s := m.of(ctx, module); s != nil {
		return s
	}
	return nil
}

// of returns the symbols of a module, nil when there are none.
func (m *modules) of(ctx context.Context, module int) *answers {
	if m.source == nil {
		return nil
	}
	mod := &m.dump.Modules[module]
	id := symbols.ModuleID{DebugFile: mod.DebugFile, DebugID: mod.DebugID, CodeFile: mod.Name, CodeID: mod.CodeID}
	m.mu.Lock()
	s := m.loaded[id]
	if s != nil {
		m.mu.Unlock()
		select {
		case <-s.done:
			return s.symbols
		case <-ctx.Done():
			return nil
		}
	}
	s = &slot{done: make(chan struct{})}
	m.loaded[id] = s
	m.mu.Unlock()
	defer close(s.done)

	l, err := m.source.Symbols(ctx, id)
	stats := &SymbolStats{}
	switch {
	case err != nil:
		stats.Missing = true
		if !fault.Is(err, fault.NotFound) {
			stats.Error = err.Error()
		}
	case l == nil:
		stats.Missing = true
	default:
		if l.Symbols != nil {
			s.symbols = newAnswers(l.Symbols, m.best)
		}
		stats = &SymbolStats{Loaded: true, Corrupt: l.Corrupt, Verdict: l.Verdict, URL: l.URL, DebugFile: l.DebugFile, DebugID: l.DebugID}
	}
	m.mu.Lock()
	// Modules of one name share what is said about them, as ever.
	m.stats[symbols.Leaf(mod.Name)] = stats
	m.mu.Unlock()
	return s.symbols
}
