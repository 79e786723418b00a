package minidump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/minidump/format"
	"mayday/minidump/synth"
)

// full is a dump with every stream.
func full(bigEndian bool) *synth.Dump {
	c := &synth.Context{CPU: synth.AMD64}
	c.Set("rip", 0x401000)
	c.Set("rsp", 0x7000)
	return &synth.Dump{
		BigEndian: bigEndian, Time: 1_700_000_000, StackInMemory: true,
		System:      &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS, Level: 6, Revision: 0x9e0a, Processors: 8, CSD: "Linux 6.1.0-9 #1 SMP x86_64 GNU/Linux"},
		Threads:     []synth.Thread{{ID: 7, TEB: 0x9000, Context: c, Stack: synth.Memory{Start: 0x7000, Data: []byte("0123456789abcdef")}}, {ID: 9}},
		ThreadNames: []synth.ThreadName{{ID: 7, Name: "main 🦊"}, {ID: 9, Name: ""}},
		Modules: []synth.Module{
			{Base: 0x400000, Size: 0x2000, Name: "/opt/app/app", CV: synth.ELF{BuildID: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}},
		},
		Unloaded:    []synth.UnloadedModule{{Base: 0x500000, Size: 0x1000, Name: "gone.dll", TimeStamp: 0x12}, {Base: 0x4ff000, Size: 0x2000, Name: "older.dll"}},
		Exception:   &synth.Exception{Thread: 7, Code: 11, Flags: 1, Address: 0x10, Information: []uint64{1, 2}},
		Memory:      []synth.Memory{{Start: 0x401000, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
		MemoryInfo:  []synth.MemoryInfo{{Base: 0x400000, Size: 0x1000, State: synth.MemCommit, Protect: format.PageExecuteRead}},
		Breakpad:    &synth.Breakpad{DumpThread: new(uint32(9)), RequestingThread: new(uint32(7))},
		Assertion:   &synth.Assertion{Expression: "x > 0", Function: "f", File: "a.c", Line: 12},
		Handles:     []synth.Handle{{Handle: 4, Type: "File", Object: `\x`}},
		SoftErrors:  `["a"]`,
		MacBootArgs: "debug=1",
	}
}

func TestReadEveryStream(t *testing.T) {
	for _, big := range []bool{false, true} {
		d, err := FromBytes(full(big).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Errors) > 0 {
			t.Errorf("big endian %v: errors %v", big, d.Errors)
		}
		if got := d.Order == binary.ByteOrder(binary.BigEndian); got != big {
			t.Errorf("byte order %v", d.Order)
		}
		type summary struct {
			OS                  format.OS
			CPU                 format.CPU
			CPUInfo             string
			Names               []string
			Module, Debug, Code string
			Unloaded            []int
			Code2               uint32
			Parameters          []uint64
			Word, Stack         uint64
			Dumper, Requester   uint32
			Assert, Handle      string
			Soft, Boot          string
			Executable          bool
		}
		got := summary{OS: d.System.OS, CPU: d.System.CPU, CPUInfo: d.System.CPUInfo}
		for i := range d.Threads {
			got.Names = append(got.Names, d.Threads[i].Name)
		}
		m := &d.Modules[0]
		got.Module, got.Debug, got.Code = m.Name, m.DebugID, m.CodeID
		got.Unloaded = slices.Collect(d.Unloaded.Covering(0x500800))
		got.Code2, got.Parameters = d.Exception.Raw.Code, d.Exception.Parameters()
		got.Word, _ = d.Uint(0x401000, 4)
		got.Stack, _ = d.ThreadStack(&d.Threads[0], 0x7000, 8).Uint(0x7000, 8)
		got.Dumper, got.Requester = d.Breakpad.DumpThread, d.Breakpad.RequestingThread
		got.Assert, got.Handle = d.Assertion.Expression, slices.Collect(d.Handles.All())[0].Type
		got.Soft, got.Boot = string(d.SoftErrors), *d.MacBootArgs
		mapping, _ := d.NewMappings().At(0x400800)
		got.Executable = mapping.Executable
		want := summary{
			OS: format.Linux, CPU: format.AMD64, CPUInfo: "family 6 model 158 stepping 10", Names: []string{"main 🦊", ""},
			Module: "/opt/app/app", Debug: "0403020106050807090A0B0C0D0E0F100", Code: "0102030405060708090a0b0c0d0e0f1011121314",
			Unloaded: []int{1, 0}, Code2: 11, Parameters: []uint64{1, 2},
			Word: 0x04030201, Stack: binary.LittleEndian.Uint64([]byte("01234567")), Dumper: 9, Requester: 7,
			Assert: "x > 0", Handle: "File", Soft: `["a"]`, Boot: "debug=1", Executable: true,
		}
		if big {
			want.Debug = "0102030405060708090A0B0C0D0E0F100"
			want.Word, want.Stack = 0x01020304, binary.BigEndian.Uint64([]byte("01234567"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("big endian %v (-want +got):\n%s", big, diff)
		}
	}
}

func TestOSVersion(t *testing.T) {
	for _, c := range []struct{ name, csd, version string }{
		{"uname", "Linux 6.8.0-45-generic #45~22.04.1-Ubuntu SMP Wed x86_64 GNU/Linux", "6.8.0-45-generic #45~22.04.1-Ubuntu SMP Wed x86_64"},
		{"old order", "Linux 6.8.0 #45 SMP x86_64 Linux/GNU", "6.8.0 #45 SMP"},
		{"no version", "Linux", "0.0.0 Linux"},
		{"empty", "", "0.0.0"},
		{"two words", "Linux 5.1", "5.1 "},
		{"spaces", " x ", "x "},
		{"zeros", "Linux 0.0.0 a b", "0.0.0 Linux 0.0.0 a b"},
	} {
		s := &SystemInfo{Raw: format.SystemInfo{Platform: format.PlatformLinux}, CSDVersion: c.csd}
		if v := s.Version(); v != c.version {
			t.Errorf("%s: %q gives %q, want %q", c.name, c.csd, v, c.version)
		}
	}
}

func TestDuplicateStreamLastWins(t *testing.T) {
	d := full(false)
	d.Raw = []synth.Raw{{Kind: uint32(format.StreamSoftErrors), Data: []byte("second")}}
	got, err := FromBytes(d.Bytes())
	if err != nil || string(got.SoftErrors) != "second" {
		t.Errorf("got %q, %v", got.SoftErrors, err)
	}
}

func TestBrokenHeaders(t *testing.T) {
	ok := full(false).Bytes()
	patch := func(at int, b ...byte) []byte {
		c := bytes.Clone(ok)
		copy(c[at:], b)
		return c
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, MissingHeader},
		{"31 bytes", ok[:31], MissingHeader},
		{"text", []byte(strings.Repeat("hello ", 20)), HeaderMismatch},
		{"version", patch(4, 0, 0), VersionMismatch},
		{"directory outside", patch(12, 0xff, 0xff, 0xff, 0x7f), MissingDirectory},
		{"too many streams", patch(8, 0xff, 0xff, 0xff, 0xff), MissingDirectory},
	} {
		_, err := FromBytes(c.b)
		var e *FormatError
		if !errors.As(err, &e) || e.Name != c.want || !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// Without streams it does not matter where the directory would be.
func TestNoStreams(t *testing.T) {
	b := synth.NewFile(false, 0).Bytes()
	binary.LittleEndian.PutUint32(b[12:], 1<<30)
	d, err := FromBytes(b)
	var e *FormatError
	if err != nil || !errors.As(d.Usable(), &e) || e.Name != MissingThreadList {
		t.Errorf("got %v, want %s", err, MissingThreadList)
	}
}

// The head of a list says where entries begin and how long they are. Those of
// handles may begin within the head, and be of any size if there are none.
func TestListHeads(t *testing.T) {
	for _, c := range []struct {
		head, entry, count uint32
		length             int
		handles, mappings  int // -1 if the list cannot be read
	}{
		{16, 32, 2, 16 + 2*32, 2, -1},
		{12, 40, 1, 12 + 40, 1, -1},
		{7, 40, 2, 7 + 2*40, 2, -1},
		{16, 48, 2, 16 + 2*48, -1, 2},
		{12, 48, 1, 12 + 48, -1, 1},
		{11, 48, 1, 12 + 48, -1, -1},
		{16, 48, 2, 15 + 2*48, -1, -1},
		{16, 5, 0, 16, 0, -1},
		{16, 48, 0, 16, 0, 0},
		{16, 40, 1 << 31, 16 + 40, -1, -1},
		{17, 40, 0, 16, -1, -1},
		{0, 0, 0, 11, -1, -1},
	} {
		raw := make([]byte, c.length)
		for i, v := range []uint32{c.head, c.entry, c.count} {
			if 4*i+4 <= len(raw) {
				binary.LittleEndian.PutUint32(raw[4*i:], v)
			}
		}
		d, err := FromBytes((&synth.Dump{Raw: []synth.Raw{{Kind: uint32(format.StreamHandleData), Data: raw}, {Kind: uint32(format.StreamMemoryInfoList), Data: raw}}}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		handles, mappings := len(slices.Collect(d.Handles.All())), len(slices.Collect(d.MemoryInfo()))
		if d.Handles == nil {
			handles = -1
		}
		if d.memoryInfo == nil {
			mappings = -1
		}
		if handles != c.handles || mappings != c.mappings {
			t.Errorf("%+v: %d handles and %d mappings", c, handles, mappings)
		}
	}
}

// The records of __crash_info share one version; those of version 0 are not
// understood.
func TestMacCrashVersions(t *testing.T) {
	record := func(v uint64) synth.MacCrash { return synth.MacCrash{Version: v, Module: "/usr/lib/a"} }
	for _, c := range []struct {
		versions []uint64
		want     int // records, -1 for none at all
	}{{[]uint64{5, 5}, 2}, {[]uint64{4}, 1}, {[]uint64{1, 1}, 2}, {[]uint64{4, 5}, -1}, {[]uint64{0, 0}, 0}, {[]uint64{0, 4}, -1}, {[]uint64{4, 0}, -1}} {
		d := &synth.Dump{}
		for _, v := range c.versions {
			d.MacCrash = append(d.MacCrash, record(v))
		}
		got, err := FromBytes(d.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		n := len(got.MacCrashInfo)
		if got.MacCrashInfo == nil {
			n = -1
		}
		if n != c.want {
			t.Errorf("versions %d: %d records, want %d", c.versions, n, c.want)
		}
	}
}

// A dump cut off anywhere gives what is left or an error, and never more.
func TestTruncatedAnywhere(t *testing.T) {
	b := full(false).Bytes()
	for n := range b {
		if d, err := FromBytes(b[:n]); err == nil {
			exercise(d)
		}
	}
}

// exercise calls what reads lazily.
func exercise(d *Dump) {
	for i := range d.Threads {
		t := &d.Threads[i]
		_, _ = d.Context(t.Raw.Context)
		if s := d.ThreadStack(t, t.Raw.Stack.Start, 8); s != nil {
			s.Uint(s.Base+s.Size-4, 8)
			s.All()
		}
		if a, ok := d.LastErrorAddress(t); ok {
			d.Uint(a, 4)
		}
	}
	for i := range d.Modules {
		d.ModuleAt(d.Modules[i].Base)
		for n := range d.Unloaded.Covering(d.Modules[i].Base) {
			d.Unloaded.At(n)
		}
	}
	d.ModulesEnd()
	d.NewMappings().At(0)
	_ = d.Usable()
	if d.System != nil {
		d.System.Version()
	}
	for range KeyValues(d.Linux.CPUInfo, ':') {
	}
	for range d.Handles.All() {
	}
	for range d.MemoryMaps.All() {
	}
	for range d.MemoryInfo() {
	}
	d.ThreadInfo(1)
}

// Whatever a dump claims, reading it takes memory by its size. The texts that
// records share are what could multiply it most.
func TestReadIsBounded(t *testing.T) {
	const size = 2 << 20
	for _, h := range synth.HostileDumps() {
		b := h.Bytes(size)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		d, err := FromBytes(b)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		total := after.TotalAlloc - before.TotalAlloc
		if held > freeTexts+3*int64(len(b)) || total > 64<<20+4*uint64(len(b)) {
			t.Errorf("%s: %d bytes of dump took %d bytes and hold %d", h.Name, len(b), total, held)
		}
		exercise(d)
		runtime.KeepAlive(d)
	}
}

// A dump that is too large to hold is read piece by piece with the same result.
func TestReadLargeDump(t *testing.T) {
	b := full(false).Bytes()
	d := &Dump{Size: int64(len(b)), src: source{r: bytes.NewReader(b), size: uint64(len(b))}}
	d.texts = d.newBudget()
	if err := d.read(); err != nil {
		t.Fatal(err)
	}
	want, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Modules, d.Modules); diff != "" {
		t.Error(diff)
	}
	if v, ok := d.Uint(0x401000, 8); !ok || v != 0x0807060504030201 {
		t.Errorf("memory reads %#x %v", v, ok)
	}
	exercise(d)
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReaderFails(t *testing.T) {
	if _, err := Read(brokenReader{}, 100); err == nil {
		t.Error("no error")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(full(false).Bytes())
	f.Add(full(true).Bytes())
	mac := full(false)
	mac.System.OS = synth.MacOS
	mac.MacCrash = []synth.MacCrash{{}}
	mac.Crashpad = &synth.Crashpad{Simple: []synth.Pair{{Key: "a", Value: "b"}}}
	mac.Misc = &synth.Misc{}
	f.Add(mac.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := FromBytes(b); err == nil {
			exercise(d)
		}
	})
}

// FuzzStream puts arbitrary bytes into one stream of a good dump.
func FuzzStream(f *testing.F) {
	for _, s := range streamReaders {
		f.Add(uint32(s.stream), []byte{1, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	base := full(false)
	f.Fuzz(func(t *testing.T, kind uint32, data []byte) {
		d := *base
		d.Raw = []synth.Raw{{Kind: kind, Data: data}}
		if dump, err := FromBytes(d.Bytes()); err == nil {
			exercise(dump)
		}
	})
}

func BenchmarkFromBytes(b *testing.B) {
	data := full(false).Bytes()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := FromBytes(data); err != nil {
			b.Fatal(err)
		}
	}
}
