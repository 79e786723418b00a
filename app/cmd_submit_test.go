package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/storage"
	"mayday/storage/filebucket"
)

// run calls the program as a shell would.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(append([]string{"mayday"}, args...), nil, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestSubmit(t *testing.T) {
	const id = "de1bb258-cbbf-4589-a673-34f800160918"
	var got map[string]string
	answer, status := "CrashID=bp-"+id+"\nViewURL=x\n", http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = map[string]string{"path": r.URL.Path}
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			r.Body = z
		}
		form, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		for {
			p, err := form.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			got[p.FormName()] = p.FileName() + ":" + string(b)
		}
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	defer server.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dump, log, extra := write("x.dmp", "MDMP"), write("app.log", "log"), write("x.json", `{"a":1}`)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		answer string
		code   int
		want   map[string]string
	}{
		{"plain", []string{"-a", "ProductName=P", "-a", "Comments=a,b=c", dump}, 200, answer, 0, map[string]string{"path": "/submit", "ProductName": ":P", "Comments": ":a,b=c", "upload_file_minidump": "x.dmp:MDMP"}},
		{"compressed, with a file and JSON", []string{"--gzip", "--annotations", extra, "-f", "log=" + log, dump}, 200, id, 0, map[string]string{"path": "/submit", "extra": `x`, "log": "app.log:log", "upload_file_minidump": "x.dmp:MDMP"}},
		{"no dump", []string{"-a", "a=b"}, 200, "bp-" + id, 0, map[string]string{"path": "/submit", "a": ":b"}},
		{"discarded", []string{"-a", "a=b", dump}, 200, "Discarded=rule_x", 1, nil},
		{"refused", []string{"-a", "a=b", dump}, 503, "", 1, nil},
		{"no annotation", []string{dump}, 200, answer, 2, nil},
		{"no pair", []string{"-a", "ab", dump}, 200, answer, 2, nil},
		{"no such file", []string{"-a", "a=b", filepath.Join(dir, "none")}, 200, answer, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, status = c.answer, c.status
			code, out, errs := run(append([]string{"submit", "--url", server.URL}, c.args...)...)
			if code != c.code || (code == 0) != (out == id+"\n") || (code == 0) != (errs == "") {
				t.Fatalf("exit %d, printed %q and %q", code, out, errs)
			}
			if c.want["extra"] != "" {
				c.want["extra"] = `extra.json:{"a":1}`
			}
			if d := cmp.Diff(c.want, got); c.want != nil && d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
		})
	}
	if code, _, _ := run("submit", "--url", "localhost:8000", "-a", "a=b"); code != 2 {
		t.Errorf("a URL without scheme: exit %d", code)
	}
}

func TestThrottleTry(t *testing.T) {
	dir := t.TempDir()
	b, err := filebucket.Open(filepath.Join(dir, "crashes"), filebucket.Options{})
	if err != nil {
		t.Fatal(err)
	}
	crashes := storage.NewCrashes(b, storage.Options{})
	var ids []storage.CrashID
	for _, product := range []string{"Firefox", "Firefox", "Other"} {
		id := storage.NewCrashID(time.Now(), storage.Accepted)
		ids = append(ids, id)
		raw := storage.RawCrash{"ProductName": product, "metadata": map[string]any{"throttle_rule": "accept_everything"}}
		if err := crashes.SaveRaw(context.Background(), id, raw, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run("throttle", "try", "--data-dir", dir, "../docs/examples/mozilla.yaml")
	const want = "RULE                 RESULT  CRASHES  SHARE\n" +
		"unsupported_product  reject  1        33.3 %\n" +
		"accept_everything    accept  2        66.7 %\n" +
		"3 crashes, 1 of them decided on by another rule than when they came\n"
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, printed (-want +got):\n%s", code, errs, cmp.Diff(want, out))
	}
	code, out, _ = run("throttle", "try", "--each", "--data-dir", dir, "../docs/examples/mozilla.yaml", "bp-"+string(ids[2]))
	if line, _, _ := strings.Cut(out, "\n"); code != 0 || line != string(ids[2])+"\taccept_everything\tunsupported_product\treject" {
		t.Errorf("exit %d, printed %q", code, line)
	}
	if code, _, _ := run("throttle", "try", "--data-dir", dir, filepath.Join(dir, "none")); code != 2 {
		t.Errorf("no rules: exit %d", code)
	}
}
