package catalog

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Verdict is a crash that was given up, as the crash bucket has it.
type Verdict struct {
	CrashID string
	Reason  string
	Tries   int
	Time    time.Time
	Queue   string
}

// SaveVerdicts records verdicts in the place of earlier ones.
func (c *DB) SaveVerdicts(ctx context.Context, list []Verdict) error {
	if len(list) == 0 {
		return nil
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		for _, v := range list {
			_, err := tx.ExecContext(ctx, `INSERT INTO verdicts (crash_id, reason, tries, time, queue) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (crash_id) DO UPDATE SET reason = excluded.reason, tries = excluded.tries, time = excluded.time, queue = excluded.queue`,
				v.CrashID, v.Reason, v.Tries, stamp(v.Time), v.Queue)
			if err != nil {
				return outcome(err, "record verdict on %s", v.CrashID)
			}
		}
		return nil
	})
}

// Verdicts lists verdicts, the latest first.
func (c *DB) Verdicts(ctx context.Context, limit, offset int) (out []Verdict, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT crash_id, reason, tries, time, queue FROM verdicts ORDER BY time DESC, crash_id LIMIT ? OFFSET ?`, limit, offset)
	if err != nil {
		return nil, outcome(err, "list verdicts")
	}
	defer rows.Close()
	for rows.Next() {
		var v Verdict
		var at string
		if err := rows.Scan(&v.CrashID, &v.Reason, &v.Tries, &at, &v.Queue); err != nil {
			return nil, outcome(err, "read verdict")
		}
		v.Time = unstamp(at)
		out = append(out, v)
	}
	return out, outcome(rows.Err(), "list verdicts")
}

// CountVerdicts counts verdicts.
func (c *DB) CountVerdicts(ctx context.Context) (n int, err error) {
	err = c.sql.QueryRowContext(ctx, `SELECT COUNT(*) FROM verdicts`).Scan(&n)
	return n, outcome(err, "count verdicts")
}

// HasVerdict finds which of the crashes have a verdict.
func (c *DB) HasVerdict(ctx context.Context, ids []string) (out []string, err error) {
	return c.texts(ctx, `SELECT crash_id FROM verdicts WHERE crash_id IN (`, ids)
}

// DropVerdicts forgets the verdicts on crashes.
func (c *DB) DropVerdicts(ctx context.Context, ids []string) error {
	return c.eachChunk(ids, func(in string, args []any) error {
		_, err := c.sql.ExecContext(ctx, `DELETE FROM verdicts WHERE crash_id IN (`+in+`)`, args...)
		return outcome(err, "forget verdicts")
	})
}

// chunk is how many values one statement lists; databases bound them.
const chunk = 500

// eachChunk calls do with placeholders and arguments for some of ids at a time.
func (c *DB) eachChunk(ids []string, do func(in string, args []any) error) error {
	for start := 0; start < len(ids); start += chunk {
		part := ids[start:min(start+chunk, len(ids))]
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		if err := do(strings.Repeat("?, ", len(part)-1)+"?", args); err != nil {
			return err
		}
	}
	return nil
}

// texts reads the one text column of a query that ends in a list of ids.
func (c *DB) texts(ctx context.Context, query string, ids []string) (out []string, err error) {
	err = c.eachChunk(ids, func(in string, args []any) error {
		rows, err := c.sql.QueryContext(ctx, query+in+`)`, args...)
		if err != nil {
			return outcome(err, "look up crashes")
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return outcome(err, "look up crashes")
			}
			out = append(out, id)
		}
		return outcome(rows.Err(), "look up crashes")
	})
	return out, err
}
