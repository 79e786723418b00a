package fetch

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
)

func TestServers(t *testing.T) {
	id := symbols.ModuleID{DebugFile: "a b.so", DebugID: "44E4EC8C2F41492B9369D6B9A059577CA"}
	const text = "MODULE Linux x86_64 44E4EC8C2F41492B9369D6B9A059577CA a b.so\n"
	asked := map[string]int{}
	serve := func(name string, h http.HandlerFunc) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[name]++
			h(w, r)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	broken := serve("broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) })
	empty := serve("empty", http.NotFound)
	full := serve("full", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x/a b.so/44E4EC8C2F41492B9369D6B9A059577CA/a b.so.sym" {
			http.NotFound(w, r)
			return
		}
		z := gzip.NewWriter(w) // without saying so, as some stores do
		_, _ = io.WriteString(z, text)
		_ = z.Close()
	})
	s := NewServers([]string{broken, empty, full + "/x/"}, nil)
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	for range 3 {
		r, err := s.Fetch(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != text {
			t.Errorf("%q %v", b, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if asked["broken"] != 1 {
		t.Errorf("the broken server was asked %d times within a second", asked["broken"])
	}
	now = now.Add(2 * time.Second)
	id.DebugFile = "other.so"
	if _, err := s.Fetch(t.Context(), id); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want unavailable: one did not answer", err)
	}
	if asked["broken"] != 2 {
		t.Errorf("the broken server was asked %d times after its rest", asked["broken"])
	}
	if _, err := NewServers([]string{empty}, nil).Fetch(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v, want not found", err)
	}
}
