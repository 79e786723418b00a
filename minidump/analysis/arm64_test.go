package analysis

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mayday/minidump"
	"mayday/minidump/synth"
)

// arm64Crash is a dump of a crash in one instruction.
func arm64Crash(t testing.TB, word uint32, registers ...synth.Register) Result {
	t.Helper()
	b := &synth.Binary{CPU: synth.ARM64, OS: synth.Android, Path: "/a.so", Base: 0x7000000000, Size: 0x10000, Functions: []synth.Function{{Name: "f", Address: 0x1000, Size: 0x100}}}
	c := &synth.Crash{CPU: synth.ARM64, OS: synth.Android, Binaries: []*synth.Binary{b},
		Threads: []synth.Stack{{ID: 1, Calls: []synth.Call{{Binary: b, Offset: 0x1010}}}},
		Fault:   synth.Fault{Code: 11, Flags: 1, Address: 8, Instruction: binary.LittleEndian.AppendUint32(nil, word), Registers: registers}}
	d, err := minidump.FromBytes(c.Dump().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return Analyze(Input{Dump: d, Mappings: d.NewMappings(), Address: 8, Best: true})
}

func TestARM64(t *testing.T) {
	for _, c := range []struct {
		name      string
		word      uint32
		registers []synth.Register
		want      Result
	}{
		{"load from null", 0xf9400400, nil, Result{Instruction: "ldr x0, [x0,#8]", Accesses: []Access{{Address: 8, Size: 8, Kind: Read}}, Adjusted: &Adjusted{NullPointer: true, Address: 8}}},
		{"store byte", 0x39000c41, []synth.Register{{Name: "x2", Value: 0x1000}}, Result{Instruction: "strb w1, [x2,#3]", Accesses: []Access{{Address: 0x1003, Size: 1, Kind: Write}}}},
		{"branch", 0xd61f0200, []synth.Register{{Name: "x16", Value: 0x4444}}, Result{Instruction: "br x16", Accesses: []Access{}, Jump: &Jump{Address: 0x4444}}},
		{"frame record", 0xa9bf7bfd, []synth.Register{{Name: "sp", Value: 0x2000}}, Result{Instruction: "stp x29, x30, [sp,#-16]!", Accesses: []Access{{Address: 0x1ff0, Kind: Write}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := arm64Crash(t, c.word, c.registers...)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(Access{}), cmpopts.IgnoreFields(Result{}, "BitFlips", "Inconsistencies")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzARM64(f *testing.F) {
	for _, w := range []uint32{0xf9400400, 0x39000c41, 0xd61f0200, 0xa9bf7bfd, 0xf8626820} {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, w uint32) { arm64Crash(t, w) })
}
