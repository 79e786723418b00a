package column_test

import (
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/column"
	"mayday/storage/search/enginetest"
	"mayday/storage/search/plan"
)

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t testing.TB, fields *plan.Fields, now func() time.Time) search.Engine {
		s, err := column.Open(column.Options{Dir: t.TempDir(), Fields: fields, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	})
}
