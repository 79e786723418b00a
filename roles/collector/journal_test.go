package collector

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/roles/collector/journal"
	"mayday/storage"
	"mayday/storage/filebucket"
)

// journaling is a collector on a synced bucket in dir/crashes with a journal.
// The bucket's counters tell what is synced object by object. Segments are
// stored again and removed only if it runs.
func journaling(t testing.TB, dir string, run bool) (*site, *filebucket.Counters) {
	t.Helper()
	if !journal.Supported {
		t.Skip("this system cannot sync a file system")
	}
	folder := filepath.Join(dir, "crashes")
	b, err := filebucket.Open(folder, filebucket.Options{Fsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	var counters *filebucket.Counters
	if !b.As(&counters) {
		t.Fatal("the bucket has no counters")
	}
	s := answering(t, run, func(o *Options) {
		o.SpoolDir, o.Folder = filepath.Join(dir, "spool"), folder
		o.Crashes, o.Unsynced = storage.NewCrashes(b, storage.Options{}), fileCrashes(t, folder, false)
	})
	return s, counters
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "spool", journalDir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (s *site) holds(t testing.TB, id storage.CrashID, dump string) {
	t.Helper()
	if got := s.rawCrash(t, id)["uuid"]; got != string(id) {
		t.Errorf("%s: the raw crash's uuid is %v", id, got)
	}
	r, err := s.crashes.OpenDump(t.Context(), id, storage.MinidumpName)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != dump {
		t.Errorf("%s: the dump is %.40q, %v, want %.40q", id, b, err, dump)
	}
}

func crashWith(dump string) []byte {
	return form(field{"ProductName", "Aye-Aye"}, field{"Version", "1.0"}, field{"@upload_file_minidump", dump})
}

// TestJournalPowerFailure loses everything that was not synced: what was
// answered comes back from the journal.
func TestJournalPowerFailure(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	s, counters := journaling(t, before, false)
	stored := map[storage.CrashID]string{}
	for i := range 20 {
		dump := fmt.Sprintf("MDMP small dump %d", i)
		stored[s.accepted(t, crashWith(dump))] = dump
	}
	if n := counters.FileSyncs.Load(); n != 0 {
		t.Errorf("%d objects of small crashes were synced one by one", n)
	}
	large := strings.Repeat("MDMP", smallFile)
	id := s.accepted(t, crashWith(large))
	s.holds(t, id, large)
	if counters.FileSyncs.Load() == 0 {
		t.Error("a large crash was answered before it was synced")
	}
	// The disk as the power failure leaves it: of the bucket nothing, of the
	// journal what was synced, and half a record.
	if err := os.MkdirAll(filepath.Join(after, "spool", journalDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range segments(t, before) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		copy(text[8:], strings.Repeat("0", 36)) // the id of another start of the machine, after the magic
		end := len(bytes.TrimRight(text, "\x00"))
		text = append(text[:end], 200, 0, 0, 0, 1, 2, 3, 4, 'h', 'a', 'l', 'f')
		if err := os.WriteFile(filepath.Join(after, "spool", journalDir, filepath.Base(path)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := journaling(t, after, true)
	queued := map[storage.CrashID]bool{}
	for range stored {
		queued[again.queued(t)] = true
	}
	for id, dump := range stored {
		again.holds(t, id, dump)
		if !queued[id] {
			t.Errorf("%s was not put into the queue again", id)
		}
	}
	waitFor(t, func() bool { return len(segments(t, after)) == 0 })
}

// TestJournalKilled leaves segments and no power failure: the kernel has what
// was written, and what was deleted since stays deleted.
func TestJournalKilled(t *testing.T) {
	dir := t.TempDir()
	s, _ := journaling(t, dir, false)
	kept, gone := s.accepted(t, crashWith("MDMP kept")), s.accepted(t, crashWith("MDMP gone"))
	left := segments(t, dir)
	if len(left) != 1 {
		t.Fatalf("segments %v, want one", left)
	}
	text, err := os.ReadFile(left[0])
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := os.WriteFile(left[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.crashes.DeleteDump(t.Context(), gone, storage.MinidumpName); err != nil {
		t.Fatal(err)
	}
	again, _ := journaling(t, dir, true)
	waitFor(t, func() bool { return len(segments(t, dir)) == 0 })
	again.holds(t, kept, "MDMP kept")
	if _, err := again.crashes.OpenDump(t.Context(), gone, storage.MinidumpName); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deleted dump came back: %v", err)
	}
}

// TestJournalFails takes the journal's folder away: crashes are synced one by
// one and still answered.
func TestJournalFails(t *testing.T) {
	dir := t.TempDir()
	s, counters := journaling(t, dir, false)
	if err := os.RemoveAll(filepath.Join(dir, "spool", journalDir)); err != nil {
		t.Fatal(err)
	}
	id := s.accepted(t, crashWith("MDMP"))
	s.holds(t, id, "MDMP")
	if counters.FileSyncs.Load() == 0 {
		t.Error("a crash was answered with neither journal nor sync")
	}
}

// TestJournalBucketGone takes the bucket away: crashes go to the spool.
func TestJournalBucketGone(t *testing.T) {
	dir := t.TempDir()
	s, _ := journaling(t, dir, true)
	if err := os.Rename(filepath.Join(dir, "crashes"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	id := s.accepted(t, crashWith("MDMP"))
	if n, _ := s.spool.waiting(); n != 1 {
		t.Errorf("%d crashes wait in the spool, want 1", n)
	}
	if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "crashes")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { n, _ := s.spool.waiting(); return n == 0 })
	s.holds(t, id, "MDMP")
}
