package catalog

import (
	"context"
	"time"
)

// JobState is how a job ran the last time.
type JobState struct {
	Name    string
	Started time.Time
	Took    time.Duration
	Error   string // "" when it was done
}

// JobState reads how the job name ran last; NotFound when it never ran.
func (c *DB) JobState(ctx context.Context, name string) (JobState, error) {
	s := JobState{Name: name}
	var started string
	var took int64
	err := c.sql.QueryRowContext(ctx, `SELECT started, took_ms, error FROM jobs WHERE name = ?`, name).Scan(&started, &took, &s.Error)
	s.Started, s.Took = unstamp(started), time.Duration(took)*time.Millisecond
	return s, outcome(err, "state of job %s", name)
}

// SaveJobState records how a job ran.
func (c *DB) SaveJobState(ctx context.Context, s JobState) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO jobs (name, started, took_ms, error) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET started = excluded.started, took_ms = excluded.took_ms, error = excluded.error`,
		s.Name, stamp(s.Started), s.Took.Milliseconds(), s.Error)
	return outcome(err, "save state of job %s", s.Name)
}
