// Command stackspeed measures what walking stacks costs: the command on a
// symbol file of 198 MB, cold and with the compiled file at hand; the same in
// process; small dumps; a stack that ran over. Where minidump-stackwalk is
// installed it runs beside, on the same input, and the ratios are to it.
//
//	stackspeed [-peer FILE] [-dir DIR] [-runs N] BINARY
//
// The input is made by a generator that is not part of the tree; without it
// nothing is measured. Times are of the processor (user and system) unless
// said otherwise, the best of the runs: others on the machine only add to it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"
)

const (
	dataDir = "../shared/data/stackwalk"
	symFile = "symbols/libbig.so/8D4C21F7A0B34E5F9C1D2E3F405162730/libbig.so.sym"
)

func main() {
	peer := flag.String("peer", os.Getenv("MAYDAY_PEER"), "minidump-stackwalk; the one on PATH if empty")
	dir := flag.String("dir", "", "where the input is or will be; a temporary directory if empty")
	runs := flag.Int("runs", 5, "runs of each command")
	child := flag.String("child", "", "measure one thing in this process and print it")
	flag.Parse()
	if *child != "" {
		if err := inProcess(*child, *dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(flag.Arg(0), *peer, *dir, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "stackspeed:", err)
		os.Exit(1)
	}
}

// usage is what one run of a command took.
type usage struct {
	cpu, wall time.Duration
	peak      float64 // MB of memory
}

// bench holds the paths of one measurement.
type bench struct {
	binary, peer, dir string
	runs              int
}

func run(binary, peer, dir string, runs int) error {
	if binary == "" {
		return errors.New("name the binary")
	}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "stackspeed")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	if peer == "" {
		peer, _ = exec.LookPath("minidump-stackwalk")
	}
	generator := filepath.Join(dataDir, "bench", "genbench.py")
	if _, err := os.Stat(filepath.Join(dir, symFile)); err != nil {
		if _, err := os.Stat(generator); err != nil {
			fmt.Println("skipped: the generator of the input is not there")
			return nil
		}
		if out, err := exec.Command("python3", generator, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("generate: %w: %s", err, out)
		}
	}
	b := &bench{binary, peer, dir, runs}
	return b.measure()
}

func (b *bench) measure() error {
	dump, store := filepath.Join(b.dir, "big.dmp"), filepath.Join(b.dir, "symbols")
	cache := filepath.Join(b.dir, "cache")
	if err := os.RemoveAll(cache); err != nil {
		return err
	}
	ours := func(more ...string) []string {
		return append(append([]string{b.binary, "stackwalk", "--json"}, more...), "--symbols-path", store, dump)
	}
	var theirs usage
	if b.peer != "" {
		var err error
		if theirs, err = b.best([]string{b.peer, "--json", "--no-interactive", "--symbols-path", store, dump}); err != nil {
			return err
		}
	}
	cold, err := b.best(ours())
	if err != nil {
		return err
	}
	parity, err := b.best(ours("--heuristics", "parity"))
	if err != nil {
		return err
	}
	first, err := once(ours("--symbols-cache", cache))
	if err != nil {
		return err
	}
	warm, err := b.best(ours("--symbols-cache", cache))
	if err != nil {
		return err
	}
	frames, err := b.frames(ours("--heuristics", "parity"))
	if err != nil {
		return err
	}
	in := map[string]*result{"warm": nil, "small": nil, "overflow": nil}
	for name := range in {
		if in[name], err = b.child(name); err != nil {
			return err
		}
	}
	t := &table{theirs: theirs}
	t.head()
	t.command("peer, cold", theirs, "")
	t.command("cold", cold, t.ratio("CPU", theirs.cpu, cold.cpu, 1)+t.memory(cold, 2))
	t.command("cold, parity", parity, t.ratio("CPU", theirs.cpu, parity.cpu, 1)+t.memory(parity, 2))
	t.command("cold, writes the compiled file", first, "")
	t.command("warm, the command", warm, t.ratio("CPU", theirs.cpu, warm.cpu, 15))
	w := in["warm"]
	t.command("warm, first walk in process", usage{w.FirstCPU, w.First, w.Peak}, "")
	t.command("warm, in process", usage{w.CPU, w.Wall, w.Heap + w.Touched}, t.ratio("CPU", theirs.cpu, w.CPU, 50)+
		fmt.Sprintf("  heap %.1f + touched %.1f MB, goal 60: %s", w.Heap, w.Touched, verdict(w.Heap+w.Touched <= 60)))
	s := in["small"]
	if s.N > 0 {
		t.command(fmt.Sprintf("%d small dumps, mean", s.N), usage{s.CPU, s.Wall, s.Heap}, "")
		t.command("the slowest of them", usage{cpu: s.Worst}, "  goal 10 ms: "+verdict(s.Worst <= 10*time.Millisecond))
	}
	o := in["overflow"]
	t.command(fmt.Sprintf("overflow, %d frames", o.N), usage{o.CPU, o.Wall, o.Heap}, "  goal 300 ms: "+verdict(o.CPU <= 300*time.Millisecond))
	fmt.Println(frames)
	return nil
}

// best is the least of several runs.
func (b *bench) best(command []string) (usage, error) {
	least := usage{cpu: math.MaxInt64, wall: math.MaxInt64}
	for range b.runs {
		u, err := once(command)
		if err != nil {
			return u, err
		}
		least.cpu, least.wall, least.peak = min(least.cpu, u.cpu), min(least.wall, u.wall), max(least.peak, u.peak)
	}
	return least, nil
}

// once runs a command.
func once(command []string) (usage, error) {
	cmd := exec.Command(command[0], command[1:]...)
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	u := usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: time.Since(start)}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = float64(r.Maxrss) / 1024 // this process is small, which matters: it is in there
	}
	return u, nil
}

// child measures in a process of its own.
func (b *bench) child(name string) (*result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-child", name, "-dir", b.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &result{}
	return r, json.Unmarshal(out, r)
}

// frames compares each frame with those that minidump-stackwalk found.
func (b *bench) frames(command []string) (string, error) {
	packed := filepath.Join(dataDir, "bench", "oracle.json.xz")
	oracle, err := exec.Command("python3", "-c", "import lzma,sys;sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())", packed).Output()
	if err != nil {
		return "frames are not compared: the expected ones cannot be read", nil
	}
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		return "", err
	}
	var want, got struct {
		Threads []struct{ Frames []map[string]any }
	}
	if err := errors.Join(json.Unmarshal(oracle, &want), json.Unmarshal(out, &got)); err != nil {
		return "", err
	}
	equal, all := 0, 0
	for i, t := range want.Threads {
		all += len(t.Frames)
		for j := range t.Frames {
			if i < len(got.Threads) && j < len(got.Threads[i].Frames) && reflect.DeepEqual(t.Frames[j], got.Threads[i].Frames[j]) {
				equal++
			}
		}
	}
	return fmt.Sprintf("frames equal to the expected ones, in parity: %d of %d: %s", equal, all, verdict(equal == all)), nil
}

// table prints the results.
type table struct{ theirs usage }

func (t *table) head() { fmt.Printf("%-34s %10s %10s %9s\n", "", "CPU ms", "wall ms", "MB") }

func (t *table) command(name string, u usage, note string) {
	if u == (usage{}) {
		fmt.Printf("%-34s %10s\n", name, "not there")
		return
	}
	fmt.Printf("%-34s %10.1f %10.1f %9.1f%s\n", name, ms(u.cpu), ms(u.wall), u.peak, note)
}

func (t *table) ratio(what string, theirs, ours time.Duration, goal float64) string {
	if theirs == 0 {
		return ""
	}
	r := theirs.Seconds() / ours.Seconds()
	return fmt.Sprintf("  peer's %s / %.1f, goal %.0f: %s", what, r, goal, verdict(r >= goal))
}

func (t *table) memory(u usage, goal float64) string {
	if t.theirs.peak == 0 {
		return ""
	}
	r := t.theirs.peak / u.peak
	return fmt.Sprintf("  memory / %.1f, goal %.0f: %s", r, goal, verdict(r >= goal))
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "MISSED"
}
