package indexer_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"mayday/roles/indexer"
	"mayday/roles/rolestest"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search/plan"
)

type instance struct {
	t *testing.T
	*rolestest.Stores
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	return &instance{t, rolestest.Open(t, plan.Field{Name: "signature", Path: "signature", Type: plan.Str, Storage: plan.Text})}
}

// processed stores a processed crash of so long ago.
func (i *instance) processed(id storage.CrashID, ago time.Duration) {
	i.t.Helper()
	rolestest.Must(i.t, i.Crashes.SaveProcessed(i.t.Context(), id, storage.ProcessedCrash{"uuid": string(id), "signature": "kite::Sail::tear", "build": "20261101",
		"date_processed": time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)}))
}

// index sends messages and runs the indexer until it has handled them.
func (i *instance) index(messages ...queue.Message) {
	i.t.Helper()
	rolestest.Must(i.t, i.Queues.Send(i.t.Context(), queue.Processed, messages...))
	sub, err := i.Queues.Subscription(i.t.Context(), queue.Processed)
	rolestest.Must(i.t, err)
	x := indexer.New(indexer.Options{Messages: sub, Crashes: i.Crashes, Engine: i.Engine, Fields: i.Fields, Catalog: i.Catalog, Verdicts: i.Catalog, Retain: 26, Log: zaptest.NewLogger(i.t)})
	ctx, cancel := context.WithCancel(i.t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left, err := i.Queues.Pending(i.t.Context(), queue.Processed)
		rolestest.Must(i.t, err)
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			i.t.Fatalf("%d messages are left", len(left))
		}
	}
	cancel()
	rolestest.Must(i.t, <-done)
}

func (i *instance) hits(id storage.CrashID) int64 {
	i.t.Helper()
	now := time.Now()
	q := url.Values{"uuid": {string(id)}, "_facets_size": {"0"}, "date": {">=" + now.Add(-plan.MaxSpan+time.Hour).UTC().Format(time.RFC3339)}}
	p, err := plan.Parse(q, i.Fields, plan.Viewer{}, plan.Options{Now: now})
	rolestest.Must(i.t, err)
	r, err := i.Engine.Search(i.t.Context(), p)
	rolestest.Must(i.t, err)
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
	if seen, err := i.Catalog.FirstSeen(t.Context(), []string{"kite::Sail::tear"}); err != nil || len(seen) != 1 || seen[0].Build != "20261101" {
		t.Errorf("first appearance %v, %v", seen, err)
	}
	_, err := i.Crashes.Delete(t.Context(), id)
	rolestest.Must(t, err)
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
		list, err := i.Catalog.Verdicts(t.Context(), 10, 0)
		rolestest.Must(t, err)
		return list
	}
	i.index(given) // forgiven before it was read
	if list := listed(); len(list) > 0 {
		t.Errorf("a verdict that is not there is listed: %v", list)
	}
	rolestest.Must(t, i.Crashes.SaveVerdict(t.Context(), id, storage.Verdict{Reason: "broken", Tries: 5, Queue: "standard"}))
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
	rolestest.Must(t, i.Crashes.DeleteVerdict(t.Context(), id))
	i.index(queue.Message{ID: id})
	if list := listed(); len(list) > 0 || i.hits(id) != 1 {
		t.Errorf("listed %v, %d hits", list, i.hits(id))
	}
}
