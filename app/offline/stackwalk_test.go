package offline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mayday/app"
	"mayday/minidump/synth"
)

// crash is a made-up crash of a program, and where its symbols belong.
func crash() (dump, sym []byte, rel string) {
	b := &synth.Binary{CPU: synth.AMD64, OS: synth.LinuxOS, Path: "/opt/app", ID: [16]byte{1, 2, 3}, Base: 0x400000, Size: 0x10000, Functions: []synth.Function{
		{Name: "recurse", File: "app.c", Line: 10, Address: 0x1000, Size: 0x100, Frame: synth.CFI, Locals: 0x20},
	}}
	c := &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Binaries: []*synth.Binary{b}, Threads: []synth.Stack{{ID: 1, Name: "main"}, {ID: 2, Name: "other"}}, Fault: synth.Fault{Code: 11, Flags: 1, Address: 8}}
	for i := range c.Threads {
		for range 3 {
			c.Threads[i].Calls = append(c.Threads[i].Calls, synth.Call{Binary: b, Offset: 0x1040})
		}
	}
	return c.Dump().Bytes(), b.Sym(), "app/" + b.DebugID() + "/app.sym"
}

// files writes the crash and its symbols into a directory.
func files(t *testing.T) (dir, dump, store, sym string) {
	t.Helper()
	d, s, rel := crash()
	dir = t.TempDir()
	dump, store = filepath.Join(dir, "app.dmp"), filepath.Join(dir, "store")
	sym = filepath.Join(store, rel)
	if err := os.MkdirAll(filepath.Dir(sym), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{dump: d, sym: s} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, dump, store, sym
}

func stackwalk(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = app.Main(append([]string{"mayday", "stackwalk"}, args...), nil, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestStackwalkExitCodes(t *testing.T) {
	dir, dump, store, _ := files(t)
	whole, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	system := &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS}
	version := bytes.Clone(whole)
	version[4] = 0
	outside := bytes.Clone(whole)
	outside[15] = 0x7f
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout string // what it begins with; "" for nothing at all
		stderr string // what it contains
	}{
		{"text", []string{dump}, 0, "Operating system: Linux", ""},
		{"human", []string{"--human", dump}, 0, "Operating system: Linux", ""},
		{"json", []string{"--json", dump}, 0, `{"crash_info":`, ""},
		{"pretty", []string{"--json", "--pretty", dump}, 0, "{\n  \"crash_info\":", ""},
		{"brief", []string{"--brief", dump}, 0, "Operating system", ""},
		{"parity", []string{"--json", "--heuristics", "parity", "--symbols-path", store, dump}, 0, `{"crash_info":`, ""},
		{"flags of the peer", []string{"--json", "--no-interactive", "--no-color", "--features", "stable-all", "--symbols-tmp", dir, "--use-local-debuginfo", "--recover-function-args", dump}, 0, `{"crash_info":`, ""},
		{"version", []string{"--version"}, 0, "mayday stackwalk", ""},
		{"missing file", []string{filepath.Join(dir, "none")}, 1, "", "ERROR FileNotFound - Error reading dump: File not found\n"},
		{"directory", []string{dir}, 1, "", "ERROR IoError - Error reading dump"},
		{"empty", []string{file("empty", nil)}, 1, "", "ERROR MissingHeader - Error reading dump"},
		{"short", []string{"--json", file("short", whole[:31])}, 1, "", "ERROR MissingHeader - Error reading dump"},
		{"text file", []string{file("text", bytes.Repeat([]byte("hello "), 20))}, 1, "", "ERROR HeaderMismatch - Error reading dump"},
		{"wrong version", []string{file("version", version)}, 1, "", "ERROR VersionMismatch - Error reading dump"},
		{"directory outside", []string{file("outside", outside)}, 1, "", "ERROR MissingDirectory - Error reading dump"},
		{"no system", []string{file("nosystem", (&synth.Dump{Threads: []synth.Thread{{ID: 1}}}).Bytes())}, 1, "", "ERROR MissingSystemInfo - Error processing dump"},
		{"no threads", []string{"--json", file("nothreads", (&synth.Dump{System: system}).Bytes())}, 1, "", "ERROR MissingThreadList - Error processing dump"},
		{"quiet failure", []string{"--verbose", "off", filepath.Join(dir, "none")}, 1, "", ""},
		{"no argument", nil, 2, "", "takes a minidump"},
		{"unknown flag", []string{"--nonsense", dump}, 2, "", "nonsense"},
		{"two outputs", []string{"--json", "--human", dump}, 2, "", "only one of"},
		{"cyborg and json", []string{"--json", "--cyborg", filepath.Join(dir, "x"), dump}, 2, "", "only one of"},
		{"heuristics", []string{"--heuristics", "worst", dump}, 2, "", "worst"},
		{"verbosity", []string{"--verbose", "loud", dump}, 2, "", "loud"},
		{"bad number", []string{"--symbols-download-timeout-secs", "soon", dump}, 2, "", "soon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := stackwalk(c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d; %s", code, c.code, stderr)
			}
			if c.stdout == "" && stdout != "" && code == 1 || !strings.HasPrefix(stdout, c.stdout) {
				t.Errorf("stdout %.200q, want %q", stdout, c.stdout)
			}
			if !strings.Contains(stderr, c.stderr) || c.code == 0 && stderr != "" || c.code == 1 && c.stderr == "" && stderr != "" {
				t.Errorf("stderr %q, want %q", stderr, c.stderr)
			}
		})
	}
}

func TestStackwalkFiles(t *testing.T) {
	dir, dump, _, sym := files(t)
	out, both, log := filepath.Join(dir, "out"), filepath.Join(dir, "both"), filepath.Join(dir, "log")
	extra := filepath.Join(dir, "extra.json")
	if err := os.WriteFile(extra, []byte(`{"ModuleSignatureInfo":"{\"Example Corp\":[\"app\"]}","CPUMicrocodeVersion":"0x1f"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := stackwalk("--cyborg", both, "--output-file", out, "--evil-json", extra, dump, sym)
	text, err := os.ReadFile(out)
	if code != 0 || stdout != "" || stderr != "" || err != nil || !strings.Contains(string(text), "app!recurse [app.c : 1") || !strings.Contains(string(text), "(Example Corp)") {
		t.Errorf("exit code %d, stdout %q, stderr %q, %v, text\n%s", code, stdout, stderr, err, text)
	}
	var doc struct {
		SystemInfo struct {
			Microcode string `json:"cpu_microcode_version"`
		} `json:"system_info"`
		Modules []struct {
			Cert string `json:"cert_subject"`
		}
	}
	b, err := os.ReadFile(both) // what the dump itself says of the microcode wins
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.SystemInfo.Microcode != "0xf0" || doc.Modules[0].Cert != "Example Corp" {
		t.Errorf("JSON: %v, %+v", err, doc)
	}
	code, stdout, stderr = stackwalk("--log-file", log, filepath.Join(dir, "none"))
	b, err = os.ReadFile(log)
	if code != 1 || stdout != "" || stderr != "" || err != nil || !strings.HasPrefix(string(b), "ERROR FileNotFound") {
		t.Errorf("exit code %d, stdout %q, stderr %q, log %q, %v", code, stdout, stderr, b, err)
	}
}

// found is what the JSON says of the symbols of the first module and of the
// first frame.
type found struct {
	Modules []struct {
		Loaded    bool    `json:"loaded_symbols"`
		Missing   bool    `json:"missing_symbols"`
		URL       *string `json:"symbol_url"`
		SymbolErr string  `json:"symbol_error"`
		DebugFile string  `json:"debug_file"`
	}
	Threads []struct {
		Frames []struct{ Function, File *string }
	}
}

// Symbols come from servers, in the order given, and the next time from the
// cache with the address that they came from.
func TestStackwalkServers(t *testing.T) {
	dir, dump, _, _ := files(t)
	_, sym, rel := crash()
	var asked, refused atomic.Int32
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/try/"+rel {
			http.NotFound(w, r)
			return
		}
		w.Write(sym)
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refused.Add(1)
		http.NotFound(w, r)
	}))
	defer bad.Close()
	down := httptest.NewServer(nil)
	down.Close()
	cache := filepath.Join(dir, "cache")
	walk := func(want bool, args ...string) found {
		t.Helper()
		code, stdout, stderr := stackwalk(append(append([]string{"--json"}, args...), dump)...)
		var f found
		if err := json.Unmarshal([]byte(stdout), &f); code != 0 || err != nil {
			t.Fatalf("%v: exit code %d, %v, %s", args, code, err, stderr)
		}
		if f.Modules[0].Loaded != want || f.Modules[0].Missing == want || (f.Threads[0].Frames[0].Function != nil) != want {
			t.Errorf("%v: %+v", args, f)
		}
		return f
	}
	f := walk(true, "--symbols-url", bad.URL, "--symbols-url", good.URL+"/try", "--symbols-cache", cache)
	if u := f.Modules[0].URL; u == nil || *u != good.URL+"/try/"+rel || refused.Load() == 0 || asked.Load() != 1 {
		t.Errorf("address %v, asked %d and %d times", u, refused.Load(), asked.Load())
	}
	f = walk(true, "--symbols-url", down.URL, "--symbols-cache", cache)
	if u := f.Modules[0].URL; u == nil || *u != good.URL+"/try/"+rel || asked.Load() != 1 {
		t.Errorf("from the cache: address %v, asked %d times", u, asked.Load())
	}
	walk(false, "--symbols-url", bad.URL, "--symbols-cache", filepath.Join(dir, "other"))
	f = walk(false, "--symbols-url", down.URL, "--symbols-cache", filepath.Join(dir, "third"), "--symbols-download-timeout-secs", "5")
	if f.Modules[0].SymbolErr == "" {
		t.Errorf("a server that is down goes unmentioned: %+v", f.Modules[0])
	}
}

// A body that ends early is no symbol file and does not stay in the cache.
func TestStackwalkBrokenDownload(t *testing.T) {
	dir, dump, _, _ := files(t)
	_, sym, _ := crash()
	whole := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !whole {
			w.Header().Set("Content-Length", fmt.Sprint(len(sym)))
			w.Write(sym[:len(sym)/2])
			return
		}
		w.Write(sym)
	}))
	defer server.Close()
	args := []string{"--json", "--symbols-url", server.URL, "--symbols-cache", filepath.Join(dir, "cache"), dump}
	if code, stdout, stderr := stackwalk(args...); code != 0 || !strings.Contains(stdout, `"loaded_symbols":false`) {
		t.Errorf("half a file: exit code %d, %s\n%s", code, stderr, stdout)
	}
	whole = true
	if code, stdout, stderr := stackwalk(args...); code != 0 || !strings.Contains(stdout, `"function":"recurse"`) {
		t.Errorf("the whole file: exit code %d, %s\n%s", code, stderr, stdout)
	}
}

// The flags of minidump-stackwalk do here what they say.
func TestStackwalkPeerFlags(t *testing.T) {
	dir, dump, _, _ := files(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--dump", "--brief", dump}, 0, "MINIDUMP_HEADER"},
		{[]string{"--dump", "--json", dump}, 2, ""},
		{[]string{"--features", "unstable-all", "--no-interactive", "--symbols-tmp", dir, dump}, 0, "Operating system"},
		{[]string{"--features", "all", dump}, 2, ""},
		{[]string{"--use-local-debuginfo", "--recover-function-args", dump}, 0, "Operating system"},
		{[]string{"-V"}, 0, "mayday stackwalk"},
	} {
		code, stdout, stderr := stackwalk(c.args...)
		if code != c.code || !strings.Contains(stdout, c.want) {
			t.Errorf("%v: code %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
}
