package search_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/column"
	"mayday/storage/search/plan"
)

func exportFields(t testing.TB) *plan.Fields {
	t.Helper()
	f, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum},
		{Name: "date", Path: "date_processed", Type: plan.Date, Storage: plan.Instant, Histogram: true},
		{Name: "signature", Path: "signature", Storage: plan.Text},
		{Name: "version", Path: "version", Type: plan.Enum},
		{Name: "uptime", Path: "uptime", Type: plan.Int, Storage: plan.Long, Histogram: true},
		{Name: "addons", Path: "addons"},
		{Name: "comments", Path: "comments", Storage: plan.Text, Permission: plan.ViewPII},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const exported = 12_345 // more than two pages, more than can be paged through by offset

func exportStore(t testing.TB, fields *plan.Fields) *column.Store {
	t.Helper()
	s, err := column.Open(column.Options{Dir: t.TempDir(), Fields: fields, Now: peerNow})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var docs []search.Doc
	for n := range exported {
		crash := map[string]any{"uuid": fmt.Sprintf("%08x-0000-4000-8000-000000260928", n), "date_processed": "2026-09-28T10:00:00+00:00",
			"signature": fmt.Sprintf("Js::f%d", n%3), "version": fmt.Sprintf("%d.0", n%2), "uptime": n - 5, "comments": "secret words"}
		switch n {
		case 1:
			crash["signature"], crash["addons"] = "=cmd|' /C calc'!A0", []any{"a", "-b"}
		case 2:
			delete(crash, "signature")
			crash["addons"] = []any{"line\nbreak, \"quoted\""}
		}
		d, err := search.NewDoc(crash, fields)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	if err := s.Index(context.Background(), docs); err != nil {
		t.Fatal(err)
	}
	return s
}

// download runs an export; out is nil when nothing was begun.
func download(t testing.TB, s search.Engine, fields *plan.Fields, query string, permissions []string, form search.Form) (status int, out *bytes.Buffer, body string) {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	status, text, err := search.Export(context.Background(), s, fields,
		search.Request{Values: v, Viewer: plan.Viewer{Permissions: permissions}, Options: plan.Options{Now: peerNow()}}, form,
		func() io.Writer { out = &bytes.Buffer{}; return out })
	if err != nil {
		t.Fatal(err)
	}
	return status, out, string(text)
}

func TestExport(t *testing.T) {
	fields := exportFields(t)
	s := exportStore(t, fields)
	_, out, _ := download(t, s, fields, "_columns=uuid&_columns=signature&_columns=addons&_columns=comments&_sort=uptime", nil, search.Form{Name: "csv"})
	rows, err := csv.NewReader(out).ReadAll()
	if err != nil || len(rows) != exported+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	seen := map[string]bool{}
	for _, r := range rows[1:] {
		seen[r[0]] = true
	}
	if len(seen) != exported {
		t.Errorf("%d different crashes", len(seen))
	}
	want := [][]string{{"uuid", "signature", "addons"}, {rows[1][0], "Js::f0", ""}, {rows[2][0], "'=cmd|' /C calc'!A0", "a; -b"}, {rows[3][0], "", "line\nbreak, \"quoted\""}}
	if d := cmp.Diff(want, rows[:4]); d != "" {
		t.Error(d)
	}
	_, out, _ = download(t, s, fields, "_columns=comments&_columns=uptime&_sort=uptime&_results_number=6000", []string{plan.ViewPII}, search.Form{Name: "ndjson"})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 6000 || lines[0] != `{"comments":"secret words","uptime":-5}` || lines[5999] != `{"comments":"secret words","uptime":5994}` {
		t.Errorf("%d lines, %s … %s", len(lines), lines[0], lines[len(lines)-1])
	}
	_, out, _ = download(t, s, fields, "_aggs.version=signature&_aggs.version=_cardinality.uptime&uptime=<7", nil, search.Form{Name: "csv", Table: "version"})
	if want := "version,signature,cardinality_uptime,count\n0.0,,,6\n0.0,Js::f0,,2\n0.0,Js::f1,,2\n0.0,Js::f2,,1\n0.0,,6,\n1.0,,,6\n1.0,Js::f0,,2\n1.0,Js::f2,,2\n1.0,'=cmd|' /C calc'!A0,,1\n1.0,Js::f1,,1\n1.0,,6,\n"; out.String() != want {
		t.Errorf("facet as csv:\n%s", out)
	}
	_, out, _ = download(t, s, fields, "_aggs.version=_histogram.date", nil, search.Form{Name: "ndjson", Table: "version"})
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || !json.Valid([]byte(lines[0])) || !strings.HasPrefix(lines[0], `{"term":"0.0","count":6173,"facets":{"histogram_date":[{`) {
		t.Errorf("facet as ndjson: %s", out)
	}
}

func TestExportRefuses(t *testing.T) {
	fields := exportFields(t)
	s := exportStore(t, fields)
	for query, form := range map[string]search.Form{
		"_results_number=1000001": {Name: "csv"}, "_columns=nothing": {Name: "csv"}, "date=yesterday": {Name: "ndjson"}, "": {Name: "xml"}, "_facets=version": {Name: "csv", Table: "signature"},
		"_facets=comments": {Name: "csv", Table: "comments"}, "_cursor=AAAA": {Name: "csv"},
	} {
		if status, out, body := download(t, s, fields, query, nil, form); status != 400 || out != nil || !strings.Contains(body, "Bad") {
			t.Errorf("%s as %+v: %d %s, %d bytes", query, form, status, body, out.Len())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	status, _, err := search.Export(ctx, s, fields, search.Request{Options: plan.Options{Now: peerNow()}}, search.Form{Name: "csv"}, func() io.Writer { t.Error("begun"); return io.Discard })
	if status != 503 || err != nil {
		t.Errorf("a request that is over: %d, %v", status, err)
	}
	_, _, err = search.Export(context.Background(), s, fields, search.Request{Options: plan.Options{Now: peerNow()}}, search.Form{Name: "csv"}, func() io.Writer { return gone{} })
	if !fault.Is(err, fault.Canceled) {
		t.Errorf("a client that is gone: %v", err)
	}
}

// gone is a client that hung up.
type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestComplete(t *testing.T) {
	fields := exportFields(t)
	s := exportStore(t, fields)
	for _, c := range []struct{ query, field, typed, want string }{
		{"", "signature", "js::F", "Js::f0 Js::f1 Js::f2"},
		{"version=0.0&uptime=<7", "signature", "js::f1", "Js::f1"},
		{"", "signature", "f2", "Js::f2"},
		{"", "signature", "*", ""},
		{"", "signature", "", "Js::f0 Js::f1 Js::f2 =cmd|' /C calc'!A0"},
		{"version=1.0", "version", "0", "0.0 1.0"}, // a filter on the field itself would complete only what it holds
		{"", "uuid", "00000010", "00000010-0000-4000-8000-000000260928"},
		{"", "comments", "sec", ""},
		{"", "addons", "A", "a line\nbreak, \"quoted\""},
		{"", "q", "0", "version:0.0 signature:Js::f0 signature:=cmd|' /C calc'!A0 version:1.0"},
		{"version=1.0", "q", "js::f", "signature:Js::f0 signature:Js::f1 signature:Js::f2"},
		{"", "q", "sec", ""},
	} {
		v, _ := url.ParseQuery(c.query)
		status, body, err := search.Complete(context.Background(), s, fields, search.Request{Values: v, Options: plan.Options{Now: peerNow()}}, c.field, c.typed, 10)
		var answer struct {
			Values   []struct{ Field, Term string }
			Warnings []string
		}
		if err != nil || status != 200 || json.Unmarshal(body, &answer) != nil {
			t.Fatalf("%+v: %d %s, %v", c, status, body, err)
		}
		var got []string
		for _, one := range answer.Values {
			if one.Field != "" {
				one.Term = one.Field + ":" + one.Term
			}
			got = append(got, one.Term)
		}
		if strings.Join(got, " ") != c.want || (c.field == "comments") != (len(answer.Warnings) > 0) {
			t.Errorf("%+v: %q, warnings %q", c, got, answer.Warnings)
		}
	}
	status, body, _ := search.Complete(context.Background(), s, fields, search.Request{Viewer: plan.Viewer{Permissions: []string{plan.ViewPII}}, Options: plan.Options{Now: peerNow()}}, "comments", "SEC", 10)
	if want := fmt.Sprintf(`{"field":"comments","values":[{"term":"secret words","count":%d}]}`, exported); status != 200 || string(body) != want {
		t.Errorf("with permission: %s", body)
	}
	if status, body, _ := search.Complete(context.Background(), s, fields, search.Request{Options: plan.Options{Now: peerNow()}}, "nothing", "", 10); status != 400 {
		t.Errorf("unknown field: %d %s", status, body)
	}
}

func peerNow() time.Time { return time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC) }
