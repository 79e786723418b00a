package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A demo that cannot be sent says why, at once.
func TestDemoNowhere(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in stderr
	}{
		{"no server runs", nil, 1, "no server runs on " + none},
		{"nothing listens", []string{"--url", gone.URL, "--submitter-token", "x"}, 1, gone.URL + " does not answer as Mayday does"},
		{"another kind of server", []string{"--url", other.URL, "--submitter-token", "x"}, 1, "does not answer as Mayday does: search answers 404"},
		{"no token for an instance elsewhere", []string{"--url", other.URL}, 2, "--submitter-token is needed"},
		{"no URL", []string{"--url", "ftp://x", "--submitter-token", "x"}, 2, `"ftp://x" is no address`},
		{"no crashes", []string{"--crashes", "0"}, 2, "--crashes from 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run(t, append([]string{"demo", "--data-dir", none}, c.args...)...)
			if code != c.code || !strings.Contains(errs, c.want) || out != "" {
				t.Errorf("exit %d, want %d and %q in\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

// Sending a month twice changes nothing, and made-up crashes are not mixed with
// others unless that is asked for.
func TestDemoTwice(t *testing.T) {
	// The month ends yesterday: it must be the same day at the end of the test.
	if now := time.Now().UTC(); now.Add(2*time.Minute).Day() != now.Day() {
		time.Sleep(2 * time.Minute)
	}
	s := start(t)
	send := func(want int, flags ...string) (stdout, stderr string) {
		t.Helper()
		code, out, errs := run(t, append([]string{"demo", "--data-dir", s.dir, "--crashes", "40"}, flags...)...)
		if code != want {
			t.Fatalf("demo %v: exit %d, want %d\n%s%s", flags, code, want, out, errs)
		}
		return out, errs
	}
	first, _ := send(0)
	ids := s.month(t)
	if want := fmt.Sprintf("%d crashes: %[1]d answered, 0 not, %[1]d can be found", len(ids)); len(ids) < 30 || !strings.HasPrefix(first, want) {
		t.Fatalf("%d crashes can be found after %q", len(ids), first)
	}
	if again, _ := send(0); again != first {
		t.Errorf("the second run says %q, the first %q", again, first)
	}
	s.idle(t)
	if diff := cmp.Diff(ids, s.month(t)); diff != "" {
		t.Errorf("ids after the second run (-first +second):\n%s", diff)
	}

	id := s.submit(map[string]string{"ProductName": "Real"}, map[string][]byte{"upload_file_minidump": sampleDump(t)})
	s.eventually("the crash can be found", func() error {
		if n, err := s.hits(id); err != nil || n != 1 {
			return fmt.Errorf("%d hits, %v", n, err)
		}
		return nil
	})
	if out, errs := send(1, "--seed", "2"); !strings.Contains(errs, "holds 1 crashes of Real") || out != "" {
		t.Errorf("demo beside other crashes: %q, %q", out, errs)
	}
	if n := len(s.month(t)); n != len(ids)+1 {
		t.Errorf("%d crashes after a refused demo, %d before", n, len(ids)+1)
	}
	// What the demo says is found can be found when it ends, whatever was there.
	var sent, answered int
	out, _ := send(0, "--seed", "2", "--force")
	if _, err := fmt.Sscanf(out, "%d crashes: %d answered, 0 not", &sent, &answered); err != nil || sent != answered {
		t.Errorf("demo --force says %q (%v)", out, err)
	}
	if n := len(s.month(t)); n != len(ids)+1+sent {
		t.Errorf("%d crashes can be found, want %d", n, len(ids)+1+sent)
	}
}

// month is the ids of all crashes of the last weeks.
func (s *server) month(t *testing.T) []string {
	t.Helper()
	var r struct {
		Total int
		Hits  []struct{ UUID string }
	}
	q := url.Values{"_columns": {"uuid"}, "_results_number": {"1000"}, "_facets_size": {"0"}, "date": {">=" + time.Now().AddDate(0, 0, -40).Format(time.DateOnly)}}
	if err := s.getJSON("/api/SuperSearch/?"+q.Encode(), &r); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, h := range r.Hits {
		ids = append(ids, h.UUID)
	}
	if r.Total != len(ids) {
		t.Errorf("total %d with %d hits", r.Total, len(ids))
	}
	slices.Sort(ids)
	return ids
}

// idle waits until the server has processed what came: its counters rest.
func (s *server) idle(t *testing.T) {
	t.Helper()
	counts := func() string {
		_, text := s.get("/metrics")
		return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
			return !strings.HasPrefix(line, "mayday_processor_crashes_total") && !strings.HasPrefix(line, "mayday_indexer_crashes_total")
		}), "\n")
	}
	last, since := counts(), time.Now()
	s.eventually("the server rests", func() error {
		if now := counts(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < time.Second {
			return fmt.Errorf("its counters moved %v ago", time.Since(since))
		}
		return nil
	})
}

// fragile is a way to a server that is killed once it has answered so many
// crashes. It counts the answers that went through.
type fragile struct {
	*httptest.Server
	mu       sync.Mutex
	answered int
}

func fragileWay(t *testing.T, s *server, answers int) *fragile {
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	f := &fragile{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	proxy.ModifyResponse = func(r *http.Response) error {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(text))
		if r.Request.URL.Path == "/submit" && r.StatusCode == http.StatusOK {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.answered++; f.answered == answers {
				s.kill()
			}
		}
		return nil
	}
	f.Server = httptest.NewServer(proxy)
	t.Cleanup(f.Close)
	return f
}

// A server that dies midway: exact counts, a clear message, no hang.
func TestDemoServerDies(t *testing.T) {
	t.Parallel()
	s := start(t, "--collector.submitter-token", "let-me")
	f := fragileWay(t, s, 20)
	began := time.Now()
	code, out, errs := run(t, "demo", "--data-dir", filepath.Join(t.TempDir(), "none"), "--url", f.URL, "--submitter-token", "let-me", "--crashes", "60")
	var total, answered, not int
	if n, err := fmt.Sscanf(out, "%d crashes: %d answered, %d not, how many can be found is not known", &total, &answered, &not); n != 3 || err != nil {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, out, errs)
	}
	if code != 1 || answered != f.answered || answered < 20 || answered+not != total || total < 50 {
		t.Errorf("exit %d, %q; the server answered %d", code, out, f.answered)
	}
	if !strings.Contains(errs, "mayday: send: ") || !strings.Contains(errs, "502") {
		t.Errorf("stderr %q", errs)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v to give up", took)
	}
}

// The load generator finds all that was answered; when the server dies midway
// it gives up with exact counts.
func TestLoadGenerator(t *testing.T) {
	t.Parallel()
	generator := filepath.Join(t.TempDir(), "load")
	if out, err := exec.Command("go", "build", "-o", generator, "../load").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	load := func(address string) (int, string, string) {
		var out, errs bytes.Buffer
		c := exec.Command(generator, "--month", "--url", address, "--gzip", "--duration", "10s", "--crashes", "40", "--patience", "1500ms")
		c.Stdout, c.Stderr = &out, &errs
		_ = c.Run() // the exit code says it
		return c.ProcessState.ExitCode(), out.String(), errs.String()
	}
	t.Run("alive", func(t *testing.T) {
		s := start(t)
		code, out, errs := load(s.url)
		if code != 0 || !strings.Contains(out, "answered 40, stored 40, processed 40, searchable 40\n") || errs != "" {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
		if n := len(s.month(t)); n != 40 {
			t.Errorf("%d crashes can be found", n)
		}
	})
	t.Run("nothing is processed", func(t *testing.T) {
		s := start(t, "--role", "collector,web")
		code, out, errs := load(s.url)
		if code != 1 || !strings.Contains(out, "answered 40, stored 40, processed 0, searchable 0\n") || !strings.Contains(errs, "40 answered crashes cannot be found") {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
	})
	t.Run("dies", func(t *testing.T) {
		s := start(t)
		f := fragileWay(t, s, 20)
		code, out, errs := load(f.URL)
		want := fmt.Sprintf("answered %d, stored 0, processed 0, searchable 0 (%[1]d could not be asked about)\n", f.answered)
		if code != 1 || f.answered < 20 || !strings.Contains(out, want) || !strings.Contains(errs, "502") {
			t.Errorf("exit %d, want %q\n%s%s", code, want, out, errs)
		}
	})
	t.Run("never was", func(t *testing.T) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		code, out, errs := load(gone.URL)
		if code != 1 || !strings.Contains(out, " 0 answered (0.0/s), 40 not answered\n") || !strings.Contains(errs, "40 crashes were not answered; the first: ") || !strings.Contains(errs, "refused") {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
	})
}
