package opensearch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/enginetest"
	"mayday/storage/search/plan"
)

// cluster is the URL of a running OpenSearch, such as test/opensearch.sh
// starts.
func cluster(t testing.TB) string {
	t.Helper()
	u := os.Getenv("MAYDAY_TEST_OPENSEARCH")
	if u == "" {
		t.Skip("MAYDAY_TEST_OPENSEARCH names no OpenSearch; make opensearch starts one")
	}
	return u
}

// fresh opens a store whose indices are its own and go with the test.
func fresh(t testing.TB, fields *plan.Fields, now func() time.Time, few bool) *Store {
	t.Helper()
	prefix := fmt.Sprintf("t%d-", rand.Uint64())
	s, err := Open(Options{URL: cluster(t), Prefix: prefix, Fields: fields, Now: now, QueryTime: time.Minute, few: few})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		list, err := s.indices(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, one := range list {
			if err := s.client.do(ctx, call{method: http.MethodDelete, path: "/" + one.Name}, nil); err != nil {
				t.Error(err)
			}
		}
		_ = s.client.do(ctx, call{method: http.MethodDelete, path: "/_index_template/" + prefix}, nil) // a test without crashes made none
		s.Close()
	})
	return s
}

func TestEngine(t *testing.T) {
	cluster(t)
	enginetest.Run(t, func(t testing.TB, fields *plan.Fields, now func() time.Time) search.Engine {
		return fresh(t, fields, now, false)
	})
}

// TestRecount has shards cut their lists so early that first counts are wrong.
func TestRecount(t *testing.T) {
	cluster(t)
	enginetest.LikeModel(t, func(t testing.TB, fields *plan.Fields, now func() time.Time) search.Engine {
		return fresh(t, fields, now, true)
	})
}
