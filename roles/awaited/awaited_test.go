package awaited_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"mayday/roles/awaited"
	"mayday/roles/rolestest"
	"mayday/storage"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/symbols"
)

type instance struct {
	t *testing.T
	*rolestest.Stores
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	return &instance{t, rolestest.Open(t, plan.Field{Name: "missing_symbols", Path: "missing_symbols", Type: plan.Str, Storage: plan.Semicolon})}
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
	rolestest.Must(i.t, i.Crashes.SaveProcessed(i.t.Context(), id, p))
	p, err := i.Crashes.Processed(i.t.Context(), id)
	rolestest.Must(i.t, err)
	doc, err := search.NewDoc(p, i.Fields)
	rolestest.Must(i.t, err)
	rolestest.Must(i.t, i.Engine.Index(i.t.Context(), []search.Doc{doc}))
	return id
}

// queued counts the messages of each crash.
func (i *instance) queued() map[storage.CrashID]int {
	i.t.Helper()
	out := map[storage.CrashID]int{}
	sub, err := i.Queues.Subscription(i.t.Context(), queue.Reprocessing)
	rolestest.Must(i.t, err)
	for {
		ctx, cancel := context.WithTimeout(i.t.Context(), 300*time.Millisecond)
		m, err := sub.Receive(ctx)
		cancel()
		if err != nil {
			return out
		}
		got, err := queue.ParseMessage(m.Body)
		rolestest.Must(i.t, err)
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
	if _, err := i.Crashes.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	rolestest.Must(t, i.Queues.Send(t.Context(), queue.Standard, queue.Message{ID: waiting}))
	start := func() (*awaited.Awaited, func()) {
		a := awaited.New(awaited.Options{Crashes: i.Crashes, Index: i.Engine, Fields: i.Fields, Queues: i.Queues, Catalog: i.Catalog, Rate: 6000, Days: 30, Log: zaptest.NewLogger(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		return a, func() { cancel(); rolestest.Must(t, <-done) }
	}
	// It stops before it comes to look: the next life goes on.
	a, stop := start()
	for n := range 40 {
		rolestest.Must(t, a.Arrived(t.Context(), module(n)))
	}
	other := module(40)
	other.DebugFile = "other.so"
	rolestest.Must(t, a.Arrived(t.Context(), other))
	rolestest.Must(t, a.Arrived(t.Context(), symbols.ModuleID{DebugFile: "..", DebugID: "x"}))
	stop()
	_, stop = start()
	defer stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		known, err := i.Catalog.Awaited(t.Context(), 100)
		rolestest.Must(t, err)
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
	if _, err := i.Crashes.Snapshot(t.Context(), storage.AwaitedSnapshot, &published); err != nil || len(published) != 41 {
		text, _ := json.Marshal(published)
		t.Errorf("%v, published %.300s", err, text)
	}
}
