package truth

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/fetch"
)

// build is one program built in one way.
type build struct {
	source string // in testdata
	name   string
	tool   string
	args   []string // before the source
	env    []string
}

// builds are all programs in all ways. Frame pointers are left out where the
// compiler leaves them out; -Os asks for it by name.
func builds() []build {
	var all []build
	for _, level := range []string{"-O0", "-O1", "-O2", "-O3", "-Os"} {
		c := []string{"-g", level, "-pthread"}
		if level == "-Os" {
			c = append(c, "-fomit-frame-pointer")
		}
		for _, s := range []string{"chain.c", "noreturn.c", "threads.c"} {
			all = append(all, build{source: s, name: s + level, tool: "gcc", args: c})
		}
		all = append(all,
			build{source: "modern.cc", name: "modern.cc" + level, tool: "g++", args: c},
			build{source: "crash.rs", name: "crash.rs" + level, tool: "rustc", args: []string{"-g", "-C", "opt-level=" + strings.ToLower(level[2:])}})
	}
	for _, flags := range []string{"", "all=-N -l"} {
		all = append(all, build{source: "gocrash/main.go.txt", name: "main.go" + strings.TrimSuffix(" "+flags, " "), tool: "go", args: []string{"build", "-gcflags=" + flags}, env: []string{"CGO_ENABLED=0", "GO111MODULE=off"}})
	}
	return all
}

// compile builds the program into dir.
func (b build) compile(dir string) (string, error) {
	out := filepath.Join(dir, "program")
	source, err := os.ReadFile(filepath.Join("testdata", b.source))
	if err != nil {
		return "", err
	}
	in := filepath.Join(dir, strings.TrimSuffix(filepath.Base(b.source), ".txt"))
	if err := os.WriteFile(in, source, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(b.tool, append(b.args, "-o", out, in)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), b.env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", b.tool, err, text)
	}
	return out, nil
}

// debug runs the program under gdb until it crashes and gives gdb's backtraces
// and the path of a core file.
func debug(program, dir string) (backtraces, corePath string, err error) {
	corePath = filepath.Join(dir, "core")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"-nx", "-batch"}
	for _, c := range []string{"set width 0", "set height 0", "set debuginfod enabled off", "set print frame-arguments none", "set print entry-values no",
		"set backtrace past-main off", "set filename-display absolute", "handle SIGUSR1 nostop noprint pass", "handle SIGURG nostop noprint pass",
		"run", "thread apply all backtrace", "generate-core-file " + corePath} {
		args = append(args, "-ex", c)
	}
	cmd := exec.CommandContext(ctx, "gdb", append(args, program)...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("gdb: %w\n%s", err, text)
	}
	return string(text), corePath, nil
}

// buildID reads the build id of an ELF file, nil when there is none. A Go
// program has none: bytes of its Go build id would not be what dump_syms
// takes, so the symbols are found under a hash of its code, as Breakpad does.
func buildID(path string) []byte {
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if s := f.Section(".note.gnu.build-id"); s != nil {
		if b, err := s.Data(); err == nil && len(b) > 16 {
			return b[16:]
		}
	}
	text := f.Section(".text")
	if text == nil {
		return nil
	}
	b, err := text.Data()
	if err != nil {
		return nil
	}
	id := make([]byte, 16)
	for i, c := range b[:min(len(b), 4096)] {
		id[i%16] ^= c
	}
	return id
}

// store dumps the symbols of modules, each once.
type store struct {
	dir  string
	tool string
	mu   sync.Mutex
	done map[string]bool // guarded by mu
}

func (s *store) add(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done[path] {
		return
	}
	s.done[path] = true
	// A module without symbols is not an error: the walk does without.
	text, err := exec.Command(s.tool, "--inlines", path).Output()
	if err != nil {
		return
	}
	text = s.separate(path, text)
	first, _, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(string(first)) // MODULE os cpu id name
	if len(words) < 5 {
		return
	}
	leaf := filepath.Base(path)
	dir := filepath.Join(s.dir, leaf, words[3])
	if os.MkdirAll(dir, 0o700) == nil {
		_ = os.WriteFile(filepath.Join(dir, leaf+".sym"), text, 0o600) // as above
	}
}

// separate takes functions and lines from the separate debug file of a
// system library where one is installed, and keeps the library's own unwind
// records, which debug files do not have.
func (s *store) separate(path string, text []byte) []byte {
	id := fmt.Sprintf("%x", buildID(path))
	if len(id) < 3 {
		return text
	}
	debug := filepath.Join("/usr/lib/debug/.build-id", id[:2], id[2:]+".debug")
	more, err := exec.Command(s.tool, "--inlines", debug).Output()
	if err != nil {
		return text
	}
	var out []byte
	take := func(text []byte, stack bool) {
		for line := range bytes.Lines(text) {
			if bytes.HasPrefix(line, []byte("STACK ")) == stack {
				out = append(out, line...)
			}
		}
	}
	take(more, false)
	take(text, true)
	return out
}

// dumpSyms finds the tool that makes symbols.
func dumpSyms() string {
	if t := os.Getenv("MAYDAY_DUMP_SYMS"); t != "" {
		return t
	}
	t, err := exec.LookPath("dump_syms")
	if err != nil {
		return ""
	}
	return t
}

// TestTruth prints the score, the programs' own lines and those of libraries
// apart. It fails when a program cannot be built, debugged or walked.
func TestTruth(t *testing.T) {
	if os.Getenv("MAYDAY_TRUTH") == "" {
		t.Skip("MAYDAY_TRUTH is not set; building and debugging everything takes minutes")
	}
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed")
	}
	symbolTool := dumpSyms()
	if symbolTool == "" {
		t.Skip("dump_syms is not installed and MAYDAY_DUMP_SYMS does not name one")
	}
	s := &store{dir: t.TempDir(), tool: symbolTool, done: map[string]bool{}}
	byTool := map[string]*score{}
	var total score
	for _, b := range builds() {
		if _, err := exec.LookPath(b.tool); err != nil {
			t.Logf("%-16s left out: %s is not installed", b.name, b.tool)
			continue
		}
		one, err := measure(t, b, s)
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			continue
		}
		t.Logf("%-20s own lines %-24s libraries %s", b.name, one.part(0), one.part(1))
		if byTool[b.tool] == nil {
			byTool[b.tool] = &score{}
		}
		byTool[b.tool].add(one)
		total.add(one)
	}
	for tool, one := range byTool {
		t.Logf("%-20s own lines %-24s libraries %s", "all of "+tool, one.part(0), one.part(1))
	}
	t.Logf("%-20s own lines %-24s libraries %s", "TRUTH", total.part(0), total.part(1))
}

// measure builds, crashes, dumps and walks one program.
func measure(t *testing.T, b build, s *store) (total score, err error) {
	dir := t.TempDir()
	program, err := b.compile(dir)
	if err != nil {
		return total, err
	}
	text, corePath, err := debug(program, dir)
	if err != nil {
		return total, err
	}
	truth := parseBacktraces(text)
	state, err := walk(corePath, s)
	if err != nil {
		return total, fmt.Errorf("%w\n%s", err, text)
	}
	leaf := strings.TrimSuffix(filepath.Base(b.source), ".txt")
	for i := range state.Threads {
		th := &state.Threads[i]
		lines := linesOf(th)
		one := compare(truth[th.ID], lines, func(file string) bool { return file == leaf })
		if one.recovered != one.truth || one.wrong != [2]int{} {
			t.Logf("%s thread %d: (-gdb +walk)\n%s", b.name, th.ID, cmp.Diff(truth[th.ID], lines, cmp.AllowUnexported(sourceLine{})))
		}
		total.add(one)
	}
	if total.truth[0] == 0 {
		return total, fmt.Errorf("gdb shows no line of the program:\n%s", text)
	}
	return total, nil
}

// walk makes a minidump of a core file and walks it with symbols.
func walk(corePath string, s *store) (*stackwalk.State, error) {
	f, err := os.Open(corePath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := readCore(f)
	if err != nil {
		return nil, err
	}
	d := c.dump(buildID)
	for _, m := range d.Modules {
		s.add(m.Name)
	}
	b := d.Bytes()
	if keep := os.Getenv("MAYDAY_TRUTH_KEEP"); keep != "" {
		if err := os.WriteFile(filepath.Join(keep, filepath.Base(filepath.Dir(corePath))+".dmp"), b, 0o600); err != nil {
			return nil, err
		}
	}
	dump, err := minidump.FromBytes(b)
	if err != nil {
		return nil, err
	}
	source := fetch.New(fetch.Options{Paths: []string{s.dir}, Reading: symbols.Best})
	return stackwalk.Walk(context.Background(), dump, source, stackwalk.Options{Heuristics: unwind.Best})
}

func TestParseBacktraces(t *testing.T) {
	const text = `[New LWP 12]
Thread 2 (Thread 0x7f00 (LWP 12) "worker"):
#0  __futex_wait (private=0) at ./nptl/futex.c:57
#1  0x00005555 in run (arg=...) at /src/dir/a b.c:9
#2  <signal handler called>
#3  0x00007fff in clone3 () from /lib/libc.so.6

Thread 1 (Thread 0x7f01 (LWP 11)):
#0  operator() (__closure=...) at /src/main.cc:31
#1  0x00005556 in main () at /src/main.cc:40
`
	got := parseBacktraces(text)
	want := map[uint32][]sourceLine{12: {{"futex.c", 57}}, 11: {{"main.cc", 31}, {"main.cc", 40}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sourceLine{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	l := func(n uint32) sourceLine { return sourceLine{"a.c", n} }
	own := func(f string) bool { return f == "a.c" }
	got := compare([]sourceLine{l(1), l(2), {"lib.c", 5}, l(3)}, []sourceLine{l(1), l(9), l(2), l(3), {"lib.c", 7}}, own)
	want := score{truth: [2]int{3, 1}, recovered: [2]int{3, 0}, wrong: [2]int{1, 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(score{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// coreFile is a core file of one thread, made by hand.
func coreFile() []byte {
	o := binary.LittleEndian
	var notes []byte
	note := func(kind uint32, d []byte) {
		notes = o.AppendUint32(o.AppendUint32(o.AppendUint32(notes, 5), uint32(len(d))), kind)
		notes = append(notes, "CORE\x00\x00\x00\x00"...)
		notes = append(notes, d...)
		notes = append(notes, make([]byte, -len(d)&3)...)
	}
	status := make([]byte, 336)
	o.PutUint32(status[32:], 77)
	o.PutUint64(status[112+16*8:], 0x401010) // rip
	o.PutUint64(status[112+19*8:], 0x700100) // rsp
	note(notePrStatus, status)
	info := make([]byte, 128)
	o.PutUint32(info, 11)
	o.PutUint32(info[8:], 1)
	o.PutUint64(info[16:], 8)
	note(noteSigInfo, info)
	var file []byte
	for _, v := range []uint64{1, 4096, 0x401000, 0x402000, 0} {
		file = o.AppendUint64(file, v)
	}
	note(noteFile, append(file, "/bin/made\x00"...))
	b := &bytes.Buffer{}
	h := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_CORE), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2}
	stack := bytes.Repeat([]byte{0xaa}, 0x400)
	at := uint64(64 + 2*56)
	for _, v := range []any{h,
		elf.Prog64{Type: uint32(elf.PT_NOTE), Off: at, Filesz: uint64(len(notes))},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 6, Off: at + uint64(len(notes)), Vaddr: 0x700000, Filesz: 0x400, Memsz: 0x400}} {
		_ = binary.Write(b, o, v) // a bytes.Buffer does not fail
	}
	return append(append(b.Bytes(), notes...), stack...)
}

func TestCoreToMinidump(t *testing.T) {
	c, err := readCore(bytes.NewReader(coreFile()))
	if err != nil {
		t.Fatal(err)
	}
	b := c.dump(func(string) []byte { return []byte{1, 2, 3, 4} }).Bytes()
	d, err := minidump.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Errors) != 0 || len(d.Threads) != 1 || len(d.Modules) != 1 || d.Exception == nil {
		t.Fatalf("errors %v, %d threads, %d modules", d.Errors, len(d.Threads), len(d.Modules))
	}
	ctx, err := d.Context(d.Exception.Raw.Context)
	if err != nil || ctx.IP() != 0x401010 || ctx.SP() != 0x700100 {
		t.Errorf("context %v, %v", ctx, err)
	}
	if v, ok := d.Uint(0x700100, 4); !ok || v != 0xaaaaaaaa {
		t.Errorf("stack holds %#x, %v", v, ok)
	}
}

func FuzzCore(f *testing.F) {
	f.Add(coreFile())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readCore(bytes.NewReader(b))
		if err != nil {
			return
		}
		c.dump(func(string) []byte { return nil }).Bytes()
	})
}
