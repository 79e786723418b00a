package processor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/signature"
	"mayday/storage"
	"mayday/storage/filebucket"
	"mayday/storage/queue"
	"mayday/storage/schema"
	"mayday/symbols"
)

// walkerFunc is a walker made of a function.
type walkerFunc func(ctx context.Context, d rules.Dump) rules.WalkResult

func (f walkerFunc) Walk(ctx context.Context, d rules.Dump, _ map[string]any) rules.WalkResult {
	return f(ctx, d)
}

// walked is what a walker says of a dump with one thread of one frame.
func walked(context.Context, rules.Dump) rules.WalkResult {
	frames := []any{map[string]any{"frame": 0, "function": "Game::draw(int)", "file": "draw.cpp", "line": 7, "module": "game", "registers": map[string]any{"rip": "secret"}}}
	return rules.WalkResult{Version: "test", Output: map[string]any{
		"status": "OK", "crash_info": map[string]any{"type": "SIGSEGV", "address": "0x0", "crashing_thread": 0}, "thread_count": 1,
		"threads": []any{map[string]any{"frames": frames}}, "system_info": map[string]any{"os": "Linux", "cpu_arch": "amd64"},
	}}
}

// bench is a processor with a bucket in memory and a queue on disk.
type bench struct {
	t       *testing.T
	crashes *storage.Crashes
	queues  *queue.Queues
	options processor.Options
}

func newBench(t *testing.T) *bench {
	bucket := memblob.OpenBucket(nil)
	q, err := queue.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "queue.db"), queue.Options{Lease: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(q.Close(context.Background()), bucket.Close()); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, crashes: storage.NewCrashes(bucket, storage.Options{}), queues: q}
	b.options = processor.Options{Source: b.crashes, Sink: b.crashes, Queues: q, Workers: 2, Pause: time.Millisecond, Drain: 5 * time.Second,
		Pipeline: &processor.Pipeline{Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: walkerFunc(walked)}}}
	return b
}

// submit stores a crash as the collector does.
func (b *bench) submit(annotations map[string]any) storage.CrashID {
	b.t.Helper()
	id := storage.NewCrashID(time.Now(), storage.Accepted)
	raw := storage.RawCrash{"uuid": string(id), "submitted_timestamp": "2026-11-20T10:00:30.500000+00:00", "ProductName": "Game", "version": 2}
	for k, v := range annotations {
		raw[k] = v
	}
	dump := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("MDMP")), nil }}
	if err := b.crashes.SaveRaw(b.t.Context(), id, raw, []storage.Dump{dump}); err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) send(n queue.Name, messages ...queue.Message) {
	b.t.Helper()
	if err := b.queues.Send(b.t.Context(), n, messages...); err != nil {
		b.t.Fatal(err)
	}
}

// run runs the processor until done is true, then stops it.
func (b *bench) run(done func() bool) {
	b.t.Helper()
	p, err := processor.New(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.until(done)
	cancel()
	if err := <-ended; err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) until(done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("it takes too long")
		}
	}
}

// empty reports whether no message is left in the queues of crashes.
func (b *bench) empty() bool {
	pending, err := b.queues.Pending(b.t.Context(), queue.Standard, queue.Priority, queue.Reprocessing)
	return err == nil && len(pending) == 0
}

// announced counts the messages that wait for the indexer.
func (b *bench) announced() int {
	depths, err := b.queues.Depths(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range depths {
		if d.Name == queue.Processed {
			return d.Waiting
		}
	}
	return 0
}

func (b *bench) processed(id storage.CrashID) storage.ProcessedCrash {
	b.t.Helper()
	p, err := b.crashes.Processed(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func TestProcess(t *testing.T) {
	b := newBench(t)
	id := b.submit(map[string]any{"Version": "1.2"})
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	p := b.processed(id)
	if got := p.Text("signature"); got != "Game::draw" {
		t.Errorf("signature %q", got)
	}
	if p["success"] != true || p.Text("os_pretty_version") != "Linux" || p.Text("topmost_filenames") != "draw.cpp" {
		t.Errorf("processed crash %v", p)
	}
	if n := b.announced(); n != 1 {
		t.Errorf("%d announcements, want 1", n)
	}
}

// The same id many times, in every queue, gives one processed crash, and
// messages that are none are dropped.
func TestDuplicates(t *testing.T) {
	b := newBench(t)
	var running, most atomic.Int32
	b.options.Workers = 4
	b.options.Pipeline.Env.Walker = walkerFunc(func(ctx context.Context, d rules.Dump) rules.WalkResult {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		time.Sleep(5 * time.Millisecond)
		return walked(ctx, d)
	})
	id := b.submit(nil)
	for _, n := range []queue.Name{queue.Reprocessing, queue.Standard, queue.Priority} {
		b.send(n, queue.Message{ID: id}, queue.Message{ID: "test"}, queue.Message{ID: id}, queue.Message{ID: id, Ruleset: "nonsense"})
	}
	b.run(b.empty)
	if most.Load() != 1 {
		t.Errorf("%d workers had the crash at one time", most.Load())
	}
	if got := b.processed(id).Text("signature"); got != "Game::draw" {
		t.Errorf("signature %q", got)
	}
	if n := b.announced(); n != 6 {
		t.Errorf("%d announcements, want 6", n)
	}
}

// flaky is a sink that fails at first.
type flaky struct {
	*storage.Crashes
	mu    sync.Mutex
	fails int
	kind  fault.Kind
	saves int
}

func (f *flaky) SaveProcessed(ctx context.Context, id storage.CrashID, p storage.ProcessedCrash) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saves++
	if f.fails > 0 {
		f.fails--
		return fault.New(f.kind, "the bucket refuses")
	}
	return f.Crashes.SaveProcessed(ctx, id, p)
}

// A bucket that refuses writes holds everything up and loses nothing; the wait
// counts for no try.
func TestBucketRefuses(t *testing.T) {
	b := newBench(t)
	sink := &flaky{Crashes: b.crashes, fails: 8, kind: fault.Unavailable}
	b.options.Sink = sink
	var ids []storage.CrashID
	for range 10 {
		id := b.submit(nil)
		ids = append(ids, id)
		b.send(queue.Standard, queue.Message{ID: id})
	}
	b.run(b.empty)
	for _, id := range ids {
		b.processed(id)
		if _, err := b.crashes.Verdict(t.Context(), id); !fault.Is(err, fault.NotFound) {
			t.Errorf("verdict on %s: %v", id, err)
		}
	}
	if sink.saves != 18 || b.announced() != 10 {
		t.Errorf("%d saves, want 18; %d announcements, want 10", sink.saves, b.announced())
	}
}

// What fails each time gets a verdict, and a new request gives it a new chance.
func TestPoison(t *testing.T) {
	b := newBench(t)
	sink := &flaky{Crashes: b.crashes, fails: 5, kind: fault.Internal}
	b.options.Sink = sink
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	v, err := b.crashes.Verdict(t.Context(), id)
	if err != nil || v.Tries != 5 || !strings.Contains(v.Reason, "the bucket refuses") {
		t.Fatalf("verdict %+v, %v", v, err)
	}
	b.send(queue.Reprocessing, queue.Message{ID: id})
	b.run(b.empty)
	b.processed(id)
	if _, err := b.crashes.Verdict(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("the verdict stays: %v", err)
	}
}

// A crash that took the program down with it at each try gets a verdict too.
func TestKilledEachTime(t *testing.T) {
	b := newBench(t)
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	for range processor.DefaultTries {
		sub, err := b.queues.Subscription(t.Context(), queue.Standard)
		if err != nil {
			t.Fatal(err)
		}
		m, err := sub.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.queues.GiveBack(t.Context(), m, 0, true); err != nil {
			t.Fatal(err)
		}
	}
	b.run(b.empty)
	if v, err := b.crashes.Verdict(t.Context(), id); err != nil || v.Tries != processor.DefaultTries {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

// A crash that was taken before and not finished is walked with care.
func TestSecondTryIsCareful(t *testing.T) {
	b := newBench(t)
	var usual, careful atomic.Int32
	count := func(n *atomic.Int32) rules.Walker {
		return walkerFunc(func(ctx context.Context, d rules.Dump) rules.WalkResult {
			n.Add(1)
			return walked(ctx, d)
		})
	}
	b.options.Pipeline.Env.Walker, b.options.Pipeline.Careful = count(&usual), count(&careful)
	b.options.Sink = &flaky{Crashes: b.crashes, fails: 1, kind: fault.Internal}
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	b.processed(id)
	if usual.Load() != 1 || careful.Load() != 1 {
		t.Errorf("%d usual walks, %d careful ones, want one of each", usual.Load(), careful.Load())
	}
}

// broken is a source whose raw crashes cannot be read.
type broken struct {
	*storage.Crashes
	err error
}

func (s broken) Raw(context.Context, storage.CrashID) (storage.RawCrash, error) { return nil, s.err }

func TestUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		verdict bool
	}{
		"gone":      {fault.New(fault.NotFound, "no such object"), false},
		"malformed": {fault.New(fault.Malformed, "not JSON"), true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.options.Source = broken{b.crashes, c.err}
			id := b.submit(nil)
			b.send(queue.Standard, queue.Message{ID: id})
			b.run(b.empty)
			_, err := b.crashes.Verdict(t.Context(), id)
			if (err == nil) != c.verdict {
				t.Errorf("verdict: %v", err)
			}
			if ok, _ := b.crashes.HasProcessed(t.Context(), id); ok {
				t.Error("there is a processed crash")
			}
		})
	}
}

func TestMissingDump(t *testing.T) {
	b := newBench(t)
	id := b.submit(nil)
	if err := b.crashes.DeleteDump(t.Context(), id, storage.MinidumpName); err != nil {
		t.Fatal(err)
	}
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	p := b.processed(id)
	if p.Text("mdsw_status_string") != "MissingMinidump" || !strings.Contains(p.Text("signature"), "MissingMinidump") {
		t.Errorf("status %q, signature %q", p.Text("mdsw_status_string"), p.Text("signature"))
	}
}

// A panic in a rule is that rule's failure alone, and its text stays private.
func TestRulePanics(t *testing.T) {
	b := newBench(t)
	b.options.Pipeline.Env.Walker = walkerFunc(func(context.Context, rules.Dump) rules.WalkResult { panic("secret") })
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	notes := b.processed(id).Text("processor_notes")
	if !strings.Contains(notes, "ruleset 'default' rule 'MinidumpStackwalkRule' failed: internal") || strings.Contains(notes, "secret") {
		t.Errorf("notes %q", notes)
	}
}

// A program that stops gives back what it cannot finish, as if never taken.
func TestDrain(t *testing.T) {
	b := newBench(t)
	b.options.Drain = 20 * time.Millisecond
	taken := make(chan struct{}, 10)
	b.options.Pipeline.Env.Walker = walkerFunc(func(ctx context.Context, _ rules.Dump) rules.WalkResult {
		taken <- struct{}{}
		<-ctx.Done()
		return rules.WalkResult{Exit: rules.ExitKilled}
	})
	var ids []storage.CrashID
	for range 5 {
		id := b.submit(nil)
		ids = append(ids, id)
		b.send(queue.Standard, queue.Message{ID: id})
	}
	b.run(func() bool { return len(taken) == 2 })
	for _, id := range ids {
		if ok, _ := b.crashes.HasProcessed(t.Context(), id); ok {
			t.Errorf("%s was stored although the work was cut off", id)
		}
	}
	b.options.Pipeline.Env.Walker = walkerFunc(walked)
	b.run(b.empty)
	for _, id := range ids {
		b.processed(id)
	}
}

func TestRegenerateSignature(t *testing.T) {
	b := newBench(t)
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	p := b.processed(id)
	p["signature"], p["extra"] = "old", "kept"
	if err := b.crashes.SaveProcessed(t.Context(), id, p); err != nil {
		t.Fatal(err)
	}
	b.options.Pipeline.Env.Walker = walkerFunc(func(context.Context, rules.Dump) rules.WalkResult { panic("not to be walked") })
	b.send(queue.Reprocessing, queue.Message{ID: id, Ruleset: processor.RegenerateSignature})
	b.run(b.empty)
	p = b.processed(id)
	if p.Text("signature") != "Game::draw" || p.Text("extra") != "kept" || len(p["processor_history"].([]any)) != 1 {
		t.Errorf("processed %v", p)
	}
	// A whole new round forgets what the old one left behind.
	b.options.Pipeline.Env.Walker = walkerFunc(walked)
	b.send(queue.Reprocessing, queue.Message{ID: id})
	b.run(b.empty)
	p = b.processed(id)
	if _, stale := p["extra"]; stale || len(p["processor_history"].([]any)) != 2 {
		t.Errorf("processed %v", p)
	}
}

// Dumps may go before what was made of them: a new round must not lose it.
func TestReprocessWithoutDumps(t *testing.T) {
	b := newBench(t)
	id := b.submit(nil)
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	if err := b.crashes.DeleteDump(t.Context(), id, storage.MinidumpName); err != nil {
		t.Fatal(err)
	}
	b.options.Pipeline.Env.Walker = walkerFunc(func(context.Context, rules.Dump) rules.WalkResult { panic("nothing to walk") })
	b.send(queue.Reprocessing, queue.Message{ID: id})
	b.run(b.empty)
	p := b.processed(id)
	if p.Text("signature") != "Game::draw" || p.Text("mdsw_status_string") != "OK" || !strings.Contains(p.Text("processor_notes"), "keeping what an earlier round found") {
		t.Errorf("signature %q, status %q, notes %q", p.Text("signature"), p.Text("mdsw_status_string"), p.Text("processor_notes"))
	}
}

// exports keeps what was exported.
type exports struct {
	mu   sync.Mutex
	docs map[string]map[string]any
	err  error
}

func (e *exports) Export(_ context.Context, key string, doc map[string]any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.docs[key] = doc
	}
	return e.err
}

func TestExport(t *testing.T) {
	for _, err := range []error{nil, errors.New("the bucket is full")} {
		b := newBench(t)
		e := &exports{docs: map[string]map[string]any{}, err: err}
		b.options.Exporter = e
		id := b.submit(map[string]any{"Comments": "secret"})
		b.send(queue.Standard, queue.Message{ID: id})
		b.run(b.empty)
		b.processed(id)
		if err != nil {
			continue
		}
		doc := e.docs["v1/crash_report/"+id.Day()+"/"+string(id)]
		if doc["signature"] != "Game::draw" || strings.Contains(fmt.Sprint(doc), "secret") {
			t.Errorf("export %v", doc)
		}
	}
}

// A crash that was deferred on arrival is processed when somebody asks, and not
// before.
func TestDeferred(t *testing.T) {
	for name, want := range map[queue.Name]bool{queue.Standard: false, queue.Priority: true, queue.Reprocessing: true} {
		b := newBench(t)
		id := storage.NewCrashID(time.Now(), storage.Deferred)
		if err := b.crashes.SaveRaw(t.Context(), id, storage.RawCrash{"uuid": string(id), "submitted_timestamp": "2026-11-20T10:00:30+00:00"}, nil); err != nil {
			t.Fatal(err)
		}
		b.send(name, queue.Message{ID: id})
		b.run(b.empty)
		if there, err := b.crashes.HasProcessed(t.Context(), id); err != nil || there != want {
			t.Errorf("from queue %s: processed %v, want %v (%v)", name, there, want, err)
		}
	}
}

// What arrived elsewhere is forgotten by the cache before a crash is processed
// again, each arrival once.
func TestArrivedModules(t *testing.T) {
	b := newBench(t)
	var forgotten []symbols.ModuleID
	module := symbols.ModuleID{DebugFile: "game", DebugID: "AB0"}
	var before int
	b.options.Pipeline.Env.Walker = walkerFunc(func(ctx context.Context, d rules.Dump) rules.WalkResult {
		before = len(forgotten)
		return walked(ctx, d)
	})
	b.options.Arrived = processor.NewArrivedModules(b.crashes, func(id symbols.ModuleID) { forgotten = append(forgotten, id) }, zap.NewNop())
	publish := func(at time.Time) {
		t.Helper()
		rows := []storage.AwaitedModule{{DebugFile: module.DebugFile, DebugID: module.DebugID, Arrived: at}}
		if err := b.crashes.SaveSnapshot(t.Context(), storage.AwaitedSnapshot, rows); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Now()
	publish(first)
	b.send(queue.Reprocessing, queue.Message{ID: b.submit(nil)})
	b.run(b.empty)
	if before != 1 || forgotten[0] != module {
		t.Errorf("before the walk %d modules were forgotten: %v", before, forgotten)
	}
	b.options.Arrived.Look(t.Context(), 0)
	if len(forgotten) != 1 {
		t.Errorf("forgotten again: %v", forgotten)
	}
	publish(first.Add(time.Second))
	b.options.Arrived.Look(t.Context(), time.Hour)
	if len(forgotten) != 1 {
		t.Error("it looked again too soon")
	}
	b.options.Arrived.Look(t.Context(), 0)
	if len(forgotten) != 2 {
		t.Errorf("a second arrival was not noticed: %v", forgotten)
	}
}

// Dumps too large to hold go through a file, which does not stay.
func TestLargeDump(t *testing.T) {
	b := newBench(t)
	b.options.TempDir = t.TempDir()
	size := int64(9 << 20)
	var file *os.File
	b.options.Pipeline.Env.Walker = walkerFunc(func(ctx context.Context, d rules.Dump) rules.WalkResult {
		file = d.File
		if left, _ := filepath.Glob(filepath.Join(b.options.TempDir, "*")); len(left) > 0 && runtime.GOOS != "windows" {
			t.Errorf("a kill now would leave %v", left)
		}
		last := make([]byte, 1)
		if _, err := d.Reader.ReadAt(last, d.Size-1); err != nil || d.Size != size || last[0] != 'x' {
			t.Errorf("dump of %d bytes ends in %q: %v", d.Size, last, err)
		}
		return walked(ctx, d)
	})
	id := storage.NewCrashID(time.Now(), storage.Accepted)
	dump := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(bytes.Repeat([]byte("x"), int(size)))), nil
	}}
	raw := storage.RawCrash{"uuid": string(id), "submitted_timestamp": "2026-11-20T10:00:30+00:00"}
	if err := b.crashes.SaveRaw(t.Context(), id, raw, []storage.Dump{dump}); err != nil {
		t.Fatal(err)
	}
	b.send(queue.Standard, queue.Message{ID: id})
	b.run(b.empty)
	b.processed(id)
	if left, _ := filepath.Glob(filepath.Join(b.options.TempDir, "*")); file == nil || len(left) > 0 {
		t.Errorf("file %v, left over %v", file, left)
	}
}

// BenchmarkProcessor is the whole role on local disk, synced, from the message
// to the acknowledgement: crashes of four threads of 30 frames, warm symbols.
//
//	go test ./roles/processor -run xxx -bench Processor -benchtime 500x -cpuprofile cpu.out
func BenchmarkProcessor(b *testing.B) {
	bucket, err := filebucket.Open(b.TempDir(), filebucket.Options{Fsync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer bucket.Close()
	q, err := queue.Open(b.Context(), "sqlite://"+filepath.Join(b.TempDir(), "queue.db"), queue.Options{Fsync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close(context.Background())
	dump, sym := game(30)
	crashes := storage.NewCrashes(bucket, storage.Options{})
	p, err := processor.New(processor.Options{Source: crashes, Sink: crashes, Queues: q, Pipeline: &processor.Pipeline{Env: rules.Env{
		Schema: schema.Default(), Tables: rules.DefaultTables(), Lists: signature.Default().WithCache(signature.DefaultCacheSize),
		Walker: &processor.InProcess{Symbols: withSymbols(b, sym), Timeout: time.Minute, Memory: 1 << 30}}}})
	if err != nil {
		b.Fatal(err)
	}
	messages := make([]queue.Message, b.N)
	for i := range messages {
		id := storage.NewCrashID(time.Now(), storage.Accepted)
		raw := storage.RawCrash{"uuid": string(id), "submitted_timestamp": "2026-11-20T10:00:30.500000+00:00", "ProductName": "Game", "Version": "1.2"}
		file := storage.Dump{Name: storage.MinidumpName, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(dump)), nil }}
		if err := crashes.SaveRaw(b.Context(), id, raw, []storage.Dump{file}); err != nil {
			b.Fatal(err)
		}
		messages[i].ID = id
	}
	if err := q.Send(b.Context(), queue.Standard, messages...); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for {
		if left, err := q.Pending(b.Context(), queue.Standard); err != nil || len(left) == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "crashes/s")
}
