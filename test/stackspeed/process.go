package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/minidump/synth"
	"mayday/symbols"
	"mayday/symbols/fetch"
	"mayday/symbols/lookup"
	"mayday/test/process"
)

// result is what a child measured. Memory is in MB.
type result struct {
	CPU, Wall           time.Duration // of one walk with its JSON, the best of all
	First, FirstCPU     time.Duration // of the first walk of the process
	Worst               time.Duration // CPU of the slowest dump
	Heap, Touched, Peak float64
	N                   int // dumps or frames
}

func inProcess(what, dir string) error {
	var r *result
	var err error
	switch what {
	case "warm":
		r, err = warm(dir)
	case "small":
		r, err = small()
	case "overflow":
		r, err = overflow()
	default:
		return fmt.Errorf("no measurement %q", what)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// clock measures f.
func clock(f func() error) (cpu, wall time.Duration, err error) {
	c, start := cpuTime(), time.Now()
	err = f()
	return cpuTime() - c, time.Since(start), err
}

// repeat measures f several times and keeps the best; the processor's time is
// counted in ticks of a scheduler, so it is taken over all runs.
func (r *result) repeat(n int, f func() error) error {
	r.Wall = math.MaxInt64
	c := cpuTime()
	for range n {
		_, wall, err := clock(f)
		if err != nil {
			return err
		}
		r.Wall = min(r.Wall, wall)
	}
	r.CPU = (cpuTime() - c) / time.Duration(n)
	return nil
}

// heap is what is in use after f, with its garbage: what f allocated.
func heap(f func() error) (float64, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / (1 << 20), err
}

// walk reads, walks and prints a dump, as the command does.
func walk(b []byte, source stackwalk.SymbolSource) (*stackwalk.State, error) {
	d, err := minidump.FromBytes(b)
	if err != nil {
		return nil, err
	}
	s, err := stackwalk.Walk(context.Background(), d, source, stackwalk.Options{})
	if err == nil {
		err = s.JSON(io.Discard, false)
	}
	return s, err
}

// warm walks the large dump with the compiled symbols that the command left.
func warm(dir string) (*result, error) {
	b, err := os.ReadFile(filepath.Join(dir, "big.dmp"))
	if err != nil {
		return nil, err
	}
	source := fetch.New(fetch.Options{Paths: []string{filepath.Join(dir, "symbols")}, Reading: symbols.Best,
		Compiled: filepath.Join(dir, "cache", "compiled")})
	defer source.Close()
	r := &result{N: 1}
	once := func() error {
		_, err := walk(b, source)
		return err
	}
	if r.FirstCPU, r.First, err = clock(once); err != nil {
		return nil, err
	}
	if err := r.repeat(50, once); err != nil {
		return nil, err
	}
	if r.Heap, err = heap(once); err != nil {
		return nil, err
	}
	if r.Touched, err = touched(filepath.Join(dir, "cache")); err != nil {
		return nil, err
	}
	r.Peak, err = peak()
	return r, err
}

// touched is how much of the files under dir is mapped into this process and
// was looked at.
func touched(dir string) (float64, error) {
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	total, in := 0, false
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			in = strings.Contains(s.Text(), dir)
		case in && f[0] == "Rss:":
			n, _ := strconv.Atoi(f[1])
			total += n
		}
	}
	return float64(total) / 1024, nil
}

// peak is the most memory that this process had.
func peak() (float64, error) {
	memory, err := process.MemoryOf(os.Getpid())
	return float64(memory.Peak) / (1 << 20), err
}

// small walks sample dumps without symbols.
func small() (*result, error) {
	names, err := filepath.Glob(filepath.Join(dataDir, "visible", "dumps", "*.dmp"))
	if err != nil {
		return nil, err
	}
	r := &result{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var one result
		err = one.repeat(10, func() error {
			_, err := walk(b, nil)
			return err
		})
		if fault.Is(err, fault.Malformed) {
			continue // some are broken
		}
		if err != nil {
			return nil, err
		}
		h, err := heap(func() error {
			_, err := walk(b, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		r.CPU, r.Wall, r.N = r.CPU+one.CPU, r.Wall+one.Wall, r.N+1
		r.Worst, r.Heap = max(r.Worst, one.CPU), max(r.Heap, h)
	}
	if r.N > 0 {
		r.CPU, r.Wall = r.CPU/time.Duration(r.N), r.Wall/time.Duration(r.N)
	}
	return r, nil
}

// text is the only module's symbols.
type text struct{ symbols stackwalk.Symbols }

// Symbols implements stackwalk.SymbolSource.
func (t text) Symbols(context.Context, symbols.ModuleID) (*stackwalk.Loaded, error) {
	return &stackwalk.Loaded{Symbols: t.symbols}, nil
}

// overflow walks a stack on which a function called itself until it ran over.
func overflow() (*result, error) {
	b := &synth.Binary{CPU: synth.AMD64, OS: synth.LinuxOS, Path: "/opt/app", ID: [16]byte{1, 2, 3}, Base: 0x400000, Size: 0x10000, Functions: []synth.Function{
		{Name: "main", File: "app.c", Line: 1, Address: 0x800, Size: 0x100, Frame: synth.CFI, Locals: 0x20},
		{Name: "recurse(int, std::vector<int>&)", File: "app.c", Line: 10, Address: 0x1000, Size: 0x100, Frame: synth.CFI, Locals: 0x1c0, Saves: []string{"rbx", "rbp"}},
	}}
	c := &synth.Crash{CPU: synth.AMD64, OS: synth.LinuxOS, Binaries: []*synth.Binary{b}, Threads: []synth.Stack{{ID: 1, Name: "main"}}, Fault: synth.Fault{Code: 11, Flags: 1, Address: 8}}
	for i := range 15_000 {
		c.Threads[0].Calls = append(c.Threads[0].Calls, synth.Call{Binary: b, Offset: 0x1040 + uint32(i%3)*0x20})
	}
	t, err := lookup.Read(bytes.NewReader(b.Sym()))
	if err != nil {
		return nil, err
	}
	source, dump, r := text{t.View(symbols.Best)}, c.Dump().Bytes(), &result{}
	once := func() error {
		s, err := walk(dump, source)
		if err == nil {
			if r.N = len(s.Threads[0].Frames); r.N < 15_000 {
				return fmt.Errorf("%d frames of 15000 were found", r.N)
			}
		}
		return err
	}
	if err := r.repeat(10, once); err != nil {
		return nil, err
	}
	r.Heap, err = heap(once)
	return r, err
}
