package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Crashes are reprocessed and deleted by ids and by query, through a running
// server and without one.
func TestReprocessAndDelete(t *testing.T) {
	s := start(t)
	var ids []string
	for _, version := range []string{"1", "1", "2"} {
		ids = append(ids, s.submit(map[string]string{"ProductName": "Chosen", "Version": version}, map[string][]byte{"upload_file_minidump": sampleDump(t)}))
	}
	for _, id := range ids {
		s.processed(id)
		s.eventually("the crash can be found", func() error {
			n, err := s.hits(id)
			if err == nil && n != 1 {
				err = os.ErrNotExist
			}
			return err
		})
	}
	first := s.processed(ids[0])["completed_datetime"]
	code, out, errs := run(t, "reprocess", "--data-dir", s.dir, "--query", "product=Chosen&version=1")
	if code != 0 || strings.Count(out, "\n") != 2 || strings.Contains(out, ids[2]) {
		t.Fatalf("reprocess: exit %d\n%s%s", code, out, errs)
	}
	s.eventually("the crash is processed again", func() error {
		p := s.processed(ids[0])
		if p["completed_datetime"] == first && p["processor_history"] == nil {
			return os.ErrNotExist
		}
		return nil
	})
	if code, out, _ := run(t, "delete", "--data-dir", s.dir, "--dry-run", ids[2]); code != 0 || !strings.Contains(out, "raw_crash") || !strings.Contains(out, "\tindex\t") {
		t.Errorf("dry run: exit %d\n%s", code, out)
	}
	if status, _ := s.get("/api/ProcessedCrash/?crash_id=" + ids[2]); status != 200 {
		t.Errorf("a dry run deleted the crash: %d", status)
	}
	if code, _, errs := run(t, "delete", "--data-dir", s.dir, "--query", "version=1&product=Chosen"); code != 0 {
		t.Fatalf("delete: exit %d %s", code, errs)
	}
	for _, id := range ids[:2] {
		if n, err := s.hits(id); err != nil || n != 0 {
			t.Errorf("deleted crash %s has %d hits, %v", id, n, err)
		}
		left, err := filepath.Glob(filepath.Join(s.dir, "crashes", "v1", "*", id))
		if err != nil || len(left) > 0 {
			t.Errorf("objects are left: %v, %v", left, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "delete", "--data-dir", s.dir, ids[2]); code != 0 {
		t.Fatalf("delete without a server: exit %d %s", code, errs)
	}
	s.restart()
	if status, _ := s.get("/api/ProcessedCrash/?crash_id=" + ids[2]); status != 404 {
		t.Errorf("a crash deleted while the server was down answers %d", status)
	}
	for _, args := range [][]string{{"delete"}, {"delete", "--query", "product=X", ids[0]}, {"delete", "nonsense"}, {"reprocess", "--ruleset", "all", ids[0]}} {
		if code, _, _ := run(t, append([]string{args[0], "--data-dir", s.dir}, args[1:]...)...); code != 2 {
			t.Errorf("%v: exit %d, want 2", args, code)
		}
	}
}
