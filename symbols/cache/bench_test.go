//go:build unix

package cache

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"mayday/symbols"
	"mayday/symbols/lookup"
	"mayday/symbols/sym"
)

// cpuTime is what the process has used; other work on the machine does not
// count, as it does in the time of the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bigText is the .sym text for benchmarks: that of MAYDAY_BENCH_SYM, or a made
// up one of 20 MB.
func bigText(b testing.TB) []byte {
	b.Helper()
	if p := os.Getenv("MAYDAY_BENCH_SYM"); p != "" {
		text, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		return text
	}
	return sampleText(b, 40_000)
}

// go test -bench Compile -cpuprofile cpu.out ./symbols/cache
func BenchmarkCompile(b *testing.B) {
	text := bigText(b)
	path := filepath.Join(b.TempDir(), "x"+suffix)
	b.SetBytes(int64(len(text)))
	var size int64
	start := cpuTime(b)
	for b.Loop() {
		var err error
		if size, err = Compile(path, bytes.NewReader(text), ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime(b)-start).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(100*float64(size)/float64(len(text)), "%size")
}

func BenchmarkOpenFile(b *testing.B) {
	path := compile(b, bigText(b))
	for b.Loop() {
		f, err := OpenFile(path)
		if err != nil {
			b.Fatal(err)
		}
		f.View(symbols.Symbolicate).Resolve(0x1000, &lookup.Hit{})
		f.Close()
	}
}

func BenchmarkResolve(b *testing.B) {
	text := bigText(b)
	table := read(b, text)
	var last uint64
	_ = table.Records(func(r *sym.Record) error {
		if r.Kind == sym.KindCFIInit {
			return io.EOF
		}
		last = max(last, r.Address)
		return nil
	})
	f, err := OpenFile(compile(b, text))
	if err != nil {
		b.Fatal(err)
	}
	table = nil
	defer f.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name  string
		count int
	}{{"request", 1000}, {"random", 4_000_000}} {
		offsets := make([]uint64, c.count)
		for i := range offsets {
			offsets[i] = r.Uint64N(last)
		}
		b.Run(c.name, func(b *testing.B) {
			v := f.View(symbols.Symbolicate)
			var h lookup.Hit
			for _, o := range offsets[:min(len(offsets), 300_000)] { // maps and checks the blocks
				v.Resolve(o, &h)
			}
			runtime.GC()
			i, found := 0, 0
			start := cpuTime(b)
			for b.Loop() {
				if v.Resolve(offsets[i], &h) {
					found++
				}
				if i++; i == len(offsets) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.N)/(cpuTime(b)-start).Seconds(), "lookups/cpu-s")
			b.ReportMetric(100*float64(found)/float64(b.N), "%found")
		})
	}
}
