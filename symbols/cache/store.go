// Package cache keeps symbols in a form that answers at once: compiled lookup
// files on the local disk, mapped into memory. The processor and the
// symbolication API share one Store.
//
// # Steps
//
// Store.Open looks, in this order, for
//
//  1. a file that is open already,
//  2. a note that there are no such symbols, younger than Options.AbsentFor,
//  3. a compiled file in the directory,
//  4. a compiled file that another node left in the bucket (Options.Shared),
//  5. the .sym text (Options.Fetch), which is compiled, kept in the directory
//     and left for other nodes.
//
// Steps 3 to 5 are done once however many callers ask at the same time, in this
// process and in others that use the same directory. A caller that gives up
// leaves the work to the others. Prepare does them ahead, when symbols were
// uploaded.
//
// # What makes a file stale
//
// A file remembers the tag of the text it was made of. Where Options.Tag is
// given, a tag that has changed since makes Open compile anew; it is asked at
// most every Options.RecheckEvery. Forget does the same at once, for this
// process. A file that is damaged or of another version is compiled anew too:
// header and directory are checked when it is opened, each block of 64 KiB when
// it is first used.
//
// # Space
//
// The directory is kept under Options.MaxBytes; the files not used for longest
// go first. A file that goes while it is open stays usable until it is closed.
// Files that nobody uses stay mapped up to Options.MaxMapped, the last used
// ones; of those only the pages that lookups touched take memory, and the
// system takes them back when it needs them.
//
// # Errors
//
// fault.NotFound means that no supplier has the symbols, fault.TooLarge that they
// are more than a compiled file holds. Both are remembered for AbsentFor, other
// errors are not.
package cache

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

const (
	// maxOpen is how many unused files stay mapped, however small they are: each
	// is a mapping of the kernel, of which a process has some ten thousands.
	maxOpen = 1024
	// maxPrepare is how many modules may wait to be compiled ahead. Those beyond
	// are compiled when they are asked for.
	maxPrepare = 10_000
	// maxAbsent bounds the notes of missing symbols; a client may ask for any
	// number of modules.
	maxAbsent = 100_000
	// maxCompiles is how many texts are compiled at a time.
	maxCompiles = 2
	// loadTimeout ends a load that no caller waits for any more: the largest
	// .sym over a slow line.
	loadTimeout = 10 * time.Minute
)

// Defaults of Options.
const (
	DefaultMaxBytes     = 10 << 30
	DefaultAbsentFor    = time.Minute
	DefaultRecheckEvery = 10 * time.Second
	DefaultMaxMapped    = 4 << 30
)

// Fetch gets the .sym text of a module from the bucket or a supplier. Its
// error is of kind fault.NotFound when nobody has it.
type Fetch func(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error)

// Shared keeps compiled files where other nodes find them. A file is named by
// the module and the tag of its text.
type Shared struct {
	// Load returns a compiled file; its error is of kind fault.NotFound when
	// there is none.
	Load func(ctx context.Context, id symbols.ModuleID, tag string) (io.ReadCloser, error)
	// Save leaves one.
	Save func(ctx context.Context, id symbols.ModuleID, tag string, r io.Reader) error
}

// Options say where a Store gets and keeps symbols. Fetch and Dir are needed.
type Options struct {
	Dir       string
	MaxBytes  int64 // 0: DefaultMaxBytes
	MaxMapped int64 // 0: DefaultMaxMapped
	Fetch     Fetch
	// Tag returns what changes when the text of a module changes, such as a
	// content hash; "" when the text lies where it does not change. nil or an
	// error mean not known.
	Tag          func(ctx context.Context, id symbols.ModuleID) (string, error)
	Shared       *Shared       // nil: each node compiles for itself
	AbsentFor    time.Duration // 0: DefaultAbsentFor, below 0: not remembered
	RecheckEvery time.Duration // 0: DefaultRecheckEvery
	Now          func() time.Time
	Log          *zap.Logger
}

// Store opens compiled symbols by module. It is safe for concurrent use.
type Store struct {
	o    Options
	disk disk
	work sync.WaitGroup // loads under way
	// slots bounds how many texts are compiled at a time, each of which takes up
	// to some 60 MB of memory.
	slots chan struct{}
	stop  context.CancelFunc
	ctx   context.Context

	// mu guards what follows and the fields of entries.
	mu      sync.Mutex
	open    map[string]*openFile
	idle    int   // files that nobody uses
	mapped  int64 // bytes of these
	flights map[string]*flight
	absent  map[string]absence
	// ahead are the modules to prepare; preparing says that somebody does.
	ahead     []symbols.ModuleID
	preparing bool
}

// absence is why a module has no symbols, and until when not to ask again.
type absence struct {
	until time.Time
	err   error // nil: nobody has them
}

// openFile is a mapped file and how many handles are on it.
type openFile struct {
	key     string
	file    *File
	refs    int
	gone    bool // no longer in Store.open: closed with its last handle
	used    time.Time
	checked time.Time // when its tag was compared last
	touched time.Time // when the disk was told that it is used
}

// flight is a load that several callers may wait for.
type flight struct {
	done  chan struct{}
	file  *openFile
	stats Stats
	err   error
	stale bool // Forget came meanwhile: not for those who ask after it
}

// Stats says what opening took.
type Stats struct {
	// Hit says that a compiled file was there, in memory or on disk.
	Hit bool
	// Source is where it came from: open, disk, shared or compiled.
	Source string
	// TextBytes is how much .sym text was read, FileBytes the compiled size.
	TextBytes, FileBytes int64
	// FetchTime is waiting for the supplier, including the reading and parsing
	// of the text, which go on at the same time; SaveTime is writing.
	FetchTime, SaveTime time.Duration
}

// Handle is one use of a compiled file; it must be closed.
type Handle struct {
	store *Store
	open  *openFile
	once  sync.Once
	// Stats says what opening took.
	Stats Stats
}

// New makes a store. Nothing is read or written before the first Open.
func New(o Options) *Store {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxMapped == 0 {
		o.MaxMapped = DefaultMaxMapped
	}
	if o.AbsentFor == 0 {
		o.AbsentFor = DefaultAbsentFor
	}
	if o.RecheckEvery == 0 {
		o.RecheckEvery = DefaultRecheckEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Store{o: o, ctx: ctx, stop: stop, disk: disk{dir: o.Dir, max: o.MaxBytes},
		slots: make(chan struct{}, maxCompiles), open: map[string]*openFile{},
		flights: map[string]*flight{}, absent: map[string]absence{}}
}

// Open returns the compiled symbols of a module. Only the debug file (or code
// file) and the debug id count. The error is of kind fault.NotFound when
// nobody has them.
func (s *Store) Open(ctx context.Context, id symbols.ModuleID) (*Handle, error) {
	key, ok := id.Path()
	if !ok {
		return nil, fault.New(fault.NotFound, "symbols of %q %q: not a module that can be looked up", id.DebugFile, id.DebugID)
	}
	id = id.Normalize()
	for {
		h, f, err := s.begin(key, id)
		if h != nil || err != nil {
			return h, err
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), "symbols of %s", key)
		case <-f.done:
		}
		if f.err != nil {
			return nil, f.err
		}
		if h := s.take(f); h != nil {
			return h, nil
		}
	}
}

// begin finds an open file or a note that there is none, or else joins or
// starts the load.
func (s *Store) begin(key string, id symbols.ModuleID) (*Handle, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	var recheck *openFile
	if e := s.open[key]; e != nil {
		switch {
		case e.file.Damaged():
			s.drop(e)
			s.disk.remove(key)
		case s.o.Tag != nil && now.Sub(e.checked) >= s.o.RecheckEvery:
			e.checked = now
			recheck = e
		default:
			metrics.SymbolsCacheOpens.Inc("open")
			return s.handle(e, Stats{Hit: true, Source: "open", FileBytes: e.file.Size()}), nil, nil
		}
	}
	if a, ok := s.absent[key]; ok {
		if now.Before(a.until) {
			metrics.SymbolsCacheOpens.Inc("absent")
			return nil, nil, cmp.Or(a.err, fault.New(fault.NotFound, "symbols of %s: not found lately", key))
		}
		delete(s.absent, key)
	}
	f := s.flights[key]
	if f == nil {
		if s.ctx.Err() != nil {
			return nil, nil, fault.New(fault.Canceled, "symbols of %s: the cache is closed", key)
		}
		f = &flight{done: make(chan struct{})}
		s.flights[key] = f
		s.work.Add(1)
		go s.fly(f, key, id, recheck)
	}
	return nil, f, nil
}

// take makes a handle of a finished load, unless the file went meanwhile.
func (s *Store) take(f *flight) *Handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.file.gone && f.file.refs == 0 {
		return nil
	}
	return s.handle(f.file, f.stats)
}

// handle counts a use; s.mu is held.
func (s *Store) handle(e *openFile, stats Stats) *Handle {
	if e.refs == 0 && !e.gone {
		s.busy(e)
	}
	e.refs++
	now := s.o.Now()
	e.used = now
	if now.Sub(e.touched) >= touchEvery {
		e.touched = now
		s.disk.touch(e.key, now)
	}
	return &Handle{store: s, open: e, Stats: stats}
}

// fly loads one module for all that wait for it. recheck is the file that is
// open and may be stale, nil when none is.
func (s *Store) fly(f *flight, key string, id symbols.ModuleID, recheck *openFile) {
	defer s.work.Done()
	ctx, cancel := context.WithTimeout(s.ctx, loadTimeout)
	defer cancel()
	tag := s.tag(ctx, id)
	if recheck != nil && s.land(f, key, recheck, tag) {
		return
	}
	file, stats, err := s.load(ctx, key, id, tag)
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.stale {
		delete(s.flights, key)
	}
	defer close(f.done)
	old := s.open[key]
	if f.stale {
		old = nil
	}
	if err != nil {
		f.err = err
		switch {
		case fault.Is(err, fault.TooLarge) && !f.stale && old == nil: // and will be when it is read again
			metrics.SymbolsCacheOpens.Inc("failed")
			s.noteAbsent(key, now, err)
		case !fault.Is(err, fault.NotFound):
			metrics.SymbolsCacheOpens.Inc("failed")
			if recheck != nil && old != nil { // better what was there than nothing
				f.file, f.err = old, nil
			}
		case f.stale:
		default:
			metrics.SymbolsCacheOpens.Inc("absent")
			s.noteAbsent(key, now, nil)
		}
		return
	}
	metrics.SymbolsCacheOpens.Inc(stats.Source)
	if old != nil {
		s.drop(old)
	}
	e := &openFile{key: key, file: file, used: now, checked: now, touched: now}
	f.file, f.stats = e, stats
	if f.stale { // those who wait ask again
		e.gone = true
		s.close(e)
		return
	}
	s.open[key] = e
	s.rest(e)
	s.closeIdle()
}

// land ends a flight that only had to ask whether an open file is of the
// present text, which it is when it has the tag, or when nobody can tell. It
// reports false when the file must be loaded anew.
func (s *Store) land(f *flight, key string, e *openFile, tag tag) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.stale || e.gone || tag.known && e.file.Source() != tag.source() {
		return false
	}
	delete(s.flights, key)
	metrics.SymbolsCacheOpens.Inc("open")
	f.file, f.stats = e, Stats{Hit: true, Source: "open", FileBytes: e.file.Size()}
	close(f.done)
	return true
}

// rest counts a file that nobody uses, busy one that is used again; s.mu is
// held.
func (s *Store) rest(e *openFile) { s.idle, s.mapped = s.idle+1, s.mapped+e.file.Size() }

func (s *Store) busy(e *openFile) { s.idle, s.mapped = s.idle-1, s.mapped-e.file.Size() }

// noteAbsent remembers that nobody has the symbols, or why they are of no use;
// s.mu is held.
func (s *Store) noteAbsent(key string, now time.Time, err error) {
	if s.o.AbsentFor < 0 {
		return
	}
	if len(s.absent) >= maxAbsent {
		for k, a := range s.absent {
			if !now.Before(a.until) {
				delete(s.absent, k)
			}
		}
		for k := range s.absent {
			if len(s.absent) < maxAbsent {
				break
			}
			delete(s.absent, k)
		}
	}
	s.absent[key] = absence{now.Add(s.o.AbsentFor), err}
}

// drop takes a file out of the table of open ones; s.mu is held.
func (s *Store) drop(e *openFile) {
	if e.gone {
		return
	}
	e.gone = true
	delete(s.open, e.key)
	if e.refs == 0 {
		s.busy(e)
		s.close(e)
	}
}

func (s *Store) close(e *openFile) {
	if err := e.file.Close(); err != nil {
		s.o.Log.Warn("close compiled symbols", zap.String("module", e.key), zap.Error(err))
	}
}

// closeIdle closes the unused files that were not used for longest, beyond
// what may stay mapped; s.mu is held.
func (s *Store) closeIdle() {
	for s.idle > maxOpen || s.mapped > s.o.MaxMapped {
		var oldest *openFile
		for _, e := range s.open {
			if e.refs == 0 && (oldest == nil || e.used.Before(oldest.used)) {
				oldest = e
			}
		}
		s.drop(oldest)
	}
}

// Forget drops what is known about a module, because its text has changed or
// is gone: the next Open asks the suppliers.
func (s *Store) Forget(id symbols.ModuleID) {
	key, ok := id.Path()
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.absent, key)
	if f := s.flights[key]; f != nil {
		f.stale = true
		delete(s.flights, key)
	}
	if e := s.open[key]; e != nil {
		s.drop(e)
	}
	s.disk.remove(key)
}

// Prepare is Forget for symbols that have just come, and has them compiled in
// the background, one module at a time, so that who asks first need not wait.
func (s *Store) Prepare(id symbols.ModuleID) {
	s.Forget(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || len(s.ahead) >= maxPrepare {
		return
	}
	s.ahead = append(s.ahead, id)
	if !s.preparing {
		s.preparing = true
		s.work.Add(1)
		go s.prepare()
	}
}

// prepare compiles what waits for it.
func (s *Store) prepare() {
	defer s.work.Done()
	for {
		s.mu.Lock()
		if len(s.ahead) == 0 || s.ctx.Err() != nil {
			s.preparing, s.ahead = false, nil
			s.mu.Unlock()
			return
		}
		id := s.ahead[0]
		s.ahead = s.ahead[1:]
		s.mu.Unlock()
		h, err := s.Open(s.ctx, id)
		if err == nil {
			h.Close()
		} else if !fault.Is(err, fault.NotFound) && s.ctx.Err() == nil { // gone again is nobody's fault
			s.o.Log.Warn("compile uploaded symbols", zap.String("module", id.DebugFile), zap.String("id", id.DebugID), zap.Error(err))
		}
	}
}

// Close ends loads under way and closes what is not in use. Handles that are
// still open stay usable.
func (s *Store) Close() error {
	s.stop()
	s.work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.open {
		s.drop(e)
	}
	return nil
}

// View is the file under one reading.
func (h *Handle) View(r symbols.Reading) lookup.View { return h.open.file.View(r) }

// Module is what the head of the symbol file says.
func (h *Handle) Module() symbols.Module { return h.open.file.table.Module() }

// Damaged reports whether a block failed its check, so that a lookup may have
// found less than there is. Close has the file compiled anew.
func (h *Handle) Damaged() bool { return h.open.file.Damaged() }

// Close ends the use.
func (h *Handle) Close() {
	h.once.Do(func() {
		s, e := h.store, h.open
		s.mu.Lock()
		defer s.mu.Unlock()
		e.refs--
		if !e.gone && e.file.Damaged() {
			s.o.Log.Warn("compiled symbols are damaged; compiling them anew", zap.String("module", e.key))
			e.gone = true
			delete(s.open, e.key)
			s.disk.remove(e.key)
		}
		switch {
		case e.refs > 0:
		case e.gone:
			s.close(e)
		default:
			s.rest(e)
			s.closeIdle()
		}
	})
}
