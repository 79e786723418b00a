package catalog

import (
	"context"
	"database/sql"
	"time"
)

// FirstSeen is the first appearance of a signature.
type FirstSeen struct {
	Signature string
	Build     string // lowest build id seen
	Date      time.Time
}

// RecordSeen notes that signatures appeared; what is earlier than the record
// so far replaces it.
func (c *DB) RecordSeen(ctx context.Context, seen []FirstSeen) error {
	if len(seen) == 0 {
		return nil
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		for _, s := range seen {
			_, err := tx.ExecContext(ctx, `INSERT INTO signatures (signature, first_build, first_date) VALUES (?, ?, ?)
				ON CONFLICT (signature) DO UPDATE SET
					first_build = CASE WHEN first_build = '' OR (excluded.first_build <> '' AND excluded.first_build < first_build) THEN excluded.first_build ELSE first_build END,
					first_date = CASE WHEN excluded.first_date < first_date THEN excluded.first_date ELSE first_date END`,
				s.Signature, s.Build, stamp(s.Date))
			if err != nil {
				return outcome(err, "record signature")
			}
		}
		return nil
	})
}

// FirstSeen finds the first appearance of each of signatures; those never seen
// are left out.
func (c *DB) FirstSeen(ctx context.Context, signatures []string) (out []FirstSeen, err error) {
	for _, s := range signatures {
		f := FirstSeen{Signature: s}
		var date string
		err := c.sql.QueryRowContext(ctx, `SELECT first_build, first_date FROM signatures WHERE signature = ?`, s).Scan(&f.Build, &date)
		if err == sql.ErrNoRows {
			continue
		}
		if err != nil {
			return nil, outcome(err, "find signature")
		}
		f.Date = unstamp(date)
		out = append(out, f)
	}
	return out, nil
}
