// Package rolestest opens the stores of one instance for the tests of what runs
// on them: a bucket in memory, the rest in a directory of the test.
package rolestest

import (
	"context"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"
	"gocloud.dev/blob/memblob"

	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search/column"
	"mayday/storage/search/plan"
)

// Stores are the stores of one instance.
type Stores struct {
	Crashes *storage.Crashes
	Engine  *column.Store
	Fields  *plan.Fields
	Catalog *catalog.DB
	Queues  *queue.Queues
}

// Open makes empty stores, which close with the test. Crashes can be searched by
// their id, their date and the fields given.
func Open(t *testing.T, fields ...plan.Field) *Stores {
	t.Helper()
	dir := t.TempDir()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { bucket.Close() })
	table, err := plan.NewFields(append([]plan.Field{
		{Name: plan.IDField, Path: "uuid", Type: plan.Enum, Storage: plan.Keyword},
		{Name: plan.DateField, Path: "date_processed", Type: plan.Date, Storage: plan.Instant, Histogram: true},
	}, fields...))
	Must(t, err)
	engine, err := column.Open(column.Options{Dir: filepath.Join(dir, "index"), Fields: table, Log: zaptest.NewLogger(t)})
	Must(t, err)
	t.Cleanup(func() { engine.Close() })
	db, err := catalog.Open(t.Context(), filepath.Join(dir, "catalog.db"))
	Must(t, err)
	t.Cleanup(func() { db.Close() })
	queues, err := queue.Open(t.Context(), "sqlite://"+filepath.Join(dir, "queue.db"), queue.Options{})
	Must(t, err)
	t.Cleanup(func() { queues.Close(context.Background()) })
	return &Stores{storage.NewCrashes(bucket, storage.Options{}), engine, table, db, queues}
}

// Must ends the test on an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
