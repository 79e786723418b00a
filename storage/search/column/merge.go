package column

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/query"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
)

const (
	// weekSegments is how many segments a week may have before some are merged.
	weekSegments = 8
	// mergeRows bounds a merged segment of a past week: the file is made in
	// memory, at some 700 bytes a row.
	mergeRows = 1 << 18
	// quiet is how long a past week must have been left alone before all of it
	// is merged into one.
	quiet = 10 * time.Minute
	// deadShare is the share of deleted rows past which a segment is rewritten.
	deadShare = 0.3
	tick      = time.Minute
	// startPause leaves the first moments to those who were waiting for a start.
	startPause = 2 * time.Second
	scrubEvery = 24 * time.Hour
)

// Run does the upkeep of the index until ctx ends: it merges small segments,
// rewrites those that hold deleted values, checks checksums once a day, and
// sets segments aside that turn out to be broken.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	scrubbed := s.opts.Now()
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(startPause):
	}
	for {
		s.warm() // first: merging may take minutes
		s.emptyQuarantine()
		s.checkSuspects()
		for ctx.Err() == nil {
			again, err := s.Merge(ctx)
			if err != nil {
				s.opts.Log.Error("merge search segments", zap.Error(err))
			}
			if !again || err != nil {
				break
			}
		}
		s.warm()
		s.indexWords(ctx) // late: what is merged needs it once
		s.keepValues()
		if now := s.opts.Now(); now.Sub(scrubbed) > scrubEvery {
			scrubbed = now
			s.scrub(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
			// A burst of batches wants one look, not one each.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
	}
}

// quarantineAge is how long a broken file is kept for whoever wants to look at
// it. It may hold values that are deleted everywhere else.
const quarantineAge = 24 * time.Hour

// emptyQuarantine removes what has been there for long.
func (s *Store) emptyQuarantine() {
	dir := filepath.Join(s.opts.Dir, "quarantine")
	entries, _ := os.ReadDir(dir) // mostly there is none
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || s.opts.Now().Sub(info.ModTime()) < quarantineAge {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			s.opts.Log.Warn("a broken search segment stays on the disk", zap.Error(err))
		}
	}
}

// warm prepares the fields that queries ask for in the segments that are new.
func (s *Store) warm() {
	snap := s.pin()
	defer snap.release()
	var err error
	defer recoverFault(&err)() // the query that meets the bad page reports it
	s.searcher.Values.Warm(snap.segments())
}

// Merge does the most useful rewriting of segments, if there is any, and says
// whether it did.
func (s *Store) Merge(ctx context.Context) (bool, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	snap := s.pin()
	defer snap.release()
	list := s.worthMerging(snap)
	if len(list) == 0 {
		return false, nil
	}
	err := s.rewrite(ctx, list)
	if fault.Of(err) == fault.Malformed { // one of them cannot be read
		for _, l := range list {
			s.suspect(l.Segment, err)
		}
	}
	return true, fault.Wrap(err, "merge %d segments of week %s", len(list), list[0].item.Week)
}

// worthMerging picks segments of one week.
func (s *Store) worthMerging(snap *snapshot) []*live {
	weeks := map[string][]*live{}
	for _, l := range snap.segs {
		if l.item.Purge || float64(l.item.Dead) > deadShare*float64(l.item.Rows) {
			return []*live{l}
		}
		weeks[l.item.Week] = append(weeks[l.item.Week], l)
	}
	current := s.weekOf(s.opts.Now().UnixMicro())
	for _, week := range sortedKeys(weeks) {
		list := weeks[week]
		sort.Slice(list, func(i, j int) bool { return list[i].item.Rows < list[j].item.Rows })
		limit := segmentRows
		if week < current {
			limit = mergeRows
		}
		if picked := smallest(list, limit); len(list) > weekSegments && len(picked) > 1 {
			return picked
		}
		if week < current && len(list) > 1 && s.isQuiet(list) {
			if all := upTo(list, limit); len(all) > 1 {
				return all
			}
		}
	}
	return nil
}

// smallest takes the small segments of a sorted list, and larger ones as long
// as they are not much larger than what is taken already: each row is then
// rewritten a logarithmic number of times.
func smallest(list []*live, limit int) []*live {
	rows := 0
	for i, l := range list {
		left := len(list) - i
		if rows+l.item.Rows > limit || i >= 2 && l.item.Rows > 2*rows && left <= weekSegments/2 {
			return list[:i]
		}
		rows += l.item.Rows
	}
	return list
}

func upTo(list []*live, limit int) []*live {
	rows := 0
	for i, l := range list {
		if rows += l.item.Rows; rows > limit {
			return list[:i]
		}
	}
	return list
}

func (s *Store) isQuiet(list []*live) bool {
	for _, l := range list {
		info, err := os.Stat(s.path(l.item, ".seg"))
		if err != nil || s.opts.Now().Sub(info.ModTime()) < quiet {
			return false
		}
	}
	return true
}

// rewrite makes one segment of the live rows of some and puts it in their
// place. What is deleted meanwhile is deleted in the new one as well.
func (s *Store) rewrite(ctx context.Context, list []*live) (err error) {
	defer recoverFault(&err)()
	src := newRowSource(s, list)
	var fresh *live
	if src.Rows() > 0 {
		if fresh, err = s.writeSegment(list[0].item.Week, src); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		if fresh != nil {
			s.discard(fresh)
		}
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return fault.New(fault.Unavailable, "the index is closed")
	}
	e := s.edit()
	defer e.undo()
	if fresh != nil {
		for _, old := range list {
			s.carryDeletes(e, old, fresh)
		}
		e.adopt(fresh)
	}
	if !e.remove(list) { // the week was dropped or replaced meanwhile
		return nil
	}
	return e.commit()
}

// carryDeletes marks the rows of fresh that were deleted in old since.
func (s *Store) carryDeletes(e *edit, old, fresh *live) {
	i := slices.IndexFunc(e.segs, func(l *live) bool { return l.Segment == old.Segment })
	if i < 0 || e.segs[i].Dead == nil {
		return
	}
	e.segs[i].Dead.Each(func(row int) {
		if old.Dead != nil && old.Dead.Has(row) {
			return
		}
		if at := fresh.FindRow(old.RowID(row)); at >= 0 {
			if fresh.Dead == nil {
				fresh.Dead = segment.NewBitmap(fresh.item.Rows)
				e.dirty[fresh] = true
			}
			fresh.Dead.Set(at)
			fresh.item.Purge = fresh.item.Purge || e.segs[i].item.Purge
		}
	})
}

// rowSource reads the live rows of segments in the order of their dates.
type rowSource struct {
	segs  []*live
	refs  []rowRef
	field int // index of the date field
}

type rowRef struct {
	seg, row uint32
	date     int64
}

func newRowSource(s *Store, list []*live) *rowSource {
	r := &rowSource{segs: list, field: slices.IndexFunc(s.fields, func(f plan.Field) bool { return f.Name == plan.DateField })}
	for i, l := range list {
		for row := range l.Footer.Rows {
			if l.Dead == nil || !l.Dead.Has(row) {
				r.refs = append(r.refs, rowRef{uint32(i), uint32(row), l.Dates.Int(row)})
			}
		}
	}
	sort.SliceStable(r.refs, func(i, j int) bool { return r.refs[i].date < r.refs[j].date })
	return r
}

func (r *rowSource) Rows() int           { return len(r.refs) }
func (r *rowSource) Date(row int) int64  { return r.refs[row].date }
func (r *rowSource) ID(row int) [16]byte { return r.segs[r.refs[row].seg].RowID(int(r.refs[row].row)) }

func (r *rowSource) Value(row, field int) any {
	ref := r.refs[row]
	s := r.segs[ref.seg]
	if field == r.field { // canonical dates need no text
		if s.Texts == nil || s.Texts.Ord(int(ref.row)) == 0 {
			return nil
		}
		return s.DateText(int(ref.row))
	}
	if c := s.Cols[field]; c != nil {
		return c.At(int(ref.row), true)
	}
	return nil
}

// checkSuspects verifies the segments that queries stumbled over.
func (s *Store) checkSuspects() {
	s.faults.mu.Lock()
	list := s.faults.list
	s.faults.list = nil
	s.faults.mu.Unlock()
	for seg := range list {
		if !s.verify(seg) {
			s.forgetWords(seg)
		}
		seg.Faulty.Store(false)
	}
}

// scrub verifies every segment.
func (s *Store) scrub(ctx context.Context) {
	snap := s.pin()
	defer snap.release()
	for _, l := range snap.segs {
		if ctx.Err() != nil {
			return
		}
		s.verify(l.Segment)
	}
}

// verify sets a segment aside whose checksums are wrong; broken says whether.
func (s *Store) verify(seg *segment.Segment) (broken bool) {
	err := readable(seg)
	if err == nil {
		return false
	}
	s.opts.Log.Error("search segment is broken and set aside; reindex its week", zap.String("week", seg.Week), zap.String("segment", seg.Name), zap.Error(err))
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return true
	}
	e := s.edit()
	defer e.undo()
	for i, l := range e.segs {
		if l.Segment == seg {
			item := l.item
			e.removeSegment(i)
			if !slices.Contains(e.broken, item.Week) {
				e.broken = append(slices.Clone(e.broken), item.Week)
			}
			dir := filepath.Join(s.opts.Dir, "quarantine")
			if os.MkdirAll(dir, 0o700) == nil {
				to := filepath.Join(dir, item.Name+".seg")
				_ = os.Link(s.path(item, ".seg"), to) // for whoever wants to look; not needed
				_ = os.Chtimes(to, time.Time{}, s.opts.Now())
			}
			break
		}
	}
	if e.changed {
		if err := e.commit(); err != nil {
			s.opts.Log.Error("set a search segment aside", zap.Error(err))
		}
	}
	return true
}

// Rebuild replaces the rows of a week that were there when it began by the
// documents that each gives: what was indexed meanwhile stays and wins. Queries
// see the old rows until the new ones are complete. Documents of other weeks
// are ignored.
func (s *Store) Rebuild(ctx context.Context, week string, each func(yield func(search.Doc) error) error) (rows int, err error) {
	defer fault.In(&err, "rebuild week %s of the search index", week)
	s.merging.Lock() // merging would mix old rows with those that come meanwhile
	defer s.merging.Unlock()
	snap := s.pin()
	defer snap.release()
	var old, fresh []*live
	for _, l := range snap.segs {
		if l.item.Week == week {
			old = append(old, l)
		}
	}
	defer func() {
		for _, l := range fresh {
			s.discard(l)
		}
	}()
	seen := map[[16]byte]bool{}
	var batch []search.Doc
	flush := func() error {
		if list := s.byWeek(batch)[week]; len(list) > 0 {
			l, err := s.writeSegment(week, segment.DocSource(list))
			if err != nil {
				return err
			}
			fresh = append(fresh, l)
			rows += len(list)
		}
		batch = batch[:0]
		return ctx.Err()
	}
	err = each(func(d search.Doc) error {
		if seen[d.ID] || s.weekOf(d.Date) != week {
			return nil
		}
		seen[d.ID] = true
		if batch = append(batch, d); len(batch) >= segmentRows {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return 0, err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return 0, fault.New(fault.Unavailable, "the index is closed")
	}
	e := s.edit()
	defer e.undo()
	if !e.remove(old) {
		return 0, fault.New(fault.Conflict, "the week was dropped meanwhile")
	}
	for _, l := range fresh {
		s.yieldTo(e, l, snap)
		e.adopt(l)
	}
	fresh = nil
	e.broken = slices.DeleteFunc(slices.Clone(e.broken), func(w string) bool { return w == week })
	e.changed = true
	return rows, e.commit()
}

// yieldTo deletes the rows of a rebuilt segment that newer segments hold, in
// whatever week, and those that were deleted since the rebuild began.
func (s *Store) yieldTo(e *edit, fresh *live, began *snapshot) {
	kill := func(row int) {
		if fresh.Dead == nil {
			fresh.Dead = segment.NewBitmap(fresh.item.Rows)
		}
		fresh.Dead.Set(row)
		e.dirty[fresh] = true
	}
	before := make(map[*segment.Segment]*live, len(began.segs))
	for _, l := range began.segs {
		before[l.Segment] = l
	}
	s.mu.Lock()
	now := s.snap.segs
	s.mu.Unlock()
	for row := range fresh.item.Rows {
		id := fresh.RowID(row)
		for _, l := range now {
			old := before[l.Segment]
			at := -1
			if old == nil || l.Dead != nil {
				at = l.FindRow(id)
			}
			if at < 0 {
				continue
			}
			alive := l.Dead == nil || !l.Dead.Has(at)
			switch {
			case old == nil && alive: // newer
				kill(row)
			case old != nil && !alive && (old.Dead == nil || !old.Dead.Has(at)): // deleted since
				kill(row)
			}
		}
	}
}

// readable verifies checksums; a file cut short under its mapping is an error
// too.
func readable(seg *segment.Segment) (err error) {
	defer recoverFault(&err)()
	return seg.CheckSums()
}

// Weeks lists the weeks that have segments, oldest first, with their live rows.
func (s *Store) Weeks() map[string]int {
	snap := s.pin()
	defer snap.release()
	out := map[string]int{}
	for _, l := range snap.segs {
		out[l.item.Week] += l.item.Rows - l.item.Dead
	}
	return out
}

var errFault = fault.New(fault.Malformed, "a page of the file cannot be read")

// recoverFault turns a page fault into an error: defer recoverFault(&err)().
func recoverFault(err *error) func() {
	restore := query.PanicOnFault()
	return func() {
		restore()
		if r := recover(); r != nil {
			*err = fault.As(fault.Malformed, errFault, "%s", fmt.Sprint(r))
		}
	}
}

// EachID lists the ids of all documents of one snapshot.
func (s *Store) EachID(ctx context.Context, yield func(id string) error) (err error) {
	defer recoverFault(&err)()
	snap := s.pin()
	defer snap.release()
	for _, l := range snap.segs {
		for row := range l.item.Rows {
			if l.Dead != nil && l.Dead.Has(row) {
				continue
			}
			if err := yield(search.FormatID(l.RowID(row))); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Mended says that the weeks that lost a segment are complete again.
func (s *Store) Mended() error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil || len(s.manifest.Broken) == 0 {
		return nil
	}
	e := s.edit()
	defer e.undo()
	e.broken = nil
	return e.commit()
}
