package unwind

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

// The reference corpus lies beside the repository where it is present: dumps,
// symbols and what minidump-stackwalk 0.27 makes of them.
const corpusDir = "../../../shared/data/stackwalk/"

func corpus(t testing.TB, pattern string) []string {
	files, _ := filepath.Glob(corpusDir + pattern)
	if len(files) == 0 {
		t.Skip("stacks are compared with those of a reference corpus of dumps, which is not beside the repository")
	}
	return files
}

// dumpModules are the modules of a dump with symbols from a file system.
type dumpModules struct {
	dump    *minidump.Dump
	store   fs.FS // nil for no symbols
	reading symbols.Reading
	tables  map[int]Symbols
}

func (m *dumpModules) Find(address uint64) (int, uint64, bool) {
	i, ok := m.dump.ModuleAt(address)
	if !ok {
		return 0, 0, false
	}
	return i, m.dump.Modules[i].Base, true
}

func (m *dumpModules) End() uint64 { return m.dump.ModulesEnd() }

func (m *dumpModules) Symbols(_ context.Context, i int) Symbols {
	if s, ok := m.tables[i]; ok || m.store == nil {
		return s
	}
	m.tables[i] = nil
	module := m.dump.Modules[i]
	path, ok := symbols.ModuleID{DebugFile: module.DebugFile, DebugID: module.DebugID, CodeFile: module.Name}.Path()
	if !ok {
		return nil
	}
	f, err := m.store.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	table, err := lookup.Read(bufio.NewReader(f))
	if err != nil {
		return nil
	}
	if view := table.View(m.reading); !view.Corrupt() || m.reading != symbols.Parity {
		m.tables[i] = view
	}
	return m.tables[i]
}

// dumpCode is what a dump knows about memory outside the stack.
type dumpCode struct {
	dump *minidump.Dump
	maps *minidump.Mappings
}

func (c dumpCode) Bytes(address uint64, n int) []byte { return c.dump.Bytes(address, uint64(n)) }

func (c dumpCode) Executable(address uint64) (executable, known bool) {
	if m, ok := c.maps.At(address); ok {
		return m.Executable, true
	}
	_, inModule := c.dump.ModuleAt(address)
	return false, c.dump.HasMappings() && !inModule
}

// openDump gives the threads of a dump and the process they belong to.
func openDump(file, folder string, h Heuristics) ([]Thread, Process, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, Process{}, err
	}
	var store fs.FS
	if folder != "" {
		store = os.DirFS(folder)
	}
	return openBytes(b, store, h)
}

func openBytes(b []byte, store fs.FS, h Heuristics) ([]Thread, Process, error) {
	d, err := minidump.FromBytes(b)
	if err != nil {
		return nil, Process{}, err
	}
	if err := d.Usable(); err != nil {
		return nil, Process{}, err
	}
	m := &dumpModules{dump: d, store: store, tables: map[int]Symbols{}}
	if h == Parity {
		m.reading = symbols.Parity
	}
	p := Process{Modules: m, Heuristics: h, Code: dumpCode{d, d.NewMappings()}}
	switch d.System.OS {
	case format.Windows:
		p.Platform = Windows
	case format.IOS:
		p.Platform = IOS
	}
	requesting, _ := d.RequestingThread()
	threads := make([]Thread, len(d.Threads))
	for i := range d.Threads {
		t := &d.Threads[i]
		if d.Breakpad != nil && d.Breakpad.HasDumpThread && d.Breakpad.DumpThread == t.ID() {
			continue
		}
		c, _ := d.Context(t.Raw.Context)
		if d.Exception != nil && t.ID() == requesting {
			if crashed, err := d.Context(d.Exception.Raw.Context); err == nil {
				c = crashed
			}
		}
		threads[i].Context = c
		if c == nil {
			continue
		}
		if r := d.ThreadStack(t, c.SP(), 8); r != nil {
			threads[i].Stack = Stack{Base: r.Base, Bytes: r.All(), Order: d.Order}
		}
	}
	return threads, p, nil
}

// expectation is what of a stackwalk result is compared here: where the frames
// are and how they were found. Names and lines are the caller's.
type expectation struct {
	Threads []struct {
		Frames []struct {
			Offset, Trust string
			Module        *string
		}
	}
}

func readExpectation(file string) (want expectation, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return want, err
	}
	return want, json.Unmarshal(b, &want)
}

// compareDump walks a dump and counts the frames that are as expected.
func compareDump(t *testing.T, dump, expected, folder string) (same, all int) {
	t.Helper()
	want, err := readExpectation(expected)
	if err != nil {
		return 0, 0 // the peer gave no result
	}
	threads, p, err := openDump(dump, folder, Parity)
	if err != nil {
		t.Errorf("%s: %v", dump, err)
	}
	modules, _ := p.Modules.(*dumpModules)
	w := NewWalker(p)
	for i, thread := range want.Threads {
		var got CallStack
		if i < len(threads) {
			got = w.Walk(context.Background(), threads[i])
		}
		all += max(len(thread.Frames), len(got.Frames))
		differs := false
		for j := range max(len(thread.Frames), len(got.Frames)) {
			g, x := "nothing", "nothing"
			if j < len(got.Frames) {
				f := got.Frames[j]
				module := "no module"
				if f.Module != NoModule {
					module = symbols.Leaf(modules.dump.Modules[f.Module].Name)
				}
				g = fmt.Sprintf("%#x %s %s", f.Instruction, f.Trust, module)
			}
			if j < len(thread.Frames) {
				f := thread.Frames[j]
				module := "no module"
				if f.Module != nil {
					module = *f.Module
				}
				offset, _ := strconv.ParseUint(strings.TrimPrefix(f.Offset, "0x"), 16, 64)
				x = fmt.Sprintf("%#x %s %s", offset, f.Trust, module)
			}
			if g == x {
				same++
			} else if !differs {
				differs = true
				t.Errorf("%s thread %d frame %d: %s, want %s", filepath.Base(expected), i, j, g, x)
			}
		}
	}
	return same, all
}

func TestCorpus(t *testing.T) {
	v := corpusDir + "visible/"
	for _, set := range []struct{ name, dumps, suffix string }{
		{"without symbols", "visible/dumps/*.dmp", ".nosym.json"},
		{"with symbols", "visible/dumps/*.dmp", ".sym.json"},
		{"STACK WIN", "winset/*/*.dmp", ".sym.json"},
		{"odd symbols", "quirks/*/expected.json", ""},
	} {
		t.Run(set.name, func(t *testing.T) {
			same, all := 0, 0
			for _, file := range corpus(t, set.dumps) {
				expected, folder, dump := strings.TrimSuffix(file, ".dmp")+set.suffix, filepath.Dir(file)+"/symbols", file
				switch set.name {
				case "without symbols":
					expected, folder = v+"expected/"+strings.TrimSuffix(filepath.Base(file), ".dmp")+set.suffix, ""
				case "with symbols":
					expected, folder = v+"expected/"+strings.TrimSuffix(filepath.Base(file), ".dmp")+set.suffix, v+"symbols"
				case "odd symbols":
					expected, folder, dump = file, filepath.Dir(file), corpusDir+"quirks/q.dmp"
				}
				if _, err := os.Stat(expected); err != nil {
					continue // a dump that the peer refuses
				}
				s, a := compareDump(t, dump, expected, folder)
				same, all = same+s, all+a
			}
			t.Logf("%d of %d frames", same, all)
			if all == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// The peer never ends on these: the rules of an old libc let the stack pointer
// grow without end.
func TestEndlessDumps(t *testing.T) {
	for _, h := range []Heuristics{Parity, Best} {
		for _, file := range corpus(t, "nocap/*.dmp") {
			threads, p, err := openDump(file, corpusDir+"nocap/symbols", h)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			w := NewWalker(p)
			truncated := 0
			for _, th := range threads {
				s := w.Walk(context.Background(), th)
				if s.Truncated != "" {
					truncated++
				}
				if len(s.Frames) > 200 {
					t.Errorf("%s: %d frames", file, len(s.Frames))
				}
			}
			if took := time.Since(start); truncated == 0 || took > 10*time.Second {
				t.Errorf("%s: %d threads truncated, after %v", file, truncated, took)
			}
		}
	}
}
