package load

import (
	"context"
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
	After    storage.CrashID // begin after this id, to go on where an earlier run stopped
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

// Run reads every processed crash and indexes it anew, in the order of ids,
// while the index serves; each batch can be searched at once. Only a run from
// the beginning removes what the bucket has no longer and declares lost weeks
// complete.
func (r *Reindexer) Run(ctx context.Context) (out Reindexed, err error) {
	defer fault.In(&err, "reindex")
	var batch []storage.CrashID
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		docs, refused, err := r.read(ctx, batch)
		if err != nil {
			return err
		}
		if err := r.Index.Index(ctx, docs); err != nil {
			return err
		}
		out.Indexed += len(docs)
		out.Refused += refused
		if r.Progress != nil {
			r.Progress(out.Indexed+out.Refused, batch[len(batch)-1])
		}
		batch = batch[:0]
		return nil
	}
	for id, err := range r.Crashes.ListProcessed(ctx) {
		if err != nil {
			return out, err
		}
		if r.After != "" && id <= r.After {
			continue
		}
		if batch = append(batch, id); len(batch) >= reindexRows {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	if err := flush(); err != nil || r.After != "" {
		return out, err
	}
	if out.Gone, err = r.prune(ctx); err != nil {
		return out, err
	}
	return out, r.Index.Mended()
}

// read makes the documents of a batch.
func (r *Reindexer) read(ctx context.Context, ids []storage.CrashID) (docs []search.Doc, refused int, err error) {
	made := make([]*search.Doc, len(ids))
	errs := make([]error, len(ids))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, r.Parallel))
	for i, id := range ids {
		group.Go(func() error {
			p, err := r.Crashes.Processed(gctx, id)
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
			d, err := search.NewDoc(p, r.Fields)
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

// prune removes the crashes of the index that the bucket does not have.
func (r *Reindexer) prune(ctx context.Context) (gone int, err error) {
	var list []string
	err = r.Index.EachID(ctx, func(text string) error {
		id, err := storage.ParseCrashID(text)
		if err != nil {
			return nil
		}
		there, err := r.Crashes.HasProcessed(ctx, id)
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
