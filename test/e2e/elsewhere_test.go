package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A demo for an instance elsewhere uploads its symbols with a token, as a build
// pipeline would, and its crashes get names.
func TestDemoElsewhere(t *testing.T) {
	s := start(t, "--collector.submitter-token", "sesame")
	if code, _, errs := run(t, "user", "add", "--data-dir", s.dir, "ann@example.com"); code != 0 {
		t.Fatal(errs)
	}
	_, token, _ := run(t, "token", "create", "--data-dir", s.dir, "--user", "ann@example.com", "--permissions", "upload_symbols")
	demo := []string{"demo", "--data-dir", filepath.Join(t.TempDir(), "none"), "--url", s.url, "--submitter-token", "sesame", "--crashes", "60", "--token"}
	if code, out, errs := run(t, append(demo, strings.TrimSpace(token))...); code != 0 || !strings.Contains(out, "60 answered, 0 not, 60 can be found") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	var found struct{ Total int }
	if err := s.getJSON("/api/SuperSearch/?signature=~::&_results_number=0&_facets_size=0&date=>="+time.Now().AddDate(0, 0, -40).Format(time.DateOnly), &found); err != nil || found.Total < 30 {
		t.Errorf("%d of 60 crashes have a name as signature, %v", found.Total, err)
	}
	if code, _, errs := run(t, append(demo, strings.Repeat("0", 32))...); code != 1 || !strings.Contains(errs, "API Token not matched") {
		t.Errorf("wrong token: exit %d %s", code, errs)
	}
}
