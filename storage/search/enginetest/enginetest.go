// Package enginetest is the suite that every search engine must pass.
//
// It puts the same questions to an engine: those of Socorro's data set where
// that lies beside the repository, made-up ones about that set, which are
// answered once more from nothing but the description of the language (naive),
// and made-up ones over made-up crashes, whose answers a plain model of plans
// gives. It tests answers, not speed.
package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// Open makes an empty engine for a table of fields, which ends with the test.
// The engine's clock is now.
type Open func(t testing.TB, fields *plan.Fields, now func() time.Time) search.Engine

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("peer", func(t *testing.T) { peerAnswers(t, open) })
	t.Run("language", func(t *testing.T) { language(t, open) })
	t.Run("model", func(t *testing.T) { LikeModel(t, open) })
	t.Run("replace", func(t *testing.T) { replaced(t, open) })
	t.Run("cursor", func(t *testing.T) { cursors(t, open) })
	t.Run("protected", func(t *testing.T) { protected(t, open) })
	t.Run("long", func(t *testing.T) { longValues(t, open) })
	t.Run("cancel", func(t *testing.T) { canceled(t, open) })
}

// The numbers of made-up crashes and questions.
const (
	madeCrashes   = 800
	madeQuestions = 150
)

// made fills an engine and a model with the same crashes.
func made(t *testing.T, open Open, n int) (search.Engine, *model, *plan.Fields) {
	t.Helper()
	fields := madeFields(t)
	engine, m := open(t, fields, madeNow), newModel(fields)
	r := maker{rand.New(rand.NewPCG(7, 7))}
	var docs []search.Doc
	for range n {
		docs = append(docs, doc(t, fields, r.crash()))
	}
	for list := range slices.Chunk(docs, 500) {
		index(t, engine, list)
		index(t, m, list)
	}
	return engine, m, fields
}

func doc(t testing.TB, fields *plan.Fields, crash map[string]any) search.Doc {
	t.Helper()
	d, err := search.NewDoc(crash, fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func index(t *testing.T, e search.Engine, docs []search.Doc) {
	t.Helper()
	if err := e.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
}

// answer puts a request to an engine, as the API does.
func answer(engine search.Engine, fields *plan.Fields, v url.Values, permissions ...string) (int, map[string]any, error) {
	status, body, err := search.Answer(context.Background(), engine, fields, search.Request{Values: v, Viewer: plan.Viewer{Permissions: permissions},
		Options: plan.Options{Now: madeNow(), AnyAggs: true}})
	if err != nil {
		return status, nil, err
	}
	var out map[string]any
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return status, nil, err
	}
	return status, out, nil
}

// LikeModel compares an engine with the model.
func LikeModel(t *testing.T, open Open) {
	engine, m, fields := made(t, open, madeCrashes)
	r := maker{rand.New(rand.NewPCG(3, 1))}
	failed := 0
	for i := range madeQuestions {
		v := r.question(fields)
		var viewer []string
		if i%2 == 0 {
			viewer = []string{plan.ViewPII}
		}
		status, got, err := answer(engine, fields, v, viewer...)
		wantStatus, want, wantErr := answer(m, fields, v, viewer...)
		if wantErr != nil {
			t.Fatal(wantErr)
		}
		var problems []string
		switch {
		case err != nil:
			problems = append(problems, err.Error())
		case status != wantStatus:
			problems = append(problems, fmt.Sprintf("status %d, want %d: %v", status, wantStatus, got["error"]))
		default:
			diff("answer", got, want, 0, &problems)
		}
		if len(problems) > 0 {
			t.Errorf("question %d: %v\n\t%s", i, v.Encode(), strings.Join(problems, "\n\t"))
			if failed++; failed == 10 {
				t.Fatal("and so on")
			}
		}
	}
}

// crashOf makes one plain crash.
func crashOf(n int, at time.Time, signature string) map[string]any {
	return map[string]any{"uuid": fmt.Sprintf("%08x-0000-4000-8000-000000260105", n), "date_processed": at.Format(search.CanonicalDate), "signature": signature}
}

func total(t *testing.T, e search.Engine, fields *plan.Fields, query string) int64 {
	t.Helper()
	v, err := url.ParseQuery(query + "&date=>=2025-06-01&_facets_size=0")
	if err != nil {
		t.Fatal(err)
	}
	status, got, err := answer(e, fields, v)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %v, %v", query, status, got, err)
	}
	n, _ := got["total"].(json.Number).Int64()
	return n
}

// replaced indexes crashes again, in other weeks too, and deletes them.
func replaced(t *testing.T, open Open) {
	fields := madeFields(t)
	e := open(t, fields, madeNow)
	home := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC) // of the ids
	expect := func(what string, want int64, query string) {
		t.Helper()
		if got := total(t, e, fields, query); got != want {
			t.Errorf("%s: %d crashes, want %d", what, got, want)
		}
	}
	var docs []search.Doc
	for i := range 20 {
		docs = append(docs, doc(t, fields, crashOf(i, home, "first")))
	}
	index(t, e, docs)
	expect("indexed", 20, "signature=first")
	index(t, e, docs)
	expect("indexed twice", 20, "signature=first")
	index(t, e, []search.Doc{doc(t, fields, crashOf(1, home, "second")), doc(t, fields, crashOf(1, home, "third"))})
	expect("one replaced twice in a batch", 1, "signature=third")
	expect("the others", 19, "signature=first")
	id := search.FormatID(docs[1].ID)
	for i, days := range []int{-30, -60, 0, -30, 14, 0} {
		index(t, e, []search.Doc{doc(t, fields, crashOf(1, home.AddDate(0, 0, days), fmt.Sprintf("moved%d", i)))})
		expect(fmt.Sprintf("moved by %d days, by its id", days), 1, "uuid="+id)
		expect(fmt.Sprintf("moved by %d days", days), 1, fmt.Sprintf("signature=moved%d", i))
		expect(fmt.Sprintf("all, one moved by %d days", days), 20, "")
	}
	index(t, e, []search.Doc{doc(t, fields, crashOf(2, home.AddDate(0, 0, -30), "away"))})
	ids := []string{search.FormatID(docs[1].ID), search.FormatID(docs[2].ID), search.FormatID(docs[3].ID), "ffffffff-0000-4000-8000-000000260105", "no id"}
	for range 2 {
		if err := e.Delete(context.Background(), ids); err != nil {
			t.Fatal(err)
		}
		expect("after deletion", 17, "")
		expect("by the id of one deleted", 0, "uuid="+id)
	}
	id = search.FormatID(docs[10].ID)
	for query, want := range map[string]int64{"uuid=" + id: 1, "uuid=!" + id: 16, "uuid=" + strings.ToUpper(id): 0, "uuid=bp-" + id: 0,
		"uuid==" + id:     0, // the field takes no operators
		"uuid=" + id[:35]: 0, "uuid=": 0, "uuid=__null__": 0, "uuid=!__null__": 17, "uuid=" + id + "&uuid=" + search.FormatID(docs[11].ID): 2} {
		expect(query, want, query)
	}
}

// cursors walks through all hits in some orders.
func cursors(t *testing.T, open Open) {
	engine, m, fields := made(t, open, 300)
	for _, sort := range []string{"", "date", "-uptime", "signature", "-tags", "modules", "ratio", "startup", "-uuid", "never", "-seen"} {
		v := url.Values{"date": {">=2025-10-01"}, "_columns": {"uuid"}, "_results_number": {"1000"}, "_sort": {sort}, "_facets_size": {"0"}}
		_, whole, err := answer(m, fields, v)
		if err != nil {
			t.Fatal(err)
		}
		want := whole["hits"].([]any)
		var got []any
		v["_results_number"] = []string{"70"}
		v["_cursor"] = []string{"*"}
		cursor := ""
		for range len(want)/70 + 2 {
			status, page, err := answer(engine, fields, v)
			if err != nil || status != http.StatusOK {
				t.Fatalf("sort %q: %d %v, %v", sort, status, page, err)
			}
			got = append(got, page["hits"].([]any)...)
			next, _ := page["cursor"].(string)
			if next == "" {
				break
			}
			cursor = next
			v["_cursor"] = []string{cursor}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("sort %q: %d hits by cursor are not the %d at once", sort, len(got), len(want))
		}
		v["_sort"] = []string{"-version"}
		for _, bad := range []string{cursor, "zzz", cursor[:len(cursor)/2]} {
			v["_cursor"] = []string{bad}
			if status, body, err := answer(engine, fields, v); bad != "" && (status != http.StatusBadRequest || err != nil) {
				t.Errorf("foreign cursor %.20q: %d %.200v, %v", bad, status, body, err)
			}
		}
	}
}

// protected asks for what the viewer may not read.
func protected(t *testing.T, open Open) {
	fields := madeFields(t)
	e := open(t, fields, madeNow)
	c := crashOf(1, madeNow().Add(-time.Hour), "plain")
	c["comments"] = "confidential remark"
	index(t, e, []search.Doc{doc(t, fields, c)})
	for _, query := range []string{"comments=confidential", "_facets=comments", "_columns=comments&_columns=uuid", "_sort=comments", "_aggs.product=comments", "_aggs.comments=product", "_facets=_cardinality.comments", "q=confidential", "q=conf*"} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		status, got, err := answer(e, fields, v)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v, %v", query, status, got, err)
		}
		delete(got, "warnings") // they may name the field
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "confidential") || strings.Contains(string(text), "comments") {
			t.Errorf("%s shows a protected field: %s", query, text)
		}
		if n := got["total"]; strings.HasPrefix(query, "q=") != (n == json.Number("0")) {
			t.Errorf("%s finds %v crashes", query, n)
		}
	}
}

// longValues indexes what is at the limits of values.
func longValues(t *testing.T, open Open) {
	fields := madeFields(t)
	e := open(t, fields, madeNow)
	c := crashOf(1, madeNow().Add(-time.Hour), strings.Repeat("é", 40_000))
	c["proto_signature"] = strings.Repeat("frame | ", 10_000)
	c["address"] = strings.Repeat("😀", 20_000) // four bytes a character
	c["modules"] = strings.Repeat("Ⱥ", 20_000) // lower-case is longer
	c["tags"] = []any{strings.Repeat("x", 100_000), "y"}
	index(t, e, []search.Doc{doc(t, fields, c)})
	for _, query := range []string{"signature=~éé", "proto_signature=frame", "address=^😀", "tags=y", "modules=!__null__", "modules=^ⱥ", "tags=^xxx"} {
		if n := total(t, e, fields, query); n != 1 {
			t.Errorf("%s finds %d crashes", query, n)
		}
	}
}

// canceled asks with a request that has ended.
func canceled(t *testing.T, open Open) {
	fields := madeFields(t)
	e := open(t, fields, madeNow)
	index(t, e, []search.Doc{doc(t, fields, crashOf(1, madeNow().Add(-time.Hour), "plain"))})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	status, body, err := search.Answer(ctx, e, fields, search.Request{Values: url.Values{}, Options: plan.Options{Now: madeNow()}})
	if status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("a search whose request has ended: %d %s, %v", status, body, err)
	}
}
