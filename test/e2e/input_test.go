package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/test/process"
)

// A crash with symbols goes in, and a report with names comes out, for a
// client that sends plain, gzipped or chunked bodies.
func TestCrashToReport(t *testing.T) {
	s := start(t)
	binary, crash := sampleProgram()
	path := filepath.Join(s.dir, "symbols", "v1", filepath.FromSlash(binary.SymPath()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, binary.Sym(), 0o644); err != nil {
		t.Fatal(err)
	}
	body, kind := form(map[string]string{"ProductName": "Storm", "Version": "2.1", "URL": "https://secret.example/"},
		map[string][]byte{"upload_file_minidump": crash.Dump().Bytes()})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(body) // a bytes.Buffer takes everything
	z.Close()
	for _, c := range []struct {
		name   string
		body   io.Reader
		header map[string]string
	}{
		{"plain", bytes.NewReader(body), nil},
		{"gzip", bytes.NewReader(zipped.Bytes()), map[string]string{"Content-Encoding": "gzip"}},
		{"chunked", struct{ io.Reader }{bytes.NewReader(body)}, nil}, // no length is known, so it is sent in chunks
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, err := s.post(c.body, kind, c.header)
			if err != nil || status != 200 {
				t.Fatalf("%d %q %v", status, text, err)
			}
			id := idOf(t, text)
			p := s.processed(id)
			if got, want := p["signature"], "storm::Cloud::rain"; got != want {
				t.Errorf("signature %q, want %q", got, want)
			}
			if p["url"] != nil {
				t.Errorf("a protected field is public: %v", p["url"])
			}
			status, page := s.get("/report/index/" + id)
			for _, want := range []string{"storm::Cloud::rain(int)", "src/cloud.cpp", "storm::run()", "SIGSEGV"} {
				if status != 200 || !strings.Contains(page, want) {
					t.Errorf("report (%d) lacks %s", status, want)
				}
			}
			if strings.Contains(page, "secret.example") {
				t.Error("a protected annotation is on the page")
			}
			s.eventually("the crash can be found", func() error {
				if n, err := s.hits(id); err != nil || n != 1 {
					return fmt.Errorf("%d hits, %v", n, err)
				}
				return nil
			})
		})
	}
}

// Bad input gets a clear answer, and what was taken gets a report that says
// what was wrong.
func TestBadInput(t *testing.T) {
	s := start(t)
	dump := sampleDump(t)
	body, kind := form(map[string]string{"ProductName": "Bad"}, map[string][]byte{"upload_file_minidump": dump})
	bomb := func() io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"))
		zeros := make([]byte, 1<<20)
		for range 300 {
			_, _ = z.Write(zeros)
		}
		z.Close()
		return &b
	}
	for _, c := range []struct {
		name   string
		body   io.Reader
		kind   string
		header map[string]string
		status int
		want   string
	}{
		{"empty body", bytes.NewReader(nil), kind, nil, 400, "Discarded=malformed_"},
		{"no content type", bytes.NewReader(body), "", nil, 400, "Discarded=malformed_no_content_type"},
		{"no boundary", bytes.NewReader(body), "multipart/form-data", nil, 400, "Discarded=malformed_no_boundary"},
		{"truncated", bytes.NewReader(body[:len(body)/2]), kind, nil, 400, "Discarded=malformed_invalid_payload_structure"},
		{"gzip bomb", bomb(), "multipart/form-data; boundary=x", map[string]string{"Content-Encoding": "gzip"}, 413, ""},
		{"not gzip", bytes.NewReader(body), kind, map[string]string{"Content-Encoding": "gzip"}, 400, "Discarded=malformed_bad_gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, err := s.post(c.body, c.kind, c.header)
			if err != nil || status != c.status || !strings.HasPrefix(text, c.want) {
				t.Errorf("answer %d %q %v, want %d %q", status, text, err, c.status, c.want)
			}
		})
	}
	many := map[string]string{"ProductName": "Many"}
	for i := range 9_998 {
		many["Annotation"+strconv.Itoa(i)] = "v"
	}
	for _, c := range []struct {
		name        string
		annotations map[string]string
		dump        []byte
		want        string // on the report page
	}{
		{"not a minidump", map[string]string{"ProductName": "Bad"}, []byte("this is no minidump at all"), "The minidump could not be read."},
		{"minidump of 0 bytes", map[string]string{"ProductName": "Bad"}, []byte{}, "The minidump is empty."},
		{"cut minidump", map[string]string{"ProductName": "Bad"}, dump[:len(dump)/3], "Report"},
		{"10,000 annotations", many, dump, "storm"},
		{"NUL bytes", map[string]string{"ProductName": "Bad\x00", "Vers\x00ion": "1\x002"}, dump, "storm"},
		{"wrong types", map[string]string{"ProductName": "Bad", "CrashTime": "yesterday", "InstallTime": "{}", "TotalPhysicalMemory": "lots", "StartupCrash": "maybe"}, dump, "non-int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := s.submit(c.annotations, map[string][]byte{"upload_file_minidump": c.dump})
			s.processed(id)
			if status, page := s.get("/report/index/" + id); status != 200 || !strings.Contains(page, c.want) {
				t.Errorf("report (%d) lacks %q", status, c.want)
			}
		})
	}
	if kb := residentKB(t, s.cmd.Process.Pid); kb > 400<<10 {
		t.Errorf("the server uses %d MB after bad input", kb>>10)
	}
}

// residentKB is how much memory a process uses.
func residentKB(t *testing.T, pid int) int { return int(memoryOf(t, pid).Resident >> 10) }

// memoryOf skips the test where there is no /proc.
func memoryOf(t *testing.T, pid int) process.Memory {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to read memory from: " + err.Error())
	}
	memory, err := process.MemoryOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return memory
}

// An idle server is small, and has its first page ready after little work.
func TestFootprint(t *testing.T) {
	began := time.Now()
	s := start(t)
	if status, _ := s.get("/"); status != 200 {
		t.Fatalf("home page: %d", status)
	}
	t.Logf("first page after %v", time.Since(began))
	kb := residentKB(t, s.cmd.Process.Pid)
	t.Logf("%d MB resident", kb>>10)
	if kb > 80<<10 {
		t.Errorf("an idle server uses %d MB, more than 80", kb>>10)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	// The goal is a page within one second of the clock, on a machine that does
	// nothing else; work is counted, as this one may.
	if cpu := s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime(); cpu > 2*time.Second {
		t.Errorf("the server worked %v for its first page", cpu)
	}
}

// Every dump of the reference corpus, where there is one, gets a report page.
func TestCorpus(t *testing.T) {
	root := "../../../shared/data/stackwalk/visible"
	var dumps []string
	for _, pattern := range []string{"dumps/*.dmp", "broken/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		dumps = append(dumps, found...)
	}
	if len(dumps) == 0 {
		t.Skip("the reference corpus of minidumps is not beside the checkout")
	}
	s := start(t, "--collector.max-body", "200MiB")
	ids := map[string]string{}
	for _, file := range dumps {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		ids[file] = s.submit(map[string]string{"ProductName": "Corpus", "Version": "1"}, map[string][]byte{"upload_file_minidump": content})
	}
	for file, id := range ids {
		p := s.processed(id)
		status, page := s.get("/report/index/" + id)
		if status != 200 || !strings.Contains(page, id) {
			t.Errorf("%s: report page %d", filepath.Base(file), status)
		}
		if said, _ := p["mdsw_status_string"].(string); said != "OK" && !strings.Contains(page, said) {
			t.Errorf("%s: the page does not say %q", filepath.Base(file), said)
		}
	}
	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, []byte("panic")) {
		t.Error("something panicked; see the log")
	}
	t.Logf("%d dumps", len(dumps))
}
