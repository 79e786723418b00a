package web_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"mayday/app/config"
	"mayday/storage/catalog"
)

func TestSearchDownloads(t *testing.T) {
	i := newInstance(t, config.Web{})
	id := i.crash(nil).String()
	w := i.do("GET", "/api/SuperSearch/?_format=csv&_columns=uuid&_columns=signature&_columns=user_comments", "", nil)
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || w.Code != 200 || len(rows) != 2 || len(rows[0]) != 2 || rows[1][0] != id || rows[1][1] != "kite::Sail::tear" {
		t.Errorf("csv: %d %q, %v", w.Code, rows, err)
	}
	if h := w.Header(); !strings.HasPrefix(h.Get("Content-Type"), "text/csv") || !strings.Contains(h.Get("Content-Disposition"), "crashes.csv") {
		t.Errorf("headers of csv: %v", h)
	}
	w = i.do("GET", "/api/SuperSearchUnredacted/?_format=ndjson&_columns=user_comments", i.token(catalog.ViewPII), nil)
	if w.Code != 200 || strings.Count(w.Body.String(), "\n") != 1 || strings.Contains(w.Body.String(), "null") {
		t.Errorf("ndjson with permission: %d %s", w.Code, w.Body)
	}
	w = i.do("GET", "/api/SuperSearch/?_format=csv&_table=product&_aggs.product=version", "", nil)
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "product,version,count\nKite,,1\nKite,") {
		t.Errorf("facet: %d %s", w.Code, w.Body)
	}
	for target, status := range map[string]int{"/api/SuperSearch/?_format=xml": 400, "/api/SuperSearchUnredacted/?_format=csv": 403, "/api/SuperSearchValues/": 400, "/api/SuperSearchValues/?_field=x": 400} {
		i.json("GET", target, "", nil, status)
	}
	values := i.json("GET", "/api/SuperSearchValues/?_field=signature&_value=KITE", "", nil, 200)["values"].([]any)
	if len(values) != 1 || values[0].(map[string]any)["term"] != "kite::Sail::tear" {
		t.Errorf("values: %v", values)
	}
	for token, want := range map[string]int{"": 0, i.token(catalog.ViewPII): 1} {
		if values := i.json("GET", "/api/SuperSearchValues/?_field=user_comments", token, nil, 200)["values"].([]any); len(values) != want {
			t.Errorf("%d values of a protected field, want %d", len(values), want)
		}
	}
}
