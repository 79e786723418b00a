// Package catalog keeps what the web role knows besides crashes and the search
// index: users, their permissions and API tokens, sign-in links and sessions,
// when each signature was first seen, and what jobs did. It lives in SQLite
// (PostgreSQL by configuration later); the SQL is kept portable, one file per
// entity, and the schema is built by the numbered files in migrations/.
//
// Only the web role writes it. The command line may open the same SQLite file
// beside a running server: each change is one immediate transaction.
//
// Secrets are never stored: tokens and links are kept as SHA-256 of their text.
package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver named "sqlite"

	"mayday/app/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open catalog; it is safe for concurrent use.
type DB struct {
	sql *sql.DB
}

// Open opens the SQLite file at path, makes it when it is not there, and
// brings its schema up to date.
func Open(ctx context.Context, path string) (_ *DB, err error) {
	defer fault.In(&err, "open catalog %s", path)
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "sqlite")
	}
	c := &DB{db}
	if err := c.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return c, nil
}

func (c *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fault.Wrap(err, "migrations")
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, c.sql, files)
	if err != nil {
		return fault.Wrap(err, "migrations")
	}
	if _, err := p.Up(ctx); err != nil {
		return fault.As(fault.Unavailable, err, "migrate")
	}
	return nil
}

// Close closes the catalog.
func (c *DB) Close() error { return c.sql.Close() }

// Check asks the database for an answer.
func (c *DB) Check(ctx context.Context) error {
	return outcome(c.sql.PingContext(ctx), "ping catalog")
}

// outcome gives an error of the database its kind.
func outcome(err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return fault.As(fault.NotFound, err, format, args...)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, format, args...)
	case strings.Contains(err.Error(), "UNIQUE constraint"):
		return fault.As(fault.Conflict, err, format, args...)
	}
	return fault.As(fault.Unavailable, err, format, args...)
}

// inTx runs f in one transaction.
func (c *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := c.sql.BeginTx(ctx, nil)
	if err != nil {
		return outcome(err, "begin")
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the error that matters is f's
		return err
	}
	return outcome(tx.Commit(), "commit")
}

// secret makes a new 128-bit secret as 32 hexadecimal digits.
func secret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// digest is what is stored of a secret.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// stamp is how times are stored: UTC text that sorts.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func unstamp(text string) time.Time {
	// A damaged time reads as zero: expired, never seen.
	t, _ := time.Parse("2006-01-02T15:04:05.000000Z", text)
	return t
}
