package stackwalk

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// A program without binaries at hand: code in a module at 0x40_0000, generated
// code at 0x90_0000, a stack at 0x10_0000.
const (
	appBase, jitBase, stackAt = 0x40_0000, 0x90_0000, 0x10_0000
	appSize, stackSize        = 0x1_0000, 0x400
)

// appDump is a thread of that program.
func appDump(os synth.OS, ip uint64, stack map[int]uint64, more ...synth.Register) *synth.Dump {
	c := registers(ip, stackAt, 0)
	for _, r := range more {
		c.Set(r.Name, r.Value)
	}
	m := synth.Module{Base: appBase, Size: appSize, Name: "/opt/app", CV: synth.ELF{BuildID: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}}
	if os == synth.Windows {
		m.Name, m.CV = `C:\app.exe`, synth.PDB70{GUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Age: 1, Path: "app.pdb"}
	}
	return &synth.Dump{System: &synth.System{CPU: synth.AMD64, OS: os}, Modules: []synth.Module{m},
		Threads: []synth.Thread{{ID: 1, Context: c, Stack: synth.Memory{Start: stackAt, Data: words(stackSize, stack)}}}}
}

// appMemory maps the program's memory, as Windows describes it.
func appMemory() []synth.MemoryInfo {
	region := func(base, size uint64, protect, kind uint32) synth.MemoryInfo {
		return synth.MemoryInfo{Base: base, AllocationBase: base, AllocationProtect: protect, Size: size, State: synth.MemCommit, Protect: protect, MemoryKind: kind}
	}
	return []synth.MemoryInfo{region(stackAt, 0x1000, synth.PageReadWrite, synth.MemPrivate), region(appBase, 0x5000, synth.PageExecuteRead, synth.MemImage),
		region(appBase+0x5000, 0xb000, synth.PageReadOnly, synth.MemImage), region(jitBase, 0x1000, synth.PageExecuteReadWrite, synth.MemPrivate)}
}

// appMaps is the same as /proc/self/maps.
const appMaps = `00100000-00101000 rw-p 00000000 00:00 0                          [stack]
00400000-00405000 r-xp 00000000 08:01 1234                       /opt/app
00405000-00410000 r--p 00005000 08:01 1234                       /opt/app
00900000-00901000 rwxp 00000000 00:00 0 
`

// at prints what a walk finds, as addresses.
func at(t *testing.T, d *synth.Dump, source SymbolSource, h unwind.Heuristics) string {
	t.Helper()
	s, err := Walk(context.Background(), open(t, d.Bytes()), source, Options{Heuristics: h})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range s.Threads[0].Frames {
		fmt.Fprintf(&b, "%x %s\n", f.Instruction, f.Trust)
	}
	return b.String()
}

// syms are symbols of functions of 0x1000 bytes each, and more lines.
func syms(names []string, more string) SymbolSource {
	var b strings.Builder
	b.WriteString("MODULE x y z app\n")
	for i, n := range names {
		fmt.Fprintf(&b, "FUNC %x 1000 0 %s\n", 0x1000*(i+1), n)
	}
	return everything(b.String() + more)
}

// everything serves one text for all modules.
type everything string

func (e everything) Symbols(ctx context.Context, id symbols.ModuleID) (*Loaded, error) {
	return texts{id.DebugID: []byte(e)}.Symbols(ctx, id)
}

// Generated code lies in executable memory that belongs to no module. Frames in
// it are found where the dump has a map of the memory, of either kind, and data
// of modules is not taken for code.
func TestGeneratedCode(t *testing.T) {
	stack := map[int]uint64{
		0x08: appBase + 0x6000, // a constant of the module
		0x10: stackAt + 0x24,   // a frame record,
		0x18: jitBase + 0x800,  // in generated code
		0x28: jitBase + 0x900,  // points there, but is no record
		0x30: appBase + 0x2010,
	}
	for _, c := range []struct {
		name string
		fill func(*synth.Dump)
		want string
	}{
		{"memory info", func(d *synth.Dump) { d.MemoryInfo = appMemory() }, "401000 context\n9007ff scan\n40200f scan\n"},
		{"maps", func(d *synth.Dump) { d.Linux.Maps = appMaps }, "401000 context\n9007ff scan\n40200f scan\n"},
		{"no map", func(d *synth.Dump) {}, "401000 context\n405fff scan\n40200f scan\n"},
	} {
		os := synth.LinuxOS
		if c.name == "memory info" {
			os = synth.Windows
		}
		d := appDump(os, appBase+0x1000, stack)
		c.fill(d)
		if diff := cmp.Diff(c.want, at(t, d, nil, unwind.Best)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	// A thread that crashed in generated code has a chain of frame pointers.
	d := appDump(synth.LinuxOS, jitBase+0x100, map[int]uint64{0x40: stackAt + 0x80, 0x48: jitBase + 0x300, 0x80: stackAt + 0xc0, 0x88: appBase + 0x2010}, synth.Register{Name: "rbp", Value: stackAt + 0x40})
	d.Linux.Maps = appMaps
	if diff := cmp.Diff("900100 context\n9002ff frame_pointer\n40200f frame_pointer\n", at(t, d, nil, unwind.Best)); diff != "" {
		t.Errorf("crashed there (-want +got):\n%s", diff)
	}
}

// Words beyond the function that started the thread are no frames.
func TestThreadStart(t *testing.T) {
	for _, name := range []string{"clone3", "_start", "RtlUserThreadStart", "thread_start", "runtime.goexit"} {
		d := appDump(synth.LinuxOS, appBase+0x1000, map[int]uint64{0: appBase + 0x2010, 8: appBase + 0x3010, 16: appBase + 0x1010, 24: appBase + 0x2020})
		source := syms([]string{"work", "start_thread", name}, "")
		if diff := cmp.Diff("401000 context\n40200f scan\n40300f scan\n", at(t, d, source, unwind.Best)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := at(t, d, source, unwind.Parity); strings.Count(got, "\n") != 5 {
			t.Errorf("%s: parity goes on, but not here:\n%s", name, got)
		}
	}
}

// What scanning finds is behind a call where the dump holds the code.
func TestScanLooksForCalls(t *testing.T) {
	d := appDump(synth.LinuxOS, appBase+0x1000, map[int]uint64{0: appBase + 0x2000, 8: appBase + 0x2011, 16: appBase + 0x2010, 24: appBase + 0x2408})
	code := make([]byte, 0x800)
	code[0x10-5] = 0xe8              // call rel32
	copy(code[0x408-2:], "\xff\xd0") // call rax
	d.Memory = []synth.Memory{{Start: appBase + 0x1f00, Data: append(make([]byte, 0x100), code...)}}
	if diff := cmp.Diff("401000 context\n40200f scan\n402407 scan\n", at(t, d, nil, unwind.Best)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// On Windows, rsi and rdi are preserved by calls, so that a rule of a caller may
// read them.
func TestWindowsPreservesRSI(t *testing.T) {
	rules := "STACK CFI INIT 1000 1000 .cfa: $rsp 8 + .ra: .cfa 8 - ^\nSTACK CFI INIT 2000 1000 .cfa: $rsi 16 + .ra: .cfa 8 - ^\n"
	stack := map[int]uint64{0: appBase + 0x2010, 0x108: appBase + 0x3010}
	for os, want := range map[synth.OS]string{synth.Windows: "401000 context\n40200f cfi\n40300f cfi\n", synth.LinuxOS: "401000 context\n40200f cfi\n40300f scan\n"} {
		d := appDump(os, appBase+0x1000, stack, synth.Register{Name: "rsi", Value: stackAt + 0x100})
		if diff := cmp.Diff(want, at(t, d, syms([]string{"a", "b", "c"}, rules), unwind.Best)); diff != "" {
			t.Errorf("system %#x (-want +got):\n%s", os, diff)
		}
	}
}
