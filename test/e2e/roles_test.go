package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The roles work in processes of their own, and a crash taken while no
// processor runs waits for one.
func TestSplitRoles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	collector := startIn(t, dir, "--role", "collector")
	web := startIn(t, dir, "--role", "web")
	id := collector.submit(map[string]string{"ProductName": "Split"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	if status, page := web.get("/report/index/" + id); status != 200 || !strings.Contains(page, "being processed") {
		t.Errorf("report before there is a processor: %d", status)
	}
	if status, _ := collector.get("/search/"); status != 404 {
		t.Errorf("a collector alone answers /search/ with %d", status)
	}
	startIn(t, dir, "--role", "processor")
	web.processed(id)
	web.eventually("the crash can be found", func() error {
		if n, err := web.hits(id); err != nil || n != 1 {
			return fmt.Errorf("%d hits, %v", n, err)
		}
		return nil
	})
}

// The health endpoints answer for every dependency.
func TestHealth(t *testing.T) {
	s := start(t)
	var health struct {
		OK           bool
		Dependencies map[string]string
	}
	if err := s.getJSON("/__heartbeat__", &health); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"crashes", "queues", "catalog", "collector"} {
		if health.Dependencies[name] != "ok" {
			t.Errorf("dependency %s is %q in %v", name, health.Dependencies[name], health)
		}
	}
	var version map[string]string
	if err := s.getJSON("/__version__", &version); err != nil || len(version) != 4 {
		t.Errorf("version %v, %v", version, err)
	}
	status, metrics := s.get("/metrics")
	code, table, _ := run(t, "metrics", "--format", "json")
	if status != 200 || code != 0 {
		t.Fatalf("metrics: %d, exit %d", status, code)
	}
	var rows []struct{ Prometheus string }
	if err := json.Unmarshal([]byte(table), &rows); err != nil || len(rows) < 20 {
		t.Fatalf("%d metrics, %v", len(rows), err)
	}
	for _, r := range rows {
		if !strings.Contains(metrics, "\n"+r.Prometheus) {
			t.Errorf("/metrics lacks %s, which mayday metrics lists", r.Prometheus)
		}
	}
}
