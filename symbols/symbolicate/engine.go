// Package symbolicate turns module offsets into functions, files and lines for
// clients: the symbolication API of Mozilla (Eliot), versions 4 and 5, with an
// extension called version 6, and stacks in plain text.
//
// The Engine does the work over an Opener, which a symbols/cache.Store is; the
// Server puts it behind HTTP. The lookups follow symbolic, with which Eliot is
// made (symbols.Symbolicate), so that clients such as the Firefox Profiler get
// the same answers. It is more tolerant than that: a symbol file with bad lines
// is used without them. Where Eliot answers 500 to a broken request, this
// answers 400.
package symbolicate

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/lookup"
)

// Opener opens the compiled symbols of modules. Its error is of kind
// fault.NotFound when nobody has them.
type Opener interface {
	Open(ctx context.Context, id symbols.ModuleID) (*cache.Handle, error)
}

// Engine symbolicates jobs. It is safe for concurrent use.
type Engine struct {
	symbols    Opener
	workspaces sync.Pool // of *workspace
}

// New makes an engine.
func New(o Opener) *Engine { return &Engine{symbols: o} }

// Options are what version 6 adds to a request.
type Options struct {
	// Adjust looks up the offset before the given one in all frames of a stack
	// but the first: there the offset is where a call returns to, which may
	// belong to the next line.
	Adjust bool
}

// Why a module has no symbols.
const (
	reasonMissing    = "missing"     // nobody has them
	reasonMismatch   = "wrong id"    // the file is of another module
	reasonUnreadable = "malformed"   // the file has no MODULE record
	reasonError      = "fetch error" // a supplier failed
)

// openModule is a module of a request.
type openModule struct {
	handle *cache.Handle
	view   lookup.View
	name   string // as answers name it
	reason string // why there are no symbols, "" when there are
	took   time.Duration
	stats  cache.Stats
}

func (m *openModule) found() bool { return m.reason == "" }

// session is the modules that one request needs, each opened once.
type session struct {
	engine  *Engine
	modules map[Module]*openModule
	hit     lookup.Hit
	scratch lookup.Scratch
	found   int
	frames  int
	// job are the modules of the present job, none is that of a frame without.
	job  []jobModule
	none jobModule
	*workspace
}

// jobModule is a module of a job as its frames need it.
type jobModule struct {
	Module
	open *openModule // nil: not needed, or without name or id
	text []byte      // what stands between the frame's number and its offset
}

// use prepares for the frames of a job.
func (s *session) use(j *Job) {
	s.job = slices.Grow(s.job[:0], len(j.Modules))[:len(j.Modules)]
	for i, m := range j.Modules {
		s.job[i].set(m, s.modules[m])
	}
	s.none.set(Module{}, nil)
}

// set prepares for the frames of a module.
func (m *jobModule) set(of Module, o *openModule) {
	name := unknownModule
	switch {
	case o != nil:
		name = o.name
	case of.File != "":
		name = of.File
	}
	m.Module, m.open = of, o
	m.text = appendString(append(m.text[:0], `,"module":`...), name)
	m.text = append(m.text, `,"module_offset":"`...)
}

// start opens the modules that a frame of any job refers to.
func (e *Engine) start(ctx context.Context, jobs []Job) (*session, error) {
	s := &session{engine: e, modules: map[Module]*openModule{}}
	if s.workspace, _ = e.workspaces.Get().(*workspace); s.workspace == nil {
		s.workspace = &workspace{}
	}
	for _, j := range jobs {
		needed := make([]bool, len(j.Modules))
		for _, stack := range j.Stacks {
			for _, f := range stack {
				if f.Module >= 0 {
					needed[f.Module] = true
				}
			}
		}
		for i, m := range j.Modules {
			if !needed[i] || m.File == "" || m.ID == "" || s.modules[m] != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				s.close()
				return nil, fault.Wrap(err, "open %s", m.key())
			}
			s.modules[m] = e.open(ctx, m)
		}
	}
	return s, nil
}

// sent forgets what the answer holds, as that is about to change.
func (s *session) sent() { s.written = written{} }

func (s *session) close() {
	if s.workspace != nil {
		s.sent()
		for i := range s.batch {
			s.batch[i].module = nil
		}
		s.engine.workspaces.Put(s.workspace)
		s.workspace = nil
	}
	for _, m := range s.modules {
		if m.handle != nil {
			m.handle.Close()
		}
	}
	metrics.SymbolicateFrames.Add(float64(s.found), "found")
	metrics.SymbolicateFrames.Add(float64(s.frames-s.found), "missing")
}

// open opens one module. A file that turns out damaged is opened once more,
// which compiles it anew.
func (e *Engine) open(ctx context.Context, m Module) *openModule {
	begin := time.Now()
	h, err := e.symbols.Open(ctx, symbols.ModuleID{DebugFile: m.File, DebugID: m.ID})
	o := &openModule{handle: h, name: m.File, took: time.Since(begin)}
	if err != nil {
		o.reason = reasonError
		if fault.Is(err, fault.NotFound) {
			o.reason = reasonMissing
		}
		o.handle = nil
		return o
	}
	o.stats = h.Stats
	head := h.Module()
	switch {
	case !head.Found:
		o.reason = reasonUnreadable
	case !strings.EqualFold(head.ID, m.ID):
		o.reason = reasonMismatch
	default:
		o.view = h.View(symbols.Symbolicate)
		if head.CodeFile != "" {
			o.name = head.CodeFile
		}
	}
	return o
}

// state says of a module what found_modules does: nil when it was not needed.
func (s *session) state(m Module) *bool {
	o := s.modules[m]
	if o == nil {
		return nil
	}
	found := o.found()
	return &found
}

// answer is what is known about a frame.
type answer struct {
	module string
	found  bool
	symbols.Location
}

// unknownModule stands for a module without name or index.
const unknownModule = "<unknown>"

// look answers for one frame; caller says that the offset is where a call
// returns to. The answer may be used until the next call.
func (s *session) look(j *Job, f Frame, caller bool) answer {
	s.frames++
	a := answer{module: unknownModule}
	if f.Module < 0 {
		return a
	}
	m := j.Modules[f.Module]
	if m.File != "" {
		a.module = m.File
	}
	o := s.modules[m]
	if o == nil {
		return a
	}
	a.module = o.name
	if !o.found() || f.Unknown {
		return a
	}
	offset := f.Offset
	if caller && offset > 0 {
		offset--
	}
	ok := o.view.Resolve(offset, &s.hit)
	if !ok && o.handle.Damaged() {
		ok = s.reopen(m, o) && o.view.Resolve(offset, &s.hit)
	}
	if ok {
		s.found++
		a.found = true
		a.Location = o.view.LocationIn(&s.hit, &s.scratch)
	}
	return a
}

// reopen opens a module anew whose compiled file is damaged.
func (s *session) reopen(m Module, o *openModule) bool {
	o.handle.Close()
	again := s.engine.open(context.Background(), m)
	*o = *again
	return o.found() && !o.handle.Damaged()
}
