// Package jobs does what the web role does by the clock: one table of jobs,
// each with a name, how often it runs, and the function that runs it. When a
// job last ran and how it ended is kept in the catalog, so that a restart
// neither skips nor repeats one.
package jobs

import (
	"context"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
)

// Job is one row of the table.
type Job struct {
	Name    string
	Doc     string
	Every   time.Duration
	AtStart bool // also runs once when the process starts
	Run     func(context.Context) error
}

// Options is what jobs work on.
type Options struct {
	Crashes *storage.Crashes
	Queues  pending
	Publish func(ctx context.Context, name queue.Name, id storage.CrashID) error
	Catalog *catalog.DB
	Log     *zap.Logger
	Weeks   weeks
	Folders []string      // local buckets, cleaned of files that a crash of the machine left
	Retain  int           // weeks of crashes that can be searched; 0 is all
	Days    int           // how far back the sweep looks
	Age     time.Duration // how old a crash must be to count as forgotten
}

// Jobs runs the table.
type Jobs struct {
	Options
	now       func() time.Time
	began     time.Time // of this process's jobs
	published string    // the product versions published last
}

// New makes the runner.
func New(o Options) *Jobs { return &Jobs{Options: o, now: time.Now, began: time.Now()} }

// Table lists the jobs; `mayday jobs` prints it.
func (j *Jobs) Table() []Job {
	return []Job{
		{Name: "snapshots", Doc: "Publishes the product versions in the crash bucket, for processors.",
			Every: time.Minute, AtStart: true, Run: j.snapshots},
		{Name: "verifyprocessed", Doc: "Finds raw crashes of the last days that were never processed and queues them.",
			Every: 24 * time.Hour, AtStart: true, Run: j.sweep},
		{Name: "leftovers", Doc: "Removes unfinished files that a crash of the machine left in local buckets.",
			Every: 24 * time.Hour, AtStart: true, Run: j.leftovers},
		{Name: "updatemissing", Doc: "Looks which crashes that had no processed crash have one now.",
			Every: time.Hour, Run: j.updateMissing},
		{Name: "verdicts", Doc: "Makes the list of crashes that were given up agree with the crash bucket.",
			Every: 24 * time.Hour, AtStart: true, Run: j.verdicts},
		{Name: "retention", Doc: "Drops the weeks of the search index that are past search.retention_weeks.",
			Every: 24 * time.Hour, Run: j.retention},
	}
}

// tick is how often the table is looked at.
const tick = time.Minute

// Run runs each job when it is due, until ctx ends.
func (j *Jobs) Run(ctx context.Context) error {
	started := map[string]bool{}
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		for _, job := range j.Table() {
			due, err := j.due(ctx, job)
			if err != nil {
				j.Log.Warn("job state cannot be read", zap.String("job", job.Name), zap.Error(err))
				continue
			}
			if due || job.AtStart && !started[job.Name] {
				started[job.Name] = true
				j.runOne(ctx, job)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (j *Jobs) due(ctx context.Context, job Job) (bool, error) {
	last, err := j.Catalog.JobState(ctx, job.Name)
	if fault.Is(err, fault.NotFound) {
		return true, nil
	}
	return err == nil && j.now().Sub(last.Started) >= job.Every, err
}

func (j *Jobs) runOne(ctx context.Context, job Job) {
	start := j.now()
	err := recovered(ctx, job.Run)
	if ctx.Err() != nil {
		return // stopping; it runs again at the next start
	}
	result, message := "done", ""
	if err != nil {
		result, message = "failed", err.Error()
		j.Log.Error("job failed", zap.String("job", job.Name), zap.Error(err))
	}
	metrics.JobRuns.Inc(job.Name, result)
	state := catalog.JobState{Name: job.Name, Started: start, Took: j.now().Sub(start), Error: message}
	if err := j.Catalog.SaveJobState(ctx, state); err != nil {
		j.Log.Warn("job state cannot be saved", zap.String("job", job.Name), zap.Error(err))
	}
}

// recovered runs f; a panic becomes an error, so that one job cannot end the
// others.
func recovered(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "panic: %v", p)
		}
	}()
	return f(ctx)
}
