package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// importLines are two good crashes, one of them twice, and two bad lines.
const importLines = `{"raw_crash":{"ProductName":"Game"},"processed_crash":{"uuid":"0a000000-0000-4000-8000-000000260901","date_processed":"2026-09-01T10:00:00+00:00","signature":"a","build":"2026"}}
{"uuid":"nonsense","date_processed":"2026-09-01T10:00:00+00:00"}

{"uuid":"0b000000-0000-4000-8000-000000260901","date_processed":"2026-09-01T11:00:00+00:00","signature":"b"}
{not json
{"uuid":"0b000000-0000-4000-8000-000000260901","date_processed":"2026-09-01T11:00:00+00:00","signature":"c"}
`

func TestImportProcessed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "crashes.jsonl")
	if err := os.WriteFile(file, []byte(importLines), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for range 2 { // importing again changes nothing
		var out, errs bytes.Buffer
		code := Main([]string{"mayday", "import-processed", "--data-dir", data, file}, nil, strings.NewReader(""), &out, &errs)
		if code != 1 || !strings.Contains(out.String(), "3 crashes imported") {
			t.Fatalf("exit code %d, output %q, errors %q; want 1 and 3 crashes", code, out.String(), errs.String())
		}
		for _, want := range []string{file + ":2: processed crash has the bad uuid nonsense", file + ":5: ", "2 lines were refused"} {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("errors %q lack %q", errs.String(), want)
			}
		}
	}
	if code := Main([]string{"mayday", "import-processed", "--data-dir", data, filepath.Join(dir, "nofile")}, nil, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}); code == 0 {
		t.Error("a missing file is imported")
	}
	processed, _ := filepath.Glob(filepath.Join(data, "crashes", "v1", "processed_crash", "*"))
	raw, _ := filepath.Glob(filepath.Join(data, "crashes", "v1", "raw_crash", "*", "*"))
	if len(processed) != 2 || len(raw) != 1 {
		t.Errorf("%d processed and %d raw crashes in the bucket, want 2 and 1: %v %v", len(processed), len(raw), processed, raw)
	}
}
