// Package column is the embedded search engine: immutable, memory-mapped
// segments of columns in weekly folders, one atomic manifest, exact
// aggregations.
//
//	dir/LOCK                 one owner process
//	dir/CURRENT              names the manifest that counts
//	dir/MANIFEST-000012      weeks, segments, delete files
//	dir/2026/47/ID.seg       year and week (%Y/%W, Monday, UTC) of date processed
//	dir/2026/47/ID.g3.del    deleted rows of the segment
//	dir/2026/47/ID.CRC.text  word index of its dictionaries, built again when lost
//	dir/VALUES               tables of values of many segments, made again when lost
//
// Write path: a batch becomes one segment a week; files and folders are synced;
// older rows of the same crash, in whatever week, are marked in new delete
// files; the manifest is written and CURRENT renamed to it; only then does a
// query see the batch and Index return. Nothing on disk is ever changed in
// place, so there is no torn write to repair: what no manifest names is swept
// at Open. Small segments are merged in the background.
//
// Read path: a query pins one snapshot, prunes by week and date, turns string
// tests into tests on ordinals, and counts ordinals. Strings in the mapped
// files are copied before the snapshot is released. A page fault (a file cut
// short under the program) is recovered, the segment checked and quarantined,
// and the answer names the week as missing.
//
// The bucket of processed crashes is the truth; a lost week is rebuilt from it
// by the caller. One process owns an index.
package column

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/query"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
)

// Options configure a Store; zero values take the defaults.
type Options struct {
	Dir        string
	Fields     *plan.Fields
	Log        *zap.Logger
	Now        func() time.Time
	QueryTime  time.Duration // a query's deadline, 10 s
	QueryBytes int64         // a query's accounted memory, 256 MiB
	Buckets    int           // of one answer, 1,000,000
	Running    int           // queries at once, the rest wait; 2 × CPUs
	Secret     []byte        // signs cursors; random when empty

	disk     disk
	wordRows int // least rows of a segment with a word index
}

// Store is an open index.
type Store struct {
	opts     Options
	fields   []plan.Field
	unlock   func()
	slots    chan struct{}
	faults   faults
	searcher *query.Searcher

	nextID      atomic.Uint64
	write       sync.Mutex // one writer at a time
	merging     sync.Mutex // one merge at a time
	manifest    *manifest  // under write
	wake        chan struct{}
	valuesTried time.Time // of Run

	mu   sync.Mutex // guards snap
	snap *snapshot
}

// snapshot is one state of the index; readers hold references.
type snapshot struct {
	refs   atomic.Int32
	segs   []*live
	broken []string
	stale  map[string]bool // fields whose stored type differs in some segment
}

// live is a segment with its deleted rows in one snapshot.
type live struct {
	query.Part
	item manifestItem
}

// Open takes the lock, maps the segments of the current manifest and sweeps
// what it does not name. Segments that cannot be opened are set aside; Broken
// names their weeks.
func Open(opts Options) (_ *Store, err error) {
	defer fault.In(&err, "open search index %s", opts.Dir)
	if !segment.LittleEndian {
		return nil, fault.New(fault.Unsupported, "this machine is big-endian")
	}
	opts = withDefaults(opts)
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockFile(filepath.Join(opts.Dir, lockName))
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, fields: opts.Fields.All(), unlock: unlock, slots: make(chan struct{}, opts.Running), wake: make(chan struct{}, 1)}
	s.searcher = &query.Searcher{Table: opts.Fields, Bytes: opts.QueryBytes, Buckets: opts.Buckets, Secret: opts.Secret}
	s.searcher.Values.Fields = opts.Fields
	if len(opts.Secret) == 0 {
		s.searcher.Secret = query.RandomSecret()
	}
	m, err := readManifest(opts.Dir)
	if err != nil && fault.Of(err) == fault.Unsupported {
		unlock()
		return nil, err
	}
	if err != nil {
		opts.Log.Error("search index has no valid manifest and begins empty; reindex from the bucket", zap.Error(err))
		m = &manifest{Format: formatNumber, Number: highestManifest(opts.Dir)}
		if derr := setAside(opts.Dir); derr != nil {
			unlock()
			return nil, derr
		}
	}
	s.manifest = m
	s.nextID.Store(m.NextID)
	s.load()
	s.sweep()
	s.openWordIndexes(context.Background())
	s.openValues()
	return s, nil
}

func withDefaults(o Options) Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.QueryTime == 0 {
		o.QueryTime = 10 * time.Second
	}
	if o.QueryBytes == 0 {
		o.QueryBytes = 256 << 20
	}
	if o.Buckets == 0 {
		o.Buckets = 1_000_000
	}
	if o.wordRows == 0 {
		o.wordRows = wordRows
	}
	if o.Running == 0 {
		o.Running = defaultRunning()
	}
	return o
}

// load opens what the manifest names.
func (s *Store) load() {
	snap := &snapshot{stale: map[string]bool{}}
	kept := s.manifest.Segments[:0:0]
	for _, item := range s.manifest.Segments {
		l, stale, err := s.openLive(item)
		if err != nil {
			s.opts.Log.Error("search segment is set aside", zap.String("week", item.Week), zap.String("segment", item.Name), zap.Error(err))
			s.quarantine(item)
			continue
		}
		for _, name := range stale {
			snap.stale[name] = true
		}
		snap.segs = append(snap.segs, l)
		kept = append(kept, item)
	}
	s.manifest.Segments = kept
	snap.broken = slices.Clone(s.manifest.Broken)
	s.publish(snap)
}

// quarantine notes the week of a bad segment and moves its file out of the
// way, so that somebody can look at it.
func (s *Store) quarantine(item manifestItem) {
	if !slices.Contains(s.manifest.Broken, item.Week) {
		s.manifest.Broken = append(s.manifest.Broken, item.Week)
	}
	dir := filepath.Join(s.opts.Dir, "quarantine")
	if os.MkdirAll(dir, 0o700) == nil {
		to := filepath.Join(dir, item.Name+".seg")
		_ = os.Rename(s.path(item, ".seg"), to) // Gone already is as good
		_ = os.Chtimes(to, time.Time{}, s.opts.Now())
	}
}

func (s *Store) path(item manifestItem, suffix string) string {
	return filepath.Join(s.opts.Dir, filepath.FromSlash(item.Week), item.Name+suffix)
}

func deadSuffix(gen uint64) string { return fmt.Sprintf(".g%d.del", gen) }

// openLive opens one segment of the manifest.
func (s *Store) openLive(item manifestItem) (*live, []string, error) {
	data, release, err := mapFile(s.path(item, ".seg"))
	if err != nil {
		return nil, nil, err
	}
	seg, stale, err := segment.Open(data, s.fields)
	if err == nil && (seg.Crc != item.Footer || seg.Footer.Rows != item.Rows) {
		err = fault.New(fault.Malformed, "footer %08x of %d rows, the manifest says %08x of %d", seg.Crc, seg.Footer.Rows, item.Footer, item.Rows)
	}
	l := &live{Part: query.Part{Segment: seg}, item: item}
	if err == nil && item.Gen > 0 {
		var file []byte
		if file, err = os.ReadFile(s.path(item, deadSuffix(item.Gen))); err == nil {
			l.Dead, err = decodeDead(file, item.Rows)
		}
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	seg.Name, seg.Week, seg.Release = item.Name, item.Week, release
	return l, stale, nil
}

// publish makes snap the state that queries see.
func (s *Store) publish(snap *snapshot) {
	snap.refs.Store(1)
	for _, l := range snap.segs {
		l.Acquire()
	}
	s.mu.Lock()
	old := s.snap
	s.snap = snap
	s.mu.Unlock()
	alive := make(map[*segment.Segment]bool, len(snap.segs))
	for _, l := range snap.segs {
		alive[l.Segment] = true
	}
	s.searcher.Values.Forget(alive)
	if old != nil {
		old.release()
	}
}

// pin takes a reference to the current snapshot.
func (s *Store) pin() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snap.refs.Add(1)
	return s.snap
}

func (n *snapshot) release() {
	if n.refs.Add(-1) > 0 {
		return
	}
	for _, l := range n.segs {
		l.Drop()
	}
}

// Close releases the index; queries that still run finish first on their own.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return nil
	}
	s.searcher.Values.Forget(nil)
	s.mu.Lock()
	old := s.snap
	s.snap = &snapshot{}
	s.snap.refs.Store(1)
	s.mu.Unlock()
	old.release()
	s.unlock()
	s.unlock = nil
	return nil
}

// Index implements search.Engine.
func (s *Store) Index(ctx context.Context, docs []search.Doc) (err error) {
	defer fault.In(&err, "index %d crashes", len(docs))
	defer recoverFault(&err)()
	if len(docs) == 0 {
		return nil
	}
	batch := s.byWeek(docs)
	ids := make([][16]byte, 0, len(docs))
	for _, list := range batch {
		for _, d := range list {
			ids = append(ids, d.ID)
		}
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return fault.New(fault.Unavailable, "the index is closed")
	}
	e := s.edit()
	defer e.undo()
	for _, week := range sortedKeys(batch) {
		for list := batch[week]; len(list) > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(len(list), segmentRows)
			if err := e.addSegment(week, segment.DocSource(list[:n])); err != nil {
				return err
			}
			list = list[n:]
		}
	}
	for _, id := range ids {
		e.kill(id)
	}
	return e.commit()
}

// segmentRows is the most rows that a batch or the merging of the current week
// puts in one segment: it bounds what one rewrite costs.
const segmentRows = 1 << 16

// Delete implements search.Engine. The rows are gone for queries at once; Run
// rewrites their segments so that the values leave the disk.
func (s *Store) Delete(ctx context.Context, ids []string) (err error) {
	defer fault.In(&err, "delete %d crashes from the search index", len(ids))
	defer recoverFault(&err)()
	s.write.Lock()
	defer s.write.Unlock()
	if s.unlock == nil {
		return fault.New(fault.Unavailable, "the index is closed")
	}
	e := s.edit()
	defer e.undo()
	for i, id := range ids {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if bin, ok := search.ParseID(id); ok && e.kill(bin) {
			e.purge = true
		}
	}
	if !e.changed {
		return nil
	}
	return e.commit()
}

// DropWeeks removes the weeks whose folder comes before the given one, such as
// 2026/21: retention.
func (s *Store) DropWeeks(before string) (dropped int, err error) {
	defer fault.In(&err, "drop weeks before %s", before)
	s.write.Lock()
	defer s.write.Unlock()
	e := s.edit()
	defer e.undo()
	for i := len(e.segs) - 1; i >= 0; i-- {
		if w := e.segs[i].item.Week; w != otherWeek && w < before {
			e.removeSegment(i)
			dropped++
		}
	}
	if dropped == 0 {
		return 0, nil
	}
	return dropped, e.commit()
}

// Broken names the weeks that lost a segment and should be rebuilt.
func (s *Store) Broken() []string {
	snap := s.pin()
	defer snap.release()
	return slices.Clone(snap.broken)
}

// Count is the number of documents.
func (s *Store) Count() int {
	snap := s.pin()
	defer snap.release()
	n := 0
	for _, l := range snap.segs {
		n += l.item.Rows - l.item.Dead
	}
	return n
}

// otherWeek holds dates that no calendar of crashes has.
const otherWeek = "other"

// weekOf names the folder of a date.
func (s *Store) weekOf(date int64) string {
	t, now := time.UnixMicro(date).UTC(), s.opts.Now()
	if t.Before(now.AddDate(-10, 0, 0)) || t.After(now.Add(48*time.Hour)) {
		return otherWeek
	}
	y, w := plan.Week0(t)
	return fmt.Sprintf("%04d/%02d", y, w)
}

// byWeek groups documents, the last of each id only, in the order of dates.
func (s *Store) byWeek(docs []search.Doc) map[string][]*search.Doc {
	last := make(map[[16]byte]int, len(docs))
	for i := range docs {
		last[docs[i].ID] = i
	}
	out := map[string][]*search.Doc{}
	for i := range docs {
		if last[docs[i].ID] == i {
			w := s.weekOf(docs[i].Date)
			out[w] = append(out[w], &docs[i])
		}
	}
	for _, list := range out {
		sort.SliceStable(list, func(i, j int) bool { return list[i].Date < list[j].Date })
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// sweep removes files that the manifest does not name.
func (s *Store) sweep() {
	keep := map[string]bool{currentName: true, lockName: true, valuesName: true, manifestName(s.manifest.Number): true, "quarantine": true}
	for _, item := range s.manifest.Segments {
		base := item.Week + "/" + item.Name
		keep[base+".seg"], keep[base+textSuffix(item)] = true, true
		if item.Gen > 0 {
			keep[base+deadSuffix(item.Gen)] = true
		}
	}
	var walk func(rel string, depth int)
	walk = func(rel string, depth int) {
		entries, err := os.ReadDir(filepath.Join(s.opts.Dir, rel))
		if err != nil {
			return // nothing there to sweep
		}
		for _, e := range entries {
			name := strings.TrimPrefix(rel+"/"+e.Name(), "/")
			switch {
			case keep[name]:
			case e.IsDir() && depth < 2 && !strings.Contains(e.Name(), "."):
				walk(name, depth+1)
			default:
				s.opts.disk.remove(filepath.Join(s.opts.Dir, filepath.FromSlash(name)))
			}
		}
	}
	walk("", 0)
}

// highestManifest finds the newest manifest's number, so that a new one never
// takes the name of an old one.
func highestManifest(dir string) (highest uint64) {
	entries, _ := os.ReadDir(dir) // an unreadable folder fails at the next write
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), "MANIFEST-%d", &n); err == nil {
			highest = max(highest, n)
		}
	}
	return highest
}

// setAside keeps the files of an index whose manifest is broken.
func setAside(dir string) error {
	to := filepath.Join(dir, fmt.Sprintf("quarantine/index-%d", time.Now().Unix()))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != "quarantine" {
			if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
