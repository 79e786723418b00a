package jobs_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/roles/jobs"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
)

// held is a queue's content: what waits, or that it cannot say.
type held struct {
	waiting map[storage.CrashID]bool
	blind   bool
}

func (h held) Pending(context.Context, ...queue.Name) (map[storage.CrashID]bool, error) {
	if h.blind {
		return nil, fault.New(fault.Unsupported, "a queue that cannot say")
	}
	return h.waiting, nil
}

func TestSweep(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	crashes := storage.NewCrashes(b, storage.Options{})
	db, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), "c.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now().UTC()
	save := func(digit storage.Digit, age time.Duration) storage.CrashID {
		id := storage.NewCrashID(now.Add(-age), digit)
		raw := storage.RawCrash{"uuid": id.String(), "submitted_timestamp": now.Add(-age).Format(time.RFC3339)}
		if err := crashes.SaveRaw(t.Context(), id, raw, nil); err != nil {
			t.Fatal(err)
		}
		return id
	}
	forgotten, fresh, queued := save(storage.Accepted, time.Hour), save(storage.Accepted, time.Second), save(storage.Accepted, time.Hour)
	save(storage.Deferred, time.Hour)
	save(storage.Accepted, -time.Minute)   // its id is on its way from the collector
	save(storage.Accepted, 9*24*time.Hour) // before the days looked at
	done, poisoned := save(storage.Accepted, time.Hour), save(storage.Accepted, time.Hour)
	if err := crashes.SaveProcessed(t.Context(), done, storage.ProcessedCrash{"uuid": done.String()}); err != nil {
		t.Fatal(err)
	}
	if err := crashes.SaveVerdict(t.Context(), poisoned, storage.Verdict{Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		queue held
		want  []storage.CrashID
	}{
		{"a queue that knows what it holds", held{waiting: map[storage.CrashID]bool{queued: true}}, []storage.CrashID{forgotten, fresh}},
		{"a queue that does not", held{blind: true}, []storage.CrashID{forgotten, queued}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []storage.CrashID
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			j := jobs.New(jobs.Options{Crashes: crashes, Queues: c.queue, Catalog: db, Log: zaptest.NewLogger(t), Days: 3, Age: 10 * time.Minute,
				Publish: func(_ context.Context, name queue.Name, id storage.CrashID) error {
					if name != queue.Standard {
						t.Errorf("%s went to queue %s", id, name)
					}
					got = append(got, id)
					if len(got) == len(c.want) {
						cancel()
					}
					return nil
				}})
			if err := j.Run(ctx); err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("queued %v, want %v", got, c.want)
			}
		})
	}
}
