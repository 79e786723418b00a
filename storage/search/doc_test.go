package search

import (
	"strings"
	"testing"

	"mayday/storage/search/plan"
)

func TestFramesAreLines(t *testing.T) {
	fields, err := plan.NewFields([]plan.Field{
		{Name: "uuid", Path: "uuid", Type: plan.Enum}, {Name: "date", Path: "date", Type: plan.Date, Storage: plan.Instant},
		{Name: "stack", Path: "json_dump.crashing_thread.frames", Storage: plan.Text, Parts: "\n", Frames: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	frame := func(module, function, file any, inlines ...any) map[string]any {
		return map[string]any{"module": module, "function": function, "file": file, "line": 7, "inlines": inlines, "trust": "cfi"}
	}
	for name, c := range map[string]struct {
		frames any
		want   any
	}{
		"all": {[]any{frame("sail.dll", "sail::tear", "git:example.org/sail:src/tear.cpp:abc", map[string]any{"function": "sail::rip", "file": "src/rip.h"}), frame("kite.exe", nil, nil)},
			"sail.dll sail::rip src/rip.h\nsail.dll sail::tear src/tear.cpp\nkite.exe"},
		"none":      {[]any{}, nil},
		"null":      {nil, nil},
		"no list":   {map[string]any{"module": "x"}, nil},
		"no frames": {[]any{"text", 7.0, nil, frame(7, "f\ng", "C:\\a.c")}, `f g C:\a.c`},
		"deep":      {[]any{frame(strings.Repeat("m", 40_000), "f", nil)}, strings.Repeat("m", plan.MaxText)},
		"not utf-8": {[]any{frame("a\xff", "f", nil)}, "a\uFFFD f"},
	} {
		d, err := NewDoc(map[string]any{"uuid": "00000007-0000-4000-8000-000000260901", "date": "2026-09-01", "json_dump": map[string]any{"crashing_thread": map[string]any{"frames": c.frames}}}, fields)
		if err != nil {
			t.Fatal(err)
		}
		if d.Values[2] != c.want {
			t.Errorf("%s: %.100q, want %.100q", name, d.Values[2], c.want)
		}
	}
}
