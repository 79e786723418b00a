package jobs_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"
	"gocloud.dev/blob/memblob"

	"mayday/roles/jobs"
	"mayday/storage"
	"mayday/storage/catalog"
)

// The catalog's lists agree with the bucket after the jobs ran.
func TestCrashJobs(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	crashes := storage.NewCrashes(b, storage.Options{})
	db, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), "c.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	id := func() storage.CrashID { return storage.NewCrashID(now, storage.Accepted) }
	found, gone := id(), id()
	check(crashes.SaveVerdict(ctx, found, storage.Verdict{Reason: "broken", Tries: 5, Time: now, Queue: "standard"}))
	check(db.SaveVerdicts(ctx, []catalog.Verdict{{CrashID: string(gone), Reason: "forgiven since"}}))
	processed, waiting, deleted := id(), id(), id()
	check(crashes.SaveProcessed(ctx, processed, storage.ProcessedCrash{"uuid": string(processed)}))
	check(crashes.SaveRaw(ctx, waiting, storage.RawCrash{"uuid": string(waiting)}, nil))
	check(db.RecordMissingProcessed(ctx, []string{string(processed), string(waiting), string(deleted)}, now))
	check(db.SaveVersion(ctx, catalog.ProductVersion{Product: "Kite", Channel: "Beta", BuildID: "1", Version: "2.0b1"}))

	j := jobs.New(jobs.Options{Crashes: crashes, Catalog: db, Log: zaptest.NewLogger(t)})
	for _, row := range j.Table() {
		if row.Name == "verdicts" || row.Name == "updatemissing" || row.Name == "snapshots" {
			check(row.Run(ctx))
		}
	}
	verdicts, err := db.Verdicts(ctx, 10, 0)
	check(err)
	if diff := cmp.Diff([]catalog.Verdict{{CrashID: string(found), Reason: "broken", Tries: 5, Time: now, Queue: "standard"}}, verdicts); diff != "" {
		t.Errorf("verdicts: %s", diff)
	}
	missing, err := db.MissingProcessed(ctx, 10, 0)
	check(err)
	got := map[string]bool{}
	for _, m := range missing {
		got[m.CrashID] = m.Processed
	}
	if diff := cmp.Diff(map[string]bool{string(processed): true, string(waiting): false}, got); diff != "" {
		t.Errorf("missing processed crashes: %s", diff)
	}
	var builds []storage.Build
	if _, err := crashes.Snapshot(ctx, storage.BuildsSnapshot, &builds); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]storage.Build{{Product: "Kite", Channel: "beta", BuildID: "1", Version: "2.0b1"}}, builds); diff != "" {
		t.Errorf("product versions: %s", diff)
	}
}
