package catalog

import (
	"context"
	"database/sql"
	"time"
)

// Sessions keeps web sessions in the catalog, in the shape that the session
// library (scs) asks for. Tokens are stored as digests.
type Sessions struct{ db *DB }

// Sessions is the store of web sessions.
func (c *DB) Sessions() Sessions { return Sessions{c} }

// Find returns the data of a session that has not expired.
func (s Sessions) Find(token string) (data []byte, found bool, err error) {
	return s.FindCtx(context.Background(), token)
}

// FindCtx is Find with a context.
func (s Sessions) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	err = s.db.sql.QueryRowContext(ctx, `SELECT data FROM sessions WHERE token = ? AND expiry > ?`, digest(token), stamp(time.Now())).Scan(&data)
	if err == sql.ErrNoRows {
		return nil, false, nil
	}
	return data, err == nil, outcome(err, "find session")
}

// Commit stores a session.
func (s Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// CommitCtx is Commit with a context. Expired sessions go at the same time.
func (s Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.db.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expiry <= ?`, stamp(time.Now())); err != nil {
			return outcome(err, "expire sessions")
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (token, data, expiry) VALUES (?, ?, ?)
			ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry`, digest(token), data, stamp(expiry))
		return outcome(err, "save session")
	})
}

// Delete ends a session.
func (s Sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// DeleteCtx is Delete with a context.
func (s Sessions) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.db.sql.ExecContext(ctx, `DELETE FROM sessions WHERE token = ?`, digest(token))
	return outcome(err, "end session")
}
