package fetch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mayday/app/fault"
	"mayday/symbols"
)

const (
	symText = "MODULE Linux x86_64 AABBCCDD11223344556677889900AABB0 app\nFILE 0 a.c\nFUNC 1000 10 0 main\n1000 10 7 0\n"
	path    = "app/AABBCCDD11223344556677889900AABB0/app.sym"
)

var app = symbols.ModuleID{DebugFile: "/opt/app", DebugID: "AABBCCDD11223344556677889900AABB0", CodeFile: "/opt/app", CodeID: "abc"}

// folder is a directory that holds the symbols of app.
func folder(t *testing.T) string {
	dir := t.TempDir()
	name := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(symText), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// found reports the function name that s finds in app.
func found(t *testing.T, s *Source, id symbols.ModuleID) string {
	t.Helper()
	l, err := s.Symbols(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := l.Symbols.Function(0x1004)
	return f.Name
}

func TestPaths(t *testing.T) {
	dir := folder(t)
	file := filepath.Join(dir, filepath.FromSlash(path))
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"directory", Options{Paths: []string{t.TempDir(), dir}}},
		{"file", Options{Paths: []string{file}}},
		{"compiled", Options{Paths: []string{dir}, Compiled: t.TempDir()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(c.o)
			defer s.Close()
			if got := found(t, s, app); got != "main" {
				t.Errorf("got function %q", got)
			}
			other := app
			other.DebugID = "00000000000000000000000000000AAA1"
			if _, err := s.Symbols(context.Background(), other); !fault.Is(err, fault.NotFound) {
				t.Errorf("symbols of another module: %v", err)
			}
			if _, err := s.Symbols(context.Background(), symbols.ModuleID{DebugFile: "app", DebugID: symbols.NoDebugID}); !fault.Is(err, fault.NotFound) {
				t.Errorf("symbols without an id: %v", err)
			}
		})
	}
}

// A changed text is compiled anew by the next run.
func TestCompiledNoticesChange(t *testing.T) {
	dir, compiled := folder(t), t.TempDir()
	s := New(Options{Paths: []string{dir}, Compiled: compiled})
	found(t, s, app)
	s.Close()
	changed := strings.Replace(symText, "main", "other_name", 1)
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	s = New(Options{Paths: []string{dir}, Compiled: compiled})
	defer s.Close()
	if got := found(t, s, app); got != "other_name" {
		t.Errorf("got %q", got)
	}
}

func TestParityRefusesBrokenFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, filepath.FromSlash(path))
	os.MkdirAll(filepath.Dir(name), 0o755)
	os.WriteFile(name, []byte(symText+"NONSENSE\n"), 0o644)
	l, err := New(Options{Paths: []string{dir}, Reading: symbols.Parity}).Symbols(context.Background(), app)
	if err != nil || !l.Corrupt || l.Symbols != nil {
		t.Errorf("parity: got %+v, %v", l, err)
	}
	l, err = New(Options{Paths: []string{dir}}).Symbols(context.Background(), app)
	if err != nil || !l.Corrupt || l.Symbols == nil {
		t.Errorf("best: got %+v, %v", l, err)
	}
}

func TestServer(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/s/" + path:
			w.Write([]byte(symText))
		case "/s/app/ABC/app.sym":
			http.Redirect(w, r, "/s/"+path, http.StatusFound)
		case "/s/down/AABBCCDD11223344556677889900AABB0/down.sym":
			w.WriteHeader(http.StatusBadGateway)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	o := Options{URLs: []string{srv.URL + "/s/"}, Cache: t.TempDir()}
	s := New(o)
	for range 2 {
		l, err := s.Symbols(context.Background(), app)
		if err != nil || l.URL != srv.URL+"/s/"+path {
			t.Fatalf("got %+v, %v", l, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times: the cache is not used", n)
	}
	byCode := symbols.ModuleID{CodeFile: "app", CodeID: "abc"}
	l, err := s.Symbols(context.Background(), byCode)
	if err != nil || l.DebugFile != "app" || l.DebugID != app.DebugID {
		t.Errorf("by code id: got %+v, %v", l, err)
	}
	down := app
	down.DebugFile = "down"
	if _, err := s.Symbols(context.Background(), down); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a server that is down: %v", err)
	}
	gone := app
	gone.DebugFile = "gone"
	if _, err := s.Symbols(context.Background(), gone); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown module: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(o.Cache, "*", "*", ".download-*"))
	if len(left) > 0 {
		t.Errorf("unfinished downloads are left: %v", left)
	}
}

func TestCutDownloadLeavesNothing(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write([]byte(symText))
	}))
	defer srv.Close()
	o := Options{URLs: []string{srv.URL}, Cache: t.TempDir()}
	if _, err := New(o).Symbols(context.Background(), app); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(o.Cache, "*", "*", "*"))
	if len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestRedirectTargets(t *testing.T) {
	for location, want := range map[string]bool{
		"https://x/y/app/AABBCCDD11223344556677889900AABB0/app.sym": true,
		"https://x/y/../AABBCCDD11223344556677889900AABB0/app.sym":  false,
		"/app.sym":                         false,
		"https://x/y/app/nothex/app.sym":   false,
		"https://x/y/app/AABBCCDD/app.exe": false,
		"::":                               false,
	} {
		if _, _, ok := fromLocation(location); ok != want {
			t.Errorf("%q: got %v", location, ok)
		}
	}
}
