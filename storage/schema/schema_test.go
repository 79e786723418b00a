package schema_test

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/storage/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// facts opens a table of facts about the formats Mayday is compatible with; it
// lies beside the repository where the compatibility data is checked out.
func facts(t *testing.T, name string) []map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", name))
	if err != nil {
		t.Skip("compatibility data is not checked out beside the repository")
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, r := range rows[1:] {
		m := map[string]string{}
		for i, k := range rows[0] {
			m[k] = r[i]
		}
		out = append(out, m)
	}
	return out
}

func golden(t *testing.T, name string, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// Widening what the public sees must show in a review: the list is a file.
func TestPublicFields(t *testing.T) {
	tab := schema.Default()
	var b strings.Builder
	for _, p := range tab.PublicPaths() {
		fmt.Fprintln(&b, p)
	}
	for _, a := range tab.Annotations() {
		if a.Public {
			fmt.Fprintln(&b, "annotation", a.Name)
		}
	}
	golden(t, "public.txt", b.String())
}

func TestSearchFields(t *testing.T) {
	var b strings.Builder
	for _, f := range schema.Default().SearchFields() {
		fmt.Fprintf(&b, "%s %s %v %s %s %s full=%v %v %s\n", f.Name, f.Source, f.Keys, f.QueryType, f.Validation, f.Storage, f.FullValue, f.Permissions(), f.Analyzer)
	}
	golden(t, "search.txt", b.String())
}

func TestRows(t *testing.T) {
	tab := schema.Default()
	snake := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, f := range tab.Fields() {
		if !snake.MatchString(f.Name) {
			t.Errorf("field %s: name is not snake_case", f.Name)
		}
		if len(f.Doc) < 12 || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("field %s: doc %q is no sentence", f.Name, f.Doc)
		}
		if f.Type&schema.Array != 0 && f.Items == nil {
			t.Errorf("field %s: an array without items", f.Name)
		}
	}
	tabs := map[string]bool{}
	for _, f := range tab.Fields() {
		if f.Show.Tab == "" {
			continue
		}
		key := fmt.Sprint(f.Show)
		if tabs[key] {
			t.Errorf("field %s: place %s is taken", f.Name, key)
		}
		tabs[key] = true
	}
	if got := tab.Tab("details")[0].Name; got != "signature" {
		t.Errorf("the details start with %s, want signature", got)
	}
}

// The built-in table may not hold what an overlay is allowed: one annotation
// in two lists.
func TestAnnotationsOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range schema.Default().Annotations() {
		if seen[a.Name] {
			t.Errorf("annotation %s stands twice", a.Name)
		}
		seen[a.Name] = true
	}
}

func TestTypesAndPermissionsAreTheKnownOnes(t *testing.T) {
	rows := facts(t, "webapp/schema_permissions.csv")
	tab := schema.Default()
	nodes := map[string]*schema.Field{}
	tab.ForEach(func(f *schema.Field) bool {
		nodes[strings.ReplaceAll(f.Path, "[]", ".[]")] = f
		return true
	})
	for _, r := range rows {
		path, public := r["path"], r["permissions"] == "public"
		if r["schema"] == "raw_crash" {
			if a := tab.Annotation(strings.TrimSuffix(path, ".(^.+$)")); a == nil || a.Public != public {
				t.Errorf("annotation %s: got %+v, want public %v", path, a, public)
			}
			continue
		}
		f := nodes[path]
		if f == nil {
			t.Errorf("field %s: no row", path)
			continue
		}
		if f.Public != public {
			t.Errorf("field %s: public %v, want %v", path, f.Public, public)
		}
	}
	want := map[string]string{}
	for _, r := range facts(t, "processor/fields/processed_crash.csv") {
		want[r["name"]] = r["type"] + " " + r["source_annotation"]
	}
	got := map[string]string{}
	for _, f := range tab.Fields() {
		if want[f.Name] != "" {
			got[f.Name] = f.Type.String() + " " + f.Annotation
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types and annotations (-want +got):\n%s", diff)
	}
}

func TestSearchFieldsAreTheKnownOnes(t *testing.T) {
	tab := schema.Default()
	for _, r := range facts(t, "webapp/supersearch_fields.csv") {
		f, ok := tab.SearchField(r["name"])
		if !ok {
			t.Errorf("search field %s: missing", r["name"])
			continue
		}
		var keys []string
		for _, k := range f.Keys {
			keys = append(keys, "processed_crash."+k)
		}
		got := map[string]string{
			"namespace": f.Namespace, "in_database_name": f.InDatabase, "source_key": "processed_crash." + f.Source,
			"destination_keys": strings.Join(keys, "|"), "search_key": "processed_crash." + f.Key, "query_type": f.QueryType,
			"data_validation_type": f.Validation, "storage_type": f.Storage, "analyzer": f.Analyzer,
			"has_full_version": map[bool]string{true: "1", false: "0"}[f.FullValue], "permissions_needed": strings.Join(f.Permissions(), ","),
			"form_field_choices": strings.Join(f.Choices, "|"), "histogram_allowed": map[bool]string{true: "1", false: "0"}[f.Histogram()],
		}
		want := map[string]string{}
		for k := range got {
			want[k] = r[k]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("search field %s (-want +got):\n%s", f.Name, diff)
		}
	}
}

func TestTelemetrySchemaIsTheKnownOne(t *testing.T) {
	got := map[string]string{}
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if path != "" {
			switch typ := s["type"].(type) {
			case string:
				got[path] = typ
			case []string:
				got[path] = strings.Join(typ, "|")
			}
		}
		props, _ := s["properties"].(map[string]any)
		for k, v := range props {
			walk(strings.TrimPrefix(path+"."+k, "."), v.(map[string]any))
		}
		if it, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", it)
		}
	}
	walk("", schema.Default().TelemetrySchema())
	for _, r := range facts(t, "processor/fields/telemetry_socorro_crash.csv") {
		if r["fillable_today"] != "yes" || strings.HasSuffix(r["path"], "symbol_disk_cache_hit") {
			continue // never filled: the walker has no such key
		}
		want := strings.TrimSuffix(r["type"], " (default)")
		have := got[r["path"]]
		if strings.HasSuffix(r["path"], "[]") {
			have = strings.TrimSuffix(have, "|null")
		}
		if have != want {
			t.Errorf("%s: type %q, want %q", r["path"], have, want)
		}
		delete(got, r["path"])
	}
	if len(got) > 0 {
		t.Errorf("exported without being known: %v", got)
	}
}

// fill makes a document with a value at every path of the table and with keys
// that no node describes.
func fill(fields []*schema.Field, patterns []*schema.Field) map[string]any {
	doc := map[string]any{}
	if len(patterns) == 0 {
		doc["nobody_knows_this"] = "secret" // a pattern would know it
	}
	for _, f := range fields {
		doc[f.Name] = fillValue(f)
	}
	for i, p := range patterns {
		key := fmt.Sprintf("k%d", i)
		if strings.HasPrefix(p.Name, "^upload") {
			key = "upload_file_minidump_x"
		}
		doc[key] = fillValue(p)
	}
	return doc
}

func fillValue(f *schema.Field) any {
	switch {
	case f.Type == schema.Any:
		return "secret"
	case f.Type&schema.Object != 0:
		return fill(f.Fields, f.Patterns)
	case f.Type&schema.Array != 0:
		return []any{fillValue(f.Items), fillValue(f.Items)}
	case f.Type&schema.String != 0 && !f.Public:
		return "secret"
	case f.Type&schema.String != 0:
		return "open"
	case f.Type&schema.Boolean != 0:
		return true
	}
	return int64(7)
}

func TestRedactShowsNothingProtected(t *testing.T) {
	tab := schema.Default()
	doc := fill(tab.Fields(), tab.Patterns())
	doc["nobody_knows_this"] = "secret"
	for name, out := range map[string]any{
		"public": tab.Redact(doc, schema.Public),
		"telemetry": func() any {
			d, _ := tab.Telemetry(doc)
			return d
		}(),
	} {
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "secret") {
			t.Errorf("%s shows a protected value: %.300s", name, text)
		}
		if !strings.Contains(string(text), "open") {
			t.Errorf("%s shows nothing at all", name)
		}
	}
	public := tab.Redact(doc, schema.Public)
	for _, f := range tab.Fields() {
		if _, ok := public[f.Name]; ok != f.Public {
			t.Errorf("field %s: shown %v, want %v", f.Name, ok, f.Public)
		}
	}
	if got := tab.Redact(doc, schema.Protected); len(got) != len(doc) {
		t.Errorf("a holder of the permission sees %d of %d fields", len(got), len(doc))
	}
	if p := tab.Validate(doc); len(p) > 0 {
		t.Errorf("a document made from the table breaks it: %v", p)
	}
}

func TestRedactDropsWrongTypes(t *testing.T) {
	tab := schema.Default()
	got := tab.Redact(map[string]any{
		"signature":    map[string]any{"x": "secret"},
		"uptime":       json.Number("5"),
		"uptime_ts":    int64(3),
		"crash_time":   7.0,
		"thread_count": 1.5,
		"addons":       []string{"a", "b"},
		"json_dump":    "text",
	}, schema.Public)
	want := map[string]any{"uptime": json.Number("5"), "uptime_ts": int64(3), "crash_time": 7.0, "addons": []any{"a", "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRedactRaw(t *testing.T) {
	tab := schema.Default()
	raw := map[string]any{
		"ProductName": "Game", "URL": "https://example.com/", "JavaException": "{}", "Unknown": "x", "metadata": map[string]any{"user_agent": "x"},
		"version": 2, "TelemetryEnvironment": map[string]any{"build": map[string]any{"version": "1"}, "secret": 1}, "Vendor": []any{"x"},
	}
	want := map[string]any{"ProductName": "Game", "version": 2, "TelemetryEnvironment": map[string]any{"build": map[string]any{"version": "1"}}}
	if diff := cmp.Diff(want, tab.RedactRaw(raw, schema.Public)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(tab.ValidateRaw(raw)); got != 1 {
		t.Errorf("%d problems, want 1: Vendor is a list", got)
	}
}

func TestSearchDoc(t *testing.T) {
	tab := schema.Default()
	long := strings.Repeat("é", 20_000)
	doc := tab.SearchDoc(map[string]any{
		"uuid": "id", "build": "20260101000000", "uptime": "x", "thread_count": float64(1 << 40), "safe_mode": "1", "accessibility": "yes",
		"crash_report_keys": []any{"a", 5}, "vendor": 5, "url": long, "app_notes": long, "date_processed": "never", "uptime_ts": 1.5,
		"json_dump":          map[string]any{"system_info": map[string]any{"cpu_count": 4}},
		"collector_metadata": map[string]any{"collector_notes": []any{}}, "memory_measures": map[string]any{"explicit": 3}, "addons": nil,
	})
	want := map[string]any{"crash_id": "id", "processed_crash": map[string]any{
		"uuid": "id", "build": int64(20260101000000), "safe_mode": true, "accessibility": false, "crash_report_keys": "BAD DATA",
		"vendor": "BAD DATA", "url": strings.Repeat("é", 10_000), "app_notes": strings.Repeat("é", 32_766/2), "uptime_ts": 1.5,
		"json_dump": map[string]any{"system_info": map[string]any{"cpu_count": int64(4)}}, "cpu_count": int64(4),
		"collector_notes": []string{}, "memory_measures": map[string]any{"explicit": int64(3)},
	}}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOverlay(t *testing.T) {
	for name, c := range map[string]struct{ overlay, want string }{
		"adds":              {"fields:\n- {name: level, type: string, public: true, annotation: Level, search: keyword, doc: Level of the game.}", ""},
		"copies a raw one":  {"fields:\n- {name: lsp, type: string, public: true, annotation: Winsock_LSP, doc: Network providers.}", ""},
		"changes a doc":     {"fields:\n- {name: url, doc: The page.}", ""},
		"widens":            {"fields:\n- {name: url, public: true}", "url is protected"},
		"widens on purpose": {"fields:\n- {name: url, public: true, widen: true}", ""},
		"widens a copy":     {"fields:\n- {name: stack, type: string, public: true, annotation: JavaStackTrace, doc: A stack trace.}", "JavaStackTrace is protected"},
		"takes a protected": {"fields:\n- {name: product, annotation: URL}", "copied to"},
		"misspells":         {"fields:\n- {name: x, typ: string}", `unknown key "typ"`},
		"unknown type":      {"fields:\n- {name: x, type: text, doc: A thing here.}", `type "text"`},
		"no doc":            {"fields:\n- {name: x, type: string}", "doc"},
		"takes a name":      {"fields:\n- {name: x, type: string, search: {as: keyword, name: signature}, doc: A thing here.}", "is taken"},
		"a shape in itself": {"shapes:\n  a: {fields: {b: {is: object, shape: a}}}\nfields:\n- {name: x, type: object, shape: a, doc: A thing here.}", "names itself"},
		"not a mapping":     {"fields: [5]", "a row is a mapping"},
		"unknown top key":   {"rows: []", "rows"},
		"empty":             {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema.Load([]byte(c.overlay))
			got := fmt.Sprint(err)
			if c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A search field that reads a protected value stays protected.
func TestOverlaySearchFromProtected(t *testing.T) {
	tab, err := schema.Load([]byte("fields:\n- {name: x, type: string, public: true, search: {as: keyword, from: url}, doc: A thing here.}"))
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := tab.SearchField("x"); f.Public {
		t.Error("a public field is searched by what url holds")
	}
}

func TestSchemasAreComplete(t *testing.T) {
	tab := schema.Default()
	props := tab.JSONSchema()["properties"].(map[string]any)
	if len(props) != len(tab.Fields()) {
		t.Errorf("%d properties, want %d", len(props), len(tab.Fields()))
	}
	if n := len(tab.RawSchema()["properties"].(map[string]any)); n != len(tab.Annotations()) {
		t.Errorf("%d annotations, want %d", n, len(tab.Annotations()))
	}
	if !slices.Contains(tab.Tabs(), "details") {
		t.Errorf("tabs %v lack details", tab.Tabs())
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"json_dump":{"threads":[{"frames":[{"registers":{"rip":"secret"}}]}]},"url":"secret"}`))
	f.Add([]byte(`{"upload_file_minidump_x":{"json_dump":{"mac_boot_args":"secret"}},"signature":["secret"]}`))
	tab := schema.Default()
	f.Fuzz(func(t *testing.T, b []byte) {
		var doc map[string]any
		if json.Unmarshal(b, &doc) != nil {
			return
		}
		out := tab.Redact(doc, schema.Public)
		if p := tab.Validate(out); len(p) > 0 {
			t.Errorf("redacted document breaks the table: %v", p)
		}
		again := tab.Redact(out, schema.Public)
		if diff := cmp.Diff(out, again); diff != "" {
			t.Errorf("redacting twice differs: %s", diff)
		}
		tab.SearchDoc(doc)
		tab.Telemetry(doc)
		tab.RedactRaw(doc, schema.Public)
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("fields:\n- {name: level, type: string, doc: Level of the game.}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, err := schema.Load(b)
		if err == nil && len(tab.Fields()) < len(schema.Default().Fields()) {
			t.Error("an overlay took rows away")
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	tab := schema.Default()
	doc := fill(tab.Fields(), tab.Patterns())
	for b.Loop() {
		tab.Redact(doc, schema.Public)
	}
}

func BenchmarkSearchDoc(b *testing.B) {
	tab := schema.Default()
	doc := fill(tab.Fields(), tab.Patterns())
	for b.Loop() {
		tab.SearchDoc(doc)
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := schema.Load(); err != nil {
			b.Fatal(err)
		}
	}
}
