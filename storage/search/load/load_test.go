package load_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"mayday/storage"
	"mayday/storage/search"
	"mayday/storage/search/column"
	"mayday/storage/search/load"
	"mayday/storage/search/plan"
	"mayday/storage/search/sample"
)

func fields(t testing.TB) *plan.Fields {
	t.Helper()
	f, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant},
		{Name: "signature", Path: "signature", Storage: plan.Text},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func open(t testing.TB) *column.Store {
	t.Helper()
	s, err := column.Open(column.Options{Dir: t.TempDir(), Fields: fields(t), Now: func() time.Time { return time.Date(2026, 9, 30, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"raw_crash":{"ProductName":"Game"},"processed_crash":{"uuid":"%08x-0000-4000-8000-000000260901","date_processed":"2026-09-01T10:00:00+00:00","signature":"s%d"}}`+"\n", i, i)
	}
	return b.String()
}

func TestReindex(t *testing.T) {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	crashes := storage.NewCrashes(bucket, storage.Options{})
	first := open(t)
	seen := 0
	m := load.Importer{Crashes: crashes, Engine: first, Fields: fields(t), Seen: func(_ context.Context, batch []load.Crash) error { seen += len(batch); return nil }}
	report, err := m.Run(ctx, strings.NewReader(lines(5000)+"\n{\n"))
	if err != nil || report.Imported != 5000 || report.RefusedLines != 1 || report.Refused[0].Line != 5002 || seen != 5000 || first.Count() != 5000 {
		t.Fatalf("import: %+v, %v; seen %d, %d in the index", report, err, seen, first.Count())
	}
	id, err := storage.ParseCrashID("00000007-0000-4000-8000-000000260901")
	if err != nil {
		t.Fatal(err)
	}
	if err := crashes.SaveProcessed(ctx, id, storage.ProcessedCrash{"uuid": id.String()}); err != nil { // no date
		t.Fatal(err)
	}
	gone := "ffffffff-0000-4000-8000-000000260901"
	index := open(t)
	only := load.Importer{Engine: index, Fields: fields(t)}
	if _, err := only.Run(ctx, strings.NewReader(`{"uuid":"`+gone+`","date_processed":"2026-09-01T10:00:00Z"}`)); err != nil {
		t.Fatal(err)
	}
	var last storage.CrashID
	refused := 0
	r := load.Reindexer{Crashes: crashes, Index: index, Fields: fields(t), Parallel: 4,
		Progress: func(_ int, id storage.CrashID) { last = id }, Refused: func(storage.CrashID, error) { refused++ }}
	out, err := r.Run(ctx)
	if want := (load.Reindexed{Indexed: 4999, Refused: 1, Gone: 1}); err != nil || out != want || refused != 1 || index.Count() != 4999 || last == "" {
		t.Fatalf("reindex: %+v, %v, want %+v; %d in the index, last %q", out, err, want, index.Count(), last)
	}
	r.After, r.Part = "00001380-0000-4000-8000-000000260901", true
	if out, err = r.Run(ctx); err != nil || out.Indexed != 5000-0x1380-1 || index.Count() != 4999 {
		t.Errorf("going on after %s: %+v, %v", r.After, out, err)
	}
	if err := index.Delete(ctx, []string{"00000001-0000-4000-8000-000000260901", "00001381-0000-4000-8000-000000260901"}); err != nil {
		t.Fatal(err)
	}
	r.After, r.Part, r.Missing = "", false, true
	if out, err = r.Run(ctx); err != nil || out.Indexed != 2 || out.Refused != 1 || index.Count() != 4999 {
		t.Errorf("only what is missing: %+v, %v; %d in the index", out, err, index.Count())
	}
	r.Missing = false
	short, cancel := context.WithCancel(ctx)
	cancel()
	r.After = ""
	if _, err := r.Run(short); err == nil {
		t.Error("a cancelled run ends without error")
	}
}

// TestIndexOnlyImportsTheSame imports lines with and without a bucket: lines of
// both forms, broken ones, long ones, and the same crash again.
func TestIndexOnlyImportsTheSame(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	const id, date = "00000007-0000-4000-8000-000000260901", "2026-09-01T10:00:00+00:00"
	text := lines(20) +
		`{"uuid":"` + id + `","date_processed":"` + date + `","signature":"again","json_dump":"` + strings.Repeat("x", 3<<20) + `"}` + "\n\n" +
		`{"uuid":"` + id + `"}` + "\n" + `{"processed_crash":7,"uuid":"00000107-0000-4000-8000-000000260901","date_processed":"` + date + `","signature":"\u00e9"}` + "\r\n" +
		"[]\n{\n" + `{"uuid":"00000108-0000-4000-8000-000000260901","date_processed":"` + date + `"}`
	answers := map[bool]string{}
	table := fields(t)
	for _, indexOnly := range []bool{false, true} {
		index, err := column.Open(column.Options{Dir: t.TempDir(), Fields: table})
		if err != nil {
			t.Fatal(err)
		}
		defer index.Close()
		m := load.Importer{Engine: index, Fields: table}
		if !indexOnly {
			m.Crashes = storage.NewCrashes(bucket, storage.Options{})
		}
		report, err := m.Run(context.Background(), strings.NewReader(text))
		if err != nil || report.Imported != 23 || report.RefusedLines != 3 {
			t.Fatalf("index only %v: %+v, %v", indexOnly, report, err)
		}
		v := url.Values{"date": {">=2026-08-30", "<2026-09-05"}, "_columns": {"uuid", "date", "signature"}, "_sort": {"uuid"}, "_results_number": {"100"}, "_facets": {"signature"}}
		status, body, err := search.Answer(context.Background(), index, table, search.Request{Values: v, Options: plan.Options{Now: time.Date(2026, 9, 30, 0, 0, 0, 0, time.UTC)}})
		if err != nil || status != 200 || !strings.Contains(string(body), `"total":22,`) {
			t.Fatalf("index only %v: %d, %v: %.300s", indexOnly, status, err, body)
		}
		answers[indexOnly] = string(body)
		for i, line := range []int{23, 25, 26} {
			if report.Refused[i].Line != line {
				t.Errorf("index only %v: line %d is refused, want %d", indexOnly, report.Refused[i].Line, line)
			}
		}
	}
	if answers[true] != answers[false] {
		t.Errorf("the index alone answers %s, with a bucket %s", answers[true], answers[false])
	}
}

// BenchmarkImport is what filling the index from JSON takes, without upkeep.
func BenchmarkImport(b *testing.B) {
	var text bytes.Buffer
	n := 0
	for c := range (sample.Crashes{Seed: 1, Last: time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC), Days: 14, Count: 8192}).All() {
		if err := json.NewEncoder(&text).Encode(c); err != nil {
			b.Fatal(err)
		}
		n++
	}
	for b.Loop() {
		m := load.Importer{Engine: open(b), Fields: fields(b)}
		if report, err := m.Run(context.Background(), bytes.NewReader(text.Bytes())); err != nil || report.Imported != n {
			b.Fatal(report, err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "crashes/s")
}

// TestReindexGoesByDay interrupts a run and goes on where it stopped: what was
// done stays done, the rest comes in the order of days.
func TestReindexGoesByDay(t *testing.T) {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	crashes := storage.NewCrashes(bucket, storage.Options{})
	const all = 10_000
	for n := range all {
		day := []string{"260903", "260901", "260902"}[n%3]
		id, err := storage.ParseCrashID(fmt.Sprintf("%08x-0000-4000-8000-000000%s", n, day))
		if err != nil {
			t.Fatal(err)
		}
		if err := crashes.SaveProcessed(ctx, id, storage.ProcessedCrash{"uuid": id.String(), "date_processed": "20" + day[:2] + "-" + day[2:4] + "-" + day[4:] + "T01:00:00Z", "signature": "s"}); err != nil {
			t.Fatal(err)
		}
	}
	index := open(t)
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	var stopped storage.CrashID
	r := load.Reindexer{Crashes: crashes, Index: index, Fields: fields(t), Parallel: 4, Progress: func(done int, last storage.CrashID) {
		if stopped = last; done >= 8000 {
			cancel()
		}
	}}
	if _, err := r.Run(short); err == nil || index.Count() != 8192 || stopped.Day() != "20260903" {
		t.Fatalf("interrupted: %v, %d in the index, the last is %s", err, index.Count(), stopped)
	}
	r.After, r.Progress = stopped, nil
	if out, err := r.Run(ctx); err != nil || out.Indexed != all-8192 || index.Count() != all {
		t.Errorf("going on: %+v, %v, %d in the index", out, err, index.Count())
	}
}

func BenchmarkReindex(b *testing.B) {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	crashes := storage.NewCrashes(bucket, storage.Options{})
	n := 0
	for c := range (sample.Crashes{Seed: 1, Last: time.Date(2026, 9, 27, 0, 0, 0, 0, time.UTC), Days: 14, Count: 4000}).All() {
		id := storage.CrashID(c["uuid"].(string))
		if err := crashes.SaveProcessed(ctx, id, c); err != nil {
			b.Fatal(err)
		}
		n++
	}
	for b.Loop() {
		r := load.Reindexer{Crashes: crashes, Index: open(b), Fields: fields(b), Parallel: 4}
		if out, err := r.Run(ctx); err != nil || out.Indexed != n {
			b.Fatal(out, err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "crashes/s")
}

// TestBrokenWeekIsCompleted loses a file of the index and reads what is missing,
// and nothing else, from the bucket.
func TestBrokenWeekIsCompleted(t *testing.T) {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	crashes := storage.NewCrashes(bucket, storage.Options{})
	dir := t.TempDir()
	o := column.Options{Dir: dir, Fields: fields(t), Now: func() time.Time { return time.Date(2026, 9, 30, 0, 0, 0, 0, time.UTC) }}
	index, err := column.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m := load.Importer{Crashes: crashes, Engine: index, Fields: fields(t)}
	later := strings.ReplaceAll(strings.ReplaceAll(lines(30), "2026-09-01T", "2026-09-20T"), "260901", "260920")
	if _, err := m.Run(ctx, strings.NewReader(lines(50)+later)); err != nil {
		t.Fatal(err)
	}
	index.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "2026", "35", "*.seg"))
	if len(files) != 1 {
		t.Fatalf("files of the week: %v", files)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	if index, err = column.Open(o); err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	if index.Count() != 30 || len(index.Broken()) != 1 {
		t.Fatalf("%d crashes, broken %v", index.Count(), index.Broken())
	}
	r := load.Reindexer{Crashes: crashes, Index: index, Fields: fields(t), Parallel: 2, Missing: true}
	if out, err := r.Run(ctx); err != nil || out != (load.Reindexed{Indexed: 50}) || index.Count() != 80 || len(index.Broken()) != 0 {
		t.Errorf("%+v, %v; %d crashes, broken %v", out, err, index.Count(), index.Broken())
	}
}
