package queue

import (
	"os"
	"path/filepath"
	"strings"

	"mayday/app/fault"
)

// life marks this process as alive for the others that use the same queue
// file: a locked file beside it. The operating system drops the lock when the
// process ends, however it ends.
type life struct {
	base string // path of the queue file
	name string
	file *os.File
}

const lifeSuffix = ".life"

func (l *life) path(name string) string { return l.base + "." + name + lifeSuffix }

func beginLife(base string) (*life, error) {
	l := &life{base: base, name: randomName()}
	// Locked under another name first: nobody may see the mark unlocked.
	temp := l.path(l.name) + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "mark the process as alive")
	}
	l.file = f
	if !lock(f) {
		l.end()
		return nil, fault.New(fault.Unavailable, "lock %s", temp)
	}
	if err := os.Rename(temp, l.path(l.name)); err != nil {
		l.end()
		return nil, fault.As(fault.Unavailable, err, "mark the process as alive")
	}
	return l, nil
}

// isOver reports whether the process of that name has ended. Where files
// cannot be locked every other process counts as alive and its leases run out.
func (l *life) isOver(name string) bool {
	if name == l.name || !canLock {
		return false
	}
	f, err := os.OpenFile(l.path(name), os.O_RDWR, 0)
	if os.IsNotExist(err) {
		return true // it ended in order, or somebody cleaned up after it
	}
	if err != nil {
		return false
	}
	defer f.Close()
	return lock(f)
}

// sweep removes the marks of processes that ended without removing them.
func (l *life) sweep() {
	found, err := filepath.Glob(l.base + ".*" + lifeSuffix)
	if err != nil {
		return // a path with brackets: the marks stay, and do no harm
	}
	for _, path := range found {
		name := strings.TrimSuffix(strings.TrimPrefix(path, l.base+"."), lifeSuffix)
		if l.isOver(name) {
			os.Remove(path)
		}
	}
}

func (l *life) end() {
	os.Remove(l.path(l.name))
	os.Remove(l.path(l.name) + ".new")
	l.file.Close()
}
