package stackwalk

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/lookup"
)

// texts is a SymbolSource over .sym texts by debug id.
type texts map[string][]byte

func (s texts) Symbols(_ context.Context, id symbols.ModuleID) (*Loaded, error) {
	b, ok := s[id.DebugID]
	if !ok {
		return nil, fault.New(fault.NotFound, "no symbols of %s", id.DebugFile)
	}
	t, err := lookup.Read(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return &Loaded{Symbols: t.View(symbols.Best)}, nil
}

// program is a made-up crash of a program with one function that calls itself.
func program(cpu synth.CPU, os synth.OS, depth int) (*synth.Crash, texts) {
	b := &synth.Binary{CPU: cpu, OS: os, Path: "/opt/app", ID: [16]byte{1, 2, 3}, Base: 0x400000, Size: 0x10000, Functions: []synth.Function{
		{Name: "recurse", File: "app.c", Line: 10, Address: 0x1000, Size: 0x100, Frame: synth.CFI, Locals: 0x20},
	}}
	c := &synth.Crash{CPU: cpu, OS: os, Binaries: []*synth.Binary{b}, Threads: []synth.Stack{{ID: 1, Name: "main"}}, Fault: synth.Fault{Code: 11, Flags: 1, Address: 8}}
	for range depth {
		c.Threads[0].Calls = append(c.Threads[0].Calls, synth.Call{Binary: b, Offset: 0x1040})
	}
	return c, texts{b.DebugID(): b.Sym()}
}

func open(t testing.TB, b []byte) *minidump.Dump {
	t.Helper()
	d, err := minidump.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everyCPU are the processors that stacks are walked on, in the byte orders that
// they run in.
func everyCPU(f func(name string, cpu synth.CPU, bigEndian bool)) {
	for _, cpu := range synth.CPUs() {
		switch cpu {
		case synth.SPARC: // it has no walker
		case synth.PPC:
			f(cpu.String(), cpu, true)
		case synth.PPC64, synth.MIPS, synth.MIPS64:
			f(cpu.String()+", big-endian", cpu, true)
			f(cpu.String()+", little-endian", cpu, false)
		default:
			f(cpu.String(), cpu, false)
		}
	}
}

// A crash on every CPU is found with function, file and line of every frame,
// and the registers of the innermost.
func TestWalkEveryCPU(t *testing.T) {
	everyCPU(func(name string, cpu synth.CPU, bigEndian bool) {
		t.Run(name, func(t *testing.T) {
			c, found := program(cpu, synth.LinuxOS, 5)
			c.BigEndian = bigEndian
			var source SymbolSource = found
			if bigEndian { // the debug id depends on it
				source = anySymbols{c.Binaries[0].Sym()}
			}
			s, err := Walk(context.Background(), open(t, c.Dump().Bytes()), source, Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := c.Expected(0)
			frames := s.Threads[0].Frames
			if len(frames) < len(want) {
				t.Fatalf("%d frames, want %d", len(frames), len(want))
			}
			for i, f := range frames[:len(want)] {
				if f.Function != want[i].Function.Name || f.File != want[i].File || int(f.Line) != want[i].Line {
					t.Errorf("frame %d: got %s %s:%d (%s), want %+v", i, f.Function, f.File, f.Line, f.Trust, want[i])
				}
				if i > 0 && f.Trust != unwind.CFI {
					t.Errorf("frame %d: %s", i, f.Trust)
				}
			}
			if s.RequestingThread != 0 || s.Crash.Reason != "SIGSEGV / SEGV_MAPERR" {
				t.Errorf("thread %d, reason %q", s.RequestingThread, s.Crash.Reason)
			}
			if m := s.Modules[0].Symbols; !m.Loaded || m.Missing || m.Corrupt {
				t.Errorf("symbols %+v", m)
			}
			if s.System.CPUName != cpu.String() && cpu != synth.ARM64Old {
				t.Errorf("processor %q", s.System.CPUName)
			}
			known := s.Threads[0].Registers(0)
			for _, r := range []format.Register{s.System.CPU.IPRegister(), s.System.CPU.SPRegister()} {
				if v, ok := known.Get(r); !ok || v == 0 {
					t.Errorf("register %s: %#x, %v", s.System.CPU.RegisterName(r), v, ok)
				}
			}
			if v, _ := known.Get(s.System.CPU.IPRegister()); v != frames[0].Instruction {
				t.Errorf("instruction pointer %#x, frame 0 at %#x", v, frames[0].Instruction)
			}
		})
	})
}

// Of the CPUs that the other walker does not walk, parity has no frame, or that
// of the context.
func TestParityOfRareCPUs(t *testing.T) {
	everyCPU(func(name string, cpu synth.CPU, bigEndian bool) {
		want, ok := map[synth.CPU]int{synth.PPC: 1, synth.PPC64: 1, synth.MIPS64: 0, synth.RISCV64: 0}[cpu]
		if !ok {
			return
		}
		c, _ := program(cpu, synth.LinuxOS, 5)
		c.BigEndian = bigEndian
		s, err := Walk(context.Background(), open(t, c.Dump().Bytes()), anySymbols{c.Binaries[0].Sym()}, Options{Heuristics: unwind.Parity})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Threads[0].Frames); n != want {
			t.Errorf("%s: %d frames, want %d", name, n, want)
		}
	})
}

// anySymbols are of every module.
type anySymbols struct{ text []byte }

func (a anySymbols) Symbols(context.Context, symbols.ModuleID) (*Loaded, error) {
	t, err := lookup.Read(bytes.NewReader(a.text))
	if err != nil {
		return nil, err
	}
	return &Loaded{Symbols: t.View(symbols.Best)}, nil
}

func TestWalkNeedsSystemAndThreads(t *testing.T) {
	for _, c := range []struct {
		d    synth.Dump
		want string
	}{
		{synth.Dump{System: &synth.System{CPU: synth.AMD64}}, minidump.MissingThreadList},
		{synth.Dump{Threads: []synth.Thread{{ID: 1}}}, minidump.MissingSystemInfo},
	} {
		_, err := Walk(context.Background(), open(t, c.d.Bytes()), nil, Options{})
		var e *minidump.FormatError
		if !errors.As(err, &e) || e.Name != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestWalkEndsWithItsContext(t *testing.T) {
	c, source := program(synth.AMD64, synth.LinuxOS, 5000)
	d := open(t, c.Dump().Bytes())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Walk(ctx, d, source, Options{}); !fault.Is(err, fault.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	s, err := Walk(ctx, d, source, Options{})
	if err != nil || s.Truncated == "" {
		t.Errorf("past its deadline: %v, %+v", err, s)
	}
}

// panics is a source with a bug.
type panics struct{}

func (panics) Symbols(context.Context, symbols.ModuleID) (*Loaded, error) { panic("a bug") }

func TestWalkRecovers(t *testing.T) {
	c, _ := program(synth.AMD64, synth.LinuxOS, 2)
	if _, err := Walk(context.Background(), open(t, c.Dump().Bytes()), panics{}, Options{}); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v", err)
	}
}

func FuzzWalk(f *testing.F) {
	c, source := program(synth.AMD64, synth.LinuxOS, 3)
	f.Add(c.Dump().Bytes())
	w, _ := program(synth.X86, synth.Windows, 3)
	f.Add(w.Dump().Bytes())
	a, _ := program(synth.ARM64, synth.MacOS, 3)
	f.Add(a.Dump().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := minidump.FromBytes(b)
		if err != nil {
			return
		}
		s, err := Walk(context.Background(), d, source, Options{Registers: true})
		if err != nil {
			if fault.Is(err, fault.Internal) {
				t.Fatal(err)
			}
			return
		}
		s.Document()
		var out bytes.Buffer
		if err := s.Text(&out, TextOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkWalkSmall(b *testing.B) {
	c, _ := program(synth.AMD64, synth.LinuxOS, 20)
	data := c.Dump().Bytes()
	for b.Loop() {
		if _, err := Walk(context.Background(), open(b, data), nil, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalkOverflow(b *testing.B) {
	c, source := program(synth.AMD64, synth.LinuxOS, 15_000)
	data := c.Dump().Bytes()
	for b.Loop() {
		s, err := Walk(context.Background(), open(b, data), source, Options{})
		if err != nil || len(s.Threads[0].Frames) < 15_000 {
			b.Fatal(err, len(s.Threads[0].Frames))
		}
		s.AppendJSON(nil)
	}
}
