package awaited_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"gocloud.dev/blob/memblob"

	"mayday/roles/awaited"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/column"
	"mayday/storage/search/plan"
	"mayday/symbols"
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
		{Name: "missing_symbols", Path: "missing_symbols", Type: plan.Str, Storage: plan.Semicolon},
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

// module is a made-up module.
func module(n int) symbols.ModuleID {
	return symbols.ModuleID{DebugFile: fmt.Sprintf("lib%d.so", n), DebugID: fmt.Sprintf("%032X0", n+1)}
}

// crash stores and indexes a processed crash that was walked at a time and
// lacks modules.
func (i *instance) crash(started time.Time, lacks ...int) storage.CrashID {
	i.t.Helper()
	id := storage.NewCrashID(started, storage.Accepted)
	var modules []any
	missing := ""
	for _, n := range lacks {
		m := module(n)
		modules = append(modules, map[string]any{"filename": m.DebugFile, "debug_file": m.DebugFile, "debug_id": m.DebugID, "missing_symbols": true})
		missing += fmt.Sprintf("%s/1.0/%s/abc;", m.DebugFile, m.DebugID)
	}
	p := storage.ProcessedCrash{"uuid": string(id), "date_processed": time.Now().UTC().Format(time.RFC3339Nano), "started_datetime": started.UTC().Format(time.RFC3339),
		"json_dump": map[string]any{"modules": modules}, "missing_symbols": missing}
	must(i.t, i.crashes.SaveProcessed(i.t.Context(), id, p))
	p, err := i.crashes.Processed(i.t.Context(), id)
	must(i.t, err)
	doc, err := search.NewDoc(p, i.fields)
	must(i.t, err)
	must(i.t, i.engine.Index(i.t.Context(), []search.Doc{doc}))
	return id
}

// queued counts the messages of each crash.
func (i *instance) queued() map[storage.CrashID]int {
	i.t.Helper()
	out := map[storage.CrashID]int{}
	sub, err := i.queues.Subscription(i.t.Context(), queue.Reprocessing)
	must(i.t, err)
	for {
		ctx, cancel := context.WithTimeout(i.t.Context(), 300*time.Millisecond)
		m, err := sub.Receive(ctx)
		cancel()
		if err != nil {
			return out
		}
		got, err := queue.ParseMessage(m.Body)
		must(i.t, err)
		if got.Ruleset != "" {
			i.t.Errorf("ruleset %q", got.Ruleset)
		}
		out[got.ID]++
		m.Ack()
	}
}

// A bulk upload queues each crash that lacks some of it once, and no other.
func TestBulkUpload(t *testing.T) {
	i := newInstance(t)
	past := time.Now().Add(-time.Hour)
	want := map[storage.CrashID]int{}
	for n := range 15 {
		want[i.crash(past, n, n+1, n+2)] = 1
	}
	i.crash(past)                           // lacks nothing
	i.crash(past, 900)                      // lacks what does not come
	i.crash(time.Now().Add(time.Minute), 1) // was walked since, and cannot be helped
	waiting := i.crash(past, 1)             // will be processed anyway
	gone := i.crash(past, 2)                // deleted from the bucket
	namesake := i.crash(past, 40)           // same id in another file
	if _, err := i.crashes.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	must(t, i.queues.Send(t.Context(), queue.Standard, queue.Message{ID: waiting}))
	start := func() (*awaited.Awaited, func()) {
		a := awaited.New(awaited.Options{Crashes: i.crashes, Index: i.engine, Fields: i.fields, Queues: i.queues, Catalog: i.catalog, Rate: 6000, Days: 30, Log: zaptest.NewLogger(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		return a, func() { cancel(); must(t, <-done) }
	}
	// It stops before it comes to look: the next life goes on.
	a, stop := start()
	for n := range 40 {
		must(t, a.Arrived(t.Context(), module(n)))
	}
	other := module(40)
	other.DebugFile = "other.so"
	must(t, a.Arrived(t.Context(), other))
	must(t, a.Arrived(t.Context(), symbols.ModuleID{DebugFile: "..", DebugID: "x"}))
	stop()
	_, stop = start()
	defer stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		known, err := i.catalog.Awaited(t.Context(), 100)
		must(t, err)
		looked := 0
		for _, m := range known {
			looked += m.Looks
		}
		if len(known) == 41 && looked == 41 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d modules known, %d looked for", len(known), looked)
		}
		time.Sleep(20 * time.Millisecond)
	}
	got := i.queued()
	for id, n := range want {
		if got[id] != n {
			t.Errorf("crash %s was queued %d times, want %d", id, got[id], n)
		}
		delete(got, id)
	}
	for id, n := range got {
		t.Errorf("crash %s was queued %d times (waiting %v, namesake %v)", id, n, id == waiting, id == namesake)
	}
	var published []storage.AwaitedModule
	if _, err := i.crashes.Snapshot(t.Context(), storage.AwaitedSnapshot, &published); err != nil || len(published) != 41 {
		text, _ := json.Marshal(published)
		t.Errorf("%v, published %.300s", err, text)
	}
}
