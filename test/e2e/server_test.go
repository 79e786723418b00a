// Package e2e tests the real binary from outside: the command line, HTTP and
// the files it leaves. Of the project's packages it uses only the builder of
// minidumps.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mayday-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "mayday")
		build := exec.Command("go", "build", "-o", binary, "../..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// server is a running mayday.
type server struct {
	t    *testing.T
	dir  string
	url  string
	args []string
	cmd  *exec.Cmd
	log  *os.File
}

// start runs `mayday serve` on a free port and waits until it answers. The
// server is stopped with the test.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	return startIn(t, filepath.Join(t.TempDir(), "data"), args...)
}

// startIn is start on a data directory that several servers may share.
func startIn(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, args: args}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	l.Close()
	s.log, err = os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	s.restart()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			text, _ := os.ReadFile(s.log.Name())
			t.Logf("log of the server (end):\n%s", text[max(0, len(text)-6000):])
		}
		s.log.Close()
	})
	return s
}

// restart starts the server again on the same data.
func (s *server) restart() {
	s.t.Helper()
	args := append([]string{"serve", "--data-dir", s.dir, "--listen", strings.TrimPrefix(s.url, "http://"), "--web.rate-limit", "0"}, s.args...)
	s.cmd = exec.Command(binary, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the server answers", func() error {
		r, err := http.Get(s.url + "/__lbheartbeat__")
		if err != nil {
			return err
		}
		r.Body.Close()
		return nil
	})
}

// kill ends the server as a power cut would.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // says "killed"
	}
}

// stop ends the server as an operator would, and returns how it ended.
func (s *server) stop() error {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(40 * time.Second):
		s.kill()
		return errors.New("did not stop within 40 s")
	}
}

// patience is how long a test waits for what must happen. It is no goal: the
// machine may be building something else beside the tests.
const patience = 2 * time.Minute

// eventually tries until it succeeds or patience is over.
func (s *server) eventually(what string, try func() error) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}

// form is a multipart body: annotations and files.
func form(annotations map[string]string, files map[string][]byte) (body []byte, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range annotations {
		_ = w.WriteField(k, v) // a bytes.Buffer takes everything
	}
	for name, content := range files {
		part, _ := w.CreateFormFile(name, name+".dmp")
		_, _ = part.Write(content)
	}
	w.Close()
	return b.Bytes(), w.FormDataContentType()
}

// post sends a body to /submit and returns status and answer.
func (s *server) post(body io.Reader, contentType string, header map[string]string) (int, string, error) {
	rq, err := http.NewRequest(http.MethodPost, s.url+"/submit", body)
	if err != nil {
		return 0, "", err
	}
	rq.Header.Set("Content-Type", contentType)
	for k, v := range header {
		rq.Header.Set(k, v)
	}
	r, err := http.DefaultClient.Do(rq)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

// submit sends a crash that must be accepted, and returns its id.
func (s *server) submit(annotations map[string]string, files map[string][]byte) string {
	s.t.Helper()
	body, kind := form(annotations, files)
	status, text, err := s.post(bytes.NewReader(body), kind, nil)
	if err != nil || status != 200 {
		s.t.Fatalf("submit: %d %q %v", status, text, err)
	}
	return idOf(s.t, text)
}

func idOf(t *testing.T, text string) string {
	t.Helper()
	id, ok := strings.CutPrefix(strings.TrimSpace(text), "CrashID=bp-")
	if !ok || len(id) != 36 {
		t.Fatalf("answer %q holds no crash id", text)
	}
	return id
}

// get fetches a page or API.
func (s *server) get(path string) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
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

// getJSON fetches an API that must answer 200.
func (s *server) getJSON(path string, into any) error {
	status, text := s.get(path)
	if status != 200 {
		return fmt.Errorf("%s: %d %.300s", path, status, text)
	}
	return json.Unmarshal([]byte(text), into)
}

// processed waits for the processed crash of id.
func (s *server) processed(id string) map[string]any {
	s.t.Helper()
	var out map[string]any
	s.eventually("crash "+id+" is processed", func() error {
		out = nil
		return s.getJSON("/api/ProcessedCrash/?crash_id="+id, &out)
	})
	return out
}

// hits counts the search hits of id.
func (s *server) hits(id string) (int, error) {
	var r struct{ Total int }
	err := s.getJSON("/api/SuperSearch/?_facets_size=0&uuid="+id, &r)
	return r.Total, err
}

// found waits until the search finds a crash, once.
func (s *server) found(id string) {
	s.t.Helper()
	s.eventually("crash "+id+" is found", func() error {
		if n, err := s.hits(id); err != nil || n != 1 {
			return fmt.Errorf("%d hits, %v", n, err)
		}
		return nil
	})
}

// run runs the binary to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(binary, args...)
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}
