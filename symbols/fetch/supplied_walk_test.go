package fetch

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

// A stack through a library that was never uploaded is unwound by the tables of
// the file that a symbol server has, as a cabinet. Words on it that point into the
// library's code would lead a scan astray.
func TestWalkBySuppliedBinary(t *testing.T) {
	const base, stack = 0x7ff6_0000_0000, 0x10_0000
	text := make([]byte, 0x1000)
	copy(text, []byte{0x53, 0x48, 0x83, 0xec, 0x40})       // push rbx; sub rsp, 0x40
	text[0x100-5], text[0x20-5] = 0xe8, 0xe8               // calls
	xdata := []byte{1, 5, 2, 0, 5, 7<<4 | 2, 1, 3 << 4, 0} // the same in words: alloc 0x40, push rbx
	var pdata []byte
	for _, v := range []uint32{0x1000, 0x1200, 0x2000} {
		pdata = binary.LittleEndian.AppendUint32(pdata, v)
	}
	library := sample.Binary{Format: executable.PE, Machine: executable.AMD64, Base: 0x1_8000_0000, TimeStamp: 0x5b8a1c3d, Size: 0x9000, Sections: []sample.Section{
		{Name: ".text", Offset: 0x1000, Data: text, Executable: true}, {Name: ".xdata", Offset: 0x2000, Data: xdata}, {Name: ".pdata", Offset: 0x3000, Data: pdata, Exceptions: true}}}
	memory := make([]byte, 0x400)
	for at, v := range map[int]uint64{0x00: base + 0x1050, 0x18: base + 0x1050, 0x48: base + 0x1100, 0x60: base + 0x1050, 0x98: base + 0x1020} {
		binary.LittleEndian.PutUint64(memory[at:], v)
	}
	c := &synth.Context{CPU: synth.AMD64}
	c.Set("rip", base+0x1030)
	c.Set("rsp", stack)
	crash := synth.Dump{System: &synth.System{CPU: synth.AMD64, OS: synth.Windows},
		Threads: []synth.Thread{{ID: 7, Context: c, Stack: synth.Memory{Start: stack, Data: memory}}},
		Modules: []synth.Module{{Base: base, Size: 0x9000, TimeStamp: 0x5b8a1c3d, Name: `C:\Program Files\App\engine.dll`}}}
	d, err := minidump.FromBytes(crash.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, files(map[string]string{"/store/engine.dll/5B8A1C3D9000/engine.dl_": cabinet("engine.dll", string(library.Bytes()))}))
	walk := func(o stackwalk.Options) (trust []unwind.Trust) {
		state, err := stackwalk.Walk(t.Context(), d, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range state.Threads[0].Frames {
			trust = append(trust, f.Trust)
		}
		return trust
	}
	places := "microsoft+" + s.URL + "/store"
	got := walk(stackwalk.Options{Binaries: suppliedBy(t, filepath.Join(t.TempDir(), "b"), 1<<20, places)})
	if len(got) < 3 || got[1] != unwind.CFI || got[2] != unwind.CFI {
		t.Errorf("with the binary: %v", got)
	}
	if got := walk(stackwalk.Options{}); len(got) > 1 && got[1] == unwind.CFI {
		t.Errorf("without: %v", got)
	}
	if n := s.count("/store/engine.dll/5B8A1C3D9000/engine.dl_"); n != 1 {
		t.Errorf("the cabinet was asked for %d times", n)
	}
}
