// Package opensearch tests the real binary on a real OpenSearch, which
// MAYDAY_TEST_OPENSEARCH names; `make opensearch` starts one.
package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mayday/storage/search/sample"
)

// instance is a running mayday on the cluster, with indices of its own.
type instance struct {
	t      *testing.T
	binary string
	dir    string
	url    string
	env    []string
}

// serve builds and starts the binary. Server and indices go with the test.
func serve(t *testing.T, args ...string) *instance {
	t.Helper()
	cluster := os.Getenv("MAYDAY_TEST_OPENSEARCH")
	if cluster == "" {
		t.Skip("MAYDAY_TEST_OPENSEARCH names no OpenSearch; make opensearch starts one")
	}
	prefix := fmt.Sprintf("b%d-", rand.Uint64())
	i := &instance{t: t, binary: filepath.Join(t.TempDir(), "mayday"), dir: t.TempDir(),
		env: append(os.Environ(), "CGO_ENABLED=0", "MAYDAY_SEARCH_URL="+cluster, "MAYDAY_SEARCH_INDEX_PREFIX="+prefix, "MAYDAY_WEB_RATE_LIMIT=0")}
	i.run("go", "build", "-o", i.binary, "../..")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i.url = "http://" + l.Addr().String()
	l.Close()
	var log bytes.Buffer
	cmd := exec.Command(i.binary, append([]string{"serve", "--data-dir", i.dir, "--listen", strings.TrimPrefix(i.url, "http://")}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = i.env, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		for _, path := range []string{"/" + prefix + "2*," + prefix + "other?ignore_unavailable=true", "/_index_template/" + prefix} {
			rq, err := http.NewRequestWithContext(context.Background(), http.MethodDelete, cluster+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if rs, err := http.DefaultClient.Do(rq); err == nil {
				rs.Body.Close()
			}
		}
		if t.Failed() {
			t.Logf("log of the server (end):\n%s", log.String()[max(0, log.Len()-4000):])
		}
	})
	i.wait("the server answers", func() bool {
		rs, err := http.Get(i.url + "/__lbheartbeat__")
		if err != nil {
			return false
		}
		rs.Body.Close()
		return rs.StatusCode == http.StatusOK
	})
	return i
}

func (i *instance) wait(what string, done func() bool) {
	i.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			i.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// run runs a command and gives what it prints.
func (i *instance) run(name string, args ...string) string {
	i.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = i.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("%s %s: %v\n%.3000s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (i *instance) get(path string) (int, map[string]any) {
	i.t.Helper()
	rs, err := http.Get(i.url + path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer rs.Body.Close()
	body, err := io.ReadAll(rs.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		i.t.Fatalf("%s: %v in %.300s", path, err, body)
	}
	return rs.StatusCode, out
}

func (i *instance) total(query string) float64 {
	i.t.Helper()
	status, got := i.get("/api/SuperSearch/?_facets_size=0&_results_number=1&date=" + url.QueryEscape(">="+time.Now().AddDate(0, 0, -100).Format(time.DateOnly)) + "&" + query)
	if status != http.StatusOK {
		i.t.Fatalf("%s: %d %v", query, status, got)
	}
	return got["total"].(float64)
}

// TestBinary imports crashes, searches, deletes and indexes them anew.
func TestBinary(t *testing.T) {
	i := serve(t)
	if status, got := i.get("/__heartbeat__"); status != http.StatusOK || got["dependencies"].(map[string]any)["opensearch"] != "ok" {
		t.Errorf("heartbeat: %d %v", status, got)
	}
	file := filepath.Join(t.TempDir(), "crashes.jsonl")
	var lines bytes.Buffer
	ids := []string{}
	last := time.Now().UTC().AddDate(0, 0, -1)
	for crash := range (sample.Crashes{Seed: 5, Last: last, Days: 60, Count: 500}).All() {
		ids = append(ids, crash["uuid"].(string))
		if err := json.NewEncoder(&lines).Encode(crash); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i.run(i.binary, "import-processed", "--data-dir", i.dir, file)
		if n := i.total(""); n != 500 {
			t.Fatalf("%v crashes after importing 500", n)
		}
	}
	i.run(i.binary, "delete", "--data-dir", i.dir, ids[3], ids[4])
	if n := i.total("uuid=" + ids[3] + "&uuid=" + ids[4] + "&uuid=" + ids[5]); n != 1 {
		t.Errorf("%v of three crashes left after deleting two", n)
	}
	i.run(i.binary, "reindex", "--data-dir", i.dir)
	if n := i.total(""); n != 498 {
		t.Errorf("%v crashes after reindexing 498", n)
	}
	if status, got := i.get("/api/SuperSearch/?_return_query=1"); status != http.StatusOK || got["query"].(map[string]any)["track_total_hits"] != true {
		t.Errorf("_return_query: %d %v", status, got)
	}
	if status, got := i.get("/api/SuperSearch/?signature=" + url.QueryEscape("@.*[")); status != http.StatusBadRequest {
		t.Errorf("a broken regexp: %d %v", status, got)
	}
}

// TestPeer asks the visible queries of Socorro's data set through the API.
func TestPeer(t *testing.T) {
	data, err := filepath.Abs("../../../shared/data/webapp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Skipf("the peer's data set is not here: %v", err)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	examples, err := filepath.Glob("../../docs/examples/*mozilla*.y*ml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no example for Mozilla's products: %v", err)
	}
	i := serve(t, "--config", examples[0])
	sets, err := filepath.Glob(filepath.Join(data, "dataset", "*.jsonl"))
	if err != nil || len(sets) == 0 {
		t.Fatalf("no data set in %s: %v", data, err)
	}
	for _, f := range sets {
		i.run(i.binary, "import-processed", "--data-dir", i.dir, f)
	}
	i.run(i.binary, "user", "add", "--data-dir", i.dir, "peer@example.com")
	token := regexp.MustCompile(`\b[0-9a-f]{32}\b`).FindString(i.run(i.binary, "token", "create", "--data-dir", i.dir, "--user", "peer@example.com", "--permissions", "view_pii,view_rawdump,reprocess_crashes"))
	cmd := exec.Command("python3", "conformance_api.py", "--url", i.url, "--token-pii", token, "--set", "visible", "--skip-group", "quirk", "--no-endpoints")
	cmd.Dir = data
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("%v\n%s", err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}
