package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// getAs fetches a page with an API token.
func (s *server) getAs(token, path string) (int, string) {
	s.t.Helper()
	rq, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	rq.Header.Set("Auth-Token", token)
	r, err := http.DefaultClient.Do(rq)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// token makes a token for a new user.
func (s *server) token(email, permissions string) string {
	s.t.Helper()
	run(s.t, "user", "add", "--data-dir", s.dir, email, permissions)
	_, out, errs := run(s.t, "token", "create", "--data-dir", s.dir, "--user", email, "--permissions", permissions)
	token := regexp.MustCompile(`(?m)^[0-9a-f]{32}$`).FindString(out)
	if token == "" {
		s.t.Fatalf("no token: %s%s", out, errs)
	}
	return token
}

// A crash that cannot be processed is set aside, told to administrators alone,
// and processed once it can be and somebody asks.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	s := start(t, "--queue.tries", "2", "--role", "collector")
	id := s.submit(map[string]string{"ProductName": "Storm"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	raw := filepath.Join(s.dir, "crashes", "v1", "raw_crash", "20"+id[30:], id)
	good, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(raw, []byte(`{"ProductName": "Sto`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.args = []string{"--queue.tries", "2"}
	s.restart()
	admin, reader := s.token("ann@example.com", "admin"), s.token("bob@example.com", "view_pii")
	s.eventually("the page lists the crash", func() error {
		if status, page := s.getAs(admin, "/verdicts/"); status != 200 || !strings.Contains(page, id) || !strings.Contains(page, "decode document") {
			return fmt.Errorf("%d %.2000s", status, page)
		}
		return nil
	})
	for _, other := range []string{reader, ""} {
		if status, page := s.getAs(other, "/verdicts/"); status != 403 && status != 401 || strings.Contains(page, id) {
			t.Errorf("a stranger sees the page: %d", status)
		}
	}
	if code, out, _ := run(t, "verdicts", "--data-dir", s.dir); code != 0 || !strings.HasPrefix(out, id+"\t") || !strings.Contains(out, "decode document") {
		t.Errorf("verdicts: exit %d, %s", code, out)
	}
	if err := os.WriteFile(raw, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, page := s.get("/report/index/" + id); !strings.Contains(page, "set aside") || strings.Contains(page, "decode") {
		t.Errorf("the report page does not say that the crash was set aside, or says too much: %.3000s", page)
	}
	if code, out, _ := run(t, "verdicts", "--data-dir", s.dir, "--json", "--retry", id); code != 0 || !strings.Contains(out, `"tries":`) {
		t.Errorf("verdicts --retry: exit %d, %s", code, out)
	}
	if p := s.processed(id); p["signature"] != "storm" {
		t.Errorf("signature %v", p["signature"])
	}
	s.found(id)
	if code, out, _ := run(t, "verdicts", "--data-dir", s.dir); code != 0 || out != "" {
		t.Errorf("a verdict is left: %s", out)
	}
	s.eventually("the page is empty", func() error {
		if status, page := s.getAs(admin, "/verdicts/"); status != 200 || strings.Contains(page, id) {
			return fmt.Errorf("%d, the crash is listed", status)
		}
		return nil
	})
}

// What the queue lost is found at the next start, and told by the API.
func TestForgottenCrash(t *testing.T) {
	t.Parallel()
	s := start(t, "--role", "collector", "--queue.url", "sqlite://"+filepath.Join(t.TempDir(), "lost.db"))
	id := s.submit(map[string]string{"ProductName": "Storm"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	s.kill()
	s.args = nil // another queue, which knows nothing of the crash
	s.restart()
	s.processed(id)
	s.found(id)
	var list struct {
		Count          int
		Next, Previous *string
		Results        []struct {
			CrashID   string `json:"crash_id"`
			Processed bool   `json:"is_processed"`
			Created   time.Time
		}
	}
	if err := s.getJSON("/api/MissingProcessedCrash/", &list); err != nil || list.Count != 1 || len(list.Results) != 1 || list.Results[0].CrashID != id || list.Next != nil || list.Previous != nil {
		t.Errorf("%v, %+v", err, list)
	}
	for path, want := range map[string]int{"?page=x": 400, "?page=2": 404, "?page=1": 200} {
		if status, text := s.get("/api/MissingProcessedCrash/" + path); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// Betas get their version from the builds that were imported.
func TestProductVersions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "v.csv")
	if err := os.WriteFile(file, []byte("release_channel,version_string,product_name,build_id,archive_url\nBeta,63.0b4,Firefox,20261030,x\nbeta,63.0b4rc1,Firefox,20261030,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, "versions", "import", "--data-dir", dir, file); code != 0 || !strings.Contains(out, "2 rows, 2 new") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := run(t, "versions", "list", "--data-dir", dir); code != 0 || !strings.Contains(out, "Firefox,beta,20261030,63.0b4\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	web := startIn(t, dir, "--role", "collector,web")
	web.eventually("the versions are published", func() error {
		_, err := os.Stat(filepath.Join(dir, "crashes", "v1", "snapshot", "product_versions.json"))
		return err
	})
	startIn(t, dir, "--role", "processor")
	for build, want := range map[string]string{"20261030": "63.0b4", "20260101": "63.0b0"} {
		id := web.submit(map[string]string{"ProductName": "Firefox", "Version": "63.0", "ReleaseChannel": "beta", "BuildID": build}, nil)
		if p := web.processed(id); p["version"] != want {
			t.Errorf("build %s: version %v, want %s", build, p["version"], want)
		}
	}
	for _, text := range []string{"a,b\n1,2\n", "product_name,release_channel,build_id,version_string\nFirefox,beta,,1\n", `[{"product_name": 1}]`, "[{}]", ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := run(t, "versions", "import", "--data-dir", dir, file); code != 2 {
			t.Errorf("%q: exit %d, %s", text, code, errs)
		}
	}
}
