package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/minidump/synth"
	"mayday/roles/processor"
	"mayday/roles/processor/rules"
	"mayday/storage"
	"mayday/storage/schema"
	"mayday/test/process"
)

// hostileDump names, in the environment, the dump that a child processes; the
// child is behaviour "hostile".
const hostileDump = "MAYDAY_TEST_HOSTILE_DUMP"

// processed is what a hostile child says of itself.
type processed struct {
	Peak, Document int64 // bytes
	CPU            time.Duration
	Exit           int64
	Truncated      string
}

// processHostile processes a dump from a file, as a processor does with those
// that are not small, up to the JSON that is stored.
func processHostile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	none := source(func(context.Context) error { return fault.New(fault.NotFound, "no symbols") })
	w := &processor.InProcess{Symbols: none, Timeout: time.Minute, Memory: 1 << 30}
	p := processor.Pipeline{Env: rules.Env{Schema: schema.Default(), Tables: rules.DefaultTables(), Walker: w}}
	raw := map[string]any{"submitted_timestamp": "2026-11-20T10:00:30+00:00", "ProductName": "Game", "Version": "1.2"}
	r, err := p.Process(context.Background(), processor.Job{ID: "x", Raw: raw, Dumps: []rules.Dump{{Name: rules.MinidumpName, Size: info.Size(), Reader: f, File: f}}})
	if err != nil {
		return err
	}
	text, err := storage.EncodeDocument(r.Processed)
	if err != nil {
		return err
	}
	memory, err := process.MemoryOf(os.Getpid())
	if err != nil {
		return err
	}
	out := processed{Peak: memory.Peak, Document: int64(len(text))}
	out.Exit, _ = r.Processed["mdsw_return_code"].(int64)
	if dump, ok := r.Processed["json_dump"].(map[string]any); ok {
		out.Truncated, _ = dump["truncated"].(string)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// Whatever a dump is like, it is walked and becomes a document of some
// megabytes, for which the processor takes no more than 64 MB and four times
// the dump. MAYDAY_HOSTILE_SIZE is the size of the dumps in bytes, and then all
// are tried; else they have 16 MB, and those are tried that make the most of it.
func TestHostileDocumentIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("processes dumps in processes of their own, which takes seconds; -short was given")
	}
	if runtime.GOOS != "linux" {
		t.Skip("how much memory a process took is read from /proc, which only Linux has")
	}
	size, some := 16<<20, map[string]string{
		"threads": "threads", "threads without a stack": "threads", "threads with names": "threads",
		"one large stack of distinct frames": "frames", "one large chain": "",
		"modules": "modules", "modules of long names": "modules", "unloaded modules": "unloaded_modules", "handles": "handles",
		"soft errors of many keys": "", "frames in unloaded modules": "",
	}
	if v, err := strconv.Atoi(os.Getenv("MAYDAY_HOSTILE_SIZE")); err == nil {
		size, some = v, nil
	}
	for _, h := range synth.HostileDumps() {
		want, ok := some[h.Name]
		if some != nil && !ok {
			continue
		}
		out := processInChild(t, h, size)
		if some != nil && !strings.Contains(out.Truncated, want) {
			t.Errorf("%s: truncated %q, want …%s…", h.Name, out.Truncated, want)
		}
		delete(some, h.Name)
	}
	if len(some) > 0 {
		t.Errorf("not tried: %v", some)
	}
}

// Four times a small dump is little: what the document takes has to fit into
// the 64 MB.
func TestDocumentOfSmallHostileDump(t *testing.T) {
	if testing.Short() {
		t.Skip("processes dumps in processes of their own, which takes seconds; -short was given")
	}
	if runtime.GOOS != "linux" {
		t.Skip("how much memory a process took is read from /proc, which only Linux has")
	}
	tried := 0
	for _, h := range synth.HostileDumps() {
		switch h.Name {
		case "threads", "threads of scattered frames", "frames in unloaded modules", "frames in a module of a long name", "signal frames":
			processInChild(t, h, 1<<20)
			tried++
		}
	}
	if tried != 5 {
		t.Errorf("%d kinds were tried, want 5", tried)
	}
}

// processInChild processes a hostile dump in a process of its own and checks
// what that takes.
func processInChild(t *testing.T, h synth.Hostile, size int) (out processed) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hostile.dmp")
	b := h.Bytes(size)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), behaviour+"=hostile", hostileDump+"="+name)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Errorf("%s: %v, %q", h.Name, err, text)
		return out
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	allowed := 64<<20 + 4*int64(len(b))
	t.Logf("%-40s %4d MB of %d, document %5d KB, %5d ms: exit %d, %q", h.Name, out.Peak>>20, allowed>>20, out.Document>>10, cpu.Milliseconds(), out.Exit, out.Truncated)
	if out.Peak > allowed {
		t.Errorf("%s: %d MB for a dump of %d MB, allowed are %d", h.Name, out.Peak>>20, len(b)>>20, allowed>>20)
	}
	if out.Document > 24<<20 {
		t.Errorf("%s: a document of %d MB", h.Name, out.Document>>20)
	}
	return out
}

// A stack that is too long comes out of the walk as the rule would leave it.
func TestLongStackIsTruncatedOnce(t *testing.T) {
	dump, sym := game(1203)
	d, err := minidump.FromBytes(dump)
	if err != nil {
		t.Fatal(err)
	}
	symbolsOf, release := withSymbols(t, sym)()
	defer release()
	state, err := stackwalk.Walk(t.Context(), d, symbolsOf, stackwalk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := state.AppendJSON(nil)
	var whole map[string]any
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if err := dec.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	bounded := state.Document()
	var notes [2][]string
	var docs [2]string
	for i, doc := range []map[string]any{whole, bounded} {
		c := &rules.Crash{Processed: map[string]any{"json_dump": doc}}
		if err := rules.TruncateStacks(t.Context(), nil, c); err != nil {
			t.Fatal(err)
		}
		b, err := storage.EncodeDocument(c.Processed)
		if err != nil {
			t.Fatal(err)
		}
		notes[i], docs[i] = c.Notes, string(b)
	}
	if len(notes[0]) == 0 || fmt.Sprint(notes[0]) != fmt.Sprint(notes[1]) {
		t.Errorf("notes %q, want %q", notes[1], notes[0])
	}
	if docs[0] != docs[1] {
		t.Errorf("the document differs:\n%.2000s\nwant\n%.2000s", docs[1], docs[0])
	}
}
