package catalog

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// Bug is a bug of a tracker that names a signature.
type Bug struct {
	ID        int64  `json:"id"`
	Signature string `json:"signature"`
}

// BugsOf finds the bugs that name any of signatures, with all signatures that
// those bugs name, ordered by bug and signature.
func (c *DB) BugsOf(ctx context.Context, signatures []string) ([]Bug, error) {
	ids := map[int64]bool{}
	for _, s := range signatures {
		found, err := c.bugs(ctx, `SELECT bug_id, signature FROM bugs WHERE signature = ?`, s)
		if err != nil {
			return nil, err
		}
		for _, b := range found {
			ids[b.ID] = true
		}
	}
	var list []int64
	for id := range ids {
		list = append(list, id)
	}
	return c.SignaturesOf(ctx, list)
}

// SignaturesOf finds the signatures that bugs name, ordered by bug and
// signature.
func (c *DB) SignaturesOf(ctx context.Context, ids []int64) ([]Bug, error) {
	out := []Bug{}
	for _, id := range ids {
		found, err := c.bugs(ctx, `SELECT bug_id, signature FROM bugs WHERE bug_id = ?`, id)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortFunc(out, func(a, b Bug) int {
		if a.ID != b.ID {
			return int(a.ID - b.ID)
		}
		return strings.Compare(a.Signature, b.Signature)
	})
	return slices.Compact(out), nil
}

func (c *DB) bugs(ctx context.Context, query string, arg any) (out []Bug, err error) {
	rows, err := c.sql.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, outcome(err, "read bugs")
	}
	defer rows.Close()
	for rows.Next() {
		var b Bug
		if err := rows.Scan(&b.ID, &b.Signature); err != nil {
			return nil, outcome(err, "read bug")
		}
		out = append(out, b)
	}
	return out, outcome(rows.Err(), "read bugs")
}

// SaveBugs replaces the signatures that a bug names; none forgets the bug.
func (c *DB) SaveBugs(ctx context.Context, id int64, signatures []string) error {
	return c.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM bugs WHERE bug_id = ?`, id); err != nil {
			return outcome(err, "forget bug %d", id)
		}
		for _, s := range signatures {
			if _, err := tx.ExecContext(ctx, `INSERT INTO bugs (bug_id, signature) VALUES (?, ?) ON CONFLICT DO NOTHING`, id, s); err != nil {
				return outcome(err, "save bug %d", id)
			}
		}
		return nil
	})
}
