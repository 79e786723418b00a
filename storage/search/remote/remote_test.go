package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column"
	"mayday/storage/search/plan"
	"mayday/storage/search/remote"
)

var now = time.Date(2026, 9, 30, 0, 0, 0, 0, time.UTC)

// host serves the API over 2,500 crashes; it is busy at first.
func host(t *testing.T) *remote.Client {
	t.Helper()
	fields, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum},
		{Name: "date", Path: "date", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "product", Path: "product", Type: plan.Enum},
		{Name: "version", Path: "version", Type: plan.Enum},
		{Name: "build_id", Path: "build", Type: plan.Int, Storage: plan.Long},
	})
	if err != nil {
		t.Fatal(err)
	}
	store, err := column.Open(column.Options{Dir: t.TempDir(), Fields: fields, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var docs []search.Doc
	for n := range 2500 {
		d, err := search.NewDoc(map[string]any{"uuid": fmt.Sprintf("%08x-0000-4000-8000-000000260901", n), "date": "2026-09-29T00:00:00Z",
			"product": []string{"Game", "Tool"}[n%2], "version": fmt.Sprintf("1.%d", n%4), "build": "20260901123456"}, fields)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	if err := store.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
	busy := 1
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy > 0 {
			busy--
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		if r.URL.Path != "/api/SuperSearch/" || r.Header.Get("Auth-Token") != "secret" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		status, body, _ := search.Answer(r.Context(), store, fields, search.Request{Values: r.URL.Query(), Options: plan.Options{Now: now}})
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return &remote.Client{Base: srv.URL + "/", Token: "secret", HTTP: srv.Client(), Agent: "test"}
}

func TestHits(t *testing.T) {
	c := host(t)
	for _, most := range []int{3, 1500, 1 << 30} {
		seen := map[any]bool{}
		err := c.Hits(context.Background(), url.Values{"_columns": {"uuid"}, "_sort": {"uuid"}}, most, func(hits []map[string]any) error {
			for _, h := range hits {
				seen[h["uuid"]] = true
			}
			return nil
		})
		if err != nil || len(seen) != min(most, 2500) {
			t.Errorf("asked for %d: %d hits, %v", most, len(seen), err)
		}
	}
	err := c.Hits(context.Background(), url.Values{"_columns": {"nosuch"}}, 5, nil)
	if !fault.Is(err, fault.Malformed) || err.Error() != "the host answers 400: Bad request: BadArgumentError: Unknown field 'nosuch'" {
		t.Errorf("a bad column: %v", err)
	}
}

func TestTables(t *testing.T) {
	c := host(t)
	a, err := c.Ask(context.Background(), url.Values{"_facets": {"build_id", "_cardinality.version"}, "_aggs.product": {"version", "_cardinality.uuid"}, "_facets_size": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, table := range a.Tables(true) {
		if err := table.Write(&out, "csv", true); err != nil {
			t.Fatal(err)
		}
	}
	want := `build_id,count
20260901123456,2500
total,2500
cardinality_version,value
cardinality_version,4
product,count
Game,1250
--,1250
total,2500
product / cardinality_uuid,value
Game,1250
product / version,count
Game / 1.0,625
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func TestFormats(t *testing.T) {
	table := remote.Table{Head: []string{"a", "bb"}, Rows: [][]string{{"x|y", "1\t2"}, {"long one", "é"}}}
	tests := map[string]string{
		"table":    "a        | bb\nx|y      | 1 2\nlong one | é\n",
		"tab":      "a\tbb\nx|y\t1\\t2\nlong one\té\n",
		"csv":      "a,bb\nx|y,1\t2\nlong one,é\n",
		"json":     "[\n  {\n    \"a\": \"x|y\",\n    \"bb\": \"1\\t2\"\n  },\n  {\n    \"a\": \"long one\",\n    \"bb\": \"é\"\n  }\n]\n",
		"markdown": "| a | bb |\n| --- | --- |\n| x\\|y | 1\t2 |\n| long one | é |\n",
	}
	for format, want := range tests {
		var out bytes.Buffer
		if err := table.Write(&out, format, true); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("format %s (-want +got):\n%s", format, diff)
		}
	}
	if err := remote.CheckFormat("xml"); !fault.Is(err, fault.Invalid) {
		t.Errorf("format xml: %v", err)
	}
}
