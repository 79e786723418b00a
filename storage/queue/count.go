package queue

import (
	"context"
	"time"

	"mayday/app/fault"
	"mayday/storage"
)

// Depth is how much waits in a queue.
type Depth struct {
	Name    Name
	Waiting int           // can be received now
	Taken   int           // leased, or waiting for a pause to end
	Oldest  time.Duration // since the oldest waiting one was sent; 0 when none waits
}

// Depths counts what is in each queue; Unsupported for queues that cannot say.
func (q *Queues) Depths(ctx context.Context) ([]Depth, error) {
	if q.sql == nil {
		return nil, fault.New(fault.Unsupported, "this kind of queue does not count its messages")
	}
	return q.sql.Depths(ctx)
}

// Pending is the set of crashes that wait in any of the named queues or are
// being worked on; Unsupported for queues that cannot say.
func (q *Queues) Pending(ctx context.Context, names ...Name) (map[storage.CrashID]bool, error) {
	if q.sql == nil {
		return nil, fault.New(fault.Unsupported, "this kind of queue does not list its messages")
	}
	return q.sql.Pending(ctx, names...)
}

// Taken is the set of crashes of any of the named queues that are being worked
// on; Unsupported for queues that cannot say.
func (q *Queues) Taken(ctx context.Context, names ...Name) (map[storage.CrashID]bool, error) {
	if q.sql == nil {
		return nil, fault.New(fault.Unsupported, "this kind of queue does not list its messages")
	}
	return q.sql.list(ctx, ` AND owner <> ''`, names)
}

// Depths counts what is in each queue.
func (q *SQL) Depths(ctx context.Context) ([]Depth, error) {
	now := time.Now().UnixMilli()
	rows, err := q.read.QueryContext(ctx, `SELECT q.name,
		COALESCE(SUM(CASE WHEN m.visible_at <= ? THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN m.visible_at > ? THEN 1 ELSE 0 END), 0),
		COALESCE(MIN(CASE WHEN m.visible_at <= ? THEN m.sent_at END), 0)
		FROM queue q LEFT JOIN message m ON m.queue = q.name GROUP BY q.name ORDER BY q.name`, now, now, now)
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "count messages")
	}
	defer rows.Close()
	var out []Depth
	for rows.Next() {
		var d Depth
		var oldest int64
		if err := rows.Scan(&d.Name, &d.Waiting, &d.Taken, &oldest); err != nil {
			return nil, fault.As(fault.Unavailable, err, "count messages")
		}
		if oldest > 0 {
			d.Oldest = max(0, time.Duration(now-oldest)*time.Millisecond)
		}
		out = append(out, d)
	}
	return out, fault.As(fault.Unavailable, rows.Err(), "count messages")
}

// Pending is the set of crashes that wait in any of the named queues or are
// being worked on.
func (q *SQL) Pending(ctx context.Context, names ...Name) (map[storage.CrashID]bool, error) {
	return q.list(ctx, "", names)
}

// list is the set of crashes in queues, of those messages that and names.
func (q *SQL) list(ctx context.Context, and string, names []Name) (map[storage.CrashID]bool, error) {
	out := map[storage.CrashID]bool{}
	for _, n := range names {
		if err := q.listOne(ctx, n, and, out); err != nil {
			return nil, fault.As(fault.Unavailable, err, "list messages of %s", n)
		}
	}
	return out, nil
}

func (q *SQL) listOne(ctx context.Context, n Name, and string, out map[storage.CrashID]bool) error {
	rows, err := q.read.QueryContext(ctx, `SELECT payload FROM message WHERE queue = ?`+and, string(n))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var payload []byte
		if err := rows.Scan(&payload); err != nil {
			return err
		}
		if m, err := ParseMessage(payload); err == nil {
			out[m.ID] = true
		}
	}
	return rows.Err()
}
