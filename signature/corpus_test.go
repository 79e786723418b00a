package signature

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The comparison corpus holds what the upstream answers; it stands beside the
// repository where it is checked, and nowhere else.

func upstreamLists(t *testing.T, dir string) *Lists {
	t.Helper()
	dir = filepath.Join(sharedData, dir)
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no comparison data beside the repository")
	}
	l, err := Load(os.DirFS(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestUpstreamSignatures(t *testing.T) {
	lists := upstreamLists(t, "lists").WithCache(100) // small, so that it forgets
	for _, line := range corpusLines(t, "visible.jsonl") {
		var rec struct {
			Input    map[string]any
			Expected struct {
				Signature string
				Notes     []string
				Proto     string   `json:"proto_signature"`
				Debug     []string `json:"debug_log"`
			}
		}
		unmarshal(t, line, &rec)
		scanned, err := ParseRecord(line)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range []Result{Generate(scanned.Input, lists), Generate(FromCrashData(rec.Input), lists)} {
			if got.Signature != rec.Expected.Signature || got.ProtoSignature != rec.Expected.Proto {
				t.Errorf("%d %s: got %q, %q", i, line, got.Signature, got.ProtoSignature)
			}
			if d := cmp.Diff(rec.Expected.Notes, append([]string{}, got.Notes...)); d != "" {
				t.Errorf("%s: notes (-want +got):\n%s", line, d)
			}
			if d := cmp.Diff(rec.Expected.Debug, got.DebugLog()); d != "" && rec.Expected.Debug != nil {
				t.Errorf("%s: debug log (-want +got):\n%s", line, d)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestUpstreamFrames(t *testing.T) {
	lists := upstreamLists(t, "lists")
	for _, line := range corpusLines(t, "frames_visible.jsonl") {
		var rec struct {
			Frame    map[string]any
			Lower    bool `json:"lower_modules"`
			Expected string
		}
		unmarshal(t, line, &rec)
		if got := NormalizeFrame(frames([]any{rec.Frame})[0], rec.Lower, lists); got != rec.Expected {
			t.Errorf("%s: got %q", line, got)
		}
	}
}

func TestUpstreamConversion(t *testing.T) {
	lists := upstreamLists(t, "lists")
	for _, line := range corpusLines(t, "convert_visible.jsonl") {
		var rec struct {
			Input     map[string]any
			Expected  map[string]any
			Signature string `json:"expected_signature"`
		}
		unmarshal(t, line, &rec)
		text, err := json.Marshal(Convert(rec.Input))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		unmarshal(t, text, &got)
		if d := cmp.Diff(rec.Expected, got); d != "" {
			t.Errorf("%s: (-want +got):\n%s", line, d)
		}
		scanned, err := ParseRecord(line)
		if err != nil {
			t.Fatal(err)
		}
		if got := Generate(scanned.Input, lists).Signature; got != rec.Signature {
			t.Errorf("%s: got %q, want %q", line, got, rec.Signature)
		}
	}
}

func TestUpstreamCustomLists(t *testing.T) {
	for _, set := range []string{"small", "empty", "odd"} {
		lists := upstreamLists(t, "corpus/customlists/"+set).WithWatchdog(Default())
		for _, line := range corpusLines(t, "custom_"+set+"_visible.jsonl") {
			var rec struct {
				Expected struct{ Signature string }
			}
			unmarshal(t, line, &rec)
			r, err := ParseRecord(line)
			if err != nil {
				t.Fatal(err)
			}
			if got := Generate(r.Input, lists).Signature; got != rec.Expected.Signature {
				t.Errorf("%s %s: got %q, want %q", set, line, got, rec.Expected.Signature)
			}
		}
	}
}

func unmarshal(t *testing.T, line []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
}
