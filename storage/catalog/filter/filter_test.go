package filter_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/storage/catalog"
	"mayday/storage/catalog/filter"
)

var now = time.Date(2026, 3, 5, 15, 0, 0, 0, time.UTC)

func TestConditions(t *testing.T) {
	day := func(d int) string { return catalog.Stamp(time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC)) }
	for _, c := range []struct {
		query string
		want  []catalog.Condition
	}{
		{"size=>1.5k", []catalog.Condition{{SQL: "size > ?", Args: []any{int64(1536)}}}},
		{"size=<=10MB,>=2g", []catalog.Condition{{SQL: "size <= ?", Args: []any{int64(10 << 20)}}, {SQL: "size >= ?", Args: []any{int64(2 << 30)}}}},
		{"at=today", []catalog.Condition{{SQL: "created >= ? AND created < ?", Args: []any{day(5), day(6)}}}},
		{"at=>yesterday", []catalog.Condition{{SQL: "created >= ?", Args: []any{day(5)}}}},
		{"at=<=2026-03-01", []catalog.Condition{{SQL: "created < ? AND created <> ''", Args: []any{day(2)}}}},
		{"at=incomplete", []catalog.Condition{{SQL: "created = ''"}}},
		{"user=!50%25", []catalog.Condition{{SQL: `email NOT LIKE ? ESCAPE '\'`, Args: []any{`%50\%%`}}}},
		{"user=a_b", []catalog.Condition{{SQL: `email LIKE ? ESCAPE '\'`, Args: []any{`%a\_b%`}}}},
		{"update=yes", []catalog.Condition{{SQL: "updated <> 0"}}},
		{"", nil},
	} {
		t.Run(c.query, func(t *testing.T) {
			v, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			f := filter.New(v, now)
			f.Sizes("size", "size")
			f.Dates("at", "created")
			f.Match("user", "email")
			f.Truth("update", "updated")
			if err := f.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.Where); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for _, query := range []string{"size=ten", "size=1e9", "size=-5", "at=soon", "at=2026-13-01", "update=perhaps", "sort=evil", "page=x", "page=99999999", "user=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v"} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f := filter.New(v, now)
		f.Sizes("size", "size")
		f.Dates("at", "created")
		f.Match("user", "email")
		f.Truth("update", "updated")
		f.Order("created_at", map[string]string{"created_at": "created"})
		f.Page()
		var wrong *filter.Errors
		if err := f.Err(); !errors.As(err, &wrong) || len(wrong.Fields) != 1 {
			t.Errorf("%s: %v, want a mistake in one field", query, err)
		}
	}
}
