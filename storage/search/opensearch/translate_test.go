package opensearch

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

func translationNow() time.Time { return time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC) }

// offline is a store of a small field table whose cluster nobody asks.
func offline(t testing.TB) *Store {
	t.Helper()
	fields, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum, Storage: plan.Keyword},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant},
		{Name: "product", Path: "product", Type: plan.Enum, Storage: plan.Text, Whole: true},
		{Name: "signature", Path: "signature", Type: plan.Str, Storage: plan.Text},
		{Name: "reason", Path: "reason", Type: plan.Str, Storage: plan.Keyword},
		{Name: "app.notes", Path: "app_notes", Type: plan.Str, Storage: plan.Semicolon},
		{Name: "uptime", Path: "uptime", Type: plan.Int, Storage: plan.Long, Histogram: true},
		{Name: "load", Path: "load", Type: plan.Float, Storage: plan.Double},
		{Name: "hang", Path: "hang", Type: plan.Bool, Storage: plan.Boolean},
		{Name: "comments", Path: "user_comments", Type: plan.Str, Storage: plan.Text, Permission: plan.ViewPII},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{URL: "http://127.0.0.1:1", Fields: fields, Now: translationNow})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func parsed(t testing.TB, s *Store, query string) (*plan.Plan, error) {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Parse(v, s.opts.Fields, plan.Viewer{}, plan.Options{Now: translationNow()})
}

// TestTranslation compares the filters of queries with what the cluster should
// be asked; the range of dates that each begins with is left out.
func TestTranslation(t *testing.T) {
	s := offline(t)
	for _, c := range []struct{ query, want string }{
		{"product=Kite", `{"term":{"product.full":"Kite"}}`},
		{"product=Kite&product=Mail", `{"bool":{"minimum_should_match":1,"should":[{"terms":{"product.full":["Kite","Mail"]}}]}}`},
		{"product=!Kite", `{"bool":{"must_not":[{"term":{"product.full":"Kite"}}]}}`},
		{"signature=Js Gc", `{"terms":{"signature":["js","gc"]}}`},
		{"signature==js::Gc", `{"term":{"signature.full":"js::Gc"}}`},
		{"signature=!=js::Gc", `{"bool":{"must_not":[{"term":{"signature.full":"js::Gc"}}]}}`},
		{"signature=~a*b?c", `{"wildcard":{"signature.full":{"value":"*a*b?c*"}}}`},
		{`signature=~a\*b`, `{"wildcard":{"signature.full":{"value":"*a\\*b*"}}}`},
		{"signature=^js::", `{"prefix":{"signature.full":{"value":"js::"}}}`},
		{"signature=$Gc", `{"wildcard":{"signature.full":{"value":"*Gc"}}}`},
		{"signature=@js::.*", `{"regexp":{"signature.full":{"flags":"ALL","max_determinized_states":10000,"value":"js::.*"}}}`},
		{"signature=__null__", `{"bool":{"must_not":[{"exists":{"field":"signature.full"}}]}}`},
		{"signature=!__null__", `{"bool":{"must_not":[{"bool":{"must_not":[{"exists":{"field":"signature.full"}}]}}]}}`},
		{"reason==SIGSEGV", `{"term":{"reason":"SIGSEGV"}}`},
		{"app.notes=GPU;X11", `{"terms":{"app__notes__tokens":["gpu","x11"]}}`},
		{"app.notes=__null__", `{"bool":{"must_not":[{"bool":{"minimum_should_match":1,"should":[{"exists":{"field":"app__notes__tokens"}},{"term":{"__blank":"app__notes"}}]}}]}}`},
		{"uptime=>=10&uptime=<20", `{"bool":{"filter":[{"range":{"uptime":{"gte":10}}},{"range":{"uptime":{"lte":19}}}]}}`},
		{"uptime=5", `{"term":{"uptime":5}}`},
		{"load=>0.5", `{"range":{"load":{"gt":0.5}}}`},
		{"hang=true", `{"term":{"hang":true}}`},
		{"comments=~secret", `[]`}, // nobody who may not read it filters by it
	} {
		p, err := parsed(t, s, strings.NewReplacer("=~", "=%7E", "+", "%2B", " ", "+", ";", "%3B").Replace(c.query))
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		q, err := s.filters.query(p, s.date)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		var got, want any
		list := q["bool"].(object)["filter"].([]any)[1:]
		if body, err := json.Marshal(list); err != nil || json.Unmarshal(body, &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		if _, many := want.([]any); !many {
			want = []any{want}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", c.query, d)
		}
	}
}

// TestRefusals: what the cluster would refuse is refused before, with the name
// of the parameter.
func TestRefusals(t *testing.T) {
	s := offline(t)
	for _, query := range []string{`q="` + strings.Repeat("a+", 70) + `"`} {
		p, err := parsed(t, s, query)
		if err != nil {
			t.Fatalf("%.40s: %v", query, err)
		}
		_, err = s.filters.query(p, s.date)
		var bad *plan.Error
		if !errors.As(err, &bad) || !fault.Is(err, fault.Invalid) || !strings.HasPrefix(query, bad.Param) {
			t.Errorf("%.40s: %v", query, err)
		}
	}
}

// FuzzTranslation: any query that the language takes is a request that can be
// written, or an error in its own words.
func FuzzTranslation(f *testing.F) {
	for _, seed := range []string{"signature=%7Ea*b&_facets=product", "q=%22lost+device%22*+-x&_aggs.product=version", "uptime=>=3&_sort=-uptime&_cursor=*",
		"product=!Kite&product=a&app.notes=x%3By", "load=<1e308&load=>-1e308", "_histogram.uptime=product&_histogram_interval.uptime=10", "date=>=-3d&_facets=_cardinality.uptime"} {
		f.Add(seed)
	}
	s := offline(f)
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, err := plan.Parse(v, s.opts.Fields, plan.Viewer{}, plan.Options{Now: translationNow()})
		if err != nil {
			return
		}
		body, indices, err := s.Explain(p)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		text, err := json.Marshal(body)
		if err != nil || len(indices) == 0 {
			t.Fatalf("%q: %v, indices %q", query, err, indices)
		}
		if bytes.Contains(text, []byte("comments")) {
			t.Fatalf("%q asks for a field that the viewer may not read: %s", query, text)
		}
	})
}

func TestCursor(t *testing.T) {
	s := offline(t)
	order := []plan.Order{{Field: s.opts.Fields.Get("uptime"), Desc: true}, {Field: s.opts.Fields.Get("signature")}}
	keys := []json.RawMessage{json.RawMessage("12"), json.RawMessage(`"a"`), json.RawMessage("-9223372036854775808"), json.RawMessage("7")}
	back, err := readCursor(cursorOf(order, keys), order)
	if err != nil || cmp.Diff(keys, back) != "" {
		t.Errorf("cursor comes back as %q, %v", back, err)
	}
	for name, cursor := range map[string]string{
		"of another order": cursorOf(order[:1], keys),
		"too few keys":     cursorOf(order, keys[:3]),
		"a key is a list":  cursorOf(order, []json.RawMessage{keys[0], json.RawMessage("[1]"), keys[2], keys[3]}),
		"id is no number":  cursorOf(order, []json.RawMessage{keys[0], keys[1], keys[1], keys[3]}),
		"id is past int64": cursorOf(order, []json.RawMessage{keys[0], keys[1], json.RawMessage("9223372036854775808"), keys[3]}),
		"no base64":        "*",
		"no JSON":          base64.RawURLEncoding.EncodeToString([]byte("{")),
	} {
		var bad *plan.Error
		if _, err := readCursor(cursor, order); !errors.As(err, &bad) || bad.Param != "_cursor" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzCursor: a cursor is refused, or its keys can go into a request.
func FuzzCursor(f *testing.F) {
	s := offline(f)
	order := []plan.Order{{Field: s.opts.Fields.Get("uptime")}}
	f.Add(cursorOf(order, []json.RawMessage{json.RawMessage("12"), json.RawMessage("1"), json.RawMessage("2")}))
	f.Add("e30")
	f.Fuzz(func(t *testing.T, cursor string) {
		keys, err := readCursor(cursor, order)
		if err != nil {
			return
		}
		if _, err := json.Marshal(keys); err != nil || len(keys) != 3 {
			t.Fatalf("%q gives %q: %v", cursor, keys, err)
		}
	})
}

// FuzzReply: whatever a server answers, reading it ends in an answer or an
// error.
func FuzzReply(f *testing.F) {
	f.Add("_facets=product&_facets=_cardinality.uptime", `{"hits":{"total":{"value":3},"hits":[{"_source":{"product":["a","b"],"date__us":1},"sort":[1,2,3]}]},"aggregations":{"agg0":{"buckets":[{"key":"a","doc_count":2,"agg0":{"buckets":[]}}],"doc_count_error_upper_bound":0},"agg1":{"value":3}}}`)
	f.Add("_histogram.uptime=product", `{"aggregations":{"agg0":{"buckets":[{"key":1e300,"doc_count":9,"agg0":{"buckets":[{"key":null}]}}]}}}`)
	f.Add("_cursor=*", `{"hits":{"hits":[{"_source":null}]},"_shards":{"failures":[{"index":"x","reason":{"type":"a","caused_by":{}}}]}}`)
	s := offline(f)
	f.Fuzz(func(t *testing.T, asked, answer string) {
		v, err := url.ParseQuery(asked)
		if err != nil {
			return
		}
		p, err := plan.Parse(v, s.opts.Fields, plan.Viewer{}, plan.Options{Now: translationNow()})
		if err != nil {
			return
		}
		q := &query{s: s, plan: p, failed: map[string]bool{}, res: &search.Result{}}
		r := new(reply)
		d := json.NewDecoder(strings.NewReader(answer))
		d.UseNumber()
		if d.Decode(r) != nil {
			return
		}
		_ = q.failures(r) // an error is as good as none here
		q.hits(r)
		for i := range p.Aggs {
			facet(q.read(&p.Aggs[i], r.Aggs[nameOf(i)], sizes{size: 10}))
		}
	})
}
