package catalog

import (
	"context"
	"database/sql"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mayday/app/fault"
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

// MissingIgnore is a rule that keeps modules out of the list of missing symbols.
type MissingIgnore struct {
	// Pattern is compared with debug file and code file, case aside: * stands
	// for any characters, ? for one.
	Pattern string
	Note    string
	Who     string
	Created time.Time
}

// MissingIgnores lists the rules.
func (c *DB) MissingIgnores(ctx context.Context) (out []MissingIgnore, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT pattern, note, who, created FROM missing_ignores ORDER BY pattern`)
	if err != nil {
		return nil, outcome(err, "list rules on missing symbols")
	}
	defer rows.Close()
	for rows.Next() {
		var i MissingIgnore
		var created string
		if err := rows.Scan(&i.Pattern, &i.Note, &i.Who, &created); err != nil {
			return nil, outcome(err, "read rule on missing symbols")
		}
		i.Created = unstamp(created)
		out = append(out, i)
	}
	return out, outcome(rows.Err(), "list rules on missing symbols")
}

// maxIgnores bounds the rules; each is compared with each missing file.
const maxIgnores = 1000

// IgnoreMissing adds a rule, and forgets what it matches.
func (c *DB) IgnoreMissing(ctx context.Context, i MissingIgnore) error {
	i.Pattern = strings.TrimSpace(i.Pattern)
	if strings.Trim(i.Pattern, "*? ") == "" || len(i.Pattern) > 200 || !utf8.ValidString(i.Pattern) || strings.ContainsFunc(i.Pattern, unicode.IsControl) {
		return fault.New(fault.Invalid, "%q is no pattern of module names", i.Pattern)
	}
	var n int
	if err := c.sql.QueryRowContext(ctx, `SELECT COUNT(*) FROM missing_ignores`).Scan(&n); err != nil {
		return outcome(err, "count rules on missing symbols")
	}
	if n >= maxIgnores {
		return fault.New(fault.TooLarge, "there are %d rules on missing symbols already", n)
	}
	_, err := c.sql.ExecContext(ctx, `INSERT INTO missing_ignores (pattern, note, who, created) VALUES (?, ?, ?, ?)
		ON CONFLICT (pattern) DO UPDATE SET note = excluded.note, who = excluded.who, created = excluded.created`, i.Pattern, i.Note, i.Who, stamp(i.Created))
	if err != nil {
		return outcome(err, "add rule on missing symbols")
	}
	return c.ForgetMissing(ctx, i.Pattern)
}

var toLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`)

// ForgetMissing forgets the missing symbols that a pattern matches.
func (c *DB) ForgetMissing(ctx context.Context, pattern string) error {
	like := strings.ToLower(toLike.Replace(pattern))
	_, err := c.sql.ExecContext(ctx, `DELETE FROM missing_symbols WHERE LOWER(debug_file) LIKE ?1 ESCAPE '\' OR LOWER(code_file) LIKE ?1 ESCAPE '\'`, like)
	return outcome(err, "forget missing symbols")
}

// UnignoreMissing removes a rule; NotFound when there is none.
func (c *DB) UnignoreMissing(ctx context.Context, pattern string) error {
	r, err := c.sql.ExecContext(ctx, `DELETE FROM missing_ignores WHERE pattern = ?`, pattern)
	if err != nil {
		return outcome(err, "remove rule on missing symbols")
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fault.New(fault.NotFound, "no rule %q", pattern)
	}
	return nil
}
