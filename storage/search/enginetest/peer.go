package enginetest

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// webapp is where the peer's data lies beside the repository.
func webapp(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for { // the repository's root, whatever package runs the suite
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("not below a repository")
		}
		dir = up
	}
	dir = filepath.Join(dir, "../shared/data/webapp")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the peer's data set is not here: %v", err)
	}
	return dir
}

// peerFields reads the peer's field table.
func peerFields(t testing.TB, dir string) *plan.Fields {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "supersearch_fields.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	types := map[string]plan.Type{"str": plan.Str, "enum": plan.Enum, "int": plan.Int, "float": plan.Float, "datetime": plan.Date, "bool": plan.Bool}
	storages := map[string]plan.Storage{"keyword": plan.Keyword, "text": plan.Text, "long": plan.Long, "integer": plan.Integer, "short": plan.Integer,
		"double": plan.Double, "boolean": plan.Boolean, "date": plan.Instant}
	var list []plan.Field
	for _, r := range rows[1:] {
		one := plan.Field{
			Name: r[col["name"]], Path: strings.TrimPrefix(r[col["source_key"]], "processed_crash."),
			Type: types[r[col["data_validation_type"]]], Storage: storages[r[col["storage_type"]]],
			Histogram: r[col["histogram_allowed"]] == "1",
		}
		if r[col["analyzer"]] != "" {
			one.Storage = plan.Semicolon
		}
		if p := r[col["webapp_permissions_needed"]]; p != "" {
			one.Permission = plan.ViewPII
		}
		switch one.Name {
		case "product":
			one.Whole = true
		case "version":
			one.BetaPrefix = true
		case "proto_signature":
			one.Parts = " | "
		}
		list = append(list, one)
	}
	fields, err := plan.NewFields(list)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func peerDocs(t testing.TB, dir string, fields *plan.Fields) (docs []search.Doc) {
	t.Helper()
	for _, c := range peerCrashes(t, dir) {
		docs = append(docs, doc(t, fields, c))
	}
	return docs
}

// peerCrashes reads the processed crashes of the peer's data set.
func peerCrashes(t testing.TB, dir string) (out []map[string]any) {
	t.Helper()
	for _, name := range []string{"processed_2000.jsonl", "edge.jsonl"} {
		f, err := os.Open(filepath.Join(dir, "dataset", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sc := bufio.NewScanner(f)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			var line struct {
				Processed map[string]any `json:"processed_crash"`
			}
			if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			out = append(out, line.Processed)
		}
		if sc.Err() != nil {
			t.Fatal(sc.Err())
		}
	}
	return out
}

type peerQuery struct {
	Group  string      `json:"group"`
	Path   string      `json:"path"`
	Params [][2]string `json:"params"`
	Auth   string      `json:"auth"`
	Cmp    string      `json:"cmp"`
	ID     string      `json:"id"`
	Expect struct {
		Status   int      `json:"status"`
		Total    float64  `json:"total"`
		Hits     []any    `json:"hits"`
		Facets   any      `json:"facets"`
		ErrorKey string   `json:"error_key"`
		Contains []string `json:"error_contains"`
	} `json:"expect"`
}

// peerAnswers puts the peer's queries to an engine.
func peerAnswers(t *testing.T, open Open) {
	dir := webapp(t)
	fields := peerFields(t, dir)
	store := open(t, fields, peerNow)
	docs := peerDocs(t, dir, fields)
	for range 2 { // twice: loading is idempotent
		for lo := 0; lo < len(docs); lo += 300 {
			if err := store.Index(context.Background(), docs[lo:min(lo+300, len(docs))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "queries_visible.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Queries []peerQuery `json:"queries"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, q := range file.Queries {
		if q.Group == "quirk" { // operators on product are live here
			continue
		}
		if problems := ask(store, fields, q); len(problems) > 0 {
			t.Errorf("%s %v: %s", q.ID, q.Params, strings.Join(problems, "; "))
		} else {
			passed++
		}
	}
	t.Logf("%d queries pass", passed)
}

func peerNow() time.Time { return time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC) }

func ask(engine search.Engine, fields *plan.Fields, q peerQuery) (problems []string) {
	rq := search.Request{Values: url.Values{}, Unredacted: strings.Contains(q.Path, "Unredacted"),
		Options: plan.Options{Now: time.Now(), Strict: true, Products: []string{"Firefox", "Fenix", "Focus", "MozillaVPN", "ReferenceBrowser", "Thunderbird"}}}
	sorted := false
	for _, p := range q.Params {
		rq.Values.Add(p[0], p[1])
		sorted = sorted || p[0] == "_sort"
	}
	if q.Auth == "pii" {
		rq.Viewer.Permissions = []string{plan.ViewPII}
	}
	status, body, err := search.Answer(context.Background(), engine, fields, rq)
	if err != nil {
		return []string{err.Error()}
	}
	if status != q.Expect.Status {
		return []string{fmt.Sprintf("status %d, want %d: %.200s", status, q.Expect.Status, body)}
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		return []string{err.Error()}
	}
	if status != 200 {
		text, _ := json.Marshal(got[q.Expect.ErrorKey])
		for _, s := range q.Expect.Contains {
			want, _ := json.Marshal(s)
			if !strings.Contains(string(text), strings.Trim(string(want), `"`)) {
				problems = append(problems, fmt.Sprintf("error %s lacks %q", text, s))
			}
		}
		return problems
	}
	if got["total"] != q.Expect.Total {
		problems = append(problems, fmt.Sprintf("total %v, want %v", got["total"], q.Expect.Total))
	}
	tolerance := 0.0
	if q.Cmp == "card" {
		tolerance = 0.02
	}
	diff("facets", got["facets"], q.Expect.Facets, tolerance, &problems)
	if sorted {
		diff("hits", got["hits"], any(q.Expect.Hits), 0, &problems)
	} else if hits, _ := got["hits"].([]any); len(hits) != len(q.Expect.Hits) {
		problems = append(problems, fmt.Sprintf("%d hits, want %d", len(hits), len(q.Expect.Hits)))
	}
	return problems
}

func diff(path string, got, want any, tolerance float64, out *[]string) {
	if len(*out) > 4 {
		return
	}
	g, gok := got.(map[string]any)
	w, wok := want.(map[string]any)
	gl, glok := got.([]any)
	wl, wlok := want.([]any)
	switch {
	case gok && wok:
		for k := range w {
			if _, ok := g[k]; !ok {
				*out = append(*out, path+"."+k+" is missing")
				continue
			}
			diff(path+"."+k, g[k], w[k], tolerance, out)
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				*out = append(*out, path+"."+k+" is not expected")
			}
		}
	case glok && wlok:
		if len(gl) != len(wl) {
			*out = append(*out, fmt.Sprintf("%s has %d entries, want %d", path, len(gl), len(wl)))
			return
		}
		for i := range wl {
			diff(fmt.Sprintf("%s[%d]", path, i), gl[i], wl[i], tolerance, out)
		}
	default:
		x, xok := got.(float64)
		y, yok := want.(float64)
		if xok && yok && math.Abs(x-y) <= tolerance*max(1, y) {
			return
		}
		if !reflect.DeepEqual(got, want) {
			*out = append(*out, fmt.Sprintf("%s is %.80v, want %.80v", path, got, want))
		}
	}
}
