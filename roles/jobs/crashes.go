package jobs

import (
	"context"
	"fmt"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
)

// snapshots publishes what processors need of the catalog.
func (j *Jobs) snapshots(ctx context.Context) error {
	rows, err := j.Catalog.Versions(ctx)
	if err != nil {
		return err
	}
	builds := make([]storage.Build, 0, len(rows))
	for _, r := range rows {
		builds = append(builds, storage.Build{Product: r.Product, Channel: r.Channel, BuildID: r.BuildID, Version: r.Version})
	}
	text := fmt.Sprint(builds)
	if text == j.published {
		return nil
	}
	if err := j.Crashes.SaveSnapshot(ctx, storage.BuildsSnapshot, builds); err != nil {
		return err
	}
	j.published = text
	return nil
}

// verdicts makes the catalog list the verdicts that the bucket holds: those
// whose announcement was lost, and no others.
func (j *Jobs) verdicts(ctx context.Context) error {
	held := map[string]bool{}
	var list []catalog.Verdict
	for id, err := range j.Crashes.ListVerdicts(ctx) {
		if err != nil {
			return fault.Wrap(err, "list verdicts")
		}
		v, err := j.Crashes.Verdict(ctx, id)
		switch {
		case fault.Is(err, fault.NotFound):
			continue // forgiven meanwhile
		case fault.Is(err, fault.Malformed):
			v.Reason = "the verdict cannot be read"
		case err != nil:
			return err
		}
		held[string(id)] = true
		list = append(list, catalog.Verdict{CrashID: string(id), Reason: v.Reason, Tries: v.Tries, Time: v.Time, Queue: v.Queue})
	}
	if err := j.Catalog.SaveVerdicts(ctx, list); err != nil {
		return err
	}
	total, err := j.Catalog.CountVerdicts(ctx)
	if err != nil {
		return err
	}
	known, err := j.Catalog.Verdicts(ctx, total, 0)
	if err != nil {
		return err
	}
	var over []string
	for _, v := range known {
		if held[v.CrashID] {
			continue
		}
		// One that came while this ran is in the bucket by now.
		if _, err := j.Crashes.Verdict(ctx, storage.CrashID(v.CrashID)); fault.Is(err, fault.NotFound) {
			over = append(over, v.CrashID)
		}
	}
	return j.Catalog.DropVerdicts(ctx, over)
}

// updateMissing looks which of the crashes that had no processed crash have
// one now; those that are deleted are forgotten.
func (j *Jobs) updateMissing(ctx context.Context) error {
	list, err := j.Catalog.StillMissingProcessed(ctx)
	if err != nil {
		return err
	}
	var done, gone []string
	for _, m := range list {
		id := storage.CrashID(m.CrashID)
		processed, err := j.Crashes.HasProcessed(ctx, id)
		if err != nil {
			return err
		}
		if processed {
			done = append(done, m.CrashID)
			continue
		}
		raw, err := j.Crashes.HasRaw(ctx, id)
		if err != nil {
			return err
		}
		if !raw {
			gone = append(gone, m.CrashID)
		}
	}
	if err := j.Catalog.FoundProcessed(ctx, done); err != nil {
		return err
	}
	return j.Catalog.DropMissingProcessed(ctx, gone)
}
