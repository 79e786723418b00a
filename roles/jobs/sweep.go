package jobs

import (
	"context"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/queue"
)

// pending is what the sweep asks of the queues: the crashes that wait already.
type pending interface {
	Pending(ctx context.Context, names ...queue.Name) (map[storage.CrashID]bool, error)
}

// sweep queues raw crashes without a processed one. It passes over crashes
// that were deferred, given up with a verdict, or wait in a queue. What it
// finds is noted in the catalog.
func (j *Jobs) sweep(ctx context.Context) error {
	waiting, err := j.Queues.Pending(ctx, queue.Standard, queue.Priority, queue.Reprocessing)
	blind := fault.Is(err, fault.Unsupported)
	if err != nil && !blind {
		return fault.Wrap(err, "read queues")
	}
	found := 0
	today := j.now().UTC().Truncate(24 * time.Hour)
	for day := range j.Days + 1 {
		for id, err := range j.Crashes.ListRaw(ctx, today.AddDate(0, 0, -day)) {
			if err != nil {
				return fault.Wrap(err, "list raw crashes")
			}
			if waiting[id] || id.Digit() == storage.Deferred {
				continue
			}
			lost, err := j.forgotten(ctx, id)
			if err == nil && lost {
				lost, err = j.old(ctx, id, blind)
			}
			if err != nil {
				return err
			}
			if !lost {
				continue
			}
			if err := j.Catalog.RecordMissingProcessed(ctx, []string{string(id)}, j.now()); err != nil {
				return err
			}
			if err := j.Publish(ctx, queue.Standard, id); err != nil {
				return fault.Wrap(err, "queue %s", id)
			}
			found++
		}
	}
	if found > 0 {
		j.Log.Info("crashes that were never processed are queued", zap.Int("crashes", found))
	}
	return nil
}

// forgotten reports whether a crash has neither a processed crash nor a
// verdict.
func (j *Jobs) forgotten(ctx context.Context, id storage.CrashID) (bool, error) {
	processed, err := j.Crashes.HasProcessed(ctx, id)
	if err != nil || processed {
		return false, fault.Wrap(err, "look for processed crash %s", id)
	}
	_, err = j.Crashes.Verdict(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return true, nil
	}
	return false, fault.Wrap(err, "look for verdict %s", id)
}

// old reports whether a crash came long enough ago that its id cannot be on its
// way to the queue: before this process began, which may be another life of the
// one that took it, or Age ago. Where the queue does not say what it holds (blind),
// only the latter counts.
func (j *Jobs) old(ctx context.Context, id storage.CrashID, blind bool) (bool, error) {
	raw, err := j.Crashes.Raw(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return false, nil // deleted meanwhile
	}
	if err != nil {
		return false, fault.Wrap(err, "read raw crash %s", id)
	}
	text, _ := raw["submitted_timestamp"].(string)
	at, err := time.Parse(time.RFC3339, text)
	return err != nil || j.now().Sub(at) >= j.Age || !blind && at.Before(j.began), nil
}
