package catalog

import (
	"context"
	"time"
)

// Progress is how far a long run has come that may be interrupted.
type Progress struct {
	Name             string
	Started, Updated time.Time
	Place            string // where to go on
	Done             int64
}

// Progress reads how far the run name has come; NotFound when none is under way.
func (c *DB) Progress(ctx context.Context, name string) (Progress, error) {
	p := Progress{Name: name}
	var started, updated string
	err := c.sql.QueryRowContext(ctx, `SELECT started, updated, place, done FROM progress WHERE name = ?`, name).Scan(&started, &updated, &p.Place, &p.Done)
	p.Started, p.Updated = unstamp(started), unstamp(updated)
	return p, outcome(err, "progress of %s", name)
}

// SaveProgress records how far a run has come.
func (c *DB) SaveProgress(ctx context.Context, p Progress) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO progress (name, started, updated, place, done) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET started = excluded.started, updated = excluded.updated, place = excluded.place, done = excluded.done`,
		p.Name, stamp(p.Started), stamp(p.Updated), p.Place, p.Done)
	return outcome(err, "save progress of %s", p.Name)
}

// EndProgress forgets a run that is over.
func (c *DB) EndProgress(ctx context.Context, name string) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM progress WHERE name = ?`, name)
	return outcome(err, "end progress of %s", name)
}
