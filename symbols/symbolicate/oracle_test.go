package symbolicate

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
)

// oracle is where the recorded answers of a real symbolication server lie,
// beside the repository; the tests that need them are skipped elsewhere.
const oracle = "../../../shared/data/symbols/symbolicate/visible"

// dirFetch serves .sym files from a directory in Breakpad's layout.
func dirFetch(dir string) cache.Fetch {
	return func(_ context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
		p, _ := id.Path()
		f, err := os.Open(filepath.Join(dir, p))
		if err != nil {
			return nil, fault.As(fault.NotFound, err, "no file")
		}
		return f, nil
	}
}

// serve starts a server over a directory of .sym files.
func serve(t testing.TB, dir string) *httptest.Server {
	t.Helper()
	store := cache.New(cache.Options{Dir: t.TempDir(), Fetch: dirFetch(dir)})
	e := echo.New()
	NewServer(New(store), zaptest.NewLogger(t)).Mount(e.Group(""))
	srv := httptest.NewServer(e)
	t.Cleanup(func() {
		srv.Close()
		store.Close()
	})
	return srv
}

func post(t testing.TB, url, body string) (int, []byte) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

// oracleCase is one recorded request and its answer.
type oracleCase struct {
	ID     string            `json:"id"`
	Path   string            `json:"path"`
	Body   json.RawMessage   `json:"body"`
	Raw    *string           `json:"raw"`
	Status int               `json:"status"`
	Expect any               `json:"expect"`
	Alt    map[string]string `json:"alt_module"`
	Quirk  string            `json:"quirk"`
}

// TestOracle compares answers with those of Eliot and symbolic.
func TestOracle(t *testing.T) {
	f, err := os.Open(filepath.Join(oracle, "cases.jsonl"))
	if err != nil {
		t.Skip("the recorded answers are not here: ", err)
	}
	defer f.Close()
	srv := serve(t, filepath.Join(oracle, "store"))
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c oracleCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.ID, func(t *testing.T) { c.run(t, srv.URL) })
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func (c *oracleCase) run(t *testing.T, url string) {
	body := string(c.Body)
	if c.Raw != nil {
		body = *c.Raw
	}
	status, got := post(t, url+c.Path, body)
	if c.Status == http.StatusInternalServerError {
		if status != http.StatusBadRequest {
			t.Errorf("got status %d where 400 is right", status)
		}
		return
	}
	if status != c.Status {
		t.Fatalf("got status %d, want %d: %.200s", status, c.Status, got)
	}
	var have any
	if err := json.Unmarshal(got, &have); err != nil {
		t.Fatalf("%v in %.200s", err, got)
	}
	want := c.Expect
	if strings.HasPrefix(c.Path, "/symbolicate/v4") && len(c.Alt) > 0 {
		have, want = dropModules(have), dropModules(want)
	}
	want = otherModule(want, c.Alt)
	if d := cmp.Diff(want, have); d != "" {
		if c.Quirk != "" {
			t.Logf("differs in what the recording marks as %q", c.Quirk)
			t.Logf("(-want +got)\n%.3000s", d)
			return
		}
		t.Errorf("(-want +got)\n%.3000s", d)
	}
}

// otherModule puts the right module name where the recording has the known
// mistake of taking a part of INFO GENERATOR for it.
func otherModule(v any, alt map[string]string) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = otherModule(v[i], alt)
		}
	case map[string]any:
		for k := range v {
			if name, ok := v[k].(string); ok && k == "module" && alt[name] != "" {
				v[k] = alt[name]
				continue
			}
			v[k] = otherModule(v[k], alt)
		}
	}
	return v
}

// dropModules cuts the module off the texts of version 4, for the recordings
// with that mistake.
func dropModules(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	stacks, _ := m["symbolicatedStacks"].([]any)
	for _, s := range stacks {
		frames, _ := s.([]any)
		for i := range frames {
			text, _ := frames[i].(string)
			frames[i] = text[:strings.LastIndex(text, " (in ")]
		}
	}
	return v
}
