package fetch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/minidump/stackwalk"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/lookup"
)

// MaxFileSize is the most bytes that are taken for one symbol file. The largest
// real ones, of browsers with inlined calls, have 2 GB.
const MaxFileSize = 4 << 30

// Options say where symbols come from.
type Options struct {
	// Paths are directories in Breakpad's layout, or single .sym files, which
	// serve the module that their MODULE line names.
	Paths []string
	// URLs are symbol servers; a module's path is added to each.
	URLs []string
	// Cache is the directory that downloads go to; "" keeps none, and then no
	// server is asked.
	Cache string
	// Reading is how symbol files are read.
	Reading symbols.Reading
	// Timeout bounds one download; 0 means DefaultTimeout.
	Timeout time.Duration
	// Client does the requests; nil means one of its own.
	Client *http.Client
	// Compiled is the directory for compiled lookup files, which make the next
	// walk with the same symbols start at once; "" reads texts into memory.
	Compiled string
	// Local makes symbols of modules that no place has symbols of from their ELF
	// binaries and debug files on this machine.
	Local bool
}

// DefaultTimeout bounds one download.
const DefaultTimeout = 1000 * time.Second

// Source finds the symbols of modules and reads them. It implements
// stackwalk.SymbolSource and is safe for concurrent use.
type Source struct {
	options Options
	client  *http.Client
	store   *cache.Store // nil without Options.Compiled

	mu      sync.Mutex // guards handles
	handles []*cache.Handle
}

// New returns a source for the places that o names.
func New(o Options) *Source {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	c := o.Client
	if c == nil {
		c = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	s := &Source{options: o, client: c}
	if o.Compiled != "" {
		s.store = cache.New(cache.Options{Dir: o.Compiled, Fetch: s.open, Tag: s.tag})
	}
	return s
}

// Close gives back the compiled files; texts that came from them must not be
// used any more.
func (s *Source) Close() error {
	if s.store == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.handles {
		h.Close()
	}
	s.handles = nil
	return s.store.Close()
}

// tag changes when the local text of a module does; "" when there is none.
func (s *Source) tag(_ context.Context, id symbols.ModuleID) (string, error) {
	for _, p := range append(s.options.Paths[:len(s.options.Paths):len(s.options.Paths)], s.options.Cache) {
		if p == "" {
			continue
		}
		f, ok := openIn(p, id).(*os.File)
		if !ok {
			continue
		}
		st, err := f.Stat()
		f.Close()
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s %d %d", f.Name(), st.Size(), st.ModTime().UnixNano()), nil
	}
	return "", nil
}

// view is what cached and read symbols have in common.
type view interface {
	stackwalk.Symbols
	Corrupt() bool
	Verdict() symbols.Verdict
	Module() symbols.Module
}

// view opens the symbols of id, or makes them of local files.
func (s *Source) view(ctx context.Context, id symbols.ModuleID) (view, error) {
	v, err := s.stored(ctx, id)
	if !s.options.Local || !fault.Is(err, fault.NotFound) {
		return v, err
	}
	f, lerr := s.local(ctx, id)
	if fault.Is(lerr, fault.NotFound) {
		return nil, err
	}
	if lerr != nil {
		return nil, lerr
	}
	return s.read(f, id)
}

// stored opens the symbols of id in the form that is at hand.
func (s *Source) stored(ctx context.Context, id symbols.ModuleID) (view, error) {
	if s.store != nil {
		h, err := s.store.Open(ctx, id)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.handles = append(s.handles, h)
		s.mu.Unlock()
		return h.View(s.options.Reading), nil
	}
	f, err := s.open(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.read(f, id)
}

// read reads a text into memory.
func (s *Source) read(f io.ReadCloser, id symbols.ModuleID) (view, error) {
	defer f.Close()
	t, err := lookup.Read(f)
	if err != nil {
		return nil, fault.Wrap(err, "symbols of %s", id.DebugFile)
	}
	return t.View(s.options.Reading), nil
}

// Symbols implements stackwalk.SymbolSource.
func (s *Source) Symbols(ctx context.Context, id symbols.ModuleID) (*stackwalk.Loaded, error) {
	found := &stackwalk.Loaded{}
	if path, ok := id.Path(); !ok && len(s.options.URLs) > 0 {
		// Without a debug id the servers may know it by the code id.
		if file, debugID, err := s.redirected(ctx, id); err == nil {
			id.DebugFile, id.DebugID = file, debugID
			found.DebugFile, found.DebugID = file, debugID
		}
	} else if !ok {
		return nil, fault.New(fault.NotFound, "symbols of %q: no debug id (%q)", id.CodeFile, path)
	}
	v, err := s.view(ctx, id)
	if err != nil {
		return nil, err
	}
	found.Corrupt, found.URL, found.Verdict = v.Corrupt(), v.Module().URL, v.Verdict()
	if !(found.Corrupt && s.options.Reading == symbols.Parity) {
		found.Symbols = v
	}
	return found, nil
}

// open finds the symbol file of id.
func (s *Source) open(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	for _, p := range s.options.Paths {
		if f := openIn(p, id); f != nil {
			return f, nil
		}
	}
	if s.options.Cache == "" {
		return nil, fault.New(fault.NotFound, "symbols of %s %s: not in the given paths", id.DebugFile, id.DebugID)
	}
	if f := openIn(s.options.Cache, id); f != nil {
		return f, nil
	}
	var failed error
	for _, u := range s.options.URLs {
		f, err := s.download(ctx, u, id)
		if err == nil {
			return f, nil
		}
		if !fault.Is(err, fault.NotFound) && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fault.New(fault.NotFound, "symbols of %s %s: no place has them", id.DebugFile, id.DebugID)
}

// openIn opens the symbols of id in a directory, or path itself when it is a
// file that serves id; nil when there is none.
func openIn(path string, id symbols.ModuleID) io.ReadCloser {
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if !st.IsDir() {
		return openFile(path, id)
	}
	for _, rel := range storePaths(id) {
		f, err := os.Open(filepath.Join(path, filepath.FromSlash(rel)))
		if err != nil {
			continue
		}
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			return f
		}
		f.Close()
	}
	return nil
}

// storePaths are where a store may keep the symbols of id: writers differ in
// whether the age is in capitals.
func storePaths(id symbols.ModuleID) (list []string) {
	for _, path := range id.Paths() {
		parts := strings.Split(path, "/")
		own := 32 // digits before the age: those of a GUID
		if n := len(parts[1]); n < own {
			own = min(n, 8) // or of the time stamp of PDB 2.0
		}
		if age := strings.ToLower(parts[1][own:]); age != parts[1][own:] {
			list = append(list, parts[0]+"/"+parts[1][:own]+age+"/"+parts[2])
		}
		list = append(list, path)
	}
	return list
}

// openFile opens a single .sym file if its first line names the module.
func openFile(path string, id symbols.ModuleID) io.ReadCloser {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	line, err := bufio.NewReaderSize(f, 4096).ReadString('\n')
	words := strings.Fields(line)
	want, ok := symbols.NormalizeDebugID(id.DebugID)
	if err == nil && ok && len(words) >= 4 && words[0] == "MODULE" {
		if got, ok := symbols.NormalizeDebugID(words[3]); ok && got == want {
			if _, err := f.Seek(0, io.SeekStart); err == nil {
				return f
			}
		}
	}
	f.Close()
	return nil
}
