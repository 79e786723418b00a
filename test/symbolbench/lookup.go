package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/lookup"
	"mayday/symbols/sym"
)

// peerScript compiles and looks up with symbolic and prints its figures.
const peerScript = `
import json, os, random, resource, sys, time
from symbolic import Archive, SymCache
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
text, out, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = cpu()
cache = next(iter(Archive.open(text).iter_objects())).make_symcache()
with open(out, "wb") as f:
    cache.dump_into(f)
compile_cpu = cpu() - start
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start = time.perf_counter()
cache = SymCache.open(out)
cache.lookup(0x1000)
open_s = time.perf_counter() - start
r = random.Random(1)
offsets = [r.randrange(last) for _ in range(20000)]
for o in offsets[:2000]:
    cache.lookup(o)
start = cpu()
for o in offsets:
    cache.lookup(o)
print(json.dumps({"cpu": compile_cpu, "rss": rss, "size": os.path.getsize(out), "open": open_s, "lookups": len(offsets) / (cpu() - start)}))
`

// peerFigures are those of symbolic, all 0 when it is not at hand.
type peerFigures struct {
	CPU     float64 `json:"cpu"`
	RSS     int64   `json:"rss"`
	Size    int64   `json:"size"`
	Open    float64 `json:"open"`
	Lookups float64 `json:"lookups"`
}

func (b *bench) peer() (p peerFigures) {
	if b.python == "" {
		fmt.Println("symbolic: skipped: no -python and no MAYDAY_BENCH_PYTHON that names a Python with it")
		return p
	}
	out, _, _, err := command(b.python, "-c", peerScript, b.text, filepath.Join(b.dir, "peer.symcache"), fmt.Sprint(0x6000000))
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		fmt.Printf("symbolic: skipped: %v\n", err)
	}
	return p
}

func (p peerFigures) text(format string, v float64) string {
	if p.CPU == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// compile has the binary compile the symbol file.
func (b *bench) compile(p peerFigures) error {
	out := filepath.Join(b.dir, "big.symc")
	_, cpu, rss, err := command(b.binary, "symbols", "convert", b.text, out)
	if err != nil {
		return err
	}
	st, err := os.Stat(out)
	if err != nil {
		return err
	}
	goal := "≤ 4.2 s"
	if p.CPU > 0 {
		goal = fmt.Sprintf("≤ %.1f s (¼)", p.CPU/4)
	}
	b.table.add("compile, CPU", fmt.Sprintf("%.2f s", cpu.Seconds()), goal, p.text("%.1f s", p.CPU))
	b.table.add("compile, largest memory", fmt.Sprintf("%d MB", rss/1e6), "≤ 500 MB", p.text("%.0f MB", float64(p.RSS)/1e6))
	b.table.add("compiled size of the text", fmt.Sprintf("%.1f %%", 100*float64(st.Size())/float64(b.textSize)), "≤ 35 %", p.text("%.1f %%", 100*float64(p.Size)/float64(b.textSize)))
	return nil
}

// lookup opens the compiled file and looks up offsets all over the functions.
func (b *bench) lookup(p peerFigures) error {
	path := filepath.Join(b.dir, "big.symc")
	if _, err := os.Stat(path); err != nil {
		if _, _, _, err := command(b.binary, "symbols", "convert", b.text, path); err != nil {
			return err
		}
	}
	last, err := lastLine(path)
	if err != nil {
		return err
	}
	best := time.Hour
	for range 20 {
		start := time.Now()
		f, err := cache.OpenFile(path)
		if err != nil {
			return err
		}
		f.View(symbols.Symbolicate).Resolve(0x1000, &lookup.Hit{})
		best = min(best, time.Since(start))
		if err := f.Close(); err != nil {
			return err
		}
	}
	b.table.add("open, and the first lookup", fmt.Sprintf("%.2f ms", float64(best.Microseconds())/1000), "≤ 2 ms", p.text("%.2f ms", p.Open*1000))
	f, err := cache.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	request, found := rate(f.View(symbols.Symbolicate), last, 1000)
	random, _ := rate(f.View(symbols.Symbolicate), last, 4_000_000)
	b.table.add("lookups, offsets of a 50×20 request", fmt.Sprintf("%.2f M/s, %.0f %% found", request/1e6, found), "≥ 2 M/s", "")
	b.table.add("lookups, uniformly random", fmt.Sprintf("%.2f M/s", random/1e6), "≥ 1 M/s", p.text("%.3f M/s with names", p.Lookups/1e6))
	return nil
}

// lastLine is the end of the code that the file has lines of.
func lastLine(path string) (last uint64, err error) {
	f, err := cache.OpenFile(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = f.Table().Records(func(r *sym.Record) error {
		if r.Kind == sym.KindPublic || r.Kind == sym.KindCFIInit {
			return io.EOF
		}
		if r.Kind == sym.KindFunc {
			last = max(last, r.Address+r.Size)
		}
		return nil
	})
	if err == io.EOF {
		err = nil
	}
	return last, err
}

// rate is how many lookups a second of CPU time does over count offsets again
// and again, and how many percent of them found something.
func rate(v lookup.View, last uint64, count int) (perSecond, found float64) {
	r := rand.New(rand.NewPCG(1, 2))
	offsets := make([]uint64, count)
	for i := range offsets {
		offsets[i] = r.Uint64N(last)
	}
	var h lookup.Hit
	for _, o := range offsets { // maps and checks the blocks
		v.Resolve(o, &h)
	}
	rounds, hits := max(1, 2_000_000/count), 0
	best := time.Hour
	for range 5 {
		hits = 0
		start := used()
		for range rounds {
			for _, o := range offsets {
				if v.Resolve(o, &h) {
					hits++
				}
			}
		}
		best = min(best, used()-start)
	}
	n := float64(rounds * count)
	return n / best.Seconds(), 100 * float64(hits) / n
}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
