package column

import (
	"bytes"
	"context"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// holding lists the files below dir that hold a text.
func holding(t testing.TB, dir, text string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDeletedValuesLeaveTheDisk plants a text in one crash of many, with a word
// index, and looks for it in every file after the crash is deleted.
func TestDeletedValuesLeaveTheDisk(t *testing.T) {
	const planted = "plantedwordofsomebody"
	ctx := context.Background()
	s := openTest(t, t.TempDir())
	defer s.Close()
	var docs []search.Doc
	for n := range 3000 {
		more := map[string]any{"signature": "f" + strings.Repeat("x", n%50) + string(rune('a'+n%26))}
		if n == 77 {
			more["signature"], more["addons"] = "it was "+planted, []any{planted}
		}
		docs = append(docs, testDoc(t, s.opts.Fields, crash(n, "2026-09-02T00:00:00Z", more)))
	}
	if err := s.Index(ctx, docs); err != nil {
		t.Fatal(err)
	}
	s.indexWords(ctx)
	if len(holding(t, s.opts.Dir, planted)) == 0 || ask(t, s, "signature="+planted).Total != 1 {
		t.Fatal("the planted text is nowhere: the test says nothing")
	}
	if err := s.Delete(ctx, []string{"0000004d-0000-4000-8000-000000260901"}); err != nil {
		t.Fatal(err)
	}
	if ask(t, s, "signature="+planted).Total != 0 {
		t.Error("a deleted crash is found")
	}
	mergeAll(t, s)
	s.indexWords(ctx)
	if files := holding(t, s.opts.Dir, planted); len(files) > 0 || s.Count() != 2999 {
		t.Errorf("the text is still in %v; %d crashes", files, s.Count())
	}
}

// TestQuarantineIsEmptied keeps broken files for a day, not longer: they hold
// values that may have been deleted since.
func TestQuarantineIsEmptied(t *testing.T) {
	s := openTest(t, t.TempDir())
	defer s.Close()
	dir := filepath.Join(s.opts.Dir, "quarantine")
	if err := os.MkdirAll(filepath.Join(dir, "index-7"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old.seg": 25 * time.Hour, "new.seg": time.Hour, "index-7": 48 * time.Hour} {
		path := filepath.Join(dir, name)
		if !strings.HasPrefix(name, "index") {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, time.Time{}, testNow.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	s.emptyQuarantine()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "new.seg" {
		t.Errorf("left in quarantine: %v, %v", left, err)
	}
}

// FuzzSearch puts any parameters to a small index: an answer or an error that
// names a parameter or limit, soon, and nothing of a field that the viewer may
// not read.
func FuzzSearch(f *testing.F) {
	for _, q := range []string{"signature=@f.*<1-9>~(a)&_facets=signature", "q=%22secret+words%22+-f1*", "comments=~sec&_facets=comments&_aggs.comments=signature&_sort=comments&_columns=comments",
		"_aggs.signature=_histogram.uptime&_histogram_interval.uptime=0.5&_facets=_cardinality.comments", "modules=~%2A%3F&modules=!app.exe/1&addons=@%22a%22|b", "_cursor=*&_sort=-ratio&_sort=startup&_results_number=3",
		"ratio=>=1e300&ratio=<NaN&uptime=!5&startup=__true__", "date=>=-30d&date=<2026-09-09&version=1.0b&product=!=Game&uuid=00000001-0000-4000-8000-000000260901"} {
		f.Add(q)
	}
	list := append([]plan.Field{}, testFields(f).All()...)
	fields, err := plan.NewFields(append(list, plan.Field{Name: "comments", Path: "comments", Storage: plan.Text, Permission: plan.ViewPII}))
	if err != nil {
		f.Fatal(err)
	}
	s, err := Open(Options{Dir: f.TempDir(), Fields: fields, Now: func() time.Time { return testNow }, QueryTime: 5 * time.Second, QueryBytes: 8 << 20, Buckets: 5000})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	for seg := range 3 {
		var docs []search.Doc
		for n := range 40 {
			docs = append(docs, testDoc(f, fields, crash(100*seg+n, "2026-09-2"+string(rune('0'+seg))+"T00:00:00Z", map[string]any{"comments": "topsecret words", "ratio": float64(n) / 8, "addons": []any{"a", "b"}})))
		}
		if err := s.Index(context.Background(), docs); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, _ := url.ParseQuery(text)
		p, err := plan.Parse(v, fields, plan.Viewer{}, plan.Options{Now: testNow, AnyAggs: true})
		if err != nil {
			return
		}
		total := func(p *plan.Plan) int64 {
			res, err := s.Search(context.Background(), p)
			if err != nil {
				if k := fault.Of(err); k != fault.Invalid && k != fault.TooLarge && k != fault.Timeout {
					t.Fatalf("%q: %v", text, err)
				}
				return -1
			}
			if res.Facets["comments"] != nil || res.Facets["cardinality_comments"] != nil {
				t.Fatalf("%q counts a protected field", text)
			}
			for _, h := range res.Hits {
				if _, there := h["comments"]; there {
					t.Fatalf("%q shows a protected field", text)
				}
			}
			return res.Total
		}
		n := total(p)
		// Whatever is asked of the protected field makes no difference.
		for _, probe := range []string{"~topsecret", "!~topsecret", "__null__"} {
			v["comments"] = []string{probe}
			other, err := plan.Parse(v, fields, plan.Viewer{}, plan.Options{Now: testNow, AnyAggs: true})
			if err == nil && total(other) != n {
				t.Fatalf("%q: %s on a protected field changes the count", text, probe)
			}
		}
	})
}
