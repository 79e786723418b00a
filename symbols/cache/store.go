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
// Steps 3 to 5 are done once however many callers ask at the same time. A
// caller that gives up leaves the work to the others.
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
//
// # Errors
//
// fault.NotFound means that no supplier has the symbols and is remembered for
// AbsentFor; all other errors are not remembered.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

const (
	// maxOpen is how many unused files stay mapped.
	maxOpen = 64
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
	DefaultRecheckEvery = time.Minute
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
	Dir      string
	MaxBytes int64 // 0: DefaultMaxBytes
	Fetch    Fetch
	// Tag returns what changes when the text of a module changes, such as a
	// content hash; nil, "" or an error mean not known.
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
	// slots bounds how many texts are compiled at a time, each of which takes
	// about as much memory as a third of its text.
	slots chan struct{}
	stop  context.CancelFunc
	ctx   context.Context

	// mu guards what follows and the fields of entries.
	mu      sync.Mutex
	open    map[string]*openFile
	idle    int
	flights map[string]*flight
	absent  map[string]time.Time // until when
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
		flights: map[string]*flight{}, absent: map[string]time.Time{}}
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
	recheck := false
	if e := s.open[key]; e != nil {
		switch {
		case e.file.Damaged():
			s.drop(e)
			s.disk.remove(key)
		case s.o.Tag != nil && now.Sub(e.checked) >= s.o.RecheckEvery:
			e.checked = now
			recheck = true
		default:
			metrics.SymbolsCacheOpens.Inc("open")
			return s.handle(e, Stats{Hit: true, Source: "open", FileBytes: e.file.Size()}), nil, nil
		}
	}
	if until, ok := s.absent[key]; ok {
		if now.Before(until) {
			metrics.SymbolsCacheOpens.Inc("absent")
			return nil, nil, fault.New(fault.NotFound, "symbols of %s: not found lately", key)
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
		s.idle--
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

// fly loads one module for all that wait for it.
func (s *Store) fly(f *flight, key string, id symbols.ModuleID, recheck bool) {
	defer s.work.Done()
	ctx, cancel := context.WithTimeout(s.ctx, loadTimeout)
	defer cancel()
	file, stats, err := s.load(ctx, key, id)
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
		case !fault.Is(err, fault.NotFound):
			metrics.SymbolsCacheOpens.Inc("failed")
			if recheck && old != nil { // better what was there than nothing
				f.file, f.err = old, nil
			}
		case f.stale:
		default:
			metrics.SymbolsCacheOpens.Inc("absent")
			s.noteAbsent(key, now)
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
	s.idle++
	s.closeIdle()
}

// noteAbsent remembers that nobody has the symbols; s.mu is held.
func (s *Store) noteAbsent(key string, now time.Time) {
	if s.o.AbsentFor < 0 {
		return
	}
	if len(s.absent) >= maxAbsent {
		for k, until := range s.absent {
			if !now.Before(until) {
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
	s.absent[key] = now.Add(s.o.AbsentFor)
}

// drop takes a file out of the table of open ones; s.mu is held.
func (s *Store) drop(e *openFile) {
	if e.gone {
		return
	}
	e.gone = true
	delete(s.open, e.key)
	if e.refs == 0 {
		s.idle--
		s.close(e)
	}
}

func (s *Store) close(e *openFile) {
	if err := e.file.Close(); err != nil {
		s.o.Log.Warn("close compiled symbols", zap.String("module", e.key), zap.Error(err))
	}
}

// closeIdle closes the unused files that were not used for longest, beyond
// maxOpen; s.mu is held.
func (s *Store) closeIdle() {
	for s.idle > maxOpen {
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
			s.idle++
			s.closeIdle()
		}
	})
}

// load finds or makes the compiled file of one module.
func (s *Store) load(ctx context.Context, key string, id symbols.ModuleID) (*File, Stats, error) {
	tag := ""
	if s.o.Tag != nil {
		var err error
		if tag, err = s.o.Tag(ctx, id); err != nil {
			tag = ""
		}
	}
	path := s.disk.path(key)
	file, err := OpenFile(path)
	if err == nil && tag != "" && file.Source() != tag {
		_ = file.Close() // it is made of another text
		file, err = nil, fault.New(fault.Malformed, "made of another text")
	}
	if err == nil {
		return file, Stats{Hit: true, Source: "disk", FileBytes: file.Size()}, nil
	}
	if !fault.Is(err, fault.NotFound) {
		s.o.Log.Info("compile symbols anew", zap.String("module", key), zap.Error(err))
		s.disk.remove(key)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, Stats{}, fault.As(fault.Unavailable, err, "symbol cache")
	}
	if file, stats, ok := s.loadShared(ctx, key, id, tag); ok {
		return file, stats, nil
	}
	return s.compile(ctx, key, id, tag)
}

// compile makes the compiled file of the .sym text.
func (s *Store) compile(ctx context.Context, key string, id symbols.ModuleID, tag string) (*File, Stats, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, Stats{}, fault.Wrap(ctx.Err(), "symbols of %s", key)
	}
	start := time.Now()
	text, err := s.o.Fetch(ctx, id)
	if err != nil {
		return nil, Stats{}, fault.Wrap(err, "symbols of %s", key)
	}
	counted := &counter{r: text}
	t, err := lookup.Read(counted)
	if cerr := text.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, Stats{}, fault.Wrap(err, "symbols of %s", key)
	}
	stats := Stats{Source: "compiled", TextBytes: counted.n, FetchTime: time.Since(start)}
	start = time.Now()
	path := s.disk.path(key)
	if stats.FileBytes, err = Write(path, t, tag); err != nil {
		return nil, stats, err
	}
	stats.SaveTime = time.Since(start)
	metrics.SymbolsCompileSeconds.Observe((stats.FetchTime + stats.SaveTime).Seconds())
	s.disk.added(key, stats.FileBytes, s.o.Now())
	file, err := OpenFile(path)
	if err == nil {
		s.share(ctx, key, id, tag)
	}
	return file, stats, err
}

// loadShared takes the compiled file that another node left.
func (s *Store) loadShared(ctx context.Context, key string, id symbols.ModuleID, tag string) (*File, Stats, bool) {
	if s.o.Shared == nil || tag == "" {
		return nil, Stats{}, false
	}
	start := time.Now()
	path := s.disk.path(key)
	size, err := s.receive(ctx, path, id, tag)
	var file *File
	if err == nil {
		file, err = OpenFile(path)
	}
	if err == nil && file.Source() != tag {
		_ = file.Close() // refused
		s.disk.remove(key)
		err = fault.New(fault.Malformed, "it is of another text: %q", file.Source())
	}
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			s.o.Log.Warn("shared compiled symbols", zap.String("module", key), zap.Error(err))
		}
		return nil, Stats{}, false
	}
	s.disk.added(key, size, s.o.Now())
	return file, Stats{Source: "shared", FileBytes: size, FetchTime: time.Since(start)}, true
}

// receive copies a shared compiled file to path.
func (s *Store) receive(ctx context.Context, path string, id symbols.ModuleID, tag string) (int64, error) {
	r, err := s.o.Shared.Load(ctx, id, tag)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, err
	}
	return n, os.Rename(f.Name(), path)
}

// share leaves the compiled file for other nodes. That it fails is no reason
// to fail: the others compile for themselves.
func (s *Store) share(ctx context.Context, key string, id symbols.ModuleID, tag string) {
	if s.o.Shared == nil || tag == "" {
		return
	}
	f, err := os.Open(s.disk.path(key))
	if err == nil {
		err = s.o.Shared.Save(ctx, id, tag, f)
		f.Close()
	}
	if err != nil {
		s.o.Log.Warn("share compiled symbols", zap.String("module", key), zap.Error(err))
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// fileName is where the compiled file of a module lies under the directory. A
// hash, since module names hold anything.
func fileName(key string) string {
	h := sha256.Sum256([]byte(key))
	x := hex.EncodeToString(h[:16])
	return filepath.Join(x[:2], x+suffix)
}
