package queue

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/batcher"
	_ "modernc.org/sqlite" // the database driver "sqlite"

	"mayday/app/fault"
)

// SQL keeps queues in two tables. Several processes may open the same file.
//
//	queue    name
//	message  id, queue, payload, metadata, visible_at, attempts, owner, sent_at
//
// A message can be received when visible_at (milliseconds since 1970) has come.
// Receiving sets visible_at to the end of the lease, adds one to attempts and
// writes the receiver into owner. Acknowledging deletes the row with that id
// and that number of attempts: after a lost lease the number differs and
// nothing is deleted. What a killed process held can be received again at once
// the first time, later each further time.
//
// The statements are written for SQLite and PostgreSQL alike, but for the
// placeholders and the row lock (FOR UPDATE SKIP LOCKED) in take.
type SQL struct {
	write *sql.DB // one connection; transactions begin as writers
	read  *sql.DB // counts and lists, beside the writer
	path  string
	lease time.Duration
	life  *life
	subs  atomic.Int64 // subscriptions made, for the names of owners

	insertStmt *sql.Stmt // insertMessage, on write

	mu   sync.Mutex
	wake chan struct{} // closed and replaced when this process sent; guarded by mu
}

const schema = `
CREATE TABLE IF NOT EXISTS queue (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS message (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	queue      TEXT NOT NULL,
	payload    BLOB NOT NULL,
	metadata   TEXT NOT NULL DEFAULT '',
	visible_at BIGINT NOT NULL,
	attempts   INTEGER NOT NULL DEFAULT 0,
	owner      TEXT NOT NULL DEFAULT '',
	sent_at    BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS message_next ON message (queue, visible_at, id);
CREATE INDEX IF NOT EXISTS message_owner ON message (owner) WHERE owner <> '';
`

const (
	insertMessage = `INSERT INTO message (queue, payload, metadata, visible_at, sent_at) SELECT name, ?, ?, ?, ? FROM queue WHERE name = ?`
	take          = `UPDATE message SET visible_at = ?, attempts = attempts + 1, owner = ? WHERE id IN (
		SELECT id FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at, id LIMIT ?)
		RETURNING id, payload, metadata, attempts`
	anyVisible  = `SELECT EXISTS (SELECT 1 FROM message WHERE queue = ? AND visible_at <= ?)`
	queueExists = `SELECT EXISTS (SELECT 1 FROM queue WHERE name = ?)`
	ackMessage  = `DELETE FROM message WHERE id = ? AND attempts = ?`
	nackMessage = `UPDATE message SET visible_at = ?, owner = '' WHERE id = ? AND attempts = ? AND owner = ?`
	renewLease  = `UPDATE message SET visible_at = ? WHERE id = ? AND attempts = ? AND owner = ?`
	giveBack    = `UPDATE message SET visible_at = ?, attempts = attempts - ?, owner = '' WHERE id = ? AND attempts = ? AND owner = ?`
	// What a stopping process held was not tried in earnest, and goes to the
	// front again.
	freeOwner = `UPDATE message SET visible_at = sent_at, attempts = attempts - 1, owner = '' WHERE owner = ?`
	// What a killed process held may be what killed it: the try counts, and after
	// the first the message waits, longer each time. So a process that somebody
	// else kills again and again does not use up the tries of what it held, and
	// one that a message kills gets something done in between.
	freeDead = `UPDATE message SET visible_at = CASE attempts WHEN 0 THEN sent_at WHEN 1 THEN sent_at WHEN 2 THEN ?1 + 2000 WHEN 3 THEN ?1 + 8000 ELSE ?1 + 32000 END,
		owner = '' WHERE owner LIKE ?2 || '/%' AND owner <> ''`
	owners = `SELECT DISTINCT owner FROM message WHERE owner <> ''`
)

// OpenSQLite opens or makes the queue file at path. The folder must exist.
func OpenSQLite(ctx context.Context, path string, o Options) (_ *SQL, err error) {
	defer fault.In(&err, "queue file %s", path)
	if o.Lease <= 0 {
		o.Lease = DefaultLease
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fault.As(fault.Invalid, err, "path")
	}
	synchronous := "NORMAL"
	if o.Fsync {
		synchronous = "FULL"
	}
	params := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + synchronous + ")", "wal_autocheckpoint(1000)",
	}}
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}).String()
	q := &SQL{path: path, lease: o.Lease, wake: make(chan struct{})}
	if q.write, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fault.As(fault.Unavailable, err, "open")
	}
	defer func() {
		if err != nil {
			q.Close()
		}
	}()
	q.write.SetMaxOpenConns(1)
	if q.read, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fault.As(fault.Unavailable, err, "open")
	}
	q.read.SetMaxOpenConns(2)
	if _, err := q.write.ExecContext(ctx, schema); err != nil {
		return nil, fault.As(fault.Unavailable, err, "make tables")
	}
	if q.insertStmt, err = q.write.PrepareContext(ctx, insertMessage); err != nil {
		return nil, fault.As(fault.Unavailable, err, "prepare")
	}
	// The queue tells who crashed when: for the owner's eyes.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fault.As(fault.Unavailable, err, "protect")
	}
	if q.life, err = beginLife(path); err != nil {
		return nil, err
	}
	return q, q.freeTheDead(ctx)
}

// Create makes queues; one that exists is left as it is.
func (q *SQL) Create(ctx context.Context, names ...Name) error {
	for _, n := range names {
		if _, err := q.write.ExecContext(ctx, `INSERT INTO queue (name) VALUES (?) ON CONFLICT DO NOTHING`, string(n)); err != nil {
			return fault.As(fault.Unavailable, err, "make queue %s", n)
		}
	}
	return nil
}

// freeTheDead gives back what processes held that are no more.
func (q *SQL) freeTheDead(ctx context.Context) error {
	rows, err := q.read.QueryContext(ctx, owners)
	if err != nil {
		return fault.As(fault.Unavailable, err, "list leases")
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var owner string
		if err := rows.Scan(&owner); err != nil {
			return fault.As(fault.Unavailable, err, "list leases")
		}
		name, _, _ := strings.Cut(owner, "/")
		seen[name] = true
	}
	if err := rows.Err(); err != nil {
		return fault.As(fault.Unavailable, err, "list leases")
	}
	for name := range seen {
		if q.life.isOver(name) {
			if _, err := q.write.ExecContext(ctx, freeDead, time.Now().UnixMilli(), name); err != nil {
				return fault.As(fault.Unavailable, err, "free leases of %s", name)
			}
		}
	}
	q.life.sweep()
	return nil
}

// Topic is where messages of a queue are sent to; the caller shuts it down.
func (q *SQL) Topic(n Name) *pubsub.Topic {
	// While one transaction is written the next messages gather, so that many
	// senders share one sync.
	return pubsub.NewTopic(&topic{q, n}, &batcher.Options{MaxBatchSize: 1000, MaxHandlers: 1})
}

// Subscription receives single messages; the caller shuts it down, which gives
// back what it still holds.
func (q *SQL) Subscription(n Name) *pubsub.Subscription {
	return pubsub.NewSubscription(q.subscription(n), OneByOne(), &batcher.Options{MaxBatchSize: 1000, MaxHandlers: 1})
}

func (q *SQL) subscription(n Name) *subscription {
	return &subscription{SQL: q, name: n, owner: q.life.name + "/" + strconv.FormatInt(q.subs.Add(1), 10), closed: make(chan struct{})}
}

// Check says whether the file can be read.
func (q *SQL) Check(ctx context.Context) error {
	var n int
	if err := q.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM queue`).Scan(&n); err != nil {
		return fault.As(fault.Unavailable, err, "queue file")
	}
	if _, err := os.Stat(q.path); err != nil { // deleted under our hands
		return fault.As(fault.Unavailable, err, "queue file")
	}
	return nil
}

// Close closes the file. Subscriptions must be shut down before.
func (q *SQL) Close() error {
	var errs []error
	if q.read != nil {
		errs = append(errs, q.read.Close())
	}
	if q.write != nil {
		errs = append(errs, q.write.Close())
	}
	if q.life != nil {
		q.life.end()
	}
	return errors.Join(errs...)
}

// sent wakes the receivers of this process.
func (q *SQL) sent() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.wake)
	q.wake = make(chan struct{})
}

func (q *SQL) awaken() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wake
}

// send writes messages without metadata in one transaction.
func (q *SQL) send(ctx context.Context, n Name, bodies [][]byte) error {
	return q.insert(ctx, n, len(bodies), func(i int) ([]byte, string, error) { return bodies[i], "", nil })
}

func (q *SQL) insert(ctx context.Context, n Name, count int, message func(int) (payload []byte, metadata string, err error)) error {
	tx, err := q.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	stmt := tx.StmtContext(ctx, q.insertStmt)
	defer stmt.Close()
	now := time.Now().UnixMilli()
	for i := range count {
		payload, metadata, err := message(i)
		if err != nil {
			return err
		}
		if payload == nil {
			payload = []byte{}
		}
		res, err := stmt.ExecContext(ctx, payload, metadata, now, now, string(n))
		if err != nil {
			return err
		}
		if rows, err := res.RowsAffected(); err != nil || rows != 1 {
			return errors.Join(err, errNoQueue(n))
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	q.sent()
	return nil
}

func errNoQueue(n Name) error { return fault.New(fault.NotFound, "no queue %q", string(n)) }

func encodeMetadata(m map[string]string) (string, error) {
	if len(m) == 0 {
		return "", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func decodeMetadata(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	var m map[string]string
	return m, json.Unmarshal([]byte(s), &m)
}

func randomName() string { return strings.ToLower(rand.Text()[:16]) }
