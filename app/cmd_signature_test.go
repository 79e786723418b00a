package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/command"
)

const someCrash = "de1bb258-cbbf-4589-a673-34f800160918"

// signatureCommand runs mayday signature and returns what it printed.
func signatureCommand(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(append([]string{"mayday", "signature"}, args...), nil, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func putFile(t *testing.T, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// customLists are lists with one entry each.
func customLists(t *testing.T, irrelevant, prefix string) string {
	dir := t.TempDir()
	putFile(t, irrelevant+"\n", dir, "irrelevant_signature_re.txt")
	putFile(t, prefix+"\n", dir, "prefix_signature_re.txt")
	putFile(t, "panic_fmt\n", dir, "signature_sentinels.txt")
	putFile(t, "interpret\n", dir, "signatures_with_line_numbers_re.txt")
	return dir
}

func processed(id, signature string, functions ...string) string {
	frames := []any{}
	for _, f := range functions {
		frames = append(frames, map[string]any{"function": f})
	}
	text, err := json.Marshal(map[string]any{"uuid": id, "signature": signature,
		"json_dump": map[string]any{"crash_info": map[string]any{"crashing_thread": 0}, "threads": []any{map[string]any{"frames": frames}}}})
	if err != nil {
		panic(err) // it is made of strings
	}
	return string(text)
}

func TestSignatureBulk(t *testing.T) {
	lists := customLists(t, "skip", "pre")
	in := `{"id":1,"input":{"threads":[{"frames":[{"function":"skip"},{"function":"pre"},{"function":"Game::Tick(int)"}]}]}}
{"id":"b","input":{}}

` + processed(someCrash, "old", "pre", "stop") + "\n"
	code, out, errs := signatureCommand(in, "jsonl", "--lists", lists)
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var a struct {
			ID        any
			Signature string
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		id, _ := json.Marshal(a.ID)
		got = append(got, string(id)+" "+a.Signature)
	}
	want := []string{"1 pre | Game::Tick", `"b" EMPTY: no frame data available`, `"` + someCrash + `" pre | stop`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if code, out, errs := signatureCommand("{\"a\n", "jsonl"); code != 1 || !strings.Contains(out, `"error"`) || !strings.Contains(errs, "1 lines") {
		t.Errorf("a broken line: exit %d, %s%s", code, out, errs)
	}
	code, out, _ = signatureCommand(`{"id":"x","frame":{"function":"int f(int)"}}`, "frames", "--lists", lists)
	if want := `{"id":"x","normalized":"f"}` + "\n"; code != 0 || out != want {
		t.Errorf("frames: exit %d, %s", code, out)
	}
	code, out, _ = signatureCommand(`{"id":"x","input":{"signature":"s","hang":"ui"}}`, "convert")
	if code != 0 || !strings.Contains(out, `"hang":"ui"`) || !strings.Contains(out, `"original_signature":"s"`) {
		t.Errorf("convert: exit %d, %s", code, out)
	}
}

func TestSignatureAgain(t *testing.T) {
	lists := customLists(t, "skip", "pre")
	file := putFile(t, processed(someCrash, "old", "pre", "stop")+"\n"+processed("b", "stay", "stay"), t.TempDir(), "crashes.jsonl")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{file}, 0, "Crash id: " + someCrash + "\nOriginal: old\nNew:      pre | stop\nSame?:    False\n\nCrash id: b\nOriginal: stay\nNew:      stay\nSame?:    True\n"},
		{[]string{"--different-only", "--exit-code", "--format", "csv", file}, exitChanged,
			"\"crashid\",\"old\",\"new\",\"same?\",\"notes\"\n\"" + someCrash + "\",\"old\",\"pre | stop\",\"False\",\"[]\"\n"},
		{[]string{"--format", "markdown", "--different-only", file}, 0, "**Crash id:** " + someCrash + "\n\n**Original:** `old`\n\n**New:** `pre | stop`\n\n**Same?:** False\n\n"},
	} {
		code, out, errs := signatureCommand("", append([]string{"--lists", lists}, c.args...)...)
		if code != c.code || out != c.want {
			t.Errorf("%v: exit %d, %s\n(-want +got):\n%s", c.args, code, errs, cmp.Diff(c.want, out))
		}
	}
	if code, _, errs := signatureCommand("", "--format", "xml", file); code != command.ExitUsage || !strings.Contains(errs, "xml") {
		t.Errorf("an unknown format: exit %d, %s", code, errs)
	}
	if code, _, errs := signatureCommand("", "no-such-file"); code != command.ExitUsage || !strings.Contains(errs, "no-such-file") {
		t.Errorf("an unknown argument: exit %d, %s", code, errs)
	}
}

func TestSignatureFromServer(t *testing.T) {
	const slow, gone = "aaaaaaaa-cbbf-4589-a673-34f800160918", "bbbbbbbb-cbbf-4589-a673-34f800160918"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("crash_id") {
		case someCrash:
			_, _ = w.Write([]byte(processed(someCrash, "old", "stop")))
		case slow:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	lists := customLists(t, "skip", "pre")
	code, out, errs := signatureCommand("bp-"+someCrash+"\n"+gone+"\n", "--lists", lists, "--url", server.URL, "--format", "json")
	if code != 0 || !strings.Contains(out, `"new":"stop"`) || !strings.Contains(errs, "WARNING: "+gone) {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	code, out, _ = signatureCommand("", "--lists", lists, "--format", "markdown", server.URL+"/report/index/"+someCrash)
	if code != 0 || !strings.Contains(out, "["+someCrash+"]("+server.URL+"/report/index/"+someCrash+")") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, _, errs := signatureCommand("", "--lists", lists, "--url", server.URL, slow); code != command.ExitFailed || !strings.Contains(errs, "no more requests") {
		t.Errorf("too many requests: exit %d, %s", code, errs)
	}
}

func TestSignatureTry(t *testing.T) {
	before, after := customLists(t, "skip", "pre"), customLists(t, "skip", "malloc")
	file := putFile(t, processed(someCrash, "x", "malloc", "Load")+"\n"+processed("b", "x", "malloc", "Save")+"\n"+processed("c", "stay", "stay"), t.TempDir(), "crashes.jsonl")
	code, out, errs := signatureCommand("", "try", "--old-lists", before, "--lists", after, "--exit-code", file)
	want := `3 crashes, 2 with another signature; 2 signatures before, 3 after

Moves (2 of 2):
      1  malloc
      →  malloc | Load
      1  malloc
      →  malloc | Save

Split (1 of 1):
      2  malloc
   →       1  malloc | Load
   →       1  malloc | Save
`
	if code != exitChanged || out != want {
		t.Errorf("exit %d, %s (-want +got):\n%s", code, errs, cmp.Diff(want, out))
	}
	code, out, _ = signatureCommand("", "try", "--old-lists", before, "--lists", after, "--format", "ids", file)
	if want := "b\n" + someCrash + "\n"; code != 0 || out != want {
		t.Errorf("ids: exit %d (-want +got):\n%s", code, cmp.Diff(want, out))
	}
	code, out, _ = signatureCommand("", "try", "--old-lists", after, "--lists", after, "--format", "csv", "--exit-code", file)
	if want := "count,old,new,ids\n"; code != 0 || out != want {
		t.Errorf("no change: exit %d (-want +got):\n%s", code, cmp.Diff(want, out))
	}
}

func TestSignatureStored(t *testing.T) {
	data := t.TempDir()
	lists := customLists(t, "skip", "pre")
	putFile(t, processed(someCrash, "old", "pre", "stop"), data, "crashes", "v1", "processed_crash", someCrash)
	code, out, errs := signatureCommand("", "--data-dir", data, "--lists", lists, "--format", "json", someCrash)
	if code != 0 || !strings.Contains(out, `"new":"pre | stop"`) {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	code, out, errs = signatureCommand("", "try", "--data-dir", data, "--lists", lists, "--format", "csv")
	if want := "count,old,new,ids\n1,old,pre | stop," + someCrash + "\n"; code != 0 || out != want {
		t.Errorf("exit %d, %s (-want +got):\n%s", code, errs, cmp.Diff(want, out))
	}
}

func TestSignatureExplainAndLint(t *testing.T) {
	lists := customLists(t, "skip", "skipped")
	file := putFile(t, processed(someCrash, "old", "skip(int)", "void stop()"), t.TempDir(), "crash.json")
	code, out, errs := signatureCommand("", "explain", "--lists", lists, file)
	for _, want := range []string{`= "skip"`, "irrelevant by irrelevant_signature_re.txt:1: skip", `= "stop"`, "Signature: stop"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, %q is not in %s%s", code, want, out, errs)
		}
	}
	code, out, _ = signatureCommand("", "explain", "--hits", "--lists", lists, file)
	if code != 0 || !strings.Contains(out, "1  irrelevant_signature_re.txt:1: skip\n") || !strings.Contains(out, "0  prefix_signature_re.txt:1: skipped\n") {
		t.Errorf("hits: exit %d, %s", code, out)
	}
	code, out, _ = signatureCommand("", "lint", lists)
	if code != command.ExitFailed || !strings.Contains(out, "prefix_signature_re.txt:1: shadowed") {
		t.Errorf("lint: exit %d, %s", code, out)
	}
	if code, _, errs := signatureCommand("", "lint", customLists(t, "skip", "pre")); code != 0 {
		t.Errorf("lint of good lists: exit %d, %s", code, errs)
	}
}
