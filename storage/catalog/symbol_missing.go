package catalog

import (
	"context"
	"database/sql"
	"time"
)

// MissingSymbol is a symbol file that somebody asked for in vain.
type MissingSymbol struct {
	ID        int64
	DebugFile string
	DebugID   string
	Filename  string
	CodeFile  string
	CodeID    string
	Count     int64
	Created   time.Time
	Modified  time.Time
}

// RecordMissing counts symbol files that were asked for in vain.
func (c *DB) RecordMissing(ctx context.Context, list []MissingSymbol) error {
	if len(list) == 0 {
		return nil
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		add, err := tx.PrepareContext(ctx, `INSERT INTO missing_symbols (debug_file, debug_id, filename, code_file, code_id, count, created, modified)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (debug_file, debug_id, filename, code_file, code_id)
			DO UPDATE SET count = count + excluded.count, modified = excluded.modified`)
		if err != nil {
			return outcome(err, "record missing symbols")
		}
		defer add.Close()
		for _, m := range list {
			if _, err := add.ExecContext(ctx, m.DebugFile, m.DebugID, m.Filename, m.CodeFile, m.CodeID, m.Count, stamp(m.Modified), stamp(m.Modified)); err != nil {
				return outcome(err, "record missing symbols")
			}
		}
		return nil
	})
}

// Missing lists missing symbol files.
func (c *DB) Missing(ctx context.Context, p Page) (out []MissingSymbol, err error) {
	text, args := where(p.Where)
	rows, err := c.sql.QueryContext(ctx, `SELECT id, debug_file, debug_id, filename, code_file, code_id, count, created, modified FROM missing_symbols`+text+p.tail(), append(args, p.Limit, p.Offset)...)
	if err != nil {
		return nil, outcome(err, "list missing symbols")
	}
	defer rows.Close()
	for rows.Next() {
		var m MissingSymbol
		var created, modified string
		if err := rows.Scan(&m.ID, &m.DebugFile, &m.DebugID, &m.Filename, &m.CodeFile, &m.CodeID, &m.Count, &created, &modified); err != nil {
			return nil, outcome(err, "read missing symbol")
		}
		m.Created, m.Modified = unstamp(created), unstamp(modified)
		out = append(out, m)
	}
	return out, outcome(rows.Err(), "list missing symbols")
}

// CountMissing counts missing symbol files.
func (c *DB) CountMissing(ctx context.Context, conditions []Condition) (n int64, err error) {
	text, args := where(conditions)
	err = c.sql.QueryRowContext(ctx, `SELECT COUNT(*) FROM missing_symbols`+text, args...).Scan(&n)
	return n, outcome(err, "count missing symbols")
}

// FoundSymbol forgets that a module's symbols were missing.
func (c *DB) FoundSymbol(ctx context.Context, debugFile, debugID string) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM missing_symbols WHERE debug_file = ? AND debug_id = ?`, debugFile, debugID)
	return outcome(err, "forget missing symbol")
}

// DropMissing forgets what nobody asked for since a time.
func (c *DB) DropMissing(ctx context.Context, before time.Time) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM missing_symbols WHERE modified < ?`, stamp(before))
	return outcome(err, "drop missing symbols")
}
