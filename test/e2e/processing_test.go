package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// putSymbols lays the sample program's symbols where an upload would.
func putSymbols(t *testing.T, dataDir string) {
	t.Helper()
	program, _ := sampleProgram()
	path := filepath.Join(dataDir, "symbols", "v1", filepath.FromSlash(program.SymPath()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program.Sym(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A crash becomes a processed crash with names from the symbols, whether it is
// walked in the server's process or in a child.
func TestProcessing(t *testing.T) {
	for _, isolate := range []string{"false", "true"} {
		t.Run("isolate "+isolate, func(t *testing.T) {
			s := start(t, "--processor.isolate", isolate)
			putSymbols(t, s.dir)
			id := s.submit(map[string]string{"ProductName": "Storm", "Version": "1.0", "Comments": "secret"}, map[string][]byte{
				"upload_file_minidump": sampleDump(t), "upload_file_minidump_other": sampleDump(t), "upload_file_minidump_empty": nil, "upload_file_minidump_bad": []byte("not a minidump at all, but long enough to be one"),
			})
			p := s.processed(id)
			if p["signature"] != "storm::Cloud::rain" || p["mdsw_status_string"] != "OK" || p["topmost_filenames"] != "src/cloud.cpp" {
				t.Errorf("signature %v, status %v, file %v, notes %v", p["signature"], p["mdsw_status_string"], p["topmost_filenames"], p["processor_notes"])
			}
			if got := fmt.Sprint(p["additional_minidumps"]); got != "[upload_file_minidump_bad upload_file_minidump_empty upload_file_minidump_other]" {
				t.Errorf("further dumps %s", got)
			}
			for name, want := range map[string]string{"other": "OK", "empty": "EmptyMinidump", "bad": "HeaderMismatch"} {
				extra, _ := p["upload_file_minidump_"+name].(map[string]any)
				if extra["mdsw_status_string"] != want {
					t.Errorf("dump %s: status %v, want %s", name, extra["mdsw_status_string"], want)
				}
			}
			if _, shown := p["user_comments"]; shown {
				t.Error("a stranger sees the comments")
			}
		})
	}
}

// The public subset of each processed crash goes to the telemetry bucket, when
// one is named.
func TestTelemetryExport(t *testing.T) {
	bucket := filepath.Join(t.TempDir(), "telemetry")
	s := start(t, "--storage.telemetry", "file://"+bucket)
	id := s.submit(map[string]string{"ProductName": "Storm", "URL": "https://example.com/secret", "SafeMode": "1"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	s.processed(id)
	var doc map[string]any
	s.eventually("the export is there", func() error {
		text, err := os.ReadFile(filepath.Join(bucket, "v1", "crash_report", "20"+id[30:], id))
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "example.com") {
			t.Error("the export holds a protected value")
		}
		return json.Unmarshal(text, &doc)
	})
	var verify map[string]any
	if err := s.getJSON("/api/CrashVerify/?crash_id="+id, &verify); err != nil || verify["telemetry_crash"] != true {
		t.Errorf("%v, %v", err, verify)
	}
	if doc["product"] != "Storm" || doc["safe_mode"] != "1" || doc["platform"] != "Linux" {
		t.Errorf("export %v", doc)
	}
}

// A server that is told to stop loses nothing and wastes no try.
func TestStopUnderLoad(t *testing.T) {
	s := start(t, "--processor.workers", "1")
	var ids []string
	for n := range 60 {
		ids = append(ids, s.submit(map[string]string{"ProductName": "Storm", "Version": "1.0", "N": fmt.Sprint(n)}, map[string][]byte{"upload_file_minidump": sampleDump(t)}))
		if n%20 == 10 {
			if err := s.stop(); err != nil {
				t.Fatalf("the server did not stop cleanly: %v", err)
			}
			s.restart()
		}
	}
	for _, id := range ids {
		s.eventually("crash "+id+" is found", func() error {
			if n, err := s.hits(id); err != nil || n != 1 {
				return fmt.Errorf("%d hits, %v", n, err)
			}
			return nil
		})
	}
	if verdicts, _ := filepath.Glob(filepath.Join(s.dir, "crashes", "v1", "verdict", "*")); len(verdicts) > 0 {
		t.Errorf("%d crashes were given up", len(verdicts))
	}
}

func TestProcessCommand(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	raw := write("raw.json", `{"ProductName": "Storm", "Version": "2.1", "URL": "https://example.com/secret", "CrashTime": "1790000000"}`)
	dump := write("crash.dmp", string(sampleDump(t)))
	data := filepath.Join(dir, "data")
	putSymbols(t, data)
	code, _, errs := run(t, "process", "--data-dir", data, "--raw-crash", raw, "--dump", "upload_file_minidump="+dump, "--out", out)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	read := func(name string) (doc map[string]any, text string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(out, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		return doc, string(b)
	}
	p, _ := read("processed")
	if p["signature"] != "storm::Cloud::rain" || p["url"] == nil {
		t.Errorf("signature %v, url %v", p["signature"], p["url"])
	}
	for _, name := range []string{"public", "telemetry"} {
		if _, text := read(name); strings.Contains(text, "example.com") || !strings.Contains(text, "storm::Cloud::rain") {
			t.Errorf("%s.json: %.300s", name, text)
		}
	}
	if doc, _ := read("index"); doc["processed_crash"].(map[string]any)["url"] == nil {
		t.Error("the index document lacks the protected fields")
	}
	// The walker's result can be given instead of a dump that is walked.
	walk := write("walk.json", `{"status":"OK","crash_info":{"type":"SIGBUS","crashing_thread":0},"threads":[{"frames":[{"function":"other()","module":"m"}]}]}`)
	code, _, errs = run(t, "process", "--data-dir", data, "--raw-crash", raw, "--dump", "upload_file_minidump="+dump, "--stackwalk", "upload_file_minidump="+walk, "--out", out)
	if p, _ := read("processed"); code != 0 || p["signature"] != "other" || p["reason"] != "SIGBUS" {
		t.Errorf("exit %d, %s, signature %v, reason %v", code, errs, p["signature"], p["reason"])
	}
	for name, args := range map[string][]string{
		"nothing named":   {"process", "--out", out},
		"no such file":    {"process", "--out", out, "--raw-crash", filepath.Join(dir, "none")},
		"no such ruleset": {"process", "--out", out, "--data-dir", data, "--raw-crash", raw, "--ruleset", "nonsense"},
		"no name":         {"process", "--out", out, "--raw-crash", raw, "--dump", dump},
	} {
		if code, _, _ := run(t, args...); code != 2 {
			t.Errorf("%s: exit %d, want 2", name, code)
		}
	}
}

// A stored crash can be processed from the command line beside the server, and
// symbols that came later count.
func TestProcessStored(t *testing.T) {
	s := start(t)
	id := s.submit(map[string]string{"ProductName": "Storm"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	if p := s.processed(id); p["signature"] != "storm" {
		t.Errorf("signature without symbols %v", p["signature"])
	}
	putSymbols(t, s.dir)
	if code, out, errs := run(t, "process", "--data-dir", s.dir, "bp-"+id); code != 0 || !strings.Contains(out, id) {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	s.eventually("the new signature is found", func() error {
		var r struct{ Total int }
		if err := s.getJSON("/api/SuperSearch/?_facets_size=0&signature=%3Dstorm%3A%3ACloud%3A%3Arain", &r); err != nil || r.Total != 1 {
			return fmt.Errorf("%d hits, %v", r.Total, err)
		}
		return nil
	})
	if n, err := s.hits(id); err != nil || n != 1 {
		t.Errorf("%d hits, %v", n, err)
	}
	for want, args := range map[int][]string{2: {"process", "--data-dir", s.dir, "no-id"}, 1: {"process", "--data-dir", s.dir, strings.Replace(id, id[:8], "00000000", 1)}} {
		if code, _, errs := run(t, args...); code != want {
			t.Errorf("%v: exit %d, want %d: %s", args, code, want, errs)
		}
	}
}

// A dump that takes more memory than it may is given up and noted; the server
// lives on.
func TestWalkMemory(t *testing.T) {
	for _, isolate := range []string{"false", "true"} {
		s := start(t, "--processor.isolate", isolate, "--processor.walk-memory", "48MiB", "--collector.max-body", "200MiB")
		large := append(sampleDump(t), make([]byte, 150<<20)...)
		id := s.submit(map[string]string{"ProductName": "Storm"}, map[string][]byte{"upload_file_minidump": large})
		if p := s.processed(id); !strings.Contains(fmt.Sprint(p["processor_notes"]), "timeout (SIGABRT)") {
			t.Errorf("isolate %s: notes %v, status %v", isolate, p["processor_notes"], p["mdsw_status_string"])
		}
		next := s.submit(map[string]string{"ProductName": "Storm"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
		if p := s.processed(next); p["mdsw_status_string"] != "OK" {
			t.Errorf("isolate %s: the next crash has status %v, notes %v", isolate, p["mdsw_status_string"], p["processor_notes"])
		}
	}
}

func TestTablesOfTheProcessor(t *testing.T) {
	for want, args := range map[string][]string{
		"SignatureGeneratorRule": {"rules"}, "beta_products:": {"rules", "--tables"}, "| json_dump.threads[].frames[].registers |": {"schema", "--format", "markdown"},
		`"$schema"`: {"schema", "--what", "processed"}, "cpu_count": {"schema", "--what", "search"}, "$target_version": {"schema", "--what", "telemetry"},
	} {
		if code, out, errs := run(t, args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("mayday %s: exit %d, want %q in\n%.300s%s", strings.Join(args, " "), code, want, out, errs)
		}
	}
}
