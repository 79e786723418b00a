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

// VersionsSnapshot is the name under which web publishes the product versions.
const VersionsSnapshot = "product_versions"

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
	var rows []Build
	switch _, err := p.crashes.Snapshot(ctx, VersionsSnapshot, &rows); {
	case err == nil:
		p.builds = NewBuilds(rows)
	case !fault.Is(err, fault.NotFound):
		p.log.Warn("product versions stay as they were", zap.Error(err))
	}
	return p.builds
}
