package jobs

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/filebucket"
	"mayday/storage/search/plan"
)

// weeks is what retention asks of the search index.
type weeks interface {
	// DropWeeks removes the weeks before one, named as year/week.
	DropWeeks(before string) (dropped int, err error)
}

// retention drops the weeks of the search index that are too old. The crashes
// stay in the bucket.
func (j *Jobs) retention(context.Context) error {
	if j.Retain <= 0 {
		return nil
	}
	year, week := plan.Week0(j.now().Add(-time.Duration(j.Retain) * 7 * 24 * time.Hour))
	n, err := j.Weeks.DropWeeks(fmt.Sprintf("%04d/%02d", year, week))
	if err != nil {
		return fault.Wrap(err, "drop old weeks")
	}
	if n > 0 {
		j.Log.Info("old weeks of the search index were dropped", zap.Int("weeks", n))
	}
	return nil
}

// unfinished is how long nobody may have written to a temporary file before it
// counts as left behind; no upload takes that long.
const unfinished = 24 * time.Hour

func (j *Jobs) leftovers(ctx context.Context) error {
	for _, dir := range j.Folders {
		if _, err := filebucket.Clean(ctx, dir, unfinished); err != nil {
			return fault.Wrap(err, "clean %s", dir)
		}
	}
	return nil
}
