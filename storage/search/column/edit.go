package column

import (
	"mayday/storage/search/column/query"
	"mayday/storage/search/column/segment"
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
	changed bool
	purge   bool
	done    bool
}

// edit begins a change; the caller holds the write lock.
func (s *Store) edit() *edit {
	e := &edit{s: s, added: map[*live]bool{}, dirty: map[*live]bool{}, broken: s.manifest.Broken}
	s.mu.Lock()
	e.segs = slices.Clone(s.snap.segs)
	s.mu.Unlock()
	return e
}

// addSegment builds, writes and opens a segment.
func (e *edit) addSegment(week string, src segment.Source) error {
	l, err := e.s.writeSegment(week, src)
	if err == nil {
		e.adopt(l)
	}
	return err
}

// writeSegment builds, writes and opens a segment that no manifest names yet;
// it needs no lock. When it fails nothing of it stays.
func (s *Store) writeSegment(week string, src segment.Source) (_ *live, err error) {
	data, crc, err := segment.Build(src, s.fields)
	if err != nil {
		return nil, err
	}
	item := manifestItem{Week: week, Name: strconv.FormatUint(s.nextID.Add(1), 36), Rows: src.Rows(), Bytes: len(data), Footer: crc}
	defer func() {
		if err != nil {
			s.removeFiles(&live{item: item})
		}
	}()
	if err := s.opts.disk.mkdir(s.opts.Dir, week); err != nil {
		return nil, fault.Wrap(err, "folder of week %s", week)
	}
	if err := s.opts.disk.write(s.path(item, ".seg"), data); err != nil {
		return nil, fault.Wrap(err, "write segment %s", item.Name)
	}
	l, _, err := s.openLive(item)
	return l, fault.Wrap(err, "open segment %s", item.Name)
}

// discard gives up a written segment.
func (s *Store) discard(l *live) {
	l.Acquire()
	l.Drop()
	s.removeFiles(l)
}

// adopt takes a written segment into the edit.
func (e *edit) adopt(l *live) {
	e.files = append(e.files, e.s.path(l.item, ".seg"))
	e.touchDir(l.item.Week)
	e.segs = append(e.segs, l)
	e.added[l] = true
	e.changed = true
}

// remove takes segments out; it reports false when one is not there any more.
func (e *edit) remove(list []*live) bool {
	for _, old := range list {
		i := slices.IndexFunc(e.segs, func(l *live) bool { return l.Segment == old.Segment })
		if i < 0 {
			return false
		}
		e.removeSegment(i)
	}
	return true
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
		row := l.FindRow(id)
		if row < 0 || l.Dead != nil && l.Dead.Has(row) {
			continue
		}
		if !e.dirty[l] {
			l = e.fork(i)
		}
		l.Dead.Set(row)
		found, e.changed = true, true
	}
	return found
}

// fork gives the i-th segment delete bits of its own.
func (e *edit) fork(i int) *live {
	old := e.segs[i]
	l := &live{Part: query.Part{Segment: old.Segment, Dead: segment.NewBitmap(old.item.Rows)}, item: old.item}
	copy(l.Dead, old.Dead)
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
		l.item.Dead = l.Dead.Count()
		l.item.Purge = l.item.Purge || e.purge
		path := s.path(l.item, deadSuffix(l.item.Gen))
		e.files = append(e.files, path)
		if err := s.opts.disk.write(path, encodeDead(l.Dead, l.item.Rows)); err != nil {
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
	m := &manifest{Format: formatNumber, Number: old.Number + 1, NextID: s.nextID.Load(), Broken: e.broken}
	for _, l := range e.segs {
		m.Segments = append(m.Segments, l.item)
	}
	committed, err := writeManifest(&s.opts.disk, s.opts.Dir, m)
	if err != nil {
		// The number is spent: a later manifest must not share a name with this one.
		old.Number = m.Number
		if committed {
			e.done = true // CURRENT may name it: its files must stay
			for l := range e.added {
				l.Acquire()
				l.Drop()
			}
		}
		return fault.Wrap(err, "write manifest %d", m.Number)
	}
	e.done = true
	s.manifest = m
	snap := &snapshot{segs: e.segs, broken: slices.Clone(m.Broken), stale: s.snap.stale}
	for _, l := range e.removed {
		l.Gone = append(l.Gone, func() { s.removeFiles(l) })
	}
	s.publish(snap)
	for l := range e.added {
		if !slices.Contains(e.segs, l) { // every row of it is dead already
			l.Acquire()
			l.Drop()
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
	s.opts.disk.remove(s.path(l.item, textSuffix(l.item)))
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
		l.Acquire()
		l.Drop()
	}
	for _, path := range e.files {
		e.s.opts.disk.remove(path)
	}
}
