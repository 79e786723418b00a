package truth

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What `make truth` must reach. Compilers and libraries of other versions move
// the figures by less than what is left to 100.
const (
	floorOwn       = 99.0
	floorLibraries = 99.0
	floorFrames    = 99.0
	// mostLeftOut is how many crashes gdb may fail on.
	mostLeftOut = 5
)

// result is one walked crash.
type result struct {
	group, name string
	scores      []score // of the walkers
	tails       int
	mistaken    int
	detail      string // where the first walker errs
	err         error
}

// TestTruth prints the score, the programs' own lines and those of libraries
// apart. It fails when a program cannot be built, debugged or walked, when a
// false line appears, and when too few lines are recovered. MAYDAY_TRUTH may
// be a regular expression, which chooses builds by their names;
// MAYDAY_TRUTH_KEEP names a directory where programs, cores and dumps stay.
func TestTruth(t *testing.T) {
	choice := os.Getenv("MAYDAY_TRUTH")
	if choice == "" {
		t.Skip("MAYDAY_TRUTH is not set; building and debugging everything takes minutes")
	}
	if choice == "1" {
		choice = "."
	}
	chosen := regexp.MustCompile(choice)
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed")
	}
	symbolTool := tool("MAYDAY_DUMP_SYMS", "dump_syms")
	if symbolTool == "" {
		t.Skip("dump_syms is not installed and MAYDAY_DUMP_SYMS does not name one")
	}
	peer := tool("MAYDAY_PEER", "minidump-stackwalk")
	if peer == "" {
		t.Log("minidump-stackwalk is not installed and MAYDAY_PEER does not name one: no column of its own")
	}
	all, err := builds()
	if err != nil {
		t.Fatal(err)
	}
	symbolDir := t.TempDir()
	if keep := os.Getenv("MAYDAY_TRUTH_KEEP"); keep != "" {
		symbolDir = filepath.Join(keep, "symbols")
	}
	s := &store{own: filepath.Join(symbolDir, "own"), others: filepath.Join(symbolDir, "others"), binaries: filepath.Join(symbolDir, "binaries"), tool: symbolTool, done: map[string]func() (aliases, error){}}
	columns := walkers(s, t.TempDir(), peer)
	all = slices.DeleteFunc(all, func(b build) bool { return !chosen.MatchString(b.name) })
	lacking := map[string]string{}
	all = slices.DeleteFunc(all, func(b build) bool {
		lacks, known := lacking[b.group]
		if !known {
			if lacks = b.missing(); lacks != "" {
				t.Logf("%s left out: %s", b.group, lacks)
			}
			lacking[b.group] = lacks
		}
		return lacks != ""
	})
	results := measureAll(t, all, s, columns)
	report(t, results, columns)
}

// log tells what went wrong with a crash, or in the first walk of it.
func (r *result) log(t *testing.T) {
	switch {
	case errors.Is(r.err, errDebugger):
		t.Logf("%s: left out: %v", r.name, r.err)
	case r.err != nil:
		t.Errorf("%s: %v", r.name, r.err)
	case !r.scores[0].perfect():
		t.Logf("%s: own %v, libraries %v, frames %v\n%s", r.name, r.scores[0].own, r.scores[0].libraries, r.scores[0].frames, r.detail)
	}
}

// measureAll measures builds, as many at once as there are CPUs.
func measureAll(t *testing.T, all []build, s *store, columns []walker) []result {
	var (
		results = make([][]result, len(all))
		next    = make(chan int)
		group   sync.WaitGroup
	)
	base, keep := t.TempDir(), os.Getenv("MAYDAY_TRUTH_KEEP")
	if keep != "" {
		base = keep
	}
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := range next {
				dir := filepath.Join(base, fmt.Sprint(i))
				results[i] = measure(dir, all[i], s, columns)
				for _, r := range results[i] {
					r.log(t)
				}
				if keep == "" {
					_ = os.RemoveAll(dir)
				}
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	group.Wait()
	return slices.Concat(results...)
}

// measure builds one program and crashes, dumps and walks it in all its ways.
func measure(dir string, b build, s *store, columns []walker) (all []result) {
	failed := func(err error) []result { return append(all, result{group: b.group, name: b.name, err: err}) }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(err)
	}
	program, err := b.compile(dir)
	if err != nil {
		return failed(err)
	}
	for _, r := range b.runs {
		one, err := crash(program, r, s, columns)
		one.group, one.name, one.err = b.group, strings.Join(append([]string{b.name}, r.args...), " "), err
		all = append(all, one)
	}
	return all
}

func crash(program string, r run, s *store, columns []walker) (one result, err error) {
	stacks, corePath, err := debug(program, r)
	if err != nil {
		return one, err
	}
	d, err := convert(stacks, corePath, s)
	if err != nil {
		return one, err
	}
	one.detail = d.path + "\n"
	own := 0
	for _, c := range columns {
		text, err := c.walk(d.path)
		if err != nil {
			return one, fmt.Errorf("%s: %w", c.name, err)
		}
		got, err := readWalk(text, filepath.Base(program))
		if err != nil {
			return one, fmt.Errorf("%s: %w", c.name, err)
		}
		var sum score
		for _, id := range slices.Sorted(maps.Keys(d.truth)) {
			s := compare(d.truth[id], got[id], d.names)
			if len(one.scores) == 0 {
				one.tails += d.truth[id].tails
				one.mistaken += d.truth[id].mistaken
				own += s.own.truth
				if !s.perfect() {
					one.detail += fmt.Sprintf("thread %d: (-gdb +walk)\n%s\nframes %v\n", id, diff(d.truth[id], got[id], d.names), s.frames)
				}
			}
			sum.add(s)
		}
		one.scores = append(one.scores, sum)
	}
	if own == 0 {
		return one, fmt.Errorf("gdb shows no line of the program")
	}
	return one, nil
}

func diff(a, b stack, names aliases) string {
	text := func(s stack) (all []string) {
		for _, p := range s.places {
			side := "own"
			if p.library {
				side = "lib"
			}
			all = append(all, fmt.Sprintf("%s %s:%d %s [%s]", side, p.file, p.line, plain(p.function), p.function))
		}
		return all
	}
	frames := func(s stack) (all []string) {
		for i, pc := range s.pcs {
			all = append(all, fmt.Sprintf("%#x %s", pc, s.how[i]))
		}
		return all
	}
	x, y, v, w := text(a), text(b), frames(a), frames(b)
	// Names that are spelled otherwise are no difference.
	align(a.places, b.places, names.same, func(i, j int) { y[j] = x[i] }, func(int) {})
	align(a.pcs, b.pcs, samePC, func(i, j int) { w[j] = v[i] }, func(int) {})
	return cmp.Diff(x, y) + cmp.Diff(v, w)
}

// report prints the tables and judges the first column.
func report(t *testing.T, results []result, columns []walker) {
	type row struct {
		crashes, tails, mistaken int
		scores                   []score
	}
	rows, leftOut := map[string]*row{}, 0
	add := func(name string, r result) {
		if rows[name] == nil {
			rows[name] = &row{scores: make([]score, len(columns))}
		}
		rows[name].crashes++
		rows[name].tails += r.tails
		rows[name].mistaken += r.mistaken
		for i := range r.scores {
			rows[name].scores[i].add(r.scores[i])
		}
	}
	for _, r := range results {
		if r.err != nil {
			leftOut++
			continue
		}
		add(r.group, r)
		add("total", r)
	}
	if rows["total"] == nil {
		t.Fatal("nothing was measured")
	}
	var b strings.Builder
	names := []string{"gcc", "g++", "gcc -m32", "g++ -m32", "rustc", "go", "go, stripped", "total"}
	b.WriteString("\nSource lines of gdb recovered, and false ones:\n\n| compiler | crashes | half |")
	for _, c := range columns {
		if c.lines {
			b.WriteString(" " + c.name + " |")
		}
	}
	b.WriteString("\n")
	for _, name := range names {
		r := rows[name]
		if r == nil {
			continue
		}
		for _, half := range []string{"program", "libraries"} {
			fmt.Fprintf(&b, "| %s | %d | %s |", name, r.crashes, half)
			for i, c := range columns {
				if v := r.scores[i].own; c.lines && half == "program" {
					fmt.Fprintf(&b, " %v |", v)
				} else if v := r.scores[i].libraries; c.lines {
					fmt.Fprintf(&b, " %v |", v)
				}
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\nFrames of gdb recovered, and false ones:\n\n| compiler | tail calls left out | gdb mistaken |")
	for _, c := range columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n")
	for _, name := range names {
		r := rows[name]
		if r == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s | %d | %d |", name, r.tails, r.mistaken)
		for i := range columns {
			fmt.Fprintf(&b, " %v |", r.scores[i].frames)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%d crashes left out, of which gdb says nothing.\n", leftOut)
	if leftOut > mostLeftOut {
		t.Errorf("%d crashes left out, want %d at most", leftOut, mostLeftOut)
	}
	t.Log(b.String())
	judge(t, rows["total"].scores[0])
	for i, c := range columns {
		if c.binaries {
			judgeFrames(t, c.name, rows["total"].scores[i].frames)
		}
	}
}

// judge fails the test when the score of our own symbols is too low.
func judge(t *testing.T, s score) {
	if p := s.own.percent(); p < floorOwn {
		t.Errorf("%.2f %% of the programs' lines recovered, want %v", p, floorOwn)
	}
	if p := s.libraries.percent(); p < floorLibraries {
		t.Errorf("%.2f %% of the libraries' lines recovered, want %v", p, floorLibraries)
	}
	if n := s.own.wrong + s.libraries.wrong; n != 0 {
		t.Errorf("%d false lines", n)
	}
	judgeFrames(t, "own symbols", s.frames)
}

// judgeFrames likewise, of frames by their addresses.
func judgeFrames(t *testing.T, how string, frames tally) {
	if p := frames.percent(); p < floorFrames {
		t.Errorf("%s: %.2f %% of the frames recovered, want %v", how, p, floorFrames)
	}
	if n := frames.wrong; n != 0 {
		t.Errorf("%s: %d false frames", how, n)
	}
}
