package load

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// Index is what reindexing needs of the search index besides search.Engine.
type Index interface {
	search.Engine
	// EachID lists the crashes of the index.
	EachID(ctx context.Context, yield func(id string) error) error
	// Mended says that lost weeks are complete again.
	Mended() error
}

// Reindexer brings the index in line with the processed crashes in the bucket.
type Reindexer struct {
	Crashes  *storage.Crashes
	Index    Index
	Fields   *plan.Fields
	Parallel int             // crashes read at once
	After    storage.CrashID // go on after this crash, where an earlier run stopped
	Part     bool            // what comes before After was left out, not done before: the index stays as complete as it was
	Missing  bool            // read only what the index lacks: to complete weeks that lost a file
	// Progress is told now and then how many crashes are done, and the last of
	// them.
	Progress func(done int, last storage.CrashID)
	// Refused is told of crashes that cannot be indexed.
	Refused func(id storage.CrashID, err error)
}

// Reindexed says what a run did.
type Reindexed struct {
	Indexed int `json:"indexed"`
	Refused int `json:"refused"`
	Gone    int `json:"gone"` // in the index, not in the bucket any more
}

// reindexRows is the size of a batch; each becomes a segment a week, which
// merging takes up. A crash that is processed again while its batch is read may
// be indexed in its older form, so batches take a second or two, not more.
const reindexRows = 4096

// Run reads processed crashes and indexes them anew, the oldest day first, so
// that week after week is replaced while the index serves; each batch can be
// searched at once. At the end what the bucket has no longer is removed and lost
// weeks are declared complete.
func (r *Reindexer) Run(ctx context.Context) (out Reindexed, err error) {
	defer fault.In(&err, "reindex")
	began, err := r.list(ctx)
	if err != nil {
		return out, err
	}
	todo := began
	if r.After != "" {
		after, ok := search.ParseID(string(r.After))
		if !ok {
			return out, fault.New(fault.Invalid, "crash id %.50q", r.After)
		}
		at, found := slices.BinarySearchFunc(todo, after, byDay)
		if found {
			at++
		}
		todo = todo[at:]
	}
	if r.Missing {
		if todo, err = r.lacking(ctx, todo); err != nil {
			return out, err
		}
	}
	for len(todo) > 0 {
		n := min(len(todo), reindexRows)
		batch := make([]storage.CrashID, n)
		for i, id := range todo[:n] {
			batch[i] = storage.CrashID(search.FormatID(id))
		}
		docs, refused, err := r.read(ctx, batch)
		if err != nil {
			return out, err
		}
		if err := r.Index.Index(ctx, docs); err != nil {
			return out, err
		}
		out.Indexed += len(docs)
		out.Refused += refused
		todo = todo[n:]
		if r.Progress != nil {
			r.Progress(out.Indexed+out.Refused, batch[n-1])
		}
	}
	if r.Part {
		return out, nil
	}
	if !r.Missing {
		if out.Gone, err = r.prune(ctx, began); err != nil {
			return out, err
		}
	}
	return out, r.Index.Mended()
}

// list reads the ids of all processed crashes, 16 bytes each, and sorts them.
func (r *Reindexer) list(ctx context.Context) (ids [][16]byte, err error) {
	for id, err := range r.Crashes.ListProcessed(ctx) {
		if err != nil {
			return nil, err
		}
		if bin, ok := search.ParseID(string(id)); ok {
			ids = append(ids, bin)
		}
	}
	slices.SortFunc(ids, byDay)
	return ids, nil
}

// byDay orders crash ids by the day they end with.
func byDay(a, b [16]byte) int {
	return cmp.Or(bytes.Compare(a[13:], b[13:]), bytes.Compare(a[:], b[:]))
}

// lacking keeps the ids that the index does not hold.
func (r *Reindexer) lacking(ctx context.Context, ids [][16]byte) (out [][16]byte, err error) {
	held := map[[16]byte]struct{}{}
	err = r.Index.EachID(ctx, func(text string) error {
		if id, ok := search.ParseID(text); ok {
			held[id] = struct{}{}
		}
		return nil
	})
	for _, id := range ids {
		if _, ok := held[id]; !ok {
			out = append(out, id)
		}
	}
	return out, err
}

// read makes the documents of a batch.
func (r *Reindexer) read(ctx context.Context, ids []storage.CrashID) (docs []search.Doc, refused int, err error) {
	made := make([]*search.Doc, len(ids))
	errs := make([]error, len(ids))
	x := search.NewReader(r.Fields)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, r.Parallel))
	for i, id := range ids {
		group.Go(func() error {
			text, err := r.Crashes.ProcessedJSON(gctx, id)
			switch k := fault.Of(err); {
			case err == nil:
			case k == fault.NotFound: // deleted since it was listed
				return nil
			case k == fault.Malformed:
				errs[i] = err
				return nil
			default:
				return err
			}
			d, err := x.Doc(text)
			if err != nil {
				errs[i] = err
				return nil
			}
			made[i] = &d
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	for i, d := range made {
		switch {
		case d != nil:
			docs = append(docs, *d)
		case errs[i] != nil:
			refused++
			if r.Refused != nil {
				r.Refused(ids[i], errs[i])
			}
		}
	}
	return docs, refused, nil
}

// prune removes the crashes of the index that the bucket does not have: that
// were not there when the run began, nor came since.
func (r *Reindexer) prune(ctx context.Context, began [][16]byte) (gone int, err error) {
	var list []string
	err = r.Index.EachID(ctx, func(text string) error {
		bin, ok := search.ParseID(text)
		if !ok {
			return nil
		}
		if _, there := slices.BinarySearchFunc(began, bin, byDay); there {
			return nil
		}
		there, err := r.Crashes.HasProcessed(ctx, storage.CrashID(text))
		if err == nil && !there {
			list = append(list, text)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return len(list), r.Index.Delete(ctx, list)
}

// Every makes a Progress that calls f at most once in an interval.
func Every(d time.Duration, f func(done int, last storage.CrashID)) func(int, storage.CrashID) {
	var next time.Time
	return func(done int, last storage.CrashID) {
		if now := time.Now(); now.After(next) {
			next = now.Add(d)
			f(done, last)
		}
	}
}
