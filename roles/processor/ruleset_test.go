package processor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/storage/schema"
)

// Every field a rule speaks of is a row of the field table, and none needs what
// only a later rule sets.
func TestRulesFitTheTable(t *testing.T) {
	tab := schema.Default()
	set := map[string]bool{}
	names := map[string]bool{}
	last := map[string]string{} // the last rule that sets a field
	all := processor.Rules()
	for _, r := range all {
		for _, f := range r.Sets {
			last[f] = r.Name
		}
	}
	for _, r := range all {
		if names[r.Name] || !strings.HasSuffix(r.Name, "Rule") || r.Run == nil || !strings.HasSuffix(r.Doc, ".") {
			t.Errorf("rule %q: name taken or odd, no function, or doc %q", r.Name, r.Doc)
		}
		names[r.Name] = true
		for _, f := range r.Needs {
			if tab.Field(f) == nil {
				t.Errorf("rule %s needs %s, which has no row", r.Name, f)
			}
			if !set[f] && last[f] != "" && !slices.Contains(r.Sets, f) {
				t.Errorf("rule %s needs %s, which only a later rule sets", r.Name, f)
			}
		}
		for _, f := range r.Sets {
			if f == rules.EveryAnnotation {
				for _, row := range tab.Fields() {
					set[row.Name] = set[row.Name] || row.Annotation != ""
				}
				continue
			}
			if tab.Field(f) == nil {
				t.Errorf("rule %s sets %s, which has no row", r.Name, f)
			}
			set[f] = true
		}
	}
	// Each field of the table comes from somewhere.
	made := []string{"success", "started_datetime", "completed_datetime", "processor_notes", "processor_history", "upload_file_minidump_browser"}
	for _, row := range tab.Fields() {
		if !set[row.Name] && !slices.Contains(made, row.Name) {
			t.Errorf("no rule sets %s", row.Name)
		}
	}
}

// Rules set no field but those they name.
func TestRulesSetWhatTheySay(t *testing.T) {
	env := rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: walkerFunc(walked)}
	c := &rules.Crash{ID: "x", Processed: map[string]any{}, Raw: fullRaw(), Dumps: []rules.Dump{{Name: rules.MinidumpName, Size: 4, Reader: strings.NewReader("MDMP")}}}
	for _, r := range processor.Rules() {
		before := text(t, c.Processed)
		if err := r.Run(context.Background(), &env, c); err != nil {
			t.Errorf("rule %s: %v", r.Name, err)
		}
		for k, v := range text(t, c.Processed) {
			known := slices.Contains(r.Sets, k)
			if f := env.Schema.Field(k); f != nil && f.Annotation != "" && slices.Contains(r.Sets, rules.EveryAnnotation) {
				known = true
			}
			if before[k] != v && !known {
				t.Errorf("rule %s sets %s and does not say so", r.Name, k)
			}
		}
	}
}

func text(t *testing.T, doc map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range doc {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = string(b)
	}
	return out
}

// fullRaw has a value in every annotation that the table knows.
func fullRaw() map[string]any {
	raw := map[string]any{}
	for _, a := range schema.Default().Annotations() {
		raw[a.Name] = "1"
	}
	raw["submitted_timestamp"] = "2026-11-20T10:00:30+00:00"
	raw["metadata"] = map[string]any{"collector_notes": []any{"x"}}
	raw["Breadcrumbs"] = `[{"message":"x"}]`
	raw["JavaStackTrace"] = "a.B: x\n\tat c"
	return raw
}

// FuzzPipeline feeds raw crashes and walker results of any shape: no rule may
// fail, the whole must encode, and the public must see nothing protected.
func FuzzPipeline(f *testing.F) {
	f.Add([]byte(`{"CrashTime":"1","submitted_timestamp":"2026-11-20T10:00:30Z","uuid":"x","Add-ons":"a%zz,b:1"}`), []byte(`{"threads":[{"frames":[null,{"inlines":[3]}]}],"crash_info":{"crashing_thread":0}}`), []byte("MDMP"))
	f.Add([]byte(`{"StackTraces":{"threads":[{"frames":[{"ip":"0x10","module_index":0}]}],"modules":[{"base_addr":"0x0"}]}}`), []byte(`{"modules":[{"symbol_url":"::"}]}`), []byte("\x1f\x8b\x08"))
	f.Add([]byte(`{"MozCrashReason":7,"InstallTime":[1],"PHCKind":"x","ModuleSignatureInfo":{}}`), []byte(`[]`), []byte{})
	f.Fuzz(func(t *testing.T, rawText, walkText, report []byte) {
		var raw map[string]any
		var output any
		if json.Unmarshal(rawText, &raw) != nil || json.Unmarshal(walkText, &output) != nil {
			return
		}
		walker := walkerFunc(func(context.Context, rules.Dump) rules.WalkResult { return rules.WalkResult{Output: output} })
		p := processor.Pipeline{Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: walker}}
		delete(raw, "submitted_timestamp")
		if raw != nil {
			raw["submitted_timestamp"] = "2026-11-20T10:00:30+00:00"
		}
		dumps := []rules.Dump{{Name: rules.MinidumpName, Size: 4, Reader: strings.NewReader("MDMP")}, {Name: "memory_report", Size: int64(len(report)), Reader: bytes.NewReader(report)}}
		res, err := p.Process(context.Background(), processor.Job{ID: "x", Raw: raw, Dumps: dumps})
		if err != nil {
			t.Fatal(err)
		}
		for _, fail := range res.Failures {
			if raw == nil && fail.Rule == "DatesAndTimesRule" {
				continue // it says that it needs submitted_timestamp
			}
			t.Errorf("rule %s: %v\n%s", fail.Rule, fail.Err, fail.Stack)
		}
		if _, err := json.Marshal(processor.ViewsOf(schema.Default(), "x", res.Processed)); err != nil {
			t.Error(err)
		}
	})
}
