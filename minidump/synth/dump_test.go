package synth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything is a dump with every stream.
func everything(cpu CPU, bigEndian bool) *Dump {
	thread := uint32(7)
	ctx := &Context{CPU: cpu}
	ctx.Set(cpu.IP(), 0x401000)
	ctx.Set(cpu.SP(), 0x7f0000)
	guid := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	return &Dump{
		BigEndian: bigEndian, Time: 1700000000, StackInMemory: true,
		System:      &System{CPU: cpu, OS: LinuxOS, Processors: 4, CSD: "Linux 6.1"},
		Threads:     []Thread{{ID: 7, Stack: Memory{0x7f0000, make([]byte, 64)}, Context: ctx}, {ID: 8}},
		ThreadNames: []ThreadName{{7, "main"}, {8, "wörker 😀"}},
		Modules: []Module{
			{Base: 0x400000, Size: 0x1000, Name: "/bin/a", CV: ELF{[]byte{1, 2, 3}}, Version: &Version{File: [4]uint16{1, 2, 3, 4}}},
			{Base: 0x500000, Size: 0x1000, Name: "b.dll", CV: PDB70{guid, 1, "b.pdb"}},
			{Base: 0x600000, Size: 0x1000, Name: "c.dll", CV: PDB20{0, 5, 1, "c.pdb"}},
			{Base: 0x700000, Size: 0x1000, Name: "d", CV: MachO(guid, "d")},
			{Base: 0x800000, Size: 0x1000, Name: "e", CV: RawCodeView("??")},
		},
		Unloaded:    []UnloadedModule{{Base: 0x900000, Size: 16, Name: "gone.dll"}},
		Exception:   &Exception{Thread: 7, Code: 11, Address: 8, Information: []uint64{1, 2}},
		Memory:      []Memory{{0x401000, []byte{0x90}}},
		Memory64:    []Memory{{0x10000, []byte{1, 2, 3}}, {0x20000, []byte{4}}},
		MemoryInfo:  []MemoryInfo{{Base: 0x10000, Size: 0x1000, State: MemCommit, Protect: PageReadWrite}},
		Misc:        &Misc{Version: 5, Flags: MiscPID, PID: 99, Build: "built"},
		Breakpad:    &Breakpad{RequestingThread: &thread},
		Assertion:   &Assertion{Expression: "x > 0", File: "a.c", Line: 3},
		Linux:       Linux{CPUInfo: "a", Status: "b", LSBRelease: "c", CmdLine: "d", Environ: "e", Maps: "f", Limits: "g", Auxv: []AuxvPair{{3, 4}}, DSODebug: &DSODebug{Links: []LinkMap{{1, "x", 2}}}},
		MacCrash:    []MacCrash{{Version: 1, Module: "m"}, {Version: 5, Module: "m", Message: "boom"}},
		MacBootArgs: "-v",
		Handles:     []Handle{{Handle: 4, Type: "File"}},
		Crashpad:    &Crashpad{Report: guid, Simple: []Pair{{"k", "v"}}, Modules: []CrashpadModule{{Index: 1, List: []string{"l"}, Objects: []Annotation{{"n", 1, []byte("v")}}}}},
		SoftErrors:  "[]",
		Raw:         []Raw{{0x1234, []byte("raw")}},
	}
}

// The walk over header, directory and the fixed sizes of streams is written
// apart from the reader in package minidump, whose own tests read the rest.
func TestStreams(t *testing.T) {
	sizes := map[uint32]uint32{
		streamSystemInfo: 56, streamThreadList: 4 + 2*48, streamThreadNames: 4 + 2*12, streamModuleList: 4 + 5*108,
		streamUnloadedList: 12 + 24, streamException: 168, streamMemoryList: 4 + 2*16, streamMemory64List: 16 + 2*16,
		streamMemoryInfoList: 16 + 48, streamMiscInfo: 1364, streamBreakpadInfo: 12, streamAssertion: 776,
		streamMacCrashInfo: 172, streamMacBootArgs: 12, streamHandleData: 16 + 40, streamCrashpadInfo: 52, 0x1234: 3,
	}
	for _, cpu := range CPUs() {
		for _, big := range []bool{false, true} {
			t.Run(fmt.Sprint(cpu.traits().architecture, "-", cpu, "-", big), func(t *testing.T) {
				b := everything(cpu, big).Bytes()
				if !bytes.Equal(b, everything(cpu, big).Bytes()) {
					t.Error("the same dump gave other bytes")
				}
				var o binary.ByteOrder = binary.LittleEndian
				if big {
					o = binary.BigEndian
				}
				if got := o.Uint32(b); got != signature {
					t.Fatalf("signature %#x", got)
				}
				n, rva := o.Uint32(b[8:]), o.Uint32(b[12:])
				got := map[uint32]uint32{}
				for i := range n {
					e := b[rva+12*i:]
					kind, size, at := o.Uint32(e), o.Uint32(e[4:]), o.Uint32(e[8:])
					if uint64(at)+uint64(size) > uint64(len(b)) {
						t.Errorf("stream %#x ends past the file", kind)
					}
					got[kind] = size
					if kind == streamThreadList {
						e := b[at+4:]
						size, at := o.Uint32(e[40:]), o.Uint32(e[44:])
						if int(size) != cpu.traits().contextSize {
							t.Errorf("context of %d bytes", size)
						}
						ip := cpu.traits().registers[cpu.IP()]
						if v := load(b[at+uint32(ip.offset):], o, ip.width); v != 0x401000 {
							t.Errorf("ip %#x", v)
						}
					}
				}
				if len(got) != 27 {
					t.Errorf("%d streams: %v", len(got), got)
				}
				for kind, want := range sizes {
					if got[kind] != want {
						t.Errorf("stream %#x has %d bytes, want %d", kind, got[kind], want)
					}
				}
			})
		}
	}
}

func load(b []byte, o binary.ByteOrder, width int) uint64 {
	if width == 4 {
		return uint64(o.Uint32(b))
	}
	return o.Uint64(b)
}

// A register must lie inside its context record and not overlap another's
// bytes except under a second name.
func TestContextLayouts(t *testing.T) {
	for _, cpu := range CPUs() {
		tr := cpu.traits()
		owner := map[int]register{}
		for name, r := range tr.registers {
			if r.offset < tr.flagsWidth && tr.flagsAt == 0 || r.offset+r.width > tr.contextSize {
				t.Errorf("%s %s at %d is outside the record", cpu, name, r.offset)
			}
			for i := range r.width {
				if other, taken := owner[r.offset+i]; taken && other != r {
					t.Errorf("%s %s overlaps a register at %d", cpu, name, other.offset)
				}
				owner[r.offset+i] = r
			}
		}
		for _, name := range []string{tr.ip, tr.sp, tr.fp} {
			if _, ok := tr.registers[name]; !ok {
				t.Errorf("%s has no register %q", cpu, name)
			}
		}
	}
}

func TestFileDirectoryAtEnd(t *testing.T) {
	f := NewFile(false, 0)
	f.Stream(1, []byte("one"))
	f.Stream(2, []byte("two"))
	b := f.Bytes()
	rva := binary.LittleEndian.Uint32(b[12:])
	if int(rva)+24 != len(b) {
		t.Fatalf("directory at %d of %d", rva, len(b))
	}
	at := binary.LittleEndian.Uint32(b[rva+12+8:])
	if diff := cmp.Diff("two", string(b[at:at+3])); diff != "" {
		t.Errorf("second stream (-want +got):\n%s", diff)
	}
}
