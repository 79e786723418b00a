package opensearch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mayday/app/fault"
	"mayday/storage/search"
)

// answering is a store whose cluster is a handler.
func answering(t *testing.T, h http.HandlerFunc) *Store {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s, err := Open(Options{URL: server.URL + "/below", User: "u", Password: "p", Fields: offline(t).opts.Fields, Now: translationNow, QueryTime: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBusyCluster: what a cluster is too busy for is asked again, as often as
// is said; other errors are not.
func TestBusyCluster(t *testing.T) {
	for _, c := range []struct {
		status, tries int
		asked         int64
	}{{429, 3, 3}, {503, 2, 2}, {502, 0, 1}, {400, 3, 1}, {500, 3, 1}, {401, 3, 1}} {
		var asked atomic.Int64
		s := answering(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if user, password, _ := r.BasicAuth(); user != "u" || password != "p" || r.URL.Path != "/below/x" {
				t.Errorf("asked at %s by %s", r.URL, user)
			}
			http.Error(w, "no", c.status)
		})
		err := s.client.do(t.Context(), call{method: http.MethodGet, path: "/x", tries: c.tries}, nil)
		var api *apiError
		if !errors.As(err, &api) || api.status != c.status || asked.Load() != c.asked {
			t.Errorf("%d with %d tries: asked %d times, %v", c.status, c.tries, asked.Load(), err)
		}
	}
	var asked atomic.Int64
	s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, `{"status":"green"}`)
	})
	if err := s.client.do(t.Context(), call{method: http.MethodGet, path: "/_cluster/health", tries: 2}, nil); err != nil || asked.Load() != 2 {
		t.Errorf("a cluster that was busy once: asked %d times, %v", asked.Load(), err)
	}
}

// TestKindsOfErrors: the cluster's errors mean the same here as the embedded
// engine's.
func TestKindsOfErrors(t *testing.T) {
	nested := func(kind string) string {
		return `{"error":{"type":"search_phase_execution_exception","reason":"all shards failed","failed_shards":[{"reason":{"type":"x","caused_by":{"type":"` + kind + `","reason":"deep"}}}]}}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   fault.Kind
		says   string
	}{
		{503, nested("too_many_buckets_exception"), fault.Invalid, "too many buckets"},
		{500, nested("circuit_breaking_exception"), fault.Unavailable, "memory"},
		{500, nested("too_complex_to_determinize_exception"), fault.Invalid, "too complex"},
		{500, nested("task_cancelled_exception"), fault.Timeout, "ended the search"},
		{429, "busy", fault.Unavailable, "429"},
		{403, `{"error":"forbidden"}`, fault.Unavailable, "403"},
		{404, `{"error":{"type":"index_not_found_exception","reason":"no such index"}}`, fault.NotFound, "no such index"},
		{400, `{"error":{"type":"parsing_exception","reason":"unknown field"}}`, fault.Internal, "unknown field"},
	} {
		err := errorOf(readError(c.status, []byte(c.body)))
		if fault.Of(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d %.60s: %v (%v), want %v with %q", c.status, c.body, err, fault.Of(err), c.want, c.says)
		}
	}
	s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then a server sees its client go
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	p, err := parsed(t, s, "product=Kite")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Search(ctx, p); !fault.Is(err, fault.Canceled) {
		t.Errorf("a client that hangs up: %v", err)
	}
	s.opts.QueryTime = 100 * time.Millisecond
	if _, err := s.Search(t.Context(), p); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "search.timeout") {
		t.Errorf("a cluster that takes too long: %v", err)
	}
}

// TestBulkOutcomes: actions that the cluster was too busy for are repeated
// alone, a crash that it refuses is logged and left out.
func TestBulkOutcomes(t *testing.T) {
	var bodies []string
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/below/_bulk" {
			fmt.Fprint(w, `{"hits":{"hits":[]}}`)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(body))
		if len(bodies) == 1 {
			fmt.Fprint(w, `{"errors":true,"items":[{"index":{"status":429,"error":{"type":"rejected"}}},{"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad"}}},{"delete":{"status":404}}]}`)
			return
		}
		fmt.Fprint(w, `{"errors":false,"items":[{"index":{"status":201}}]}`)
	})
	core, logs := observer.New(zap.ErrorLevel)
	s.opts.Log = zap.New(core)
	b := s.newBulk(t.Context())
	for _, id := range []string{"first", "second"} {
		if err := b.index("socorro202639", id, &search.Doc{Date: 1, Values: make([]any, len(s.cols))}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.remove("socorro202638", "third"); err != nil {
		t.Fatal(err)
	}
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 2 || !strings.Contains(bodies[1], `"first"`) || strings.Contains(bodies[1], "second") || strings.Contains(bodies[1], "third") {
		t.Errorf("bulk requests: %q", bodies)
	}
	if logs.Len() != 1 || !strings.Contains(fmt.Sprint(logs.All()[0].ContextMap()), "second") {
		t.Errorf("logged: %v", logs.All())
	}
}
