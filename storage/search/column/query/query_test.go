package query

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mayday/storage/search"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
)

func testFields(t testing.TB) *plan.Fields {
	t.Helper()
	f, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum}, {Name: "date", Path: "date", Type: plan.Date, Storage: plan.Instant},
		{Name: "product", Path: "product", Type: plan.Enum}, {Name: "signature", Path: "signature", Storage: plan.Text},
		{Name: "address", Path: "address"}, {Name: "stack", Path: "stack", Storage: plan.Text, Parts: " | "},
		{Name: "modules", Path: "modules", Storage: plan.Semicolon}, {Name: "addons", Path: "addons"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var testEnd = time.Date(2026, 9, 28, 0, 0, 0, 0, time.UTC)

// crashes makes up documents whose values are often the same, in some, or
// missing.
func crashes(t testing.TB, fields *plan.Fields, r *rand.Rand, n int) (docs []map[string]any, made []search.Doc) {
	t.Helper()
	for i := range n {
		c := map[string]any{"uuid": fmt.Sprintf("%08x-%04x-4000-8000-000000260901", i, r.IntN(1<<16)),
			"date": testEnd.Add(-time.Duration(1+r.IntN(3_000_000)) * time.Second).Format(time.RFC3339)}
		set := func(name string, v any) {
			if r.IntN(8) > 0 {
				c[name] = v
			}
		}
		set("product", []string{"Kite", "Kite", "Kite", "Ember"}[r.IntN(4)])
		set("signature", fmt.Sprintf("f%d", int(r.ExpFloat64()*6)))
		set("address", fmt.Sprintf("0x00%06x", r.Uint64N(1<<uint(1+r.IntN(20)))))
		set("stack", fmt.Sprintf("common::f%d | g%d", r.IntN(40), r.IntN(300)))
		set("modules", strings.Repeat(fmt.Sprintf("M%d;m%d;", r.IntN(30), r.IntN(4)), r.IntN(3)))
		set("addons", [][]any{{"a"}, {"a", "b"}, {"b", "b", "c" + strconv.Itoa(r.IntN(9))}, {}}[r.IntN(4)])
		d, err := search.NewDoc(c, fields)
		if err != nil {
			t.Fatal(err)
		}
		docs, made = append(docs, c), append(made, d)
	}
	return docs, made
}

// parts puts documents into segments of different sizes and deletes some rows,
// which deleted names by crash id.
func parts(t testing.TB, fields *plan.Fields, r *rand.Rand, docs []search.Doc, deleted map[[16]byte]bool) []Part {
	t.Helper()
	var out []Part
	for len(docs) > 0 {
		n := min(len(docs), 1+r.IntN(len(docs)/3+100))
		src := segment.DocSource{}
		for i := range docs[:n] {
			src = append(src, &docs[i])
		}
		slices.SortFunc(src, func(a, b *search.Doc) int { return cmp.Compare(a.Date, b.Date) })
		data, _, err := segment.Build(src, fields.All())
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := segment.Open(data, fields.All())
		if err != nil {
			t.Fatal(err)
		}
		s.Release = func() {}
		s.Acquire()
		p := Part{Segment: s}
		if r.IntN(2) == 0 {
			p.Dead = segment.NewBitmap(n)
			for i, d := range src {
				if r.IntN(20) == 0 {
					p.Dead.Set(i)
					deleted[d.ID] = true
				}
			}
		}
		out, docs = append(out, p), docs[n:]
	}
	return out
}

func ask(t testing.TB, s *Searcher, st *State, query string) *search.Result {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	v["_results_number"] = []string{"0"}
	if !v.Has("date") {
		v["date"] = []string{">=2026-08-01", "<2026-09-28"}
	}
	p, err := plan.Parse(v, s.Table, plan.Viewer{}, plan.Options{Now: testEnd})
	if err != nil {
		t.Fatal(err)
	}
	res, _, err := s.Search(context.Background(), p, st)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func index(t testing.TB, n int) (*Searcher, *State, []map[string]any, []search.Doc, map[[16]byte]bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, uint64(n)))
	fields := testFields(t)
	docs, made := crashes(t, fields, r, n)
	deleted := map[[16]byte]bool{}
	st := &State{Parts: parts(t, fields, r, slices.Clone(made), deleted)}
	return &Searcher{Table: fields, Bytes: 64 << 20, Buckets: 1_000_000}, st, docs, made, deleted
}

// TestLargeNestedAgrees compares both ways to count values inside buckets.
func TestLargeNestedAgrees(t *testing.T) {
	few, st, _, _, _ := index(t, 20_000)
	many := &Searcher{Table: few.Table, Bytes: few.Bytes, Buckets: few.Buckets, Cells: 1}
	sparse := &Searcher{Table: few.Table, Bytes: few.Bytes, Buckets: few.Buckets, Cells: 1}
	for _, query := range []string{
		"_aggs.signature=address&_facets_size=5", "_aggs.signature=address&_facets_size=1000", "_aggs.signature=stack&_facets_size=20",
		"_aggs.signature.product=address&_facets_size=3", "_aggs.modules=address&_facets_size=7", "_aggs.addons=stack&product=Kite",
		"_histogram.date=address&_facets_size=4", "_aggs.signature=modules", "_aggs.product=signature&product=nosuch", "_aggs.address=signature&_facets_size=300",
	} {
		want := ask(t, few, st, query)
		if diff := gocmp.Diff(want, ask(t, many, st, query)); diff != "" {
			t.Errorf("%s (-arrays +bucket by bucket):\n%.2000s", query, diff)
		}
		sparse.Bytes = 2 << 20 // too little for that: by a table of pairs
		if diff := gocmp.Diff(want, ask(t, sparse, st, query)); diff != "" {
			t.Errorf("%s (-arrays +pairs):\n%.2000s", query, diff)
		}
	}
}

// TestValuesAreCounted compares facets and numbers of distinct values with a
// count of the documents, over few and most rows of the segments.
func TestValuesAreCounted(t *testing.T) {
	s, st, docs, made, deleted := index(t, 6000)
	valuesOf := func(c map[string]any, field string) []string {
		switch v := c[field].(type) {
		case string:
			if field != "modules" {
				return []string{v}
			}
			list := slices.DeleteFunc(strings.Split(strings.ToLower(v), ";"), func(s string) bool { return s == "" })
			slices.Sort(list)
			return slices.Compact(list)
		case []any:
			var list []string
			for _, one := range v {
				list = append(list, one.(string))
			}
			slices.Sort(list)
			return slices.Compact(list)
		}
		return nil
	}
	for _, filter := range []struct {
		query string
		keeps func(map[string]any) bool
	}{
		{"", func(map[string]any) bool { return true }},
		{"product=Kite", func(c map[string]any) bool { return c["product"] == "Kite" }},
		{"product=Ember", func(c map[string]any) bool { return c["product"] == "Ember" }},
		{"product=__null__", func(c map[string]any) bool { return c["product"] == nil }},
	} {
		for _, field := range []string{"product", "signature", "address", "stack", "modules", "addons"} {
			want := map[string]int64{}
			for i, c := range docs {
				if !filter.keeps(c) || deleted[made[i].ID] {
					continue
				}
				for _, v := range valuesOf(c, field) {
					want[v]++
				}
			}
			res := ask(t, s, st, filter.query+"&_facets_size=10000&_facets="+field+"&_facets=_cardinality."+field)
			got := map[string]int64{}
			last := search.Bucket{Count: 1 << 60}
			for _, b := range res.Facets[field].Buckets {
				got[b.Term.(string)] = b.Count
				if b.Count > last.Count || b.Count == last.Count && b.Term.(string) <= last.Term.(string) {
					t.Errorf("%s of %q: %v comes after %v", field, filter.query, b, last)
				}
				last = b
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %q (-want +got):\n%.1000s", field, filter.query, diff)
			}
			if n := res.Facets["cardinality_"+field].Cardinality; n != int64(len(want)) {
				text, _ := json.Marshal(res.Facets)
				t.Errorf("%s of %q: %d different ones, want %d: %.300s", field, filter.query, n, len(want), text)
			}
		}
	}
}
