package catalog

import (
	"context"
	"time"
)

// Awaited is a module whose symbols came lately.
type Awaited struct {
	DebugFile string
	DebugID   string
	Arrived   time.Time
	Looks     int       // how often crashes that lack it were looked for
	Due       time.Time // when they are looked for next
}

// SaveAwaited notes that the symbols of a module came. One that came before
// begins anew.
func (c *DB) SaveAwaited(ctx context.Context, a Awaited) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO awaited_modules (debug_file, debug_id, arrived, looks, due) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (debug_file, debug_id) DO UPDATE SET arrived = excluded.arrived, looks = excluded.looks, due = excluded.due`,
		a.DebugFile, a.DebugID, stamp(a.Arrived), a.Looks, stamp(a.Due))
	return outcome(err, "note symbols of %s", a.DebugFile)
}

// Awaited lists the modules noted, the latest first, at most limit.
func (c *DB) Awaited(ctx context.Context, limit int) (out []Awaited, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT debug_file, debug_id, arrived, looks, due FROM awaited_modules ORDER BY arrived DESC, debug_file, debug_id LIMIT ?`, limit)
	if err != nil {
		return nil, outcome(err, "list awaited modules")
	}
	defer rows.Close()
	for rows.Next() {
		var a Awaited
		var arrived, due string
		if err := rows.Scan(&a.DebugFile, &a.DebugID, &arrived, &a.Looks, &due); err != nil {
			return nil, outcome(err, "read awaited module")
		}
		a.Arrived, a.Due = unstamp(arrived), unstamp(due)
		out = append(out, a)
	}
	return out, outcome(rows.Err(), "list awaited modules")
}

// PutOffAwaited records that crashes were looked for, unless the symbols came
// again meanwhile.
func (c *DB) PutOffAwaited(ctx context.Context, a Awaited) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE awaited_modules SET looks = ?, due = ? WHERE debug_file = ? AND debug_id = ? AND arrived = ?`,
		a.Looks, stamp(a.Due), a.DebugFile, a.DebugID, stamp(a.Arrived))
	return outcome(err, "put off %s", a.DebugFile)
}

// DropAwaited forgets a module, unless its symbols came again meanwhile.
func (c *DB) DropAwaited(ctx context.Context, a Awaited) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM awaited_modules WHERE debug_file = ? AND debug_id = ? AND arrived = ?`, a.DebugFile, a.DebugID, stamp(a.Arrived))
	return outcome(err, "forget %s", a.DebugFile)
}
