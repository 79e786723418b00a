package catalog

import (
	"context"
	"database/sql"
	"net/mail"
	"strings"
	"time"

	"mayday/app/fault"
)

// User is a person who may sign in.
type User struct {
	ID          int64
	Email       string
	Permissions Permissions
	Active      bool
	Created     time.Time
}

// AddUser adds the user email with permissions. A user who is there already is
// kept, and gets those permissions besides their own.
func (c *DB) AddUser(ctx context.Context, email string, permissions Permissions) (User, error) {
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > 254 {
		return User{}, fault.New(fault.Invalid, "%q is no e-mail address", email)
	}
	email = strings.ToLower(email)
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		var held string
		err := tx.QueryRowContext(ctx, `SELECT permissions FROM users WHERE email = ?`, email).Scan(&held)
		if err == sql.ErrNoRows {
			_, err = tx.ExecContext(ctx, `INSERT INTO users (email, permissions, created) VALUES (?, ?, ?)`, email, permissions.String(), stamp(time.Now()))
			return outcome(err, "add user %s", email)
		}
		if err != nil {
			return outcome(err, "find user %s", email)
		}
		merged, err := ParsePermissions(stored(held).String() + "," + permissions.String())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE users SET permissions = ? WHERE email = ?`, merged.String(), email)
		return outcome(err, "change user %s", email)
	})
	if err != nil {
		return User{}, err
	}
	return c.User(ctx, email)
}

// Grant replaces the permissions of the user email.
func (c *DB) Grant(ctx context.Context, email string, permissions Permissions) error {
	r, err := c.sql.ExecContext(ctx, `UPDATE users SET permissions = ? WHERE email = ?`, permissions.String(), strings.ToLower(email))
	if err != nil {
		return outcome(err, "grant %s", email)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fault.New(fault.NotFound, "no user %s", email)
	}
	return nil
}

const userColumns = `SELECT id, email, permissions, active, created FROM users `

// User finds a user by e-mail address; NotFound when there is none.
func (c *DB) User(ctx context.Context, email string) (User, error) {
	us, err := c.users(ctx, userColumns+`WHERE email = ?`, strings.ToLower(email))
	if err == nil && len(us) == 0 {
		err = fault.New(fault.NotFound, "no user %s", email)
	}
	if err != nil {
		return User{}, err
	}
	return us[0], nil
}

// Users lists every user by e-mail address.
func (c *DB) Users(ctx context.Context) ([]User, error) {
	return c.users(ctx, userColumns+`ORDER BY email`)
}

func (c *DB) users(ctx context.Context, query string, args ...any) (out []User, err error) {
	rows, err := c.sql.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, outcome(err, "read users")
	}
	defer rows.Close()
	for rows.Next() {
		var u User
		var permissions, created string
		if err := rows.Scan(&u.ID, &u.Email, &permissions, &u.Active, &created); err != nil {
			return nil, outcome(err, "read user")
		}
		u.Permissions, u.Created = stored(permissions), unstamp(created)
		out = append(out, u)
	}
	return out, outcome(rows.Err(), "read users")
}

// Audit records that who did what.
func (c *DB) Audit(ctx context.Context, who, what string) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO audit (time, who, what) VALUES (?, ?, ?)`, stamp(time.Now()), who, what)
	return outcome(err, "write audit record")
}
