package column

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column/query"
	"mayday/storage/search/plan"
)

func testFields(t testing.TB) *plan.Fields {
	t.Helper()
	f, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "signature", Path: "signature", Storage: plan.Text},
		{Name: "product", Path: "product", Type: plan.Enum, Storage: plan.Text, Whole: true},
		{Name: "version", Path: "version", Type: plan.Enum},
		{Name: "proto_signature", Path: "proto_signature", Storage: plan.Text, Parts: " | "},
		{Name: "modules", Path: "modules", Storage: plan.Semicolon},
		{Name: "addons", Path: "addons"},
		{Name: "uptime", Path: "uptime", Type: plan.Int, Storage: plan.Long, Histogram: true},
		{Name: "ratio", Path: "ratio", Type: plan.Float, Storage: plan.Double, Histogram: true},
		{Name: "startup", Path: "startup", Type: plan.Bool, Storage: plan.Boolean},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var testNow = time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC)

// crash makes a processed crash; more overrides.
func crash(n int, date string, more map[string]any) map[string]any {
	c := map[string]any{
		"uuid":           fmt.Sprintf("%08x-0000-4000-8000-000000260901", n),
		"date_processed": date, "signature": fmt.Sprintf("ns%d::Fn%d", n%7, n%13), "product": "Game", "version": fmt.Sprintf("1.%d", n%3),
		"proto_signature": fmt.Sprintf("ns%d::Fn%d | base::Run | main%d", n%7, n%13, n%2),
		"modules":         fmt.Sprintf("App.exe/%d;libc.so/1", n%5), "uptime": n % 100, "startup": n%4 == 0,
	}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func testDoc(t testing.TB, fields *plan.Fields, processed map[string]any) search.Doc {
	t.Helper()
	d, err := search.NewDoc(processed, fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Fields: testFields(t), Now: func() time.Time { return testNow }, Secret: []byte("test"), wordRows: 2048})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mergeAll merges until nothing is left to merge.
func mergeAll(t testing.TB, s *Store) {
	t.Helper()
	for again := true; again; {
		var err error
		if again, err = s.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func ask(t testing.TB, s *Store, query string) *search.Result {
	t.Helper()
	res, err := try(s, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return res
}

func try(s *Store, query string) (*search.Result, error) {
	v, _ := url.ParseQuery(query)
	if v.Get("date") == "" {
		v["date"] = []string{">=2026-01-01", "<2026-12-01"}
	}
	p, err := plan.Parse(v, s.opts.Fields, plan.Viewer{}, plan.Options{Now: testNow})
	if err != nil {
		return nil, err
	}
	return s.Search(context.Background(), p)
}

// facets writes one facet as JSON.
func facets(t testing.TB, res *search.Result, name string) string {
	t.Helper()
	b, err := json.Marshal(res.Facets[name])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReplaceAcrossWeeksAndReopen(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	ctx := context.Background()
	index := func(crashes ...map[string]any) {
		t.Helper()
		var docs []search.Doc
		for _, c := range crashes {
			docs = append(docs, testDoc(t, s.opts.Fields, c))
		}
		if err := s.Index(ctx, docs); err != nil {
			t.Fatal(err)
		}
	}
	index(crash(1, "2026-09-01T10:00:00.000001+00:00", nil), crash(2, "2026-09-02T10:00:00+00:00", nil), crash(3, "2026-09-03T10:00:00.5+00:00", nil))
	index(crash(2, "2026-09-20T10:00:00+00:00", map[string]any{"version": "2.0"})) // another week
	index(crash(3, "2026-09-03T10:00:00.5+00:00", map[string]any{"version": "2.0"}), crash(3, "2026-09-03T10:00:00.5+00:00", map[string]any{"version": "3.0"}))
	check := func(when string) {
		t.Helper()
		res := ask(t, s, "_facets=version&_sort=uuid&_columns=version&_columns=date&_columns=addons")
		want := []search.Hit{
			{"version": "1.1", "date": "2026-09-01T10:00:00.000001+00:00", "addons": nil},
			{"version": "2.0", "date": "2026-09-20T10:00:00+00:00", "addons": nil},
			{"version": "3.0", "date": "2026-09-03T10:00:00.5+00:00", "addons": nil},
		}
		if d := cmp.Diff(want, res.Hits); d != "" || res.Total != 3 {
			t.Errorf("%s: total %d, hits (-want +got):\n%s", when, res.Total, d)
		}
		if got, want := facets(t, res, "version"), `[{"term":"1.1","count":1},{"term":"2.0","count":1},{"term":"3.0","count":1}]`; got != want {
			t.Errorf("%s: facets %s, want %s", when, got, want)
		}
	}
	check("before")
	if _, err := Open(Options{Dir: dir, Fields: s.opts.Fields}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second owner got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Index(ctx, []search.Doc{testDoc(t, s.opts.Fields, crash(9, "2026-09-01T00:00:00Z", nil))}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("indexing after Close: %v", err)
	}
	s = openTest(t, dir)
	defer s.Close()
	check("after reopening")
	if err := s.Delete(ctx, []string{"00000002-0000-4000-8000-000000260901", "not an id", "ffffffff-0000-4000-8000-000000260901"}); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(); n != 2 || ask(t, s, "").Total != 2 {
		t.Errorf("%d documents after a delete, want 2", n)
	}
	if dropped, err := s.DropWeeks("2026/38"); err != nil || dropped == 0 || s.Count() != 0 {
		t.Errorf("dropped %d segments, %v; %d documents left", dropped, err, s.Count())
	}
	left, _ := filepath.Glob(filepath.Join(dir, "2026", "*", "*"))
	if len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestCursorGoesThroughEverything(t *testing.T) {
	s := openTest(t, t.TempDir())
	defer s.Close()
	var docs []search.Doc
	for n := range 500 {
		docs = append(docs, testDoc(t, s.opts.Fields, crash(n, fmt.Sprintf("2026-09-%02dT%02d:00:00Z", 1+n%28, n%24), nil)))
	}
	if err := s.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
	for _, order := range []string{"", "&_sort=-date", "&_sort=uptime&_sort=-uuid", "&_sort=-signature", "&_sort=startup", "&_sort=-modules"} {
		seen := map[any]bool{}
		cursor, pages := "*", 0
		for cursor != "" {
			res := ask(t, s, "_facets_size=0&_results_number=33&_columns=uuid&_cursor="+cursor+order)
			for _, h := range res.Hits {
				if seen[h["uuid"]] {
					t.Fatalf("order %q gives %v twice", order, h["uuid"])
				}
				seen[h["uuid"]] = true
			}
			cursor = res.Cursor
			pages++
		}
		if len(seen) != 500 || pages != 16 {
			t.Errorf("order %q: %d hits on %d pages, want 500 on 16", order, len(seen), pages)
		}
	}
	if _, err := try(s, "_cursor=AAAA"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a forged cursor got %v", err)
	}
}

func TestLimits(t *testing.T) {
	s := openTest(t, t.TempDir())
	defer s.Close()
	var docs []search.Doc
	for n := range 300 {
		docs = append(docs, testDoc(t, s.opts.Fields, crash(n, "2026-09-05T00:00:00Z", nil)))
	}
	if err := s.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
	s.searcher.Buckets = 10
	if _, err := try(s, "_facets=uuid"); !fault.Is(err, fault.Invalid) {
		t.Errorf("too many buckets: %v", err)
	}
	s.searcher.Buckets = 1000
	s.searcher.Bytes = 100
	if _, err := try(s, "_facets=uuid"); !fault.Is(err, fault.TooLarge) {
		t.Errorf("too much memory: %v", err)
	}
	s.searcher.Bytes = 1 << 20
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, err := plan.Parse(url.Values{}, s.opts.Fields, plan.Viewer{}, plan.Options{Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Search(ctx, p); !fault.Is(err, fault.Canceled) {
		t.Errorf("a cancelled search: %v", err)
	}
	s.opts.QueryTime = time.Nanosecond
	if _, err := s.Search(context.Background(), p); !fault.Is(err, fault.Timeout) {
		t.Errorf("a late search: %v", err)
	}
}

func TestBrokenSegmentIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	for _, day := range []string{"2026-09-02", "2026-09-22"} {
		if err := s.Index(context.Background(), []search.Doc{testDoc(t, s.opts.Fields, crash(int(day[8]), day+"T00:00:00Z", nil))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "2026", "35", "*.seg"))
	if len(files) != 1 {
		t.Fatalf("segments of the week: %v", files)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	defer s.Close()
	res := ask(t, s, "")
	if diff := cmp.Diff([]search.Error{{Type: "missing_index", Index: "socorro202635"}}, res.Errors); diff != "" || res.Total != 1 {
		t.Errorf("total %d, errors (-want +got):\n%s", res.Total, diff)
	}
	if diff := cmp.Diff([]string{"2026/35"}, s.Broken()); diff != "" {
		t.Errorf("broken weeks (-want +got):\n%s", diff)
	}
	if res := ask(t, s, "date=>=2026-09-20&date=<2026-09-30"); len(res.Errors) != 0 {
		t.Errorf("a query of other weeks has errors %v", res.Errors)
	}
}

// TestValuesOfTheSameHash gives values of one segment, or of two, the same hash:
// counts must stay exact.
func TestValuesOfTheSameHash(t *testing.T) {
	for name, spoil := range map[string]func(v int, h uint64) uint64{
		"all in both segments": func(int, uint64) uint64 { return 7 },
		"across segments":      func(v int, _ uint64) uint64 { return uint64(v) * 0x9e3779b97f4a7c15 }, // by place, whatever the value
	} {
		s := openTest(t, t.TempDir())
		for seg := range 2 {
			var docs []search.Doc
			for n := range 300 {
				docs = append(docs, testDoc(t, s.opts.Fields, crash(1000*seg+n, "2026-09-02T00:00:00Z", map[string]any{"signature": fmt.Sprintf("f%d", (n+seg*40)%90)})))
			}
			if err := s.Index(context.Background(), docs); err != nil {
				t.Fatal(err)
			}
		}
		queries := []string{"_facets=signature&_facets_size=7", "_facets=signature&_facets_size=1000", "_aggs.signature=version", "_facets=_cardinality.signature"}
		var want []string
		for _, q := range queries {
			want = append(want, answerOf(t, s, q))
		}
		s.searcher.Values.Forget(nil) // the tables were made of good hashes
		for _, l := range s.snap.segs {
			for i := range s.fields {
				if c := l.Cols[i]; c != nil && s.fields[i].Name == "signature" {
					hashes := make([]uint64, c.Dict.N)
					for v := range hashes {
						hashes[v] = spoil(v, c.Dict.Hashes[v])
					}
					c.Dict.Hashes = hashes
				}
			}
		}
		for i, q := range queries {
			if got := answerOf(t, s, q); got != want[i] {
				t.Errorf("%s: %s: %s, want %s", name, q, got, want[i])
			}
		}
		s.Close()
	}
}

func answerOf(t *testing.T, s *Store, query string) string {
	b, err := json.Marshal(ask(t, s, query).Facets)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCardinalityPastTheMemoryBound counts by HyperLogLog when the exact way
// needs too much, and says so; with the memory it is exact and says nothing.
func TestCardinalityPastTheMemoryBound(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	var docs []search.Doc
	for n := range 40_000 {
		docs = append(docs, testDoc(t, s.opts.Fields, crash(n, "2026-09-02T00:00:00Z", map[string]any{"uptime": int64(n) * 1_000_003, "signature": fmt.Sprint("f", n%17000)})))
	}
	if err := s.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, memory := range []int64{64 << 20, 150_000} {
		s, err := Open(Options{Dir: dir, Fields: testFields(t), Now: func() time.Time { return testNow }, QueryBytes: memory})
		if err != nil {
			t.Fatal(err)
		}
		for query, want := range map[string]float64{"_facets=_cardinality.uptime": 40_000, "uptime=<10000000000&_facets=_cardinality.uptime": 10_000} {
			res := ask(t, s, query)
			got := float64(res.Facets["cardinality_uptime"].Cardinality)
			switch off := got/want - 1; {
			case memory > 1<<20 && (got != want || len(res.Warnings) > 0):
				t.Errorf("%s with memory: %v, want %v; warnings %q", query, got, want, res.Warnings)
			case memory < 1<<20 && (off > .02 || off < -.02):
				t.Errorf("%s without memory: %v, want about %v", query, got, want)
			case memory < 1<<20 && want == 40_000 && (len(res.Warnings) != 1 || got == want):
				t.Errorf("%s without memory: %v, warnings %q", query, got, res.Warnings)
			}
		}
		s.Close()
	}
}

// TestQueryEndsWithItsRequest cancels a query while it runs.
func TestQueryEndsWithItsRequest(t *testing.T) {
	s := openTest(t, t.TempDir())
	defer s.Close()
	for seg := range 40 {
		var docs []search.Doc
		for n := range 500 {
			docs = append(docs, testDoc(t, s.opts.Fields, crash(1000*seg+n, "2026-09-02T00:00:00Z", map[string]any{"signature": fmt.Sprint("f", n, seg)})))
		}
		if err := s.Index(context.Background(), docs); err != nil {
			t.Fatal(err)
		}
	}
	p, err := plan.Parse(url.Values{"date": {">=2026-09-01"}, "signature": {"~f1"}, "_aggs.signature": {"version"}}, s.opts.Fields, plan.Viewer{}, plan.Options{Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	for after := range 60 { // the request ends at this look of the query at its context
		ctx := &countdown{Context: context.Background(), left: after}
		_, _, err := s.searcher.Search(ctx, p, &query.State{Parts: s.snap.parts()})
		if errors.Is(err, context.Canceled) {
			ended++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if ended < 60 {
		t.Errorf("of 60 cancelled queries %d ended", ended)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Search(ctx, p); fault.Of(err) != fault.Canceled {
		t.Errorf("a request that is over: %v", err)
	}
}

// countdown is a context that ends when it has been asked left times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}
