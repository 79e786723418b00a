package indexer_test

import (
	"context"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"gocloud.dev/blob/memblob"

	"mayday/roles/indexer"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search/column"
	"mayday/storage/search/plan"
)

type instance struct {
	t       *testing.T
	crashes *storage.Crashes
	engine  *column.Store
	fields  *plan.Fields
	catalog *catalog.DB
	queues  *queue.Queues
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	dir := t.TempDir()
	fields, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum, Storage: plan.Keyword},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "signature", Path: "signature", Type: plan.Str, Storage: plan.Text},
	})
	must(t, err)
	b := memblob.OpenBucket(nil)
	t.Cleanup(func() { b.Close() })
	engine, err := column.Open(column.Options{Dir: filepath.Join(dir, "index"), Fields: fields, Log: zaptest.NewLogger(t)})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	db, err := catalog.Open(t.Context(), filepath.Join(dir, "catalog.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	queues, err := queue.Open(t.Context(), "sqlite://"+filepath.Join(dir, "queue.db"), queue.Options{})
	must(t, err)
	t.Cleanup(func() { queues.Close(context.Background()) })
	return &instance{t, storage.NewCrashes(b, storage.Options{}), engine, fields, db, queues}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// processed stores a processed crash of so long ago.
func (i *instance) processed(id storage.CrashID, ago time.Duration) {
	i.t.Helper()
	must(i.t, i.crashes.SaveProcessed(i.t.Context(), id, storage.ProcessedCrash{"uuid": string(id), "signature": "kite::Sail::tear", "build": "20261101",
		"date_processed": time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)}))
}

// index sends messages and runs the indexer until it has handled them.
func (i *instance) index(messages ...queue.Message) {
	i.t.Helper()
	must(i.t, i.queues.Send(i.t.Context(), queue.Processed, messages...))
	sub, err := i.queues.Subscription(i.t.Context(), queue.Processed)
	must(i.t, err)
	x := indexer.New(indexer.Options{Messages: sub, Crashes: i.crashes, Engine: i.engine, Fields: i.fields, Catalog: i.catalog, Verdicts: i.catalog, Retain: 26, Log: zaptest.NewLogger(i.t)})
	ctx, cancel := context.WithCancel(i.t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := i.queues.Pending(i.t.Context(), queue.Processed)
		must(i.t, err)
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			i.t.Fatalf("%d messages are left", len(left))
		}
	}
	cancel()
	must(i.t, <-done)
}

func (i *instance) hits(id storage.CrashID) int64 {
	i.t.Helper()
	now := time.Now()
	q := url.Values{"uuid": {string(id)}, "_facets_size": {"0"}, "date": {">=" + now.Add(-plan.MaxSpan+time.Hour).UTC().Format(time.RFC3339)}}
	p, err := plan.Parse(q, i.fields, plan.Viewer{}, plan.Options{Now: now})
	must(i.t, err)
	r, err := i.engine.Search(i.t.Context(), p)
	must(i.t, err)
	return r.Total
}

// A crash is found once however often it is announced, and not at all when it
// is gone or older than the index keeps.
func TestIndex(t *testing.T) {
	i := newInstance(t)
	id, old := storage.NewCrashID(time.Now(), storage.Accepted), storage.NewCrashID(time.Now(), storage.Accepted)
	i.processed(id, time.Hour)
	i.processed(old, 200*24*time.Hour)
	i.index(queue.Message{ID: id}, queue.Message{ID: id}, queue.Message{ID: old}, queue.Message{ID: storage.NewCrashID(time.Now(), storage.Accepted)})
	i.index(queue.Message{ID: id})
	if got := [2]int64{i.hits(id), i.hits(old)}; got != [2]int64{1, 0} {
		t.Errorf("hits %v, want 1 and 0", got)
	}
	if seen, err := i.catalog.FirstSeen(t.Context(), []string{"kite::Sail::tear"}); err != nil || len(seen) != 1 || seen[0].Build != "20261101" {
		t.Errorf("first appearance %v, %v", seen, err)
	}
	_, err := i.crashes.Delete(t.Context(), id)
	must(t, err)
	i.index(queue.Message{ID: id})
	if n := i.hits(id); n != 0 {
		t.Errorf("a crash that is gone has %d hits", n)
	}
}

// The catalog lists a crash that was given up until it is processed after all.
func TestVerdicts(t *testing.T) {
	i := newInstance(t)
	id := storage.NewCrashID(time.Now(), storage.Accepted)
	given := queue.Message{ID: id, Ruleset: queue.VerdictRuleset}
	listed := func() []catalog.Verdict {
		t.Helper()
		list, err := i.catalog.Verdicts(t.Context(), 10, 0)
		must(t, err)
		return list
	}
	i.index(given) // forgiven before it was read
	if list := listed(); len(list) > 0 {
		t.Errorf("a verdict that is not there is listed: %v", list)
	}
	must(t, i.crashes.SaveVerdict(t.Context(), id, storage.Verdict{Reason: "broken", Tries: 5, Queue: "standard"}))
	i.index(given)
	if list := listed(); len(list) != 1 || list[0].CrashID != string(id) || list[0].Reason != "broken" || list[0].Tries != 5 {
		t.Errorf("listed %v", list)
	}
	// An old processed crash is announced once more; the verdict stands.
	i.processed(id, time.Minute)
	i.index(queue.Message{ID: id})
	if list := listed(); len(list) != 1 {
		t.Errorf("listed %v", list)
	}
	must(t, i.crashes.DeleteVerdict(t.Context(), id))
	i.index(queue.Message{ID: id})
	if list := listed(); len(list) > 0 || i.hits(id) != 1 {
		t.Errorf("listed %v, %d hits", list, i.hits(id))
	}
}
