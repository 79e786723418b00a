package stackwalk

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
	"mayday/minidump/format"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// files is a BinarySource over files by the name of the module.
type files map[string][]byte

func (f files) Binary(_ context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, error) {
	b, ok := f[symbols.Leaf(id.CodeFile)]
	if !ok {
		return nil, fault.New(fault.NotFound, "no %s", id.CodeFile)
	}
	return executable.Open(bytes.NewReader(b), int64(len(b)), machine)
}

// library is an x64 image with two functions: the first keeps 0x40 bytes and
// rbx, the second moves its stack pointer by rax and keeps rbp as frame pointer.
// Neither has a chain of frame pointers.
func library() *sample.Binary {
	text := make([]byte, 0x1000)
	copy(text, []byte{0x53, 0x48, 0x83, 0xec, 0x40})                                     // push rbx; sub rsp, 0x40
	copy(text[0x100:], []byte{0x55, 0x48, 0x83, 0xec, 0x20, 0x48, 0x8d, 0x6c, 0x24, 16}) // push rbp; sub rsp, 0x20; lea rbp, [rsp+16]
	for _, call := range []int{0x20, 0x120} {
		text[call-5] = 0xe8
	}
	xdata := []byte{1, 5, 2, 0, 5, 7<<4 | 2, 1, 3 << 4, // alloc 0x40, push rbx
		1, 10, 3, 1<<4 | 5, 10, 3, 5, 3<<4 | 2, 1, 5 << 4, 0, 0} // set rbp, alloc 0x20, push rbp
	var pdata []byte
	for _, v := range []uint32{0x1000, 0x1080, 0x2000, 0x1100, 0x1180, 0x2008} {
		pdata = binary.LittleEndian.AppendUint32(pdata, v)
	}
	return &sample.Binary{Format: executable.PE, Machine: executable.AMD64, Base: 0x1_8000_0000, TimeStamp: 0x5b8a1c3d, Size: 0x4000, Sections: []sample.Section{
		{Name: ".text", Offset: 0x1000, Data: text, Executable: true}, {Name: ".xdata", Offset: 0x2000, Data: xdata}, {Name: ".pdata", Offset: 0x3000, Data: pdata, Exceptions: true}}}
}

// words is memory of 64-bit words.
func words(size int, at map[int]uint64) []byte {
	b := make([]byte, size)
	for offset, v := range at {
		binary.LittleEndian.PutUint64(b[offset:], v)
	}
	return b
}

// trace is the frames of a thread as offsets and trust.
func trace(s *State, thread int) string {
	var b strings.Builder
	for _, f := range s.Threads[thread].Frames {
		fmt.Fprintf(&b, "%#x %s\n", f.Instruction-s.Modules[f.Module].Base, f.Trust)
	}
	return b.String()
}

func registers(ip, sp, bp uint64) *synth.Context {
	c := &synth.Context{CPU: synth.AMD64}
	c.Set("rip", ip)
	c.Set("rsp", sp)
	c.Set("rbp", bp)
	return c
}

// libraryCrash is a thread in the first function, called by the second, called
// by the first. Words on the stack that look like return addresses, but are not
// behind calls, are between.
func libraryCrash() *synth.Dump {
	const base, stack = 0x7ff6_0000_0000, 0x10_0000
	dead := uint64(base + 0x1050)
	return &synth.Dump{System: &synth.System{CPU: synth.AMD64, OS: synth.Windows},
		Threads: []synth.Thread{{ID: 7, Context: registers(base+0x1030, stack, 0x1234),
			Stack: synth.Memory{Start: stack, Data: words(0x400, map[int]uint64{
				0x00: dead, 0x18: dead, 0x40: 0xb1, // rbx of the second
				0x48:  base + 0x1120,
				0x200: dead, // where the second's stack pointer would be without its frame pointer
			})}}},
		Modules: []synth.Module{{Base: base, Size: 0x4000, TimeStamp: 0x5b8a1c3d, Name: `C:\app\engine.dll`}}}
}

// Without symbols, the tables of the binary lead from call to call.
func TestWalkByBinary(t *testing.T) {
	const base, stack = 0x7ff6_0000_0000, 0x10_0000
	d := libraryCrash()
	// The second function's frame pointer is what the first preserved: rbp. It
	// made room for 0x100 bytes, so that its frame lies above.
	c := d.Threads[0].Context
	c.Set("rbp", stack+0x50+0x100+16)
	frame := 0x50 + 0x100 + 0x20 // what was pushed: rbp and the return address
	for offset, v := range map[int]uint64{frame: 0x4321, frame + 8: base + 0x1020, frame + 16 + 0x40: 0xb2, frame + 16 + 0x48: 0} {
		binary.LittleEndian.PutUint64(d.Threads[0].Stack.Data[offset:], v)
	}
	source := files{"engine.dll": library().Bytes()}
	s, err := Walk(context.Background(), open(t, d.Bytes()), nil, Options{Binaries: source, Registers: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("0x1030 context\n0x111f cfi\n0x101f cfi\n", trace(s, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, want := range []map[string]uint64{{}, {"rbx": 0xb1, "rsp": stack + 0x50}, {"rbx": 0xb1, "rbp": 0x4321, "rsp": stack + uint64(frame) + 16}} {
		for name, v := range want {
			r, _ := format.AMD64.Register(name)
			if got, ok := s.Threads[0].Registers(i).Get(r); !ok || got != v {
				t.Errorf("frame %d: %s is %#x (%v), not %#x", i, name, got, ok, v)
			}
		}
	}
	if !s.Modules[0].Binary || !strings.Contains(string(s.AppendJSON(nil)), `"loaded_binary":true`) {
		t.Error("nothing says that the binary was used")
	}
	// Parity knows of no binaries.
	s, err = Walk(context.Background(), open(t, d.Bytes()), nil, Options{Binaries: source, Heuristics: unwind.Parity})
	if err != nil {
		t.Fatal(err)
	}
	if s.Modules[0].Binary || strings.Contains(string(s.AppendJSON(nil)), "loaded_binary") {
		t.Error("parity used the binary")
	}
}

// A binary for another processor is not believed.
func TestWalkByWrongBinary(t *testing.T) {
	b := library()
	b.Machine = executable.ARM64
	s, err := Walk(context.Background(), open(t, libraryCrash().Bytes()), nil, Options{Binaries: files{"engine.dll": b.Bytes()}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Modules[0].Binary {
		t.Error("the binary was used")
	}
}

// Scanning takes nothing for a return address that no call stands before, by the
// code in the binary.
func TestScanByBinary(t *testing.T) {
	lib := library()
	lib.Sections[1].Data, lib.Sections[2].Data = nil, nil // it has code alone
	d := libraryCrash()
	s, err := Walk(context.Background(), open(t, d.Bytes()), nil, Options{Binaries: files{"engine.dll": lib.Bytes()}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("0x1030 context\n0x111f scan\n", trace(s, 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s, err = Walk(context.Background(), open(t, d.Bytes()), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("0x1030 context\n0x104f scan\n", strings.Join(strings.SplitAfter(trace(s, 0), "\n")[:2], "")); diff != "" {
		t.Errorf("without the code (-want +got):\n%s", diff)
	}
}
