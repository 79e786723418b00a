package analysis

import (
	"testing"

	"mayday/minidump"
	"mayday/minidump/synth"
)

// Registers support a flipped bit; those of mips64 only where others need not
// agree.
func TestBitFlipRegisters(t *testing.T) {
	for _, c := range []struct {
		cpu      synth.CPU
		register string
		best     bool
		want     int // registers nearby
	}{
		{synth.AMD64, "rbx", false, 1}, {synth.AMD64, "rbx", true, 1}, {synth.PPC64, "r4", false, 1},
		{synth.MIPS64, "s1", false, 0}, {synth.MIPS64, "s1", true, 1},
	} {
		x := &synth.Context{CPU: c.cpu}
		x.Set(c.register, 0x7f0000001080)
		d, err := minidump.FromBytes((&synth.Dump{
			System:     &synth.System{CPU: c.cpu, OS: synth.LinuxOS},
			Threads:    []synth.Thread{{ID: 1, Context: x}},
			Exception:  &synth.Exception{Thread: 1, Code: 11, Flags: 1, Address: 0x7f0000001000 ^ 1<<40},
			MemoryInfo: []synth.MemoryInfo{{Base: 0x7f0000001000, Size: 0x1000, State: synth.MemCommit, Protect: synth.PageReadWrite}},
		}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got := Analyze(Input{Dump: d, Mappings: d.NewMappings(), Address: 0x7f0000001000 ^ 1<<40, Best: c.best}).BitFlips
		if len(got) != 1 || got[0].NearbyRegisters != c.want || got[0].Address != 0x7f0000001000 {
			t.Errorf("%v best %v: %+v, want one with %d registers", c.cpu, c.best, got, c.want)
		}
	}
}
