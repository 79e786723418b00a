//go:build unix

package column

import (
	"context"
	"net/url"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// benchDocs are made-up crashes; the figures of a million are TestMillion's.
func benchDocs(b *testing.B, n int) (*plan.Fields, []search.Doc) {
	b.Helper()
	fields := crashFields(b)
	m := newCrashMaker(fields, n)
	docs := make([]search.Doc, n)
	for i := range docs {
		docs[i] = m.next()
	}
	return fields, docs
}

func BenchmarkIndex(b *testing.B) {
	fields, docs := benchDocs(b, 4096)
	s, err := Open(Options{Dir: b.TempDir(), Fields: fields, Now: func() time.Time { return makerEnd }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if err := s.Index(context.Background(), docs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(docs)), "µs/doc")
}

func BenchmarkSearch(b *testing.B) {
	fields, docs := benchDocs(b, 20_000)
	s, err := Open(Options{Dir: b.TempDir(), Fields: fields, Now: func() time.Time { return makerEnd }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Index(context.Background(), docs); err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct{ name, query string }{
		{"facet", "_facets=signature"},
		{"nested", "_aggs.signature=version&_aggs.signature=platform"},
		{"histogram", "_histogram.date=product"},
		{"cardinality", "_facets=_cardinality.install_time"},
		{"contains", "proto_signature=~CacheImage&_facets_size=0"},
		{"regexp", "proto_signature=@.*Worker[A-Z][a-z]*.*&_facets_size=0"},
		{"words", "proto_signature=collectorsocket&_facets_size=0"},
		{"page", "_sort=-date&_results_number=50&_facets_size=0"},
	} {
		v, _ := url.ParseQuery(q.query)
		v["date"] = []string{">=2026-03-30", "<2026-09-28"}
		p, err := plan.Parse(v, fields, plan.Viewer{}, plan.Options{Now: makerEnd})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Search(context.Background(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
