package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// journalLife is how long an address to send a file to is remembered: as long
// as servers keep a part of a file.
const journalLife = 7 * 24 * time.Hour

// journal remembers, from one run of the command to the next, where files that
// broke off were being sent to, so that they go on from there. It lies in the
// user's cache directory, one file for each server; it is a convenience, and
// where it cannot be written files are sent from their start.
type journal struct {
	path string // "" keeps none

	mu      sync.Mutex
	entries map[string]journalEntry // by key and hash of the file; guarded by mu
}

type journalEntry struct {
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
}

func openJournal(server string) *journal {
	j := &journal{entries: map[string]journalEntry{}}
	dir, err := os.UserCacheDir()
	if err != nil {
		return j
	}
	sum := sha256.Sum256([]byte(server))
	j.path = filepath.Join(dir, "mayday", "symbols-upload-"+hex.EncodeToString(sum[:8])+".json")
	if text, err := os.ReadFile(j.path); err == nil {
		_ = json.Unmarshal(text, &j.entries) // a broken one is none
	}
	for k, e := range j.entries {
		if time.Since(e.Since) > journalLife {
			delete(j.entries, k)
		}
	}
	return j
}

// address is where a file was being sent to, "" when that is not known.
func (j *journal) address(f found) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[f.key+" "+f.md5].Address
}

// begun notes that a file is being sent.
func (j *journal) begun(f found, address string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[f.key+" "+f.md5] = journalEntry{address, time.Now()}
	j.save()
}

// done forgets a file that came.
func (j *journal) done(f found) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.entries, f.key+" "+f.md5)
	j.save()
}

// save writes the journal; j.mu is held. The addresses are permissions, so it is
// for the user's eyes alone.
func (j *journal) save() {
	if j.path == "" {
		return
	}
	if len(j.entries) == 0 {
		_ = os.Remove(j.path) // it may never have been there
		return
	}
	text, err := json.Marshal(j.entries)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(j.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(j.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err != nil {
		j.path = "" // see journal
	}
}
