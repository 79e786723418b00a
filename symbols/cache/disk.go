package cache

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mayday/app/metrics"
)

const (
	suffix     = ".symc"
	tempPrefix = "new-"
	// touchEvery is how often the time of use is written to the disk, where
	// other processes on the same directory see it.
	touchEvery = 10 * time.Minute
	// tempMaxAge is after how long an unfinished file is nobody's.
	tempMaxAge = time.Hour
)

// disk keeps the directory of compiled files under its size. Several
// processes may share the directory: each looks at what is there before it
// removes anything.
type disk struct {
	dir string
	max int64

	// mu guards what follows.
	mu     sync.Mutex
	read   bool
	total  int64
	byPath map[string]int64
}

// path is where the file of a module lies.
func (d *disk) path(key string) string { return filepath.Join(d.dir, fileName(key)) }

// remove deletes the file of a module.
func (d *disk) remove(key string) {
	p := d.path(key)
	_ = os.Remove(p) // it may be gone already, which is as well
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total -= d.byPath[p]
	delete(d.byPath, p)
}

// touch notes that the file of a module is used.
func (d *disk) touch(key string, now time.Time) {
	_ = os.Chtimes(d.path(key), now, now) // evicted by another process: it stays usable
}

// added counts a new file and makes room for it.
func (d *disk) added(key string, size int64, now time.Time) {
	p := d.path(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.read {
		d.scan(now)
	}
	d.total += size - d.byPath[p]
	d.byPath[p] = size
	if d.total > d.max {
		d.evict(p, now)
	}
	metrics.SymbolsCacheBytes.Set(float64(d.total))
}

// compiled is a compiled file as the directory lists it.
type compiled struct {
	path string
	size int64
	used time.Time
}

// scan reads the directory and removes unfinished files that were left.
func (d *disk) scan(now time.Time) []compiled {
	var list []compiled
	d.read, d.total, d.byPath = true, 0, map[string]int64{}
	_ = filepath.WalkDir(d.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what cannot be read does not count
		}
		st, err := e.Info()
		if err != nil {
			return nil
		}
		switch {
		case (strings.HasPrefix(e.Name(), tempPrefix) || strings.HasSuffix(p, lockSuffix)) && now.Sub(st.ModTime()) > tempMaxAge:
			_ = os.Remove(p)
		case strings.HasSuffix(p, suffix):
			d.total += st.Size()
			d.byPath[p] = st.Size()
			list = append(list, compiled{p, st.Size(), st.ModTime()})
		}
		return nil
	})
	return list
}

// evict removes the files that were not used for longest until the rest fits,
// but not keep.
func (d *disk) evict(keep string, now time.Time) {
	list := d.scan(now)
	slices.SortFunc(list, func(a, b compiled) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path)) })
	for _, c := range list {
		if d.total <= d.max {
			return
		}
		if c.path == keep || os.Remove(c.path) != nil {
			continue
		}
		d.total -= c.size
		delete(d.byPath, c.path)
		metrics.SymbolsCacheEvictions.Inc()
	}
}

// lockSuffix is put behind the name of a file that is being made.
const lockSuffix = ".lock"

// lockEvery is how often a process looks whether another one is done.
const lockEvery = 50 * time.Millisecond

// lock waits until no other process makes the file of a module. It is a matter
// of not doing things twice: where files cannot be locked, or when ctx ends, it
// just goes on.
func (d *disk) lock(ctx context.Context, key string) (unlock func()) {
	f, err := os.OpenFile(d.path(key)+lockSuffix, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}
	}
	for !lockFile(f) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(lockEvery):
		}
	}
	return func() {
		_ = os.Remove(f.Name()) // who waits for it has the file, and goes on
		f.Close()
	}
}
