package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/symbols/quality"
)

// SymbolUpload is one upload of symbols.
type SymbolUpload struct {
	ID           int64
	UserID       int64
	Email        string
	Filename     string
	Size         int64 // of what was sent
	Try          bool  // of a trial build: kept for a short time
	DownloadURL  string
	RedirectURLs []string
	Skipped      []string // keys that were there already
	Ignored      []string // members that are no symbols
	Error        string   // why it was refused after it was accepted
	Created      time.Time
	Completed    time.Time // zero while it is worked on

	TokenID  int64  // the token it came by; 0: none
	Protocol string // v1, v2, debug, breakpad, sym-upload-v2

	Files, Incomplete int // how many files it has; those that never came
	Faulty            int // how many files have something wrong with them
	Pin               Pin // Created is zero when it is not pinned
}

// Pinned reports whether the upload is kept whatever its age.
func (u SymbolUpload) Pinned() bool { return !u.Pin.Created.IsZero() }

// SymbolFile is one file of an upload.
type SymbolFile struct {
	ID         int64
	UploadID   int64
	Key        string // <debug file>/<debug id>/<file>
	Try        bool
	Size       int64 // as kept
	TextSize   int64 // unpacked
	MD5        string
	Updated    bool // took the place of another
	Compressed bool
	Kind       string // sym, elf, macho, pe, pdb or ""
	DebugFile  string
	DebugID    string
	CodeFile   string
	CodeID     string
	Generator  string
	Quality    []quality.Fault // what is wrong with it
	Live       bool            // the newest complete file of its key
	Convert    bool            // symbols are to be made of it; not kept
	Created    time.Time
	Completed  time.Time // zero: it never came
}

func listText(list []string) string {
	if list == nil {
		list = []string{}
	}
	b, _ := json.Marshal(list) // a list of strings always marshals
	return string(b)
}

func textList(text string) []string {
	out := []string{}
	_ = json.Unmarshal([]byte(text), &out) // a damaged list reads as empty
	return out
}

func optional(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

// AddSymbolUpload records an upload that begins, and returns its number.
func (c *DB) AddSymbolUpload(ctx context.Context, u SymbolUpload) (int64, error) {
	r, err := c.sql.ExecContext(ctx, `INSERT INTO symbol_uploads (user_id, email, filename, size, try, download_url, redirect_urls, skipped_keys, ignored_keys, error, created, completed, token_id, protocol)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, u.UserID, u.Email, u.Filename, u.Size, u.Try, u.DownloadURL, listText(u.RedirectURLs),
		listText(u.Skipped), listText(u.Ignored), u.Error, stamp(u.Created), optional(u.Completed), u.TokenID, u.Protocol)
	if err != nil {
		return 0, outcome(err, "record upload")
	}
	return r.LastInsertId()
}

// FinishSymbolUpload records what became of upload u.ID (Filename, Size, Skipped,
// Ignored, Error, Completed and where it was fetched from) and its files: those
// that BeginSymbolFiles gave a number are completed, others added. Files that
// were begun and are not named did not come, and are forgotten.
func (c *DB) FinishSymbolUpload(ctx context.Context, u SymbolUpload, files []SymbolFile) error {
	return c.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE symbol_uploads SET filename = ?, size = ?, skipped_keys = ?, ignored_keys = ?, error = ?, completed = ?, download_url = ?, redirect_urls = ? WHERE id = ?`,
			u.Filename, u.Size, listText(u.Skipped), listText(u.Ignored), u.Error, optional(u.Completed), u.DownloadURL, listText(u.RedirectURLs), u.ID)
		if err != nil {
			return outcome(err, "record upload %d", u.ID)
		}
		for i := range files {
			f := &files[i]
			f.UploadID = u.ID
			if f.ID == 0 {
				f.ID, err = addSymbolFile(ctx, tx, f)
			} else {
				err = setSymbolFile(ctx, tx, f)
			}
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM symbol_files WHERE upload_id = ? AND completed = '' AND NOT EXISTS (SELECT 1 FROM symbol_tickets t WHERE t.file_id = symbol_files.id)`, u.ID)
		if err != nil {
			return outcome(err, "record upload %d", u.ID)
		}
		return wantConversions(ctx, tx, u.ID, files)
	})
}

// addSymbolFile records a file; a complete one becomes the live one of its key.
func addSymbolFile(ctx context.Context, tx *sql.Tx, f *SymbolFile) (int64, error) {
	f.Live = !f.Completed.IsZero()
	r, err := tx.ExecContext(ctx, `INSERT INTO symbol_files (upload_id, key, try, size, text_size, md5, updated, compressed, kind, debug_file, debug_id, code_file, code_id, generator, quality, live, created, completed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, f.UploadID, f.Key, f.Try, f.Size, f.TextSize, f.MD5, f.Updated, f.Compressed, f.Kind,
		f.DebugFile, f.DebugID, f.CodeFile, f.CodeID, f.Generator, faultText(f.Quality), f.Live, stamp(f.Created), optional(f.Completed))
	if err != nil {
		return 0, outcome(err, "record symbol file %s", f.Key)
	}
	id, err := r.LastInsertId()
	if err == nil && f.Live {
		err = retireSymbolFiles(ctx, tx, f.Key, f.Try, id)
	}
	return id, err
}

// setSymbolFile records that a file came that was recorded before.
func setSymbolFile(ctx context.Context, tx *sql.Tx, f *SymbolFile) error {
	f.Live = !f.Completed.IsZero()
	_, err := tx.ExecContext(ctx, `UPDATE symbol_files SET key = ?, size = ?, text_size = ?, md5 = ?, updated = ?, compressed = ?, kind = ?, debug_file = ?, debug_id = ?, code_file = ?, code_id = ?, generator = ?, quality = ?, live = ?, completed = ? WHERE id = ?`,
		f.Key, f.Size, f.TextSize, f.MD5, f.Updated, f.Compressed, f.Kind, f.DebugFile, f.DebugID, f.CodeFile, f.CodeID, f.Generator, faultText(f.Quality), f.Live, optional(f.Completed), f.ID)
	if err != nil {
		return outcome(err, "record symbol file %s", f.Key)
	}
	if !f.Live {
		return nil
	}
	return retireSymbolFiles(ctx, tx, f.Key, f.Try, f.ID)
}

// retireSymbolFiles leaves one live file of a key.
func retireSymbolFiles(ctx context.Context, tx *sql.Tx, key string, try bool, live int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE symbol_files SET live = 0 WHERE key = ? AND try = ? AND live = 1 AND id <> ?`, key, try, live)
	return outcome(err, "record symbol file %s", key)
}

// InviteSymbolFile records a file that a client is invited to send, and
// returns the secret of its address.
func (c *DB) InviteSymbolFile(ctx context.Context, f SymbolFile) (key string, err error) {
	key = secret()
	err = c.inTx(ctx, func(tx *sql.Tx) error {
		id, err := addSymbolFile(ctx, tx, &f)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO symbol_tickets (digest, file_id, created) VALUES (?, ?, ?)`, digest(key), id, stamp(f.Created))
		return outcome(err, "invite symbol file")
	})
	return key, err
}

// TicketLife is how long an invitation to send a file is good.
const TicketLife = 7 * 24 * time.Hour

// DropOldTickets forgets invitations that are no longer good.
func (c *DB) DropOldTickets(ctx context.Context) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_tickets WHERE created <= ?`, stamp(time.Now().Add(-TicketLife)))
	return outcome(err, "drop invitations")
}

// InvitedSymbolFile finds the file of an invitation; NotFound when there is
// none or it is too old.
func (c *DB) InvitedSymbolFile(ctx context.Context, key string) (SymbolFile, error) {
	var id int64
	err := c.sql.QueryRowContext(ctx, `SELECT file_id FROM symbol_tickets WHERE digest = ? AND created > ?`, digest(key), stamp(time.Now().Add(-TicketLife))).Scan(&id)
	if err == sql.ErrNoRows {
		return SymbolFile{}, fault.New(fault.NotFound, "no such upload address, or it is too old")
	}
	if err != nil {
		return SymbolFile{}, outcome(err, "find invitation")
	}
	return c.SymbolFile(ctx, id)
}

// CompleteSymbolFile records that an invited file came.
func (c *DB) CompleteSymbolFile(ctx context.Context, f SymbolFile) error {
	return c.inTx(ctx, func(tx *sql.Tx) error {
		if err := setSymbolFile(ctx, tx, &f); err != nil {
			return err
		}
		if err := wantConversions(ctx, tx, f.UploadID, []SymbolFile{f}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE symbol_uploads SET completed = ?, size = (SELECT COALESCE(SUM(size), 0) FROM symbol_files WHERE upload_id = symbol_uploads.id)
			WHERE id = ? AND NOT EXISTS (SELECT 1 FROM symbol_files WHERE upload_id = symbol_uploads.id AND completed = '')`, optional(f.Completed), f.UploadID)
		return outcome(err, "record upload %d", f.UploadID)
	})
}

const symbolFileColumns = `SELECT f.id, f.upload_id, f.key, f.try, f.size, f.text_size, f.md5, f.updated, f.compressed, f.kind,
	f.debug_file, f.debug_id, f.code_file, f.code_id, f.generator, f.quality, f.live, f.created, f.completed FROM symbol_files f `

func (c *DB) symbolFiles(ctx context.Context, query string, args ...any) (out []SymbolFile, err error) {
	rows, err := c.sql.QueryContext(ctx, symbolFileColumns+query, args...)
	if err != nil {
		return nil, outcome(err, "read symbol files")
	}
	defer rows.Close()
	for rows.Next() {
		var f SymbolFile
		var quality, created, completed string
		if err := rows.Scan(&f.ID, &f.UploadID, &f.Key, &f.Try, &f.Size, &f.TextSize, &f.MD5, &f.Updated, &f.Compressed, &f.Kind,
			&f.DebugFile, &f.DebugID, &f.CodeFile, &f.CodeID, &f.Generator, &quality, &f.Live, &created, &completed); err != nil {
			return nil, outcome(err, "read symbol file")
		}
		f.Quality, f.Created, f.Completed = textFaults(quality), unstamp(created), unstamp(completed)
		out = append(out, f)
	}
	return out, outcome(rows.Err(), "read symbol files")
}

func (c *DB) oneSymbolFile(ctx context.Context, query string, args ...any) (SymbolFile, error) {
	files, err := c.symbolFiles(ctx, query, args...)
	if err != nil {
		return SymbolFile{}, err
	}
	if len(files) == 0 {
		return SymbolFile{}, fault.New(fault.NotFound, "no such symbol file")
	}
	return files[0], nil
}

// SymbolFile finds a file by its number.
func (c *DB) SymbolFile(ctx context.Context, id int64) (SymbolFile, error) {
	return c.oneSymbolFile(ctx, `WHERE f.id = ?`, id)
}

// SymbolFileByKey finds the newest complete file of a key.
func (c *DB) SymbolFileByKey(ctx context.Context, key string, try bool) (SymbolFile, error) {
	return c.oneSymbolFile(ctx, `WHERE f.key = ? AND f.try = ? AND f.completed <> '' ORDER BY f.id DESC LIMIT 1`, key, try)
}

// SymbolFileByModule finds the newest complete .sym file of a debug file and
// debug id, or of a code file and code id.
func (c *DB) SymbolFileByModule(ctx context.Context, file, id string, alsoTry bool) (SymbolFile, error) {
	const rest = ` AND f.kind = 'sym' AND f.completed <> '' AND f.try <= ? ORDER BY f.try, f.id DESC LIMIT 1`
	f, err := c.oneSymbolFile(ctx, `WHERE f.debug_file = ? AND f.debug_id = ?`+rest, file, id, alsoTry)
	if fault.Is(err, fault.NotFound) {
		f, err = c.oneSymbolFile(ctx, `WHERE f.code_file = ? AND f.code_id = ?`+rest, file, id, alsoTry)
	}
	return f, err
}

// DebugFiles finds the complete raw debug files of a build id, newest first.
func (c *DB) DebugFiles(ctx context.Context, buildID string) ([]SymbolFile, error) {
	return c.symbolFiles(ctx, `WHERE f.code_id = ? AND f.kind <> 'sym' AND f.completed <> '' ORDER BY f.try, f.id DESC LIMIT 20`, strings.ToUpper(buildID))
}

// RawFiles finds the complete raw debug files (no .sym) that a debugger asks
// for by name and id: a debug id, or the code id. Regular ones stand first.
func (c *DB) RawFiles(ctx context.Context, name, id string, alsoTry bool) ([]SymbolFile, error) {
	id = strings.ToUpper(id)
	return c.symbolFiles(ctx, `WHERE f.debug_file = ?1 AND (f.debug_id = ?2 OR f.code_id = ?2) AND f.kind NOT IN ('sym', '') AND f.live = 1 AND f.try <= ?3
		ORDER BY f.try, f.id DESC LIMIT 20`, name, id, alsoTry)
}

// FilesOfUpload lists the files of an upload.
func (c *DB) FilesOfUpload(ctx context.Context, upload int64) ([]SymbolFile, error) {
	return c.symbolFiles(ctx, `WHERE f.upload_id = ? ORDER BY f.id`, upload)
}

// Condition is a part of a WHERE clause over the rows of a list: a text with
// question marks and what they stand for. Only code makes the text.
type Condition struct {
	SQL  string
	Args []any
}

func where(conditions []Condition) (string, []any) {
	if len(conditions) == 0 {
		return "", nil
	}
	var parts []string
	var args []any
	for _, c := range conditions {
		parts = append(parts, "("+c.SQL+")")
		args = append(args, c.Args...)
	}
	return " WHERE " + strings.Join(parts, " AND "), args
}

// Page says which rows of a list are wanted.
type Page struct {
	Where   []Condition
	OrderBy string // a column; only code makes it
	Reverse bool
	Offset  int
	Limit   int
}

func (p Page) tail() string {
	direction := " ASC"
	if p.Reverse {
		direction = " DESC"
	}
	return " ORDER BY " + p.OrderBy + direction + ", id" + direction + " LIMIT ? OFFSET ?"
}

// SymbolUploads lists uploads.
func (c *DB) SymbolUploads(ctx context.Context, p Page) (out []SymbolUpload, err error) {
	text, args := where(p.Where)
	rows, err := c.sql.QueryContext(ctx, `SELECT id, user_id, email, filename, size, try, download_url, redirect_urls, skipped_keys, ignored_keys, error, created, completed, token_id, protocol,
		(SELECT COUNT(*) FROM symbol_files f WHERE f.upload_id = u.id), (SELECT COUNT(*) FROM symbol_files f WHERE f.upload_id = u.id AND f.completed = ''),
		(SELECT COUNT(*) FROM symbol_files f WHERE f.upload_id = u.id AND f.quality <> '[]'),
		COALESCE((SELECT p.who FROM symbol_pins p WHERE p.upload_id = u.id), ''), COALESCE((SELECT p.note FROM symbol_pins p WHERE p.upload_id = u.id), ''),
		COALESCE((SELECT p.created FROM symbol_pins p WHERE p.upload_id = u.id), '')
		FROM symbol_uploads u`+text+p.tail(), append(args, p.Limit, p.Offset)...)
	if err != nil {
		return nil, outcome(err, "list uploads")
	}
	defer rows.Close()
	for rows.Next() {
		var u SymbolUpload
		var redirects, skipped, ignored, created, completed, pinned string
		if err := rows.Scan(&u.ID, &u.UserID, &u.Email, &u.Filename, &u.Size, &u.Try, &u.DownloadURL, &redirects, &skipped, &ignored, &u.Error, &created, &completed,
			&u.TokenID, &u.Protocol, &u.Files, &u.Incomplete, &u.Faulty, &u.Pin.Who, &u.Pin.Note, &pinned); err != nil {
			return nil, outcome(err, "read upload")
		}
		u.RedirectURLs, u.Skipped, u.Ignored = textList(redirects), textList(skipped), textList(ignored)
		u.Created, u.Completed, u.Pin.Created = unstamp(created), unstamp(completed), unstamp(pinned)
		out = append(out, u)
	}
	return out, outcome(rows.Err(), "list uploads")
}

// SymbolUpload finds an upload by its number.
func (c *DB) SymbolUpload(ctx context.Context, id int64) (SymbolUpload, error) {
	list, err := c.SymbolUploads(ctx, Page{Where: []Condition{{"id = ?", []any{id}}}, OrderBy: "id", Limit: 1})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "no upload %d", id)
	}
	if err != nil {
		return SymbolUpload{}, err
	}
	return list[0], nil
}

// CountSymbolUploads counts uploads and adds up their sizes.
func (c *DB) CountSymbolUploads(ctx context.Context, conditions []Condition) (count, size int64, err error) {
	text, args := where(conditions)
	err = c.sql.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM symbol_uploads`+text, args...).Scan(&count, &size)
	return count, size, outcome(err, "count uploads")
}

// SymbolFiles lists files.
func (c *DB) SymbolFiles(ctx context.Context, p Page) ([]SymbolFile, error) {
	text, args := where(p.Where)
	return c.symbolFiles(ctx, text+p.tail(), append(args, p.Limit, p.Offset)...)
}

// CountSymbolFiles counts files and adds up their sizes.
func (c *DB) CountSymbolFiles(ctx context.Context, conditions []Condition) (count, size int64, err error) {
	text, args := where(conditions)
	err = c.sql.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM symbol_files f`+text, args...).Scan(&count, &size)
	return count, size, outcome(err, "count symbol files")
}

// RenewSymbolFile notes that a file was uploaded again as it is, which keeps it
// for longer.
func (c *DB) RenewSymbolFile(ctx context.Context, key string, try bool, now time.Time) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE symbol_files SET created = ?1 WHERE created < ?1 AND id =
		(SELECT MAX(id) FROM symbol_files WHERE key = ?2 AND try = ?3 AND completed <> '')`, stamp(now), key, try)
	return outcome(err, "renew symbol file %s", key)
}

// DropSymbolUploads forgets uploads begun before a time, with their files,
// unless one of these was uploaded again since, or a pin protects them.
func (c *DB) DropSymbolUploads(ctx context.Context, try bool, before time.Time) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_uploads WHERE try = ?1 AND created < ?2
		AND NOT EXISTS (SELECT 1 FROM symbol_pins p WHERE p.upload_id = symbol_uploads.id)
		AND NOT EXISTS (SELECT 1 FROM symbol_files f WHERE f.upload_id = symbol_uploads.id AND (f.created >= ?2 OR f.live = 1 AND NOT (`+Unpinned+`)))`, try, stamp(before))
	if err != nil {
		return outcome(err, "drop uploads")
	}
	return c.dropConversions(ctx)
}

// InterruptedSymbolUploads ends the uploads that an earlier life of the server,
// before a time, was working on, and that no job will do again.
func (c *DB) InterruptedSymbolUploads(ctx context.Context, before time.Time) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE symbol_uploads SET completed = ?, error = 'interrupted: the server was stopped; send it again'
		WHERE completed = '' AND created < ? AND NOT EXISTS (SELECT 1 FROM symbol_files f WHERE f.upload_id = symbol_uploads.id)
		AND NOT EXISTS (SELECT 1 FROM symbol_jobs j WHERE j.upload_id = symbol_uploads.id)`, stamp(time.Now()), stamp(before))
	return outcome(err, "end interrupted uploads")
}

// Stamp is how times stand in conditions.
func Stamp(t time.Time) string { return stamp(t) }
