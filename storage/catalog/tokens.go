package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"mayday/app/fault"
)

// Token is an API token. Its text is known only to whoever made it.
type Token struct {
	ID          int64
	User        User
	Permissions Permissions // what the token may do now
	Notes       string
	// UploadVersion is the protocol that upload clients are told to speak; 0
	// is what the configuration says.
	UploadVersion int
	Quota         int64 // most bytes of symbols kept of its uploads; 0: no limit of its own
	Created       time.Time
	Expires       time.Time
}

// TokenLife is how long a token is good when nothing else is said.
const TokenLife = 90 * 24 * time.Hour

// NewToken says what a token shall be.
type NewToken struct {
	User        string // e-mail address
	Permissions Permissions
	Notes       string
	Life        time.Duration // 0 is TokenLife
	Key         string        // 32 hexadecimal digits; "" makes a new one
	// UploadVersion and Quota are those of Token.
	UploadVersion int
	Quota         int64
	Operator      bool // made on the command line: has exactly Permissions, whatever its owner has
}

var tokenKey = regexp.MustCompile(`^[0-9a-f]{32}$`)

// CreateToken makes a token and returns its text, which cannot be had again.
func (c *DB) CreateToken(ctx context.Context, n NewToken) (string, error) {
	u, err := c.User(ctx, n.User)
	if err != nil {
		return "", err
	}
	if n.Key == "" {
		n.Key = secret()
	}
	if !tokenKey.MatchString(n.Key) {
		return "", fault.New(fault.Invalid, "a token is 32 hexadecimal digits in lower case")
	}
	if n.UploadVersion < 0 || n.UploadVersion > 2 {
		return "", fault.New(fault.Invalid, "upload version %d is neither 1 nor 2", n.UploadVersion)
	}
	if n.Quota < 0 {
		return "", fault.New(fault.Invalid, "a quota of %d bytes", n.Quota)
	}
	if n.Life == 0 {
		n.Life = TokenLife
	}
	now := time.Now()
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tokens (digest, user_id, permissions, notes, operator, upload_version, quota, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			digest(n.Key), u.ID, n.Permissions.String(), n.Notes, n.Operator, n.UploadVersion, n.Quota, stamp(now), stamp(now.Add(n.Life)))
		if err != nil {
			return outcome(err, "create token")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO audit (time, who, what) VALUES (?, ?, ?)`, stamp(now), u.Email, "token created: "+n.Permissions.String())
		return outcome(err, "write audit record")
	})
	return n.Key, err
}

// Token finds the token with text key. An unknown, expired or orphaned one is
// an error of kind Forbidden, with the words that API clients know.
func (c *DB) Token(ctx context.Context, key string) (Token, error) {
	var t Token
	var permissions, held, created, expires string
	var operator bool
	err := c.sql.QueryRowContext(ctx, `SELECT t.id, t.permissions, t.notes, t.operator, t.upload_version, t.quota, t.created, t.expires, u.id, u.email, u.permissions, u.active
		FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.digest = ?`, digest(key)).
		Scan(&t.ID, &permissions, &t.Notes, &operator, &t.UploadVersion, &t.Quota, &created, &expires, &t.User.ID, &t.User.Email, &held, &t.User.Active)
	if err == sql.ErrNoRows {
		return Token{}, fault.New(fault.Forbidden, "API Token not matched")
	}
	if err != nil {
		return Token{}, outcome(err, "find token")
	}
	t.Permissions, t.User.Permissions = stored(permissions), stored(held)
	t.Created, t.Expires = unstamp(created), unstamp(expires)
	if !operator {
		t.Permissions = t.Permissions.And(t.User.Permissions)
	}
	if time.Now().After(t.Expires) {
		return Token{}, fault.New(fault.Forbidden, "API Token found but expired")
	}
	if !t.User.Active {
		return Token{}, fault.New(fault.Forbidden, "API Token matched but user not active")
	}
	return t, nil
}

// Tokens lists the tokens of a user, newest first, without their text.
func (c *DB) Tokens(ctx context.Context, userID int64) ([]Token, error) {
	return c.tokens(ctx, `WHERE t.user_id = ?`, userID)
}

// AllTokens lists the tokens of everybody, newest first.
func (c *DB) AllTokens(ctx context.Context) ([]Token, error) { return c.tokens(ctx, "") }

// FindToken finds a token by its number or its text, also one that is no longer
// good; NotFound when there is none.
func (c *DB) FindToken(ctx context.Context, what string) (Token, error) {
	where, arg := `WHERE t.id = ?`, any(what)
	if tokenKey.MatchString(what) {
		where, arg = `WHERE t.digest = ?`, digest(what)
	}
	list, err := c.tokens(ctx, where, arg)
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "no token %.6q…: its number is wanted, or all of it", what)
	}
	if err != nil {
		return Token{}, err
	}
	return list[0], nil
}

func (c *DB) tokens(ctx context.Context, where string, args ...any) (out []Token, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT t.id, t.permissions, t.notes, t.upload_version, t.quota, t.created, t.expires, u.id, u.email, u.active FROM tokens t JOIN users u ON u.id = t.user_id `+
		where+` ORDER BY t.created DESC, t.id DESC`, args...)
	if err != nil {
		return nil, outcome(err, "list tokens")
	}
	defer rows.Close()
	for rows.Next() {
		var t Token
		var permissions, created, expires string
		if err := rows.Scan(&t.ID, &permissions, &t.Notes, &t.UploadVersion, &t.Quota, &created, &expires, &t.User.ID, &t.User.Email, &t.User.Active); err != nil {
			return nil, outcome(err, "read token")
		}
		t.Permissions, t.Created, t.Expires = stored(permissions), unstamp(created), unstamp(expires)
		out = append(out, t)
	}
	return out, outcome(rows.Err(), "list tokens")
}

// TokenQuota is how many bytes of symbols token id may keep; 0 is no limit of
// its own, also of a token that is gone.
func (c *DB) TokenQuota(ctx context.Context, id int64) (quota int64, err error) {
	err = c.sql.QueryRowContext(ctx, `SELECT COALESCE(MAX(quota), 0) FROM tokens WHERE id = ?`, id).Scan(&quota)
	return quota, outcome(err, "find quota of token %d", id)
}

// DeleteToken deletes token id of a user.
func (c *DB) DeleteToken(ctx context.Context, userID, id int64) error {
	r, err := c.sql.ExecContext(ctx, `DELETE FROM tokens WHERE user_id = ? AND id = ?`, userID, id)
	if err != nil {
		return outcome(err, "delete token")
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fault.New(fault.NotFound, "no token %d", id)
	}
	return nil
}

// MaxTokenLife is the furthest that a token's end may lie ahead.
const MaxTokenLife = 10 * 365 * 24 * time.Hour

// ExtendToken lets token id of a user be good for longer: from its end, or
// from now when that is over.
func (c *DB) ExtendToken(ctx context.Context, userID, id int64, by time.Duration) (until time.Time, err error) {
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		var expires, email string
		err := tx.QueryRowContext(ctx, `SELECT t.expires, u.email FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.user_id = ? AND t.id = ?`, userID, id).Scan(&expires, &email)
		if err == sql.ErrNoRows {
			return fault.New(fault.NotFound, "no token %d", id)
		}
		if err != nil {
			return outcome(err, "find token %d", id)
		}
		now := time.Now()
		until = unstamp(expires)
		if until.Before(now) {
			until = now
		}
		until = until.Add(by)
		if by <= 0 || until.After(now.Add(MaxTokenLife)) {
			return fault.New(fault.Invalid, "a token cannot be extended by %s until %s", by, until.Format(time.DateOnly))
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tokens SET expires = ? WHERE id = ?`, stamp(until), id); err != nil {
			return outcome(err, "extend token %d", id)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO audit (time, who, what) VALUES (?, ?, ?)`, stamp(now), email, fmt.Sprintf("token %d extended until %s", id, until.Format(time.DateOnly)))
		return outcome(err, "write audit record")
	})
	return until, err
}

// LinkLife is how long a sign-in link is good.
const LinkLife = time.Hour

// CreateLink makes a one-use sign-in link for a user and returns its secret.
func (c *DB) CreateLink(ctx context.Context, email string) (string, error) {
	u, err := c.User(ctx, email)
	if err != nil {
		return "", err
	}
	key := secret()
	_, err = c.sql.ExecContext(ctx, `INSERT INTO links (digest, user_id, expires) VALUES (?, ?, ?)`, digest(key), u.ID, stamp(time.Now().Add(LinkLife)))
	return key, outcome(err, "create link")
}

// UseLink ends the link with secret key and returns its user; Forbidden when
// it is unknown, used or too old.
func (c *DB) UseLink(ctx context.Context, key string) (u User, err error) {
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		var email, expires string
		err := tx.QueryRowContext(ctx, `SELECT u.email, l.expires FROM links l JOIN users u ON u.id = l.user_id WHERE l.digest = ? AND u.active = 1`, digest(key)).Scan(&email, &expires)
		if err == sql.ErrNoRows || err == nil && time.Now().After(unstamp(expires)) {
			return fault.New(fault.Forbidden, "this sign-in link was used already or is too old")
		}
		if err != nil {
			return outcome(err, "find link")
		}
		u.Email = email
		_, err = tx.ExecContext(ctx, `DELETE FROM links WHERE digest = ?`, digest(key))
		return outcome(err, "use link")
	})
	if err != nil {
		return User{}, err
	}
	return c.User(ctx, u.Email)
}
