package collector

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/collector/journal"
	"mayday/roles/collector/throttle"
	"mayday/storage"
)

// spool keeps crashes on local disk until bucket and queue take them.
//
//	incoming/            files of requests under way; nameless on Unix
//	waiting/TIME-ID/     one crash: raw.json, then one file for each dump, named after it with .dump
//	waiting/TIME-ID.id   a crash that is in the bucket and not in the queue
//	aside/               crashes that cannot be stored, for a person to look at
//	journal/             see package journal
//	lock                 held by the process that uses the folder
//
// TIME is in hexadecimal nanoseconds, so that names sort by age. An entry is
// written under a name that ends in .tmp, synced, and renamed: it is there whole
// or not at all. Its name, once there, is never used for anything else.
type spool struct {
	dir   string
	limit int64
	lock  *os.File
	wake  chan struct{} // has a token when something was put

	mu    sync.Mutex
	count int   // entries that wait; guarded by mu
	bytes int64 // what they take; guarded by mu
}

const (
	waitingDir  = "waiting"
	incomingDir = "incoming"
	asideDir    = "aside"
	journalDir  = "journal"
	rawFile     = "raw.json"
	dumpSuffix  = ".dump"
	idSuffix    = ".id"
	newSuffix   = ".tmp"
)

// entryCost is counted for an entry beside its bytes: the folder and the blocks
// that files round up to.
const entryCost = 16 << 10

// openSpool takes the folder for this process and counts what waits in it.
func openSpool(dir string, limit int64) (_ *spool, err error) {
	defer fault.In(&err, "spool %s", dir)
	s := &spool{dir: dir, limit: limit, wake: make(chan struct{}, 1)}
	for _, sub := range []string{waitingDir, incomingDir, asideDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fault.As(fault.Unavailable, err, "make folders")
		}
	}
	if s.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if err := errors.Join(s.clean(incomingDir, ""), s.clean(waitingDir, newSuffix)); err != nil {
		s.lock.Close()
		return nil, fault.As(fault.Unavailable, err, "clean up")
	}
	entries, err := s.entries()
	if err != nil {
		s.lock.Close()
		return nil, err
	}
	for _, name := range entries {
		s.add(1, s.sizeOf(name))
	}
	return s, nil
}

func (s *spool) close() error { return s.lock.Close() }

// clean removes what an earlier life left unfinished.
func (s *spool) clean(sub, suffix string) error {
	found, err := os.ReadDir(filepath.Join(s.dir, sub))
	if err != nil {
		return err
	}
	for _, e := range found {
		if strings.HasSuffix(e.Name(), suffix) {
			if err := os.RemoveAll(filepath.Join(s.dir, sub, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// entries are the names of what waits, oldest first.
func (s *spool) entries() ([]string, error) {
	found, err := os.ReadDir(filepath.Join(s.dir, waitingDir))
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "list")
	}
	var names []string
	for _, e := range found {
		if !strings.HasSuffix(e.Name(), newSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, waitingDir, name) }

func (s *spool) sizeOf(name string) int64 {
	size := int64(entryCost)
	files, err := os.ReadDir(s.path(name))
	if err != nil {
		return size // an id: a file without content
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// add counts entries and their bytes, for limit and metrics.
func (s *spool) add(n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += n
	s.bytes += bytes
	metrics.CollectorSpool.Set(float64(s.count))
	metrics.CollectorSpoolBytes.Set(float64(s.bytes))
}

// waiting is how much waits.
func (s *spool) waiting() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.bytes
}

// reserve counts bytes before they are written, unless they would be too many.
func (s *spool) reserve(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+bytes > s.limit {
		return fault.New(fault.Unavailable, "the spool is full: %d of %d bytes", s.bytes, s.limit)
	}
	s.bytes += bytes
	return nil
}

func entryName(id storage.CrashID) string {
	return fmt.Sprintf("%016x-%s", time.Now().UnixNano(), id)
}

// put writes a crash and returns when it is on disk.
func (s *spool) put(crash *crash, h *held) (err error) {
	defer fault.In(&err, "spool crash %s", crash.id)
	text, err := storage.EncodeDocument(crash.raw)
	if err != nil {
		return err
	}
	size := int64(entryCost + len(text))
	for _, f := range crash.files {
		size += f.size
	}
	if err := s.reserve(size); err != nil {
		return err
	}
	name := entryName(crash.id)
	temp := s.path(name + newSuffix)
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
			s.add(0, -size)
			err = fault.As(fault.Unavailable, err, "write")
		}
	}()
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	for _, f := range crash.files {
		if err := writeSynced(filepath.Join(temp, f.key+dumpSuffix), h.reader(f.section)); err != nil {
			return err
		}
	}
	if err := writeSynced(filepath.Join(temp, rawFile), strings.NewReader(string(text))); err != nil {
		return err
	}
	if err := journal.SyncFolder(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path(name)); err != nil {
		return err
	}
	if err := journal.SyncFolder(filepath.Join(s.dir, waitingDir)); err != nil {
		return err
	}
	s.put1()
	return nil
}

// put1 counts an entry and wakes the forwarder.
func (s *spool) put1() {
	s.add(1, 0)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// putID notes that a stored crash is not in the queue.
func (s *spool) putID(id storage.CrashID) error {
	if err := s.reserve(entryCost); err != nil {
		return err
	}
	path := s.path(entryName(id) + idSuffix)
	err := writeSynced(path, strings.NewReader(""))
	if err == nil {
		err = journal.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		s.add(0, -entryCost)
		return fault.As(fault.Unavailable, err, "spool id %s", id)
	}
	s.put1()
	return nil
}

// drop removes an entry that was taken.
func (s *spool) drop(name string) error {
	size := s.sizeOf(name)
	// Renamed first: a removal that is cut short must not leave half a crash.
	gone := s.path(name + newSuffix)
	if err := os.Rename(s.path(name), gone); err != nil {
		return fault.As(fault.Unavailable, err, "spool entry %s", name)
	}
	s.add(-1, -size)
	return fault.As(fault.Unavailable, os.RemoveAll(gone), "spool entry %s", name)
}

// setAside moves an entry out of the way. It still counts against the limit
// until the next start.
func (s *spool) setAside(name string) error {
	if err := os.Rename(s.path(name), filepath.Join(s.dir, asideDir, name)); err != nil {
		return fault.As(fault.Unavailable, err, "set %s aside", name)
	}
	s.add(-1, 0)
	return nil
}

// load reads an entry; its dumps are opened when they are saved.
func (s *spool) load(name string) (*crash, []storage.Dump, error) {
	_, text, _ := strings.Cut(strings.TrimSuffix(name, idSuffix), "-")
	id, err := storage.ParseCrashID(text)
	if err != nil {
		return nil, nil, fault.Wrap(err, "spool entry %s", name)
	}
	k := &crash{id: id, result: throttle.Accept}
	if id.Digit() == storage.Deferred {
		k.result = throttle.Defer
	}
	if strings.HasSuffix(name, idSuffix) {
		return k, nil, nil
	}
	dir := s.path(name)
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fault.As(fault.Malformed, err, "spool entry %s", name)
	}
	if k.raw, err = readRaw(filepath.Join(dir, rawFile)); err != nil {
		return nil, nil, fault.Wrap(err, "spool entry %s", name)
	}
	var dumps []storage.Dump
	for _, e := range found {
		dump, ok := strings.CutSuffix(e.Name(), dumpSuffix)
		if !ok {
			continue
		}
		dumps = append(dumps, storage.Dump{Name: dump, Open: func() (io.ReadCloser, error) {
			f, err := os.Open(filepath.Join(dir, e.Name()))
			return f, fault.As(fault.Malformed, err, "open")
		}})
	}
	return k, dumps, nil
}

func readRaw(path string) (storage.RawCrash, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.As(fault.Malformed, err, "open")
	}
	defer f.Close()
	d := json.NewDecoder(bufio.NewReader(io.LimitReader(f, storage.MaxDocument)))
	d.UseNumber()
	var raw storage.RawCrash
	if err := d.Decode(&raw); err != nil || raw == nil {
		return nil, fault.New(fault.Malformed, "raw crash: %v", err)
	}
	return raw, nil
}

func writeSynced(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
