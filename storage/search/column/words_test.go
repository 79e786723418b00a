package column

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mayday/storage/search"
)

func TestWordIndexAnswersLikeScanning(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	var docs []search.Doc
	for n := range 3000 {
		docs = append(docs, testDoc(t, s.opts.Fields, crash(n, "2026-09-02T00:00:00Z", map[string]any{
			"signature":       fmt.Sprintf("space%d::Class%d::method", n%50, n),
			"proto_signature": fmt.Sprintf("space%d::Class%d | Loop::Run%d | é%d", n%50, n, n%11, n%5),
		})))
	}
	ctx := context.Background()
	if err := s.Index(ctx, docs); err != nil {
		t.Fatal(err)
	}
	queries := []string{"signature=class77", "signature=class77 space3", "signature=!method", "signature=nosuch", "proto_signature=run10", "proto_signature=é4 class5", "signature=||",
		"q=space3::Class3", `q="class3 method"`, `q="method class3"`, `q="class77 loop run0"`, `q="class77 run0"`, `q="run10 é4"`, "q=class77* -class770", `q="space7 class7"*`, "q=game", "q=1.2", "q=App.exe/3", "q=app.exe*", "q=::", "q=00000007-0000-4000-8000-000000260901"}
	totals := func() (out []int64) {
		for _, q := range queries {
			out = append(out, ask(t, s, q).Total)
		}
		return out
	}
	indexed := func() bool { return s.snap.segs[0].Words.Load() != nil }
	want := totals()
	if !slices.Equal(want, []int64{1, 61, 0, 0, 272, 601, 0, 1, 1, 0, 1, 0, 54, 10, 3, 3000, 1000, 600, 3000, 0, 1}) || indexed() {
		t.Fatalf("scanning gives %v, indexed %v", want, indexed())
	}
	check := func(when string) {
		t.Helper()
		if got := totals(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, scanning gives %v", when, got, want)
		}
	}
	s.indexWords(ctx)
	if !indexed() {
		t.Fatal("no word index was made")
	}
	check("indexed")
	s.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "2026", "35", "*.text"))
	if len(files) != 1 {
		t.Fatalf("word indexes: %v", files)
	}
	if err := os.Truncate(files[0], 1000); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir)
	check("reopened")
	s.indexWords(ctx)
	if !indexed() {
		t.Error("a broken word index was not built again")
	}
	check("built again")
	if _, err := s.DropWeeks("2027/01"); err != nil {
		t.Fatal(err)
	}
	if files, _ = filepath.Glob(filepath.Join(dir, "2026", "35", "*")); len(files) > 0 {
		t.Errorf("files left after dropping the week: %v", files)
	}
	s.Close()
}

func TestFileCutShortUnderTheProgram(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	defer s.Close()
	for week, day := range []string{"2026-09-02", "2026-09-09"} {
		var docs []search.Doc
		for n := range 3000 {
			docs = append(docs, testDoc(t, s.opts.Fields, crash(week*10_000+n, day+"T00:00:00Z", map[string]any{"signature": fmt.Sprint("unique", n)})))
		}
		if err := s.Index(context.Background(), docs); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "2026", "35", "*.seg"))
	if len(files) != 1 {
		t.Fatalf("segments: %v", files)
	}
	if err := os.Truncate(files[0], 8192); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		res := ask(t, s, "_facets=signature&_sort=signature&signature=~unique2")
		if res.Total != 1111 || len(res.Errors) != 1 || res.Errors[0].Index != "socorro202635" {
			t.Errorf("total %d, errors %v; want the other week and a missing one", res.Total, res.Errors)
		}
	}
	if err := s.Index(context.Background(), []search.Doc{testDoc(t, s.opts.Fields, crash(1, "2026-09-20T00:00:00Z", nil))}); err == nil {
		t.Log("indexing did not need the lost pages")
	}
	s.checkSuspects()
	if got := s.Broken(); len(got) != 1 || got[0] != "2026/35" {
		t.Errorf("broken weeks %v", got)
	}
	if s.Count() < 3000 || s.Count() > 3001 {
		t.Errorf("%d documents left, want those of the other week", s.Count())
	}
	n, err := s.Rebuild(context.Background(), "2026/35", func(yield func(search.Doc) error) error {
		for n := range 5 {
			if err := yield(testDoc(t, s.opts.Fields, crash(n, "2026-09-02T00:00:00Z", nil))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || n != 5 || len(s.Broken()) != 0 {
		t.Errorf("rebuilt %d, %v; broken weeks %v", n, err, s.Broken())
	}
	if res := ask(t, s, ""); len(res.Errors) != 0 {
		t.Errorf("errors after rebuilding: %v", res.Errors)
	}
}
