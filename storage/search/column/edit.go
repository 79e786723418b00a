package column

import (
	"path/filepath"
	"slices"
	"strconv"

	"mayday/app/fault"
)

// edit is a change of the index in the making. Nothing of it is seen, and
// nothing of it survives, before commit.
type edit struct {
	s       *Store
	segs    []*live
	added   map[*live]bool
	dirty   map[*live]bool // delete bits changed
	removed []*live
	files   []string // written so far
	dirs    []string // folders with new names
	broken  []string
	nextID  uint64
	changed bool
	purge   bool
	done    bool
}

// edit begins a change; the caller holds the write lock.
func (s *Store) edit() *edit {
	e := &edit{s: s, added: map[*live]bool{}, dirty: map[*live]bool{}, nextID: s.manifest.NextID, broken: s.manifest.Broken}
	s.mu.Lock()
	e.segs = slices.Clone(s.snap.segs)
	s.mu.Unlock()
	return e
}

// addSegment builds, writes and opens a segment.
func (e *edit) addSegment(week string, src source) error {
	data, crc, err := buildSegment(src, e.s.fields)
	if err != nil {
		return err
	}
	return e.addBuilt(week, data, crc, src.rows(), nil)
}

// addBuilt writes and opens the bytes of a segment; dead are rows of it that
// are deleted already.
func (e *edit) addBuilt(week string, data []byte, crc uint32, rows int, dead bitmap) error {
	e.nextID++
	item := manifestItem{Week: week, Name: strconv.FormatUint(e.nextID, 36), Rows: rows, Bytes: len(data), Footer: crc}
	if err := e.s.opts.disk.mkdir(e.s.opts.Dir, week); err != nil {
		return fault.Wrap(err, "folder of week %s", week)
	}
	path := e.s.path(item, ".seg")
	e.files = append(e.files, path)
	if err := e.s.opts.disk.write(path, data); err != nil {
		return fault.Wrap(err, "write segment %s", item.Name)
	}
	e.touchDir(week)
	l, _, err := e.s.openLive(item)
	if err != nil {
		return fault.Wrap(err, "open segment %s", item.Name)
	}
	if dead != nil {
		l.dead = dead
		e.dirty[l] = true
	}
	e.segs = append(e.segs, l)
	e.added[l] = true
	e.changed = true
	return nil
}

func (e *edit) touchDir(week string) {
	dir := filepath.Join(e.s.opts.Dir, filepath.FromSlash(week))
	if !slices.Contains(e.dirs, dir) {
		e.dirs = append(e.dirs, dir)
	}
}

// removeSegment takes the i-th segment out.
func (e *edit) removeSegment(i int) {
	e.removed = append(e.removed, e.segs[i])
	e.segs = slices.Delete(e.segs, i, i+1)
	e.changed = true
}

// kill marks the rows of a crash deleted in all segments that this edit did not
// add.
func (e *edit) kill(id [16]byte) (found bool) {
	for i, l := range e.segs {
		if e.added[l] {
			continue
		}
		row := l.findRow(id)
		if row < 0 || l.dead != nil && l.dead.has(row) {
			continue
		}
		if !e.dirty[l] {
			l = e.fork(i)
		}
		l.dead.set(row)
		found, e.changed = true, true
	}
	return found
}

// fork gives the i-th segment delete bits of its own.
func (e *edit) fork(i int) *live {
	old := e.segs[i]
	l := &live{segment: old.segment, item: old.item, dead: newBitmap(old.item.Rows)}
	copy(l.dead, old.dead)
	e.segs[i] = l
	e.dirty[l] = true
	return l
}

// commit writes delete files and the manifest, and shows the new state.
func (e *edit) commit() error {
	s := e.s
	var stale []string // delete files that are replaced
	for _, l := range e.segs {
		if !e.dirty[l] {
			continue
		}
		if l.item.Gen > 0 {
			stale = append(stale, s.path(l.item, deadSuffix(l.item.Gen)))
		}
		l.item.Gen = s.manifest.Number + 1 // never used before, even by a commit that failed half-way
		l.item.Dead = l.dead.count()
		l.item.Purge = l.item.Purge || e.purge
		path := s.path(l.item, deadSuffix(l.item.Gen))
		e.files = append(e.files, path)
		if err := s.opts.disk.write(path, encodeDead(l.dead, l.item.Rows)); err != nil {
			return fault.Wrap(err, "write deletes of segment %s", l.item.Name)
		}
		e.touchDir(l.item.Week)
	}
	// Segments without a live row are not carried on.
	for i := len(e.segs) - 1; i >= 0; i-- {
		if l := e.segs[i]; l.item.Dead == l.item.Rows {
			e.removeSegment(i)
		}
	}
	for _, dir := range e.dirs {
		if err := s.opts.disk.syncDir(dir); err != nil {
			return fault.Wrap(err, "sync %s", dir)
		}
	}
	old := s.manifest
	m := &manifest{Format: formatNumber, Number: old.Number + 1, NextID: e.nextID, Broken: e.broken}
	for _, l := range e.segs {
		m.Segments = append(m.Segments, l.item)
	}
	committed, err := writeManifest(&s.opts.disk, s.opts.Dir, m)
	if err != nil {
		// The number is spent: a later manifest must not share a name with this one.
		old.Number, old.NextID = m.Number, m.NextID
		if committed {
			e.done = true // CURRENT may name it: its files must stay
			for l := range e.added {
				l.acquire()
				l.drop()
			}
		}
		return fault.Wrap(err, "write manifest %d", m.Number)
	}
	e.done = true
	s.manifest = m
	snap := &snapshot{segs: e.segs, broken: slices.Clone(m.Broken), stale: s.snap.stale}
	for _, l := range e.removed {
		l.gone = append(l.gone, func() { s.removeFiles(l) })
	}
	s.publish(snap)
	for l := range e.added {
		if !slices.Contains(e.segs, l) { // every row of it is dead already
			l.acquire()
			l.drop()
		}
	}
	for _, path := range stale {
		s.opts.disk.remove(path)
	}
	s.opts.disk.remove(filepath.Join(s.opts.Dir, manifestName(old.Number)))
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// removeFiles unlinks a segment that no manifest names any more.
func (s *Store) removeFiles(l *live) {
	s.opts.disk.remove(s.path(l.item, ".seg"))
	s.opts.disk.remove(s.path(l.item, ".text"))
	if l.item.Gen > 0 {
		s.opts.disk.remove(s.path(l.item, deadSuffix(l.item.Gen)))
	}
}

// undo removes what an edit wrote when it was not committed.
func (e *edit) undo() {
	if e.done {
		return
	}
	for l := range e.added {
		l.acquire()
		l.drop()
	}
	for _, path := range e.files {
		e.s.opts.disk.remove(path)
	}
}
