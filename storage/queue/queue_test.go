package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/driver"
	"gocloud.dev/pubsub/drivertest"

	"mayday/app/fault"
	"mayday/storage"
)

func openSQL(t testing.TB, path string, o Options) *SQL {
	t.Helper()
	q, err := OpenSQLite(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

type harness struct{ q *SQL }

func (h harness) CreateTopic(ctx context.Context, name string) (driver.Topic, func(), error) {
	return &topic{h.q, Name(name)}, func() {}, h.q.Create(ctx, Name(name))
}
func (h harness) MakeNonexistentTopic(context.Context) (driver.Topic, error) {
	return &topic{h.q, "nonexistent"}, nil
}
func (h harness) CreateSubscription(_ context.Context, t driver.Topic, _ string) (driver.Subscription, func(), error) {
	return h.q.subscription(t.(*topic).name), func() {}, nil
}
func (h harness) MakeNonexistentSubscription(context.Context) (driver.Subscription, func(), error) {
	return h.q.subscription("nonexistent"), func() {}, nil
}
func (h harness) Close()                              {}
func (h harness) MaxBatchSizes() (int, int)           { return 0, 0 }
func (h harness) SupportsMultipleSubscriptions() bool { return false }

func TestConformance(t *testing.T) {
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		return harness{openSQL(t, filepath.Join(t.TempDir(), "queue.db"), Options{})}, nil
	}, nil)
}

func openQueues(t testing.TB, url string, o Options) *Queues {
	t.Helper()
	q, err := Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close(context.Background()) })
	return q
}

func newID() storage.CrashID { return storage.NewCrashID(time.Now(), storage.Accepted) }

func receive(t *testing.T, q *Queues, n Name) *pubsub.Message {
	t.Helper()
	s, err := q.Subscription(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := s.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantEmpty(t *testing.T, q *Queues, n Name) {
	t.Helper()
	s, err := q.Subscription(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := s.Receive(ctx); err == nil {
		t.Errorf("received %s, want nothing", m.Body)
		m.Ack()
	}
}

func TestQueues(t *testing.T) {
	for _, url := range []string{"sqlite://" + filepath.Join(t.TempDir(), "queue.db"), "mem://"} {
		t.Run(url[:3], func(t *testing.T) {
			ctx := t.Context()
			q := openQueues(t, url, Options{Fsync: true})
			want := map[string]Name{}
			for _, n := range Names() {
				m := Message{ID: newID(), Ruleset: "regenerate_signature"}
				want[string(m.Body())] = n
				if err := q.Send(ctx, n, m); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]Name{}
			for _, n := range Names() {
				m := receive(t, q, n)
				got[string(m.Body)] = n
				m.Ack()
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("received (-want +got):\n%s", d)
			}
			wantEmpty(t, q, Standard)
			if err := q.Send(ctx, "other", Message{ID: newID()}); !fault.Is(err, fault.Invalid) {
				t.Errorf("send to no queue = %v", err)
			}
			many := make([]Message, 50)
			for i := range many {
				many[i].ID = newID()
			}
			if err := q.Send(ctx, Priority, many...); err != nil {
				t.Fatal(err)
			}
			for range many {
				receive(t, q, Priority).Ack()
			}
			if err := q.Check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	for _, url := range []string{"", "nonsense", "sqlite://", "sqlite:///no/such/folder/q.db", "awssqs://x/{name}"} {
		q, err := Open(t.Context(), url, Options{})
		if err == nil {
			q.Close(t.Context())
			t.Errorf("Open(%q) worked", url)
		}
	}
	if _, err := Open(t.Context(), "awssqs://x", Options{Drivers: &Drivers{}}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "{name}") {
		t.Errorf("a URL without {name} = %v", err)
	}
	broken := filepath.Join(t.TempDir(), "q.db")
	if err := os.WriteFile(broken, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite://"+broken, Options{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a broken file = %v", err)
	}
}

func TestParseMessage(t *testing.T) {
	id := newID()
	for body, want := range map[string]Message{
		string(id):                            {ID: id},
		string(id) + ":default":               {ID: id, Ruleset: "default"},
		string(id) + ":a.b-c_2":               {ID: id, Ruleset: "a.b-c_2"},
		string(id) + ":":                      {},
		string(id) + ":a b":                   {},
		string(id) + ":a:b":                   {},
		"test":                                {},
		"":                                    {},
		"bp-" + string(id):                    {},
		string(id) + strings.Repeat("x", 300): {},
	} {
		got, err := ParseMessage([]byte(body))
		if got != want || (err == nil) != (want.ID != "") {
			t.Errorf("ParseMessage(%.60q) = %v, %v", body, got, err)
		}
		if err == nil && string(got.Body()) != body {
			t.Errorf("%q comes back as %q", body, got.Body())
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("de1bb258-cbbf-4589-a673-34f800160918:x"))
	f.Add([]byte("test"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := ParseMessage(body); err == nil && string(m.Body()) != string(body) {
			t.Errorf("%q comes back as %q", body, m.Body())
		}
	})
}

const shortLease = 400 * time.Millisecond

func TestLeaseRunsOut(t *testing.T) {
	q := openQueues(t, "sqlite://"+filepath.Join(t.TempDir(), "q.db"), Options{Lease: shortLease})
	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	first := receive(t, q, Standard)
	if n := q.Attempts(first); n != 1 {
		t.Errorf("attempts = %d, want 1", n)
	}
	second := receive(t, q, Standard) // after the lease
	if n := q.Attempts(second); n != 2 {
		t.Errorf("attempts = %d, want 2", n)
	}
	var l *Lease
	if !first.As(&l) || !fault.Is(l.Extend(t.Context(), time.Second), fault.Conflict) {
		t.Error("a lost lease was renewed")
	}
	first.Ack() // too late: must not delete what the second receiver has
	time.Sleep(100 * time.Millisecond)
	if d := depth(t, q, Standard); d.Waiting+d.Taken != 1 {
		t.Errorf("a late ack deleted the message: %+v", d)
	}
	second.Ack()
	wantEmpty(t, q, Standard)
}

func depth(t *testing.T, q *Queues, n Name) Depth {
	t.Helper()
	all, err := q.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Name == n {
			return d
		}
	}
	t.Fatalf("no depth of %s in %v", n, all)
	return Depth{}
}

func TestHold(t *testing.T) {
	q := openQueues(t, "sqlite://"+filepath.Join(t.TempDir(), "q.db"), Options{Lease: shortLease})
	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	m := receive(t, q, Standard)
	ctx, stop := q.Hold(t.Context(), m)
	time.Sleep(3 * shortLease)
	wantEmpty(t, q, Standard)
	if ctx.Err() != nil {
		t.Errorf("the lease was lost: %v", context.Cause(ctx))
	}
	stop()
	m.Ack()
	wantEmpty(t, q, Standard)

	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	m = receive(t, q, Standard)
	if _, err := q.sql.write.Exec(`UPDATE message SET attempts = attempts + 1`); err != nil { // another process took it
		t.Fatal(err)
	}
	ctx, stop = q.Hold(t.Context(), m)
	defer stop()
	select {
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), errLost) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
	case <-time.After(time.Minute):
		t.Error("a lost lease went unnoticed")
	}
	m.Ack()
}

func TestGiveBack(t *testing.T) {
	q := openQueues(t, "sqlite://"+filepath.Join(t.TempDir(), "q.db"), Options{})
	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		counted bool
		want    int
	}{{false, 1}, {true, 1}, {false, 2}, {true, 2}, {true, 3}} {
		m := receive(t, q, Standard)
		if n := q.Attempts(m); n != c.want {
			t.Errorf("delivery %d: attempts = %d, want %d", i, n, c.want)
		}
		if err := q.GiveBack(t.Context(), m, 0, c.counted); err != nil {
			t.Fatal(err)
		}
	}
	m := receive(t, q, Standard)
	if err := q.GiveBack(t.Context(), m, 600*time.Millisecond, true); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, q, Standard)
	m = receive(t, q, Standard)
	m.Nack()
	receive(t, q, Standard).Ack()
	wantEmpty(t, q, Standard)
}

// The refusal of a delivery that gocloud sends after it was given back is not
// one of the next delivery.
func TestLateRefusal(t *testing.T) {
	q := openQueues(t, "sqlite://"+filepath.Join(t.TempDir(), "q.db"), Options{})
	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	s := q.sql.subscription(Standard)
	take := func() (driver.AckID, *Lease) {
		ms, err := s.ReceiveBatch(t.Context(), 1)
		var l *Lease
		if err != nil || len(ms) != 1 || !ms[0].AsFunc(&l) {
			t.Fatal(ms, err)
		}
		return ms[0].AckID, l
	}
	first, lease := take()
	if err := lease.GiveBack(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	_, lease = take()
	if err := s.SendNacks(t.Context(), []driver.AckID{first}); err != nil {
		t.Fatal(err)
	}
	if err := lease.Extend(t.Context(), time.Minute); err != nil {
		t.Errorf("the second delivery: %v", err)
	}
}

func TestCloseGivesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.db")
	q := openQueues(t, "sqlite://"+path, Options{})
	other := openQueues(t, "sqlite://"+path, Options{})
	ids := map[string]bool{}
	for range 3 {
		id := newID()
		ids[string(id)] = true
		if err := q.Send(t.Context(), Standard, Message{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, q, Standard).Ack()
	receive(t, q, Standard)
	// A cancelled Receive may hold the third.
	s, _ := q.Subscription(t.Context(), Standard)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Receive(ctx)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := receive(t, other, Standard)
		if n := other.Attempts(got); n != 1 {
			t.Errorf("attempts = %d after a clean close, want 1", n)
		}
		got.Ack()
	}
	wantEmpty(t, other, Standard)
}

// TestKilledProcess has children take a message and be killed. The first time it
// can be received again at once, the second time two seconds later.
func TestKilledProcess(t *testing.T) {
	if path := os.Getenv("QUEUE_TEST_CHILD"); path != "" {
		q := openQueues(t, "sqlite://"+path, Options{Lease: time.Hour})
		receive(t, q, Standard)
		fmt.Println("TAKEN")
		time.Sleep(time.Minute)
		return
	}
	path := filepath.Join(t.TempDir(), "q.db")
	q := openQueues(t, "sqlite://"+path, Options{})
	if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
		t.Fatal(err)
	}
	killed := func() {
		t.Helper()
		child := exec.Command(os.Args[0], "-test.run", "TestKilledProcess")
		child.Env = append(os.Environ(), "QUEUE_TEST_CHILD="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		if _, err := out.Read(buf); err != nil || string(buf) != "TAKEN" {
			t.Fatalf("child said %q, %v", buf, err)
		}
		alive := openQueues(t, "sqlite://"+path, Options{})
		wantEmpty(t, alive, Standard) // opening frees nothing of a living process
		// What looked for messages may go on looking, and take it before the next.
		if err := alive.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = child.Process.Kill()
		_ = child.Wait() // says "killed"
	}
	killed()
	killed() // it took the message at once
	freed := time.Now()
	again := openQueues(t, "sqlite://"+path, Options{})
	m := receive(t, again, Standard)
	if waited := time.Since(freed); waited < 2*time.Second {
		t.Errorf("received again %v after the second kill, want 2 s", waited)
	}
	if n := again.Attempts(m); n != 3 {
		t.Errorf("attempts = %d after two kills, want 3", n)
	}
	m.Ack()
	marks, _ := filepath.Glob(path + ".*" + lifeSuffix)
	if len(marks) != 2 {
		t.Errorf("marks %v, want those of the two open queues", marks)
	}
}

func TestDepthsAndPending(t *testing.T) {
	q := openQueues(t, "sqlite://"+filepath.Join(t.TempDir(), "q.db"), Options{})
	a, b := newID(), newID()
	if err := q.Send(t.Context(), Standard, Message{ID: a}, Message{ID: b, Ruleset: "x"}); err != nil {
		t.Fatal(err)
	}
	m := receive(t, q, Standard)
	d := depth(t, q, Standard)
	if d.Waiting != 1 || d.Taken != 1 || d.Oldest > time.Minute {
		t.Errorf("depth %+v", d)
	}
	if d := depth(t, q, Priority); d != (Depth{Name: Priority}) {
		t.Errorf("depth of an empty queue %+v", d)
	}
	got, err := q.Pending(t.Context(), Names()...)
	if diff := cmp.Diff(map[storage.CrashID]bool{a: true, b: true}, got); diff != "" || err != nil {
		t.Errorf("pending, %v (-want +got):\n%s", err, diff)
	}
	m.Ack()
	memory := openQueues(t, "mem://", Options{})
	if _, err := memory.Depths(t.Context()); !fault.Is(err, fault.Unsupported) {
		t.Errorf("depths of memory = %v", err)
	}
}

// TestManyProcesses has senders and receivers with handles of their own, as
// separate processes have, and counts each message once.
func TestManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.db")
	const senders, each = 3, 100
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	seen := map[string]int{}
	var receivers, sending sync.WaitGroup
	for range 3 {
		q := openQueues(t, "sqlite://"+path, Options{})
		s, err := q.Subscription(ctx, Standard)
		if err != nil {
			t.Fatal(err)
		}
		receivers.Go(func() {
			for {
				m, err := s.Receive(ctx)
				if err != nil {
					return
				}
				m.Ack()
				mu.Lock()
				seen[string(m.Body)]++
				if len(seen) == senders*each {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for range senders {
		q := openQueues(t, "sqlite://"+path, Options{})
		sending.Go(func() {
			for range each {
				if err := q.Send(t.Context(), Standard, Message{ID: newID()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	stop := time.AfterFunc(20*time.Second, cancel)
	defer stop.Stop()
	receivers.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d of %d messages received", len(seen), senders*each)
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s was received %d times", body, n)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		b.Run(fmt.Sprintf("fsync=%v", fsync), func(b *testing.B) {
			q := openQueues(b, "sqlite://"+filepath.Join(b.TempDir(), "q.db"), Options{Fsync: fsync})
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := q.Send(context.Background(), Standard, Message{ID: newID()}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	q := openQueues(b, "sqlite://"+filepath.Join(b.TempDir(), "q.db"), Options{})
	many := make([]Message, 20_000)
	for i := range many {
		many[i].ID = newID()
	}
	s, err := q.Subscription(b.Context(), Standard)
	if err != nil {
		b.Fatal(err)
	}
	left := 0
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			if err := q.Send(b.Context(), Standard, many...); err != nil {
				b.Fatal(err)
			}
			left = len(many)
			b.StartTimer()
		}
		m, err := s.Receive(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		m.Ack()
		left--
	}
}
