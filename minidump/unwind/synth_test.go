package unwind

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/synth"
	"mayday/symbols"
)

// madeUp is a program of two binaries with a function of every kind of frame
// that cpu has.
func madeUp(cpu synth.CPU, os synth.OS) []*synth.Binary {
	kinds := []synth.FrameKind{synth.CFI, synth.FramePointer, synth.CFI, synth.Bare, synth.CFI}
	if cpu == synth.X86 {
		kinds = append(kinds, synth.Program, synth.FPO, synth.Program)
	}
	var list []*synth.Binary
	for i := range 2 {
		b := &synth.Binary{CPU: cpu, OS: os, Path: fmt.Sprintf("/opt/app/lib%d.so", i), Base: 0x400000 + uint64(i)*0x100000, Size: 0x10000, ID: [16]byte{1, 2, 3, byte(i)}}
		for j, kind := range kinds {
			f := synth.Function{Name: fmt.Sprintf("f%d", j), Address: uint32(0x1000 + 0x100*j), Size: 0x100, File: "f.c", Line: 1, Frame: kind, Locals: uint32(16 * j)}
			if kind == synth.Program || kind == synth.FPO {
				f.Parameters = 8
			}
			b.Functions = append(b.Functions, f)
		}
		list = append(list, b)
	}
	return list
}

// Stacks that were laid out by somebody else's rules are walked back to the
// calls they were made of.
func TestMadeUpStacks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, cpu := range synth.CPUs() {
		if cpu == synth.SPARC {
			continue // its stacks are not walked
		}
		for _, os := range []synth.OS{synth.LinuxOS, synth.Windows, synth.MacOS, synth.IOS} {
			arm64 := cpu == synth.ARM64 || cpu == synth.ARM64Old
			ppc := cpu == synth.PPC || cpu == synth.PPC64
			if ppc && os != synth.LinuxOS {
				continue // big-endian, and no other system's debug ids are
			}
			for _, h := range []Heuristics{Best, Parity} {
				if arm64 && h == Parity {
					// The frame records of these stacks lie at the bottom of the frames,
					// where Linux has them; the peer knows those of Apple.
					continue
				}
				binaries := madeUp(cpu, os)
				for range 10 {
					c := &synth.Crash{CPU: cpu, OS: os, Seed: rng.Uint64(), Binaries: binaries, BigEndian: ppc,
						Threads: []synth.Stack{{ID: 1}}, Fault: synth.Fault{Code: 11}}
					for range 1 + rng.IntN(12) {
						b := binaries[rng.IntN(2)]
						f := b.Functions[rng.IntN(len(b.Functions))]
						c.Threads[0].Calls = append(c.Threads[0].Calls, synth.Call{Binary: b, Offset: (f.Address + 0x20 + rng.Uint32N(f.Size-0x20)) &^ 3})
					}
					store := fstest.MapFS{}
					threads, p, err := openBytes(c.Dump().Bytes(), store, h)
					if err != nil {
						t.Fatal(err)
					}
					for i, m := range p.Modules.(*dumpModules).dump.Modules {
						path, _ := symbols.ModuleID{DebugFile: m.DebugFile, DebugID: m.DebugID, CodeFile: m.Name}.Path()
						store[path] = &fstest.MapFile{Data: binaries[i].Sym()}
					}
					s := NewWalker(p).Walk(context.Background(), threads[0])
					if len(s.Frames) == 0 || h == Parity && !archOf(threads[0].Context.CPU).walked {
						continue
					}
					var got, want strings.Builder
					lost := false // the frame pointer, in a frame that does not keep it
					for i, f := range c.Expected(0) {
						technique := f.Technique
						if (technique != "cfi" || lost || arm64) && i < len(s.Frames) {
							technique = s.Frames[i].Trust.String()
						}
						lost = lost || f.Function.Frame == synth.Bare
						fmt.Fprintf(&want, "%x %s\n", f.Address, technique)
					}
					for _, f := range s.Frames {
						fmt.Fprintf(&got, "%x %s\n", f.Instruction, f.Trust)
					}
					if diff := cmp.Diff(want.String(), got.String()); diff != "" {
						t.Errorf("%s %d heuristics %d (-want +got):\n%s", cpu, os, h, diff)
					}
				}
			}
		}
	}
}

// BenchmarkOverflowDump walks a thread that called itself until its stack ran
// over, with symbols as they come out of a file.
func BenchmarkOverflowDump(b *testing.B) {
	binaries := madeUp(synth.AMD64, synth.LinuxOS)
	c := &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Binaries: binaries, Threads: []synth.Stack{{ID: 1}}}
	for range 15_000 {
		c.Threads[0].Calls = append(c.Threads[0].Calls, synth.Call{Binary: binaries[0], Offset: 0x1040})
	}
	dump, store := c.Dump().Bytes(), fstest.MapFS{binaries[0].SymPath(): {Data: binaries[0].Sym()}}
	for b.Loop() {
		threads, p, err := openBytes(dump, store, Best)
		if err != nil {
			b.Fatal(err)
		}
		if s := NewWalker(p).Walk(context.Background(), threads[0]); len(s.Frames) != 15_000 {
			b.Fatalf("%d frames, %q", len(s.Frames), s.Truncated)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/15_000, "ns/frame")
}
