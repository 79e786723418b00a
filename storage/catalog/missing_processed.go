package catalog

import (
	"context"
	"database/sql"
	"time"
)

// MissingProcessed is a crash that was found without a processed crash.
type MissingProcessed struct {
	CrashID   string
	Processed bool // it was processed since
	Created   time.Time
}

// RecordMissingProcessed notes crashes that were found without a processed
// crash; one that is noted already waits again.
func (c *DB) RecordMissingProcessed(ctx context.Context, ids []string, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			_, err := tx.ExecContext(ctx, `INSERT INTO missing_processed (crash_id, is_processed, created) VALUES (?, 0, ?)
				ON CONFLICT (crash_id) DO UPDATE SET is_processed = 0`, id, stamp(at))
			if err != nil {
				return outcome(err, "note %s", id)
			}
		}
		return nil
	})
}

// MissingProcessed lists the crashes noted, the latest first.
func (c *DB) MissingProcessed(ctx context.Context, limit, offset int) (out []MissingProcessed, err error) {
	return c.missingProcessed(ctx, `ORDER BY created DESC, crash_id LIMIT ? OFFSET ?`, limit, offset)
}

// StillMissingProcessed lists those not processed so far.
func (c *DB) StillMissingProcessed(ctx context.Context) (out []MissingProcessed, err error) {
	return c.missingProcessed(ctx, `WHERE is_processed = 0 ORDER BY created, crash_id`)
}

func (c *DB) missingProcessed(ctx context.Context, tail string, args ...any) (out []MissingProcessed, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT crash_id, is_processed, created FROM missing_processed `+tail, args...)
	if err != nil {
		return nil, outcome(err, "list missing processed crashes")
	}
	defer rows.Close()
	for rows.Next() {
		var m MissingProcessed
		var created string
		if err := rows.Scan(&m.CrashID, &m.Processed, &created); err != nil {
			return nil, outcome(err, "read missing processed crash")
		}
		m.Created = unstamp(created)
		out = append(out, m)
	}
	return out, outcome(rows.Err(), "list missing processed crashes")
}

// CountMissingProcessed counts the crashes noted.
func (c *DB) CountMissingProcessed(ctx context.Context) (n int, err error) {
	err = c.sql.QueryRowContext(ctx, `SELECT COUNT(*) FROM missing_processed`).Scan(&n)
	return n, outcome(err, "count missing processed crashes")
}

// FoundProcessed notes that crashes are processed by now.
func (c *DB) FoundProcessed(ctx context.Context, ids []string) error {
	return c.eachChunk(ids, func(in string, args []any) error {
		_, err := c.sql.ExecContext(ctx, `UPDATE missing_processed SET is_processed = 1 WHERE crash_id IN (`+in+`)`, args...)
		return outcome(err, "note processed crashes")
	})
}

// DropMissingProcessed forgets crashes that were deleted.
func (c *DB) DropMissingProcessed(ctx context.Context, ids []string) error {
	return c.eachChunk(ids, func(in string, args []any) error {
		_, err := c.sql.ExecContext(ctx, `DELETE FROM missing_processed WHERE crash_id IN (`+in+`)`, args...)
		return outcome(err, "forget deleted crashes")
	})
}
