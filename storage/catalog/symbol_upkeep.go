package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"mayday/app/fault"
	"mayday/symbols/quality"
)

// Pin keeps the files of an upload whatever their age.
type Pin struct {
	Who     string // who pinned it
	Note    string // why
	Created time.Time
}

// PinSymbolUpload keeps the files of an upload, and those that were there
// already when it came, whatever their age. A second pin takes the place of
// the first.
func (c *DB) PinSymbolUpload(ctx context.Context, id int64, p Pin) error {
	u, err := c.SymbolUpload(ctx, id)
	if err != nil {
		return err
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO symbol_pins (upload_id, who, note, created) VALUES (?, ?, ?, ?)
			ON CONFLICT (upload_id) DO UPDATE SET who = excluded.who, note = excluded.note, created = excluded.created`, id, p.Who, p.Note, stamp(p.Created))
		if err != nil {
			return outcome(err, "pin upload %d", id)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO symbol_pinned_keys (upload_id, key, try) SELECT DISTINCT upload_id, key, try FROM symbol_files WHERE upload_id = ?
			ON CONFLICT DO NOTHING`, id)
		if err != nil {
			return outcome(err, "pin upload %d", id)
		}
		for _, key := range u.Skipped {
			// What a trial build has in common with others is kept there.
			_, err := tx.ExecContext(ctx, `INSERT INTO symbol_pinned_keys (upload_id, key, try) SELECT DISTINCT ?1, key, try FROM symbol_files
				WHERE key = ?2 AND try <= ?3 AND live = 1 ON CONFLICT DO NOTHING`, id, key, u.Try)
			if err != nil {
				return outcome(err, "pin upload %d", id)
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO audit (time, who, what) VALUES (?, ?, ?)`, stamp(p.Created), p.Who, "symbol upload pinned: "+u.Filename)
		return outcome(err, "write audit record")
	})
}

// UnpinSymbolUpload lets the files of an upload grow old again; NotFound when
// it is not pinned.
func (c *DB) UnpinSymbolUpload(ctx context.Context, id int64) error {
	r, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_pins WHERE upload_id = ?`, id)
	if err != nil {
		return outcome(err, "unpin upload %d", id)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fault.New(fault.NotFound, "upload %d is not pinned", id)
	}
	return nil
}

// Unpinned is the condition that no pin protects a file, where f is a row of
// symbol_files.
const Unpinned = `NOT EXISTS (SELECT 1 FROM symbol_pinned_keys p WHERE p.key = f.key AND p.try = f.try)`

func faultText(list []quality.Fault) string {
	if len(list) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(list) // a list of strings always marshals
	return string(b)
}

func textFaults(text string) []quality.Fault {
	var out []quality.Fault
	_ = json.Unmarshal([]byte(text), &out) // a damaged list reads as empty
	return out
}

// SymbolUsage is how many bytes of symbols are kept.
type SymbolUsage struct {
	All, User, Token int64 // in all, of a user's uploads, of those by a token
}

// SymbolUsage adds up what is kept in all, for a user and for a token.
func (c *DB) SymbolUsage(ctx context.Context, user, token int64) (u SymbolUsage, err error) {
	err = c.sql.QueryRowContext(ctx, `SELECT COALESCE(SUM(f.size), 0), COALESCE(SUM(CASE WHEN u.user_id = ?1 THEN f.size END), 0),
		COALESCE(SUM(CASE WHEN u.token_id = ?2 AND ?2 <> 0 THEN f.size END), 0)
		FROM symbol_files f JOIN symbol_uploads u ON u.id = f.upload_id WHERE f.live = 1`, user, token).Scan(&u.All, &u.User, &u.Token)
	return u, outcome(err, "add up symbols")
}

// SymbolJob is an upload that was answered before it was done.
type SymbolJob struct {
	Upload   int64
	Source   string // name of the file in the spool, or the address to fetch it from
	Attempts int
}

// AddSymbolJob records a job, so that another life of the server finds it.
func (c *DB) AddSymbolJob(ctx context.Context, j SymbolJob, now time.Time) error {
	_, err := c.sql.ExecContext(ctx, `INSERT INTO symbol_jobs (upload_id, source, attempts, created) VALUES (?, ?, ?, ?)`, j.Upload, j.Source, j.Attempts, stamp(now))
	return outcome(err, "record job of upload %d", j.Upload)
}

// SymbolJobs lists the jobs that were added before a time, oldest first.
func (c *DB) SymbolJobs(ctx context.Context, before time.Time) (out []SymbolJob, err error) {
	rows, err := c.sql.QueryContext(ctx, `SELECT upload_id, source, attempts FROM symbol_jobs WHERE created < ? ORDER BY upload_id`, stamp(before))
	if err != nil {
		return nil, outcome(err, "list jobs of uploads")
	}
	defer rows.Close()
	for rows.Next() {
		var j SymbolJob
		if err := rows.Scan(&j.Upload, &j.Source, &j.Attempts); err != nil {
			return nil, outcome(err, "read job of an upload")
		}
		out = append(out, j)
	}
	return out, outcome(rows.Err(), "list jobs of uploads")
}

// SetSymbolJob records how often a job was begun and where its file lies now.
func (c *DB) SetSymbolJob(ctx context.Context, j SymbolJob) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE symbol_jobs SET attempts = ?, source = ? WHERE upload_id = ?`, j.Attempts, j.Source, j.Upload)
	return outcome(err, "record job of upload %d", j.Upload)
}

// DropSymbolJob forgets a job that is over.
func (c *DB) DropSymbolJob(ctx context.Context, upload int64) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_jobs WHERE upload_id = ?`, upload)
	return outcome(err, "forget job of upload %d", upload)
}

// BeginSymbolFiles records the files of an upload that are about to be kept,
// and sets their numbers: what an end of the server leaves of them is found.
func (c *DB) BeginSymbolFiles(ctx context.Context, upload int64, files []*SymbolFile) error {
	return c.inTx(ctx, func(tx *sql.Tx) (err error) {
		for _, f := range files {
			f.UploadID = upload
			if f.ID, err = addSymbolFile(ctx, tx, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// InterruptedSymbolFiles lists the files that an earlier life of the server,
// before a time, was about to keep, of uploads that no job will do again. Those that a client
// was invited to send are not among them.
func (c *DB) InterruptedSymbolFiles(ctx context.Context, before time.Time) ([]SymbolFile, error) {
	return c.symbolFiles(ctx, `WHERE f.completed = '' AND f.created < ? AND NOT EXISTS (SELECT 1 FROM symbol_tickets t WHERE t.file_id = f.id)
		AND NOT EXISTS (SELECT 1 FROM symbol_jobs j WHERE j.upload_id = f.upload_id)`, stamp(before))
}

// DropSymbolFile forgets file id.
func (c *DB) DropSymbolFile(ctx context.Context, id int64) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_files WHERE id = ?`, id)
	return outcome(err, "forget symbol file %d", id)
}

// DropSymbolKey forgets all files of a key, whose object is gone.
func (c *DB) DropSymbolKey(ctx context.Context, key string, try bool) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_files WHERE key = ? AND try = ?`, key, try)
	return outcome(err, "forget symbols %s", key)
}

// DoubtSymbolFile forgets the content hash of a key whose object may be
// another than the record says, so that the next upload of it is kept.
func (c *DB) DoubtSymbolFile(ctx context.Context, key string, try bool) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE symbol_files SET md5 = '' WHERE key = ? AND try = ? AND live = 1`, key, try)
	return outcome(err, "doubt symbols %s", key)
}
