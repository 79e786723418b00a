package stackwalk

import (
	"context"
	"sync"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/lookup"
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
	// there are none. It is called once for each module, and at the same time for
	// several.
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
	asked  []bool // by the number of the module, of walks that count
	// binaries are the files of the modules, nil when there are none.
	binaries *binaries

	mu     sync.Mutex // guards what follows
	loaded map[symbols.ModuleID]*slot
	stats  map[string]*SymbolStats // by the leaf of the code file
}

// slot holds the symbols of one module; done closes when they are there.
type slot struct {
	done    chan struct{}
	symbols Symbols
	stats   SymbolStats
}

// seenModules are the modules as one goroutine sees them. It implements
// unwind.Modules.
type seenModules struct {
	*modules
	list  []seenModule // by the number of the module
	walk  uint32       // number of the walk that is under way
	asked []int        // the modules that it asked for symbols of
}

type seenModule struct {
	known   bool
	walk    uint32 // the last one that asked
	symbols *answers
}

// answers keeps what the symbols of a module answered: a walk asks of one
// address whether a function covers it, how to unwind it and what it is called,
// and the same addresses come up in many threads and in recursion. Only one
// goroutine may use it at a time.
type answers struct {
	Symbols
	reader *lookup.Reader // Symbols, where they are those of a table
	best   bool
	found  map[uint64]*answer // by offset
	fresh  []answer           // room for those to come
}

type answer struct {
	function symbols.Function
	place    Place
}

const (
	// maxAnswers bounds what is kept of a module's answers; stacks have some
	// thousand different addresses.
	maxAnswers = 64 << 10
	// answerRun is how many answers are allocated at a time.
	answerRun = 16
)

func newAnswers(s Symbols, best bool) *answers {
	a := &answers{Symbols: s, best: best, found: map[uint64]*answer{}}
	if v, ok := s.(lookup.View); ok {
		a.reader = v.Reader()
		a.Symbols = a.reader
	}
	return a
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
	if len(a.fresh) == 0 {
		a.fresh = make([]answer, answerRun)
	}
	found := &a.fresh[0]
	a.fresh = a.fresh[1:]
	*found = answer{l.Function, Place{HasFunction: true, Function: l.Name, FunctionOffset: offset - l.Address,
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

// Starts implements unwind.Starts.
func (a *answers) Starts(offset uint64) bool {
	if a.reader != nil {
		return a.reader.Starts(offset)
	}
	f, ok := a.Symbols.Function(offset)
	return ok && f.Address == offset && !f.Public
}

func newModules(d *minidump.Dump, source SymbolSource, best bool) *modules {
	return &modules{dump: d, source: source, best: best, loaded: map[symbols.ModuleID]*slot{}, stats: map[string]*SymbolStats{}}
}

func (m *modules) newSeen() *seenModules {
	s := &seenModules{modules: m}
	if m.source != nil {
		s.list = make([]seenModule, len(m.dump.Modules))
	}
	return s
}

// begin starts another walk.
func (s *seenModules) begin() {
	s.walk++
	s.asked = s.asked[:0]
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
func (s *seenModules) Symbols(ctx context.Context, module int) unwind.Symbols {
	if found := s.of(ctx, module); found != nil {
		return found
	}
	return nil
}

// of returns the symbols of a module, nil when there are none.
func (s *seenModules) of(ctx context.Context, module int) *answers {
	if s.source == nil {
		return nil
	}
	m := &s.list[module]
	if m.walk != s.walk {
		m.walk = s.walk
		s.asked = append(s.asked, module)
	}
	if m.known {
		return m.symbols
	}
	found, ok := s.load(ctx, module)
	if m.known = ok; ok && found != nil {
		m.symbols = newAnswers(found, s.best)
	}
	return m.symbols
}

// id names a module.
func (m *modules) id(module int) symbols.ModuleID {
	mod := &m.dump.Modules[module]
	return symbols.ModuleID{DebugFile: mod.DebugFile, DebugID: mod.DebugID, CodeFile: mod.Name, CodeID: mod.CodeID}
}

// load asks the source for the symbols of a module, once. It reports false when
// the time is up before they are there.
func (m *modules) load(ctx context.Context, module int) (Symbols, bool) {
	id := m.id(module)
	m.mu.Lock()
	s := m.loaded[id]
	if s != nil {
		m.mu.Unlock()
		select {
		case <-s.done:
			return s.symbols, true
		case <-ctx.Done():
			return nil, false
		}
	}
	s = &slot{done: make(chan struct{})}
	m.loaded[id] = s
	m.mu.Unlock()
	defer close(s.done)

	l, err := m.source.Symbols(ctx, id)
	switch {
	case err != nil:
		s.stats.Missing = true
		if !fault.Is(err, fault.NotFound) {
			s.stats.Error = err.Error()
		}
	case l == nil:
		s.stats.Missing = true
	default:
		s.symbols = l.Symbols
		s.stats = SymbolStats{Loaded: true, Corrupt: l.Corrupt, Verdict: l.Verdict, URL: l.URL, DebugFile: l.DebugFile, DebugID: l.DebugID}
		if l.Corrupt && !m.best {
			s.stats.URL = "" // the file is as good as none
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats[symbols.Leaf(id.CodeFile)] = &s.stats
	return s.symbols, true
}

// wereAsked notes modules whose symbols a walk asked for.
func (m *modules) wereAsked(list []int) {
	if len(list) > 0 && m.asked == nil {
		m.asked = make([]bool, len(m.dump.Modules))
	}
	for _, i := range list {
		m.asked[i] = true
	}
}

// statsOf returns what became of the symbols of a module, nil when no walk asked.
func (m *modules) statsOf() func(module int) *SymbolStats {
	if m.asked == nil {
		return func(int) *SymbolStats { return nil }
	}
	if !m.best { // modules of one name share what is said about them, as ever
		return func(i int) *SymbolStats { return m.stats[symbols.Leaf(m.dump.Modules[i].Name)] }
	}
	asked := map[symbols.ModuleID]*SymbolStats{}
	for i := range m.asked {
		if m.asked[i] {
			id := m.id(i)
			asked[id] = &m.loaded[id].stats
		}
	}
	return func(i int) *SymbolStats { return asked[m.id(i)] }
}
