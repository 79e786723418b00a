package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// uploadSymbols uploads the sample program's symbols as a build machine does.
func uploadSymbols(t *testing.T, s *server) {
	t.Helper()
	program, _ := sampleProgram()
	file := filepath.Join(t.TempDir(), "storm.sym")
	if err := os.WriteFile(file, program.Sym(), 0o644); err != nil {
		t.Fatal(err)
	}
	token := s.token("build@example.com", "upload_symbols")
	if code, out, errs := run(t, "symbols", "upload", "--url", s.url, "--token", token, file); code != 0 {
		t.Fatalf("symbols upload: exit %d\n%s%s", code, out, errs)
	}
}

// Crashes that were processed without symbols get names when these arrive,
// also where the processor is another process, and whatever is killed meanwhile.
func TestLateSymbols(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(t *testing.T) *server
		kill bool
	}{
		{name: "one process", set: func(t *testing.T) *server { return start(t) }},
		{name: "roles apart", set: func(t *testing.T) *server {
			web := start(t, "--role", "collector,web")
			startIn(t, web.dir, "--role", "processor")
			return web
		}},
		{name: "killed after the upload", set: func(t *testing.T) *server { return start(t) }, kill: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.set(t)
			dumps := map[string][]byte{"upload_file_minidump": sampleDump(t)}
			var ids []string
			for n := range 5 {
				ids = append(ids, s.submit(map[string]string{"ProductName": "Late", "N": fmt.Sprint(n)}, dumps))
			}
			// This one lacks nothing that will come.
			other := s.submit(map[string]string{"ProductName": "Late"}, map[string][]byte{"upload_file_minidump": otherDump(t)})
			for _, id := range append(ids, other) {
				if p := s.processed(id); p["signature"] != "storm" && id != other {
					t.Fatalf("signature without symbols %v", p["signature"])
				}
				s.found(id)
			}
			before := s.processed(other)
			uploadSymbols(t, s)
			if c.kill {
				s.kill()
				s.restart()
			}
			began := time.Now()
			for _, id := range ids {
				s.eventually("the report has names", func() error {
					if got := s.processed(id)["signature"]; got != "storm::Cloud::rain" {
						return fmt.Errorf("signature %v", got)
					}
					return nil
				})
				s.eventually("the index has names", func() error {
					var r struct{ Total int }
					if err := s.getJSON("/api/SuperSearch/?_facets_size=0&signature=%3Dstorm%3A%3ACloud%3A%3Arain&uuid="+id, &r); err != nil || r.Total != 1 {
						return fmt.Errorf("%d hits, %v", r.Total, err)
					}
					return nil
				})
			}
			t.Logf("names %v after the upload", time.Since(began).Round(time.Millisecond))
			for _, id := range ids {
				p := s.processed(id)
				if notes := fmt.Sprint(p["processor_notes"]); !strings.Contains(notes, "symbols have come since the last processing: storm/") {
					t.Errorf("the notes do not say why: %s", notes)
				}
				if history, _ := p["processor_history"].([]any); len(history) != 1 {
					t.Errorf("%d rounds in the history, want the one without symbols", len(history))
				}
				if n, err := s.hits(id); err != nil || n != 1 {
					t.Errorf("%d hits, %v", n, err)
				}
			}
			if after := s.processed(other); after["started_datetime"] != before["started_datetime"] || len(after["processor_history"].([]any)) > 0 {
				t.Error("a crash that does not lack the symbols was processed again")
			}
		})
	}
}

// Nothing is processed again where that is switched off.
func TestLateSymbolsOff(t *testing.T) {
	t.Parallel()
	s := start(t, "--processor.late-symbols.rate", "0")
	id := s.submit(map[string]string{"ProductName": "Late"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	s.processed(id)
	s.found(id)
	uploadSymbols(t, s)
	time.Sleep(5 * time.Second)
	if p := s.processed(id); p["signature"] != "storm" {
		t.Errorf("signature %v", p["signature"])
	}
}
