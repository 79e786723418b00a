package processor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/storage"
	"mayday/symbols"
)

// recheckEvery is how often files and snapshots are looked at for changes.
const recheckEvery = 10 * time.Second

// ListsDir gives the signature lists of a directory and reads them again when
// a file changed. Lists that cannot be read leave the last good ones in use.
type ListsDir struct {
	dir     string
	improve signature.Improvements
	log     *zap.Logger

	mu sync.Mutex
	// guarded by mu
	lists   *signature.Lists
	stamp   string
	checked time.Time
}

// NewListsDir reads the lists of dir for the first time.
func NewListsDir(dir string, improve signature.Improvements, log *zap.Logger) (*ListsDir, error) {
	l := &ListsDir{dir: dir, improve: improve, log: log, checked: time.Now()}
	l.stamp = l.look()
	var err error
	l.lists, err = l.load()
	return l, fault.Wrap(err, "signature lists in %s", dir)
}

func (l *ListsDir) load() (*signature.Lists, error) {
	lists, err := signature.Load(os.DirFS(l.dir), l.dir)
	if err != nil {
		return nil, err
	}
	return lists.With(l.improve).WithCache(signature.DefaultCacheSize), nil
}

// Lists are the lists as they stand now.
func (l *ListsDir) Lists() *signature.Lists {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.checked) < recheckEvery {
		return l.lists
	}
	l.checked = time.Now()
	stamp := l.look()
	if stamp == l.stamp {
		return l.lists
	}
	l.stamp = stamp
	lists, err := l.load()
	if err != nil {
		l.log.Error("signature lists stay as they were", zap.Error(err))
		return l.lists
	}
	l.log.Info("signature lists were read again", zap.String("version", lists.Version()))
	l.lists = lists
	return lists
}

// look describes the files without reading them.
func (l *ListsDir) look() string {
	stamp := ""
	for _, name := range signature.ListNames() {
		if info, err := os.Stat(filepath.Join(l.dir, name+".txt")); err == nil {
			stamp += fmt.Sprint(name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return stamp
}

// versionsTTL is how old the product versions in use may be.
const versionsTTL = 5 * time.Minute

// snapshots reads tables that web publishes; *storage.Crashes is one.
type snapshots interface {
	Snapshot(ctx context.Context, name string, value any) (time.Time, error)
}

// PublishedBuilds looks versions up in the product versions that web
// publishes. While they cannot be read, the last ones known are used.
type PublishedBuilds struct {
	crashes snapshots
	log     *zap.Logger

	mu     sync.Mutex
	builds *Builds   // guarded by mu
	read   time.Time // guarded by mu
}

// NewPublishedBuilds makes a PublishedBuilds; it reads nothing yet.
func NewPublishedBuilds(crashes *storage.Crashes, log *zap.Logger) *PublishedBuilds {
	return &PublishedBuilds{crashes: crashes, log: log, builds: NewBuilds(nil)}
}

// Version implements rules.Versions.
func (p *PublishedBuilds) Version(ctx context.Context, product, channel, buildID string) (string, bool, bool, error) {
	return p.current(ctx).Version(ctx, product, channel, buildID)
}

func (p *PublishedBuilds) current(ctx context.Context) *Builds {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.read) < versionsTTL {
		return p.builds
	}
	p.read = time.Now()
	var rows []storage.Build
	switch _, err := p.crashes.Snapshot(ctx, storage.BuildsSnapshot, &rows); {
	case err == nil:
		p.builds = NewBuilds(rows)
	case !fault.Is(err, fault.NotFound):
		p.log.Warn("product versions stay as they were", zap.Error(err))
	}
	return p.builds
}

// ArrivedModules tells a symbol cache of modules whose symbols came elsewhere,
// from what web publishes, so that it asks for them again.
type ArrivedModules struct {
	crashes snapshots
	forget  func(symbols.ModuleID)
	log     *zap.Logger

	mu    sync.Mutex
	known map[symbols.ModuleID]time.Time // when they came; guarded by mu
	read  time.Time                      // guarded by mu
}

// NewArrivedModules makes an ArrivedModules; it reads nothing yet.
func NewArrivedModules(crashes *storage.Crashes, forget func(symbols.ModuleID), log *zap.Logger) *ArrivedModules {
	return &ArrivedModules{crashes: crashes, forget: forget, log: log}
}

const (
	// lookEvery is how often what arrived is looked at in any case.
	lookEvery = 5 * time.Second
	// lookBefore is how long ago that may be for a crash that is processed
	// again: perhaps because symbols came.
	lookBefore = time.Second
)

// Look drops what the cache remembers of modules that came since the last
// look, unless that was less than age ago.
func (m *ArrivedModules) Look(ctx context.Context, age time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.read) < age {
		return
	}
	m.read = time.Now()
	var rows []storage.AwaitedModule
	if _, err := m.crashes.Snapshot(ctx, storage.AwaitedSnapshot, &rows); err != nil {
		if !fault.Is(err, fault.NotFound) && ctx.Err() == nil {
			m.log.Warn("arrived symbols cannot be read", zap.Error(err))
		}
		return
	}
	known := map[symbols.ModuleID]time.Time{}
	for _, r := range rows {
		id := symbols.ModuleID{DebugFile: r.DebugFile, DebugID: r.DebugID}
		if known[id] = r.Arrived; !m.known[id].Equal(r.Arrived) {
			m.forget(id)
		}
	}
	m.known = known
}

// Run looks every now and then until ctx ends.
func (m *ArrivedModules) Run(ctx context.Context) error {
	for {
		m.Look(ctx, 0)
		if !sleep(ctx, lookEvery) {
			return nil
		}
	}
}
