package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"mayday/app/fault"
)

// The states of a conversion.
const (
	ConversionWaiting = "waiting"
	ConversionDone    = "done"
	ConversionFailed  = "failed"
)

// Conversion is the making of symbol files of the raw debug files of a build:
// its program, its debug information, or both.
type Conversion struct {
	CodeID   string // in capitals
	Try      bool
	Upload   int64 // the last one that brought a file of the build
	State    string
	Version  int64 // counts the files that came
	Attempts int   // how often it was begun since the last one
	Reason   string
	// Made are the symbol files that were made: their keys and content hashes.
	Made    map[string]string
	Changed time.Time
}

const conversionColumns = `SELECT code_id, try, upload_id, state, version, attempts, reason, made, changed FROM symbol_conversions `

func (c *DB) conversions(ctx context.Context, query string, args ...any) (out []Conversion, err error) {
	rows, err := c.sql.QueryContext(ctx, conversionColumns+query, args...)
	if err != nil {
		return nil, outcome(err, "read conversions")
	}
	defer rows.Close()
	for rows.Next() {
		var v Conversion
		var made, changed string
		if err := rows.Scan(&v.CodeID, &v.Try, &v.Upload, &v.State, &v.Version, &v.Attempts, &v.Reason, &made, &changed); err != nil {
			return nil, outcome(err, "read conversion")
		}
		_ = json.Unmarshal([]byte(made), &v.Made) // a damaged list reads as empty
		v.Changed = unstamp(changed)
		out = append(out, v)
	}
	return out, outcome(rows.Err(), "read conversions")
}

// wantConversions has symbols made of the files of an upload that ask for it.
func wantConversions(ctx context.Context, tx *sql.Tx, upload int64, files []SymbolFile) error {
	for _, f := range files {
		if !f.Convert || f.CodeID == "" || f.Completed.IsZero() {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO symbol_conversions (code_id, try, upload_id, state, version, attempts, reason, made, changed) VALUES (?1, ?2, ?3, 'waiting', 1, 0, '', '{}', ?4)
			ON CONFLICT (code_id, try) DO UPDATE SET upload_id = ?3, state = 'waiting', version = version + 1, attempts = 0, changed = ?4`,
			f.CodeID, f.Try, upload, optional(f.Completed))
		if err != nil {
			return outcome(err, "want symbols of %s", f.CodeID)
		}
	}
	return nil
}

// RenewConversion notes that a raw debug file came again as it is: symbols that
// were made of it are kept for longer, and made again where that failed or they
// are gone.
func (c *DB) RenewConversion(ctx context.Context, f SymbolFile, upload int64, now time.Time) error {
	list, err := c.conversions(ctx, `WHERE code_id = ? AND try = ?`, f.CodeID, f.Try)
	if err != nil {
		return err
	}
	again := len(list) == 0 || list[0].State == ConversionFailed
	if !again {
		for key := range list[0].Made {
			_, err := c.SymbolFileByKey(ctx, key, f.Try)
			if fault.Is(err, fault.NotFound) {
				again = true
			} else if err != nil {
				return err
			}
			if err := c.RenewSymbolFile(ctx, key, f.Try, now); err != nil {
				return err
			}
		}
	}
	if !again {
		return nil
	}
	f.Convert, f.Completed = true, now
	return c.inTx(ctx, func(tx *sql.Tx) error { return wantConversions(ctx, tx, upload, []SymbolFile{f}) })
}

// NextConversion is the one that waits for longest; NotFound when none waits.
func (c *DB) NextConversion(ctx context.Context) (Conversion, error) {
	list, err := c.conversions(ctx, `WHERE state = 'waiting' ORDER BY changed LIMIT 1`)
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "no conversion waits")
	}
	if err != nil {
		return Conversion{}, err
	}
	return list[0], nil
}

// Conversion finds the one of a build; NotFound when nothing was to be made.
func (c *DB) Conversion(ctx context.Context, codeID string, try bool) (Conversion, error) {
	list, err := c.conversions(ctx, `WHERE code_id = ? AND try = ?`, codeID, try)
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "no symbols are made of %s", codeID)
	}
	if err != nil {
		return Conversion{}, err
	}
	return list[0], nil
}

// ConversionsOfUpload lists those of the builds that an upload has files of, also
// of files that were there already.
func (c *DB) ConversionsOfUpload(ctx context.Context, upload int64) ([]Conversion, error) {
	return c.conversions(ctx, `WHERE upload_id = ?1 OR (code_id, try) IN (SELECT f.code_id, f.try FROM symbol_files f WHERE f.upload_id = ?1 AND f.kind <> 'sym')
		OR (code_id, try) IN (SELECT f.code_id, f.try FROM symbol_uploads u, json_each(u.skipped_keys) k JOIN symbol_files f ON f.key = k.value AND f.try = u.try WHERE u.id = ?1 AND f.kind <> 'sym') ORDER BY code_id`, upload)
}

// BeginConversion records that a conversion is begun once more, or that it was
// not begun after all: how often it was, and since when it waits.
func (c *DB) BeginConversion(ctx context.Context, v Conversion) error {
	_, err := c.sql.ExecContext(ctx, `UPDATE symbol_conversions SET attempts = ?, changed = ? WHERE code_id = ? AND try = ? AND version = ?`, v.Attempts, stamp(v.Changed), v.CodeID, v.Try, v.Version)
	return outcome(err, "begin conversion of %s", v.CodeID)
}

// FinishConversion records the symbol files that were made, of which v.Made
// tells too, and State and Reason, unless another file of the build came
// meanwhile: then it goes on waiting.
func (c *DB) FinishConversion(ctx context.Context, v Conversion, files []SymbolFile) error {
	made, err := json.Marshal(v.Made)
	if err != nil || v.Made == nil {
		made = []byte("{}")
	}
	return c.inTx(ctx, func(tx *sql.Tx) error {
		for i := range files {
			if err := setSymbolFile(ctx, tx, &files[i]); err != nil {
				return err
			}
			// What a pin keeps of an upload, it keeps of what is made of it.
			_, err := tx.ExecContext(ctx, `INSERT INTO symbol_pinned_keys (upload_id, key, try) SELECT upload_id, ?2, ?3 FROM symbol_pins WHERE upload_id = ?1 ON CONFLICT DO NOTHING`,
				v.Upload, files[i].Key, files[i].Try)
			if err != nil {
				return outcome(err, "pin %s", files[i].Key)
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM symbol_files WHERE upload_id = ? AND completed = '' AND kind = 'sym' AND NOT EXISTS (SELECT 1 FROM symbol_tickets t WHERE t.file_id = symbol_files.id)`, v.Upload)
		if err != nil {
			return outcome(err, "finish conversion of %s", v.CodeID)
		}
		_, err = tx.ExecContext(ctx, `UPDATE symbol_conversions SET made = ?1, state = CASE version WHEN ?2 THEN ?3 ELSE state END, reason = CASE version WHEN ?2 THEN ?4 ELSE reason END
			WHERE code_id = ?5 AND try = ?6`, string(made), v.Version, v.State, v.Reason, v.CodeID, v.Try)
		return outcome(err, "finish conversion of %s", v.CodeID)
	})
}

// dropConversions forgets those of builds that no file is left of.
func (c *DB) dropConversions(ctx context.Context) error {
	_, err := c.sql.ExecContext(ctx, `DELETE FROM symbol_conversions WHERE NOT EXISTS (SELECT 1 FROM symbol_files f WHERE f.code_id = symbol_conversions.code_id AND f.try = symbol_conversions.try)`)
	return outcome(err, "forget conversions")
}
