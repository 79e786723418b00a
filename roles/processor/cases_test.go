package processor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/storage"
	"mayday/storage/schema"
)

// casesDir holds crashes with what Socorro's processor made of them; it lies
// beside the repository where the compatibility data is checked out.
var casesDir = filepath.Join("..", "..", "..", "shared", "data", "processor", "sample")

func TestCompatibilityCases(t *testing.T) {
	dirs, _ := filepath.Glob(filepath.Join(casesDir, "*", "case.json"))
	if len(dirs) == 0 {
		t.Skip("compatibility data is not checked out beside the repository")
	}
	for _, info := range dirs {
		dir := filepath.Dir(info)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			raw := document(t, filepath.Join(dir, "raw_crash.json"))
			id := storage.CrashID(raw["uuid"].(string))
			p := processor.Pipeline{Host: "test", Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: cannedWalker(t, dir)}}
			if text, err := os.ReadFile(filepath.Join(dir, "product_versions.json")); err == nil {
				var rows []storage.Build
				if err := json.Unmarshal(text, &rows); err != nil {
					t.Fatal(err)
				}
				p.Env.Versions = processor.NewBuilds(rows)
			}
			res, err := p.Process(context.Background(), processor.Job{ID: string(id), Raw: raw, Dumps: caseDumps(t, dir)})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range res.Failures {
				t.Errorf("rule %s: %v\n%s", f.Rule, f.Err, f.Stack)
			}
			v := processor.ViewsOf(schema.Default(), id, res.Processed)
			for name, doc := range map[string]any{"processed": v.Processed, "public": v.Public, "telemetry": v.Telemetry, "index": v.Index} {
				want := document(t, filepath.Join(dir, "expected_"+name+".json"))
				for _, line := range differences(want, roundTrip(t, doc), name) {
					t.Error(line)
				}
			}
		})
	}
}

func document(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := storage.DecodeDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func roundTrip(t *testing.T, doc any) map[string]any {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	out, err := storage.DecodeDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func cannedWalker(t *testing.T, dir string) processor.Canned {
	w := processor.Canned{Results: map[string]rules.WalkResult{}}
	files, _ := filepath.Glob(filepath.Join(dir, "walker", "*.json"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := processor.ParseCanned(text)
		if err != nil {
			t.Fatal(err)
		}
		w.Results[strings.TrimSuffix(filepath.Base(f), ".json")] = r
	}
	return w
}

func caseDumps(t *testing.T, dir string) []rules.Dump {
	var dumps []rules.Dump
	files, _ := filepath.Glob(filepath.Join(dir, "dumps", "*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dumps = append(dumps, rules.Dump{Name: filepath.Base(f), Size: int64(len(text)), Reader: bytes.NewReader(text)})
	}
	return dumps
}

// differences lists where got is not what want says. "<any>" and "<tmp>" in an
// expected text stand for any run of characters, dates are compared as
// instants, and top-level fields of our own are not looked at.
func differences(want, got any, path string) []string {
	var out []string
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %v, want an object", path, got)}
		}
		for _, k := range keys(w, g) {
			x, inWant := w[k]
			y, inGot := g[k]
			switch {
			case !inGot:
				out = append(out, fmt.Sprintf("%s.%s: missing", path, k))
			case !inWant:
				ours := slices.Contains([]string{"submission_kind", "signature_lists_version", "upload_file_minidump_content"}, k) ||
					path == "index.processed_crash" && k == "stack" // the frames' text
				if !ours {
					out = append(out, fmt.Sprintf("%s.%s: unexpected %.60v", path, k, y))
				}
			default:
				out = append(out, differences(x, y, path+"."+k)...)
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s: %.100v, want %d items", path, got, len(w))}
		}
		for i := range w {
			out = append(out, differences(w[i], g[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
	default:
		if !same(want, got) {
			out = append(out, fmt.Sprintf("%s: %.120q, want %.120q", path, fmt.Sprint(got), fmt.Sprint(want)))
		}
	}
	return out
}

var open = regexp.MustCompile(`<any>|<tmp>`)

func same(want, got any) bool {
	w, ok := want.(string)
	g, ok2 := got.(string)
	if !ok || !ok2 {
		return reflect.DeepEqual(want, got)
	}
	a, err1 := time.Parse("2006-01-02 15:04:05.999999999Z07:00", w)
	b, err2 := time.Parse(time.RFC3339Nano, g)
	if err1 == nil && err2 == nil && a.Equal(b) {
		return true
	}
	parts := open.Split(w, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, `.*`) + `$`).MatchString(g)
}

func keys(a, b map[string]any) []string {
	var all []string
	for k := range a {
		all = append(all, k)
	}
	for k := range b {
		all = append(all, k)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
