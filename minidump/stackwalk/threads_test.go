package stackwalk

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// crowd is a program of many threads, of which some recurse.
func crowd() ([]byte, texts) {
	c, source := program(synth.AMD64, synth.LinuxOS, 3)
	b := c.Binaries[0]
	for i := range 80 {
		s := synth.Stack{ID: uint32(i + 2), Name: fmt.Sprint("worker ", i)}
		for n := range 1 + i*i%67 {
			s.Calls = append(s.Calls, synth.Call{Binary: b, Offset: 0x1010 + uint32(n*i%9)*0x10})
		}
		c.Threads = append(c.Threads, s)
	}
	return c.Dump().Bytes(), source
}

// However many threads are walked at a time, the outcome is the same: also
// where the limits on all threads end walks.
func TestWorkersChangeNothing(t *testing.T) {
	dump, source := crowd()
	type input struct {
		name   string
		dump   []byte
		source SymbolSource
		cut    string
	}
	list := []input{{"threads", dump, source, ""}, {"no symbols", dump, nil, ""}}
	for _, h := range synth.HostileDumps() {
		size := 200_000 // not more threads than are walked together
		switch h.Name {
		case "one large stack of frames", "one large stack of distinct frames":
			size = 2 << 20
		case "threads of scattered frames", "frames in unloaded modules", "signal frames", "modules", "frames in a module of a long name":
		default:
			continue
		}
		list = append(list, input{h.Name, h.Bytes(size), nil, map[string]string{"one large stack of frames": "frames", "threads of scattered frames": "scanned",
			"frames in unloaded modules": "unloaded"}[h.Name]})
	}
	for _, in := range list {
		walk := func(workers int) []byte {
			s, err := Walk(context.Background(), open(t, in.dump), in.source, Options{Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(s.Truncated, in.cut) {
				t.Errorf("%s, %d workers: truncated %q, want …%s…", in.name, workers, s.Truncated, in.cut)
			}
			return s.AppendJSON(nil)
		}
		want := walk(1)
		if got := walk(4); !bytes.Equal(got, want) {
			n := 0
			for n < min(len(got), len(want)) && got[n] == want[n] {
				n++
			}
			t.Errorf("%s: 4 workers differ from one at byte %d: %.200q, want %.200q", in.name, n, got[n:], want[n:])
		}
	}
}

// bad is a source whose symbols end in a panic.
type bad struct{}

func (bad) Symbols(context.Context, symbols.ModuleID) (*Loaded, error) { panic("no such symbols") }

// A panic on another goroutine is an error of the walk, not the end of the
// program.
func TestPanicOfWorker(t *testing.T) {
	dump, _ := crowd()
	for _, workers := range []int{1, 4} {
		s, err := Walk(context.Background(), open(t, dump), bad{}, Options{Workers: workers})
		if s != nil || err == nil || !strings.Contains(err.Error(), "no such symbols") {
			t.Errorf("%d workers: %v, %v", workers, s, err)
		}
	}
}

// Threads that are walked together ask for each module's symbols once.
func TestSymbolsAreAskedForOnce(t *testing.T) {
	dump, source := crowd()
	for _, h := range []unwind.Heuristics{unwind.Best, unwind.Parity} {
		c := &counted{source: source}
		s, err := Walk(context.Background(), open(t, dump), c, Options{Workers: 4, Heuristics: h})
		if err != nil {
			t.Fatal(err)
		}
		if c.n != 1 || !s.Modules[0].Symbols.Loaded {
			t.Errorf("asked %d times; %+v", c.n, s.Modules[0].Symbols)
		}
	}
}

type counted struct {
	source SymbolSource
	n      int
}

func (c *counted) Symbols(ctx context.Context, id symbols.ModuleID) (*Loaded, error) {
	c.n++
	return c.source.Symbols(ctx, id)
}

// BenchmarkThreads walks many threads on one goroutine and on all processors.
func BenchmarkThreads(b *testing.B) {
	dump, source := crowd()
	for _, workers := range []int{1, 0} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := Walk(context.Background(), open(b, dump), source, Options{Workers: workers})
				if err != nil {
					b.Fatal(err)
				}
				s.AppendJSON(nil)
			}
		})
	}
}
