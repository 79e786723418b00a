package app

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
	"gocloud.dev/blob"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/minidump/stackwalk"
	"mayday/roles"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/signature"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/fetch"
)

// buildProcessor makes the role that processes crashes.
func buildProcessor(ctx context.Context, d *deps) (roles.Role, error) { return d.processor(ctx) }

func (d *deps) processor(ctx context.Context) (*processor.Processor, error) {
	crashes, err := d.Crashes(ctx)
	if err != nil {
		return nil, err
	}
	queues, err := d.Queues(ctx)
	if err != nil {
		return nil, err
	}
	pipe, err := d.pipeline(ctx)
	if err != nil {
		return nil, err
	}
	pipe.Env.Versions = processor.NewPublishedBuilds(crashes, d.log)
	o := processor.Options{Source: crashes, Sink: crashes, Queues: queues, Pipeline: pipe, Workers: d.cfg.Processor.Workers,
		Tries: d.cfg.Queue.Tries, Drain: d.cfg.HTTP.Drain, TempDir: d.cfg.Processor.TempDir, Log: d.log.With(zap.String("role", "processor"))}
	if !slices.Contains(d.cfg.Roles(), "web") {
		// Symbols arrive elsewhere; web beside us would tell the cache itself.
		store, err := d.SymbolCache(ctx)
		if err != nil {
			return nil, err
		}
		o.Arrived = processor.NewArrivedModules(crashes, store.Forget, o.Log)
	}
	if d.cfg.Storage.Telemetry != "" {
		b, err := d.bucket(ctx, d.cfg.Storage.Telemetry, "telemetry")
		if err != nil {
			return nil, err
		}
		o.Exporter = telemetryBucket{b}
	}
	return processor.New(o)
}

// pipeline is the rules with everything they use but product versions.
func (d *deps) pipeline(ctx context.Context) (*processor.Pipeline, error) {
	table, err := d.Schema()
	if err != nil {
		return nil, err
	}
	tables, err := ruleTables(d.cfg.Processor)
	if err != nil {
		return nil, err
	}
	source, err := d.symbolSource(ctx)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // it only stands in a note
	}
	p := &processor.Pipeline{Host: host, Env: rules.Env{Schema: table, Tables: tables, Symbols: source}}
	if p.Env.Walker, p.Careful, err = d.walkers(source); err != nil {
		return nil, err
	}
	if p.Lists, err = d.Lists(); err != nil {
		return nil, err
	}
	return p, nil
}

// Lists gives the signature lists in force: the built-in ones, or those of
// signature.lists_dir as they stand when it is called.
func (d *deps) Lists() (func() *signature.Lists, error) {
	improve := signature.Improvements{Names: d.cfg.Signature.BetterNames, Unsymbolicated: d.cfg.Signature.BetterUnsymbolicated}
	if dir := d.cfg.Signature.ListsDir; dir != "" {
		lists, err := processor.NewListsDir(dir, improve, d.log)
		if err != nil {
			return nil, err
		}
		return lists.Lists, nil
	}
	lists := signature.Default().With(improve).WithCache(signature.DefaultCacheSize)
	return func() *signature.Lists { return lists }, nil
}

func ruleTables(cfg config.Processor) (*rules.Tables, error) {
	var files [][]byte
	for _, name := range cfg.Tables {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "processor.tables")
		}
		files = append(files, text)
	}
	return rules.LoadTables(files...)
}

// walkCommand is the hidden command of a walking child.
const walkCommand = "walk-dump"

// walkers gives the walker for all dumps and the one for those that may have
// ended the program before, which walks in children of this process.
func (d *deps) walkers(source *moduleSymbols) (usual, careful rules.Walker, err error) {
	cfg := d.cfg.Processor
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fault.As(fault.Unavailable, err, "find this program")
	}
	settings := childSettings{DataDir: d.cfg.DataDir, Symbols: d.cfg.Storage.Symbols, URLs: d.cfg.Symbols.URLs, Private: d.cfg.Symbols.Private, CacheSize: int64(d.cfg.Symbols.CacheSize),
		BinariesSize: int64(d.cfg.Symbols.BinariesSize), ConvertMemory: int64(d.cfg.Symbols.ConvertMemory)}
	careful = &processor.Isolated{Command: []string{self, walkCommand}, Timeout: cfg.WalkTimeout, Memory: int64(cfg.WalkMemory), TempDir: cfg.TempDir, Settings: settings}
	if cfg.Isolate {
		return careful, careful, nil
	}
	return &processor.InProcess{Symbols: source.walk, Binaries: source.binaries, Timeout: cfg.WalkTimeout, Memory: int64(cfg.WalkMemory), Version: walkerVersion(), Log: d.log}, careful, nil
}

// childSettings is what a walking child needs of the configuration.
type childSettings struct {
	DataDir       string   `json:"data_dir"`
	Symbols       string   `json:"symbols"`
	URLs          []string `json:"urls"`
	Private       []string `json:"private_hosts"`
	CacheSize     int64    `json:"cache_size"`
	BinariesSize  int64    `json:"binaries_size"`
	ConvertMemory int64    `json:"convert_memory"`
}

func walkerVersion() string { return "mayday " + command.Version().Version }

// symbolPlaces are the suppliers of symbols.urls.
func (d *deps) symbolPlaces(ctx context.Context) (*fetch.Places, error) {
	return once(&d.places, func() (*fetch.Places, error) {
		convert, err := d.dumper()
		if err != nil {
			return nil, err
		}
		places, err := fetch.OpenPlaces(ctx, d.cfg.Symbols.URLs, fetch.PlacesOptions{Private: d.cfg.Symbols.Private, Convert: convert, Log: d.log.Named("symbols")})
		if err != nil {
			return nil, fault.Wrap(err, "symbols.urls")
		}
		d.onClose("symbol suppliers", places.Close)
		return places, nil
	})
}

// SymbolCache holds compiled symbols. Processor and symbolication share it.
func (d *deps) SymbolCache(ctx context.Context) (*cache.Store, error) {
	return once(&d.symbols, func() (*cache.Store, error) {
		b, err := d.SymbolsBucket(ctx)
		if err != nil {
			return nil, err
		}
		from := fetch.NewBucket(b)
		get := cache.Fetch(from.Fetch)
		if len(d.cfg.Symbols.URLs) > 0 {
			places, err := d.symbolPlaces(ctx)
			if err != nil {
				return nil, err
			}
			get = func(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
				r, err := from.Fetch(ctx, id)
				if fault.Is(err, fault.NotFound) {
					return places.Fetch(ctx, id)
				}
				return r, err
			}
		}
		o := cache.Options{Dir: filepath.Join(d.cfg.DataDir, "symcache"), MaxBytes: int64(d.cfg.Symbols.CacheSize),
			Fetch: get, Tag: from.Tag, Log: d.log}
		if d.cfg.Storage.Symbols != "" { // a bucket that other nodes see too
			o.Shared = from.Shared()
		}
		s := cache.New(o)
		d.onClose("symbol cache", s.Close)
		return s, nil
	})
}

func (d *deps) symbolSource(ctx context.Context) (*moduleSymbols, error) {
	store, err := d.SymbolCache(ctx)
	if err != nil {
		return nil, err
	}
	bucket, err := d.SymbolsBucket(ctx)
	if err != nil {
		return nil, err
	}
	o := fetch.BinaryOptions{Bucket: bucket}
	if size := int64(d.cfg.Symbols.BinariesSize); size > 0 && len(d.cfg.Symbols.URLs) > 0 {
		places, err := d.symbolPlaces(ctx)
		if err != nil {
			return nil, err
		}
		o.Supplied = &fetch.Supplied{From: places, Dir: filepath.Join(d.cfg.DataDir, "binaries"), MaxBytes: size, Log: d.log.Named("symbols"),
			Wanted: fetch.WithoutUnwind(store)}
	}
	binaries := fetch.NewBinaries(o)
	d.onClose("binaries", binaries.Close)
	return &moduleSymbols{store, binaries}, nil
}

// moduleSymbols hands compiled symbols to the walker and to crash pings, and to
// the walker the binaries that were uploaded.
type moduleSymbols struct {
	store    *cache.Store
	binaries *fetch.Binaries
}

// walk gives the symbols for one walk. They stay mapped until release.
func (s *moduleSymbols) walk() (stackwalk.SymbolSource, func()) {
	w := &walkSymbols{store: s.store}
	return w, w.release
}

// Locate implements rules.SymbolSource.
func (s *moduleSymbols) Locate(ctx context.Context, id symbols.ModuleID, offset uint64) (symbols.Location, bool) {
	h, err := s.store.Open(ctx, id)
	if err != nil {
		return symbols.Location{}, false
	}
	defer h.Close()
	loc, ok := h.View(symbols.Best).Locate(offset)
	if !ok {
		return loc, false
	}
	// What is mapped goes with the handle.
	loc.Name, loc.File = strings.Clone(loc.Name), strings.Clone(loc.File)
	for i := range loc.Inlines {
		loc.Inlines[i].Function, loc.Inlines[i].File = strings.Clone(loc.Inlines[i].Function), strings.Clone(loc.Inlines[i].File)
	}
	return loc, true
}

// walkSymbols are the symbols that one walk opened.
type walkSymbols struct {
	store *cache.Store

	mu      sync.Mutex
	handles []*cache.Handle // guarded by mu
}

// Symbols implements stackwalk.SymbolSource.
func (w *walkSymbols) Symbols(ctx context.Context, id symbols.ModuleID) (*stackwalk.Loaded, error) {
	h, err := w.store.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.handles = append(w.handles, h)
	w.mu.Unlock()
	v := h.View(symbols.Best)
	return &stackwalk.Loaded{Symbols: v, Corrupt: v.Corrupt(), Verdict: v.Verdict()}, nil
}

func (w *walkSymbols) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.handles {
		h.Close()
	}
	w.handles = nil
}

// telemetryBucket exports documents into a bucket.
type telemetryBucket struct{ bucket *blob.Bucket }

// Export implements processor.Exporter.
func (t telemetryBucket) Export(ctx context.Context, key string, document map[string]any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return fault.As(fault.Internal, err, "encode export")
	}
	err = t.bucket.WriteAll(ctx, key, text, &blob.WriterOptions{ContentType: "application/json"})
	return fault.As(fault.Unavailable, err, "write %s", key)
}
