package e2e

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/minidump/synth"
)

const kiteSource = `int sail(int *p, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++)
    sum += p[i];
  return sum;
}
int main(int argc, char **argv) {
  int p[3] = {argc, argc, argc};
  int sum = sail(p, 3);
  return sum + 1;
}
`

// kite is a program that gcc made, stripped, with its debug information beside
// it, and a crash in the middle of sail, which main called.
type kite struct {
	stripped, debug string // files
	binary          *synth.Binary
	dump            []byte
	lines           map[string]int // of each function where the crash is in it
}

func buildKite(t *testing.T) *kite {
	t.Helper()
	for _, tool := range []string{"gcc", "objcopy", "strip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s, which makes the program whose debug files are uploaded", tool)
		}
	}
	dir := t.TempDir()
	k := &kite{stripped: filepath.Join(dir, "stripped", "kite"), debug: filepath.Join(dir, "kite.debug"), lines: map[string]int{},
		binary: &synth.Binary{CPU: synth.AMD64, OS: synth.LinuxOS, Path: "/opt/kite/kite", ID: [16]byte{0x17, 0x2a, 3, 4, 5, 6, 7, 8, 9}, Base: 0x400000, Size: 0x10000}}
	if err := os.Mkdir(filepath.Dir(k.stripped), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kite.c"), []byte(kiteSource), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"gcc", "-g", "-O0", "-fno-omit-frame-pointer", "-Wl,--build-id=0x" + k.binary.CodeID(), "-o", "kite", "kite.c"},
		{"objcopy", "--only-keep-debug", "kite", "kite.debug"},
		{"strip", "-o", k.stripped, "kite"},
	} {
		c := exec.Command(args[0], args[1:]...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	f, err := elf.Open(filepath.Join(dir, "kite"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		t.Skip("gcc makes no programs for amd64, which the made-up stack is of")
	}
	list, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var calls []synth.Call
	for _, name := range []string{"sail", "main"} {
		for _, s := range list {
			if s.Name != name {
				continue
			}
			k.binary.Functions = append(k.binary.Functions, synth.Function{Name: name, Address: uint32(s.Value), Size: uint32(s.Size), Locals: 64})
			at := s.Value + s.Size/2
			calls = append(calls, synth.Call{Binary: k.binary, Offset: uint32(at)})
			if name == "main" {
				at-- // a caller is where its call is
			}
			k.lines[name] = lineAt(t, f, at)
		}
	}
	crash := &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Seed: 7, Binaries: []*synth.Binary{k.binary}, PID: 42, Time: 1_790_000_000,
		Threads: []synth.Stack{{ID: 42, Name: "main", Calls: calls}}, Fault: synth.Fault{Code: 11, Address: 0x10}}
	k.dump = crash.Dump().Bytes()
	return k
}

func lineAt(t *testing.T, f *elf.File, address uint64) int {
	t.Helper()
	data, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	unit, err := data.Reader().SeekPC(address)
	if err != nil {
		t.Fatal(err)
	}
	r, err := data.LineReader(unit)
	if err != nil {
		t.Fatal(err)
	}
	var e dwarf.LineEntry
	if err := r.SeekPC(address, &e); err != nil {
		t.Fatal(err)
	}
	return e.Line
}

// sendDebugFile uploads a raw debug file.
func (s *server) sendDebugFile(token, path string, header ...string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	status, _, answer := s.sendFile("/upload/debug/", token, filepath.Base(path), func(w io.Writer) error { _, err := w.Write(text); return err }, header...)
	if status != http.StatusCreated {
		s.t.Fatalf("%s: %d %s", path, status, answer)
	}
	return answer
}

// frame is a frame of v5's answer, or of a processed crash.
type frame struct {
	Function, File string
	Line           int
}

// check says what is wrong with the stack of a kite.
func (k *kite) check(stack []frame) error {
	for i, name := range []string{"sail", "main"} {
		if len(stack) <= i || stack[i].Function != name || !strings.HasSuffix(stack[i].File, "/kite.c") || stack[i].Line != k.lines[name] {
			return fmt.Errorf("frame %d is not %s at line %d: %+v", i, name, k.lines[name], stack)
		}
	}
	return nil
}

// A program's debug file and the stripped program, uploaded apart, become
// symbols that the symbolication API and crashes that came before have, also
// when the server is killed right after the answer.
func TestDebugFilesBecomeSymbols(t *testing.T) {
	t.Parallel()
	k := buildKite(t)
	s := start(t)
	token := s.token("build@example.com", "upload_symbols,view_all_uploads")
	id := s.submit(map[string]string{"ProductName": "Kite"}, map[string][]byte{"upload_file_minidump": k.dump})
	if got := s.processed(id)["signature"]; got != "kite" {
		t.Fatalf("signature without symbols: %v", got)
	}
	s.found(id)
	first := s.sendDebugFile(token, k.debug)
	s.kill()
	s.restart()
	s.eventually("the debug file alone has functions and lines", func() error { return s.symbolicated(k) })
	second := s.sendDebugFile(token, k.stripped, "Prefer", "wait=60")
	for _, answer := range []string{first, second} {
		if !strings.Contains(answer, strings.ToUpper(k.binary.CodeID())) || !strings.Contains(answer, `"state":"`) {
			t.Errorf("the answer does not tell of symbols to be made: %s", answer)
		}
	}
	if !strings.Contains(second, `"state":"done"`) {
		t.Errorf("%s", second)
	}
	if err := s.symbolicated(k); err != nil {
		t.Error(err)
	}
	if status, text := s.get("/kite/" + k.binary.DebugID() + "/kite.sym"); status != 200 || !strings.Contains(text, "\nSTACK CFI INIT ") || !strings.Contains(text, " sail\n") {
		t.Errorf("download: %d %.300s", status, text)
	}
	s.eventually("the crash that came before has names and lines", func() error {
		text, err := json.Marshal(s.processed(id)["json_dump"])
		if err != nil {
			return err
		}
		var d struct {
			Thread struct {
				Frames []frame `json:"frames"`
			} `json:"crashing_thread"`
		}
		if err := json.Unmarshal(text, &d); err != nil {
			return err
		}
		return k.check(d.Thread.Frames)
	})
	if got := s.processed(id)["signature"]; got != "sail" {
		t.Errorf("signature %v", got)
	}
	status, page := s.getAs(token, "/api/uploads/upload/1")
	if status != 200 || !strings.Contains(page, `"quality"`) || !strings.Contains(page, "kite.sym") {
		t.Errorf("the upload does not show its symbols: %d %s", status, page)
	}
}

// symbolicated asks for the stack by the symbolication API.
func (s *server) symbolicated(k *kite) error {
	f := k.binary.Functions
	body := fmt.Sprintf(`{"memoryMap":[["kite","%s"]],"stacks":[[[0,%d],[0,%d]]]}`, k.binary.DebugID(), f[0].Address+f[0].Size/2, f[1].Address+f[1].Size/2-1)
	r, err := http.Post(s.url+"/symbolicate/v5", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var answer struct{ Results []struct{ Stacks [][]frame } }
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return err
	}
	if len(answer.Results) != 1 || len(answer.Results[0].Stacks) != 1 {
		return fmt.Errorf("no stack: %+v", answer)
	}
	return k.check(answer.Results[0].Stacks[0])
}

// broken is its debug file with a unit that claims to be longer than everything.
func (k *kite) broken(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(k.debug)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(k.debug)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copy(text[f.Section(".debug_info").Offset:], "\x00\xff\xff\x7f")
	broken := filepath.Join(t.TempDir(), "kite.debug")
	if err := os.WriteFile(broken, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return broken
}

// A file that no symbols can be made of says why, on its upload.
func TestDebugFileWithoutSymbols(t *testing.T) {
	t.Parallel()
	k := buildKite(t)
	s := start(t)
	token := s.token("build@example.com", "upload_symbols")
	broken := k.broken(t)
	answer := s.sendDebugFile(token, broken, "Prefer", "wait=60")
	var v struct {
		Conversions []struct{ State, Reason string }
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil || len(v.Conversions) != 1 || v.Conversions[0].State != "failed" || !strings.Contains(v.Conversions[0].Reason, "debug information of kite") {
		t.Errorf("%s, %v", answer, err)
	}
	id, _ := hex.DecodeString(k.binary.CodeID())
	if status, _ := s.get("/buildid/" + hex.EncodeToString(id) + "/debuginfo"); status != 200 {
		t.Errorf("the file itself is not there for debuggers: %d", status)
	}
}

// symbols upload waits for the symbols of what it sent, and its exit code says
// whether there are any.
func TestUploadWaitsForSymbols(t *testing.T) {
	t.Parallel()
	k := buildKite(t)
	s := start(t)
	token := s.token("build@example.com", "upload_symbols")
	code, out, errs := run(t, "symbols", "upload", "--url", s.url, "--token", token, k.stripped, k.debug)
	if key := "kite/" + k.binary.DebugID() + "/kite.sym"; code != 0 || !strings.Contains(errs, "symbols of build "+strings.ToUpper(k.binary.CodeID())) || !strings.Contains(errs, key) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if err := s.symbolicated(k); err != nil {
		t.Error(err)
	}
	broken := k.broken(t)
	if code, out, errs := run(t, "symbols", "upload", "--url", s.url, "--token", token, broken); code != 1 || !strings.Contains(errs, "no symbols of build") {
		t.Errorf("a file that no symbols can be made of: exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run(t, "symbols", "upload", "--wait", "0", "--url", s.url, "--token", token, broken); code != 0 {
		t.Errorf("without waiting: exit %d\n%s%s", code, out, errs)
	}
}

// A walking child has symbols made of what a debuginfod server knows, as the
// processor itself does.
func TestSuppliedDebugFileInChild(t *testing.T) {
	t.Parallel()
	k := buildKite(t)
	files := http.NewServeMux()
	for name, path := range map[string]string{"debuginfo": k.debug, "executable": k.stripped} {
		files.HandleFunc("GET /buildid/"+k.binary.CodeID()+"/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) })
	}
	supplier := httptest.NewServer(files)
	defer supplier.Close()
	s := start(t, "--processor.isolate", "true", "--symbols.urls", "debuginfod+"+supplier.URL)
	id := s.submit(map[string]string{"ProductName": "Kite"}, map[string][]byte{"upload_file_minidump": k.dump})
	if p := s.processed(id); p["signature"] != "sail" {
		t.Errorf("signature %v, notes %v", p["signature"], p["processor_notes"])
	}
}
