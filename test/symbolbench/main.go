// Command symbolbench measures the symbol side of a mayday binary and prints
// one table: compiling a large symbol file, its size, opening it, lookups, the
// symbolication API warm and cold, an upload of 100 MB and downloads of 10 kB.
// What can be is measured in CPU time, so that other work on the machine does
// not count; all with one processor (GOMAXPROCS=1).
//
// The symbol file is made up, or that of -sym. Where -python names a Python
// that has symbolic (PyPI), it compiles and looks up the same file in the same
// run, and its figures stand beside ours.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mayday/symbols"
	"mayday/symbols/sample"
)

// bench is one run.
type bench struct {
	binary, dir, python string
	text                string // path of the large symbol file
	textSize            int64
	module              symbols.ModuleID
	table               table
}

func main() {
	b := &bench{}
	flag.StringVar(&b.binary, "binary", "./mayday", "program to measure")
	flag.StringVar(&b.text, "sym", "", "large .sym file; empty makes one up")
	flag.StringVar(&b.python, "python", os.Getenv("MAYDAY_BENCH_PYTHON"), "Python with the package symbolic; empty skips the comparison")
	flag.StringVar(&b.dir, "dir", "", "where files go; empty is a temporary directory")
	only := flag.String("only", "", "parts to run, by comma: compile, lookup, serve, upload, download; empty runs all")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	if err := b.run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "symbolbench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(only string) error {
	dir, err := os.MkdirTemp(b.dir, "symbolbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if err := b.input(); err != nil {
		return err
	}
	fmt.Printf("%s: %.0f MB\n", filepath.Base(b.text), float64(b.textSize)/1e6)
	peer := b.peer()
	for _, part := range []struct {
		name string
		run  func(peer peerFigures) error
	}{{"compile", b.compile}, {"lookup", b.lookup}, {"serve", b.serve}, {"upload", b.upload}, {"download", b.download}} {
		if only != "" && !strings.Contains(","+only+",", ","+part.name+",") {
			continue
		}
		if err := part.run(peer); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.table.print(os.Stdout)
	return nil
}

// input finds or makes the symbol file and reads its MODULE line.
func (b *bench) input() error {
	if b.text == "" {
		b.text = filepath.Join(b.dir, "big.sym")
		f, err := os.Create(b.text)
		if err != nil {
			return err
		}
		if err := sample.Write(f, sample.Options{Name: "libbig.so", ID: "0123456789ABCDEF0123456789ABCDEF0", Funcs: 620_000, Seed: 1}); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	f, err := os.Open(b.text)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	b.textSize = st.Size()
	var os, arch string
	_, err = fmt.Fscanf(f, "MODULE %s %s %s %s\n", &os, &arch, &b.module.DebugID, &b.module.DebugFile)
	return err
}

// command runs a program with one processor and tells what it used.
func command(name string, args ...string) (out []byte, cpu time.Duration, rss int64, err error) {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	out, err = c.Output()
	if c.ProcessState == nil {
		return out, 0, 0, err
	}
	cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		rss = u.Maxrss << 10
	}
	return out, cpu, rss, err
}

// table is the result.
type table struct{ rows [][4]string }

// add appends a row; the peer's figure may be "".
func (t *table) add(what, figure, goal, peer string) {
	t.rows = append(t.rows, [4]string{what, figure, goal, peer})
	fmt.Fprintf(os.Stderr, "%s: %s\n", what, figure)
}

func (t *table) print(f *os.File) {
	rows := append([][4]string{{"what", "mayday", "goal", "symbolic"}}, t.rows...)
	var widths [4]int
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for i, r := range rows {
		fmt.Fprintf(f, "| %-*s | %-*s | %-*s | %-*s |\n", widths[0], r[0], widths[1], r[1], widths[2], r[2], widths[3], r[3])
		if i == 0 {
			fmt.Fprintf(f, "|-%s-|-%s-|-%s-|-%s-|\n", strings.Repeat("-", widths[0]), strings.Repeat("-", widths[1]), strings.Repeat("-", widths[2]), strings.Repeat("-", widths[3]))
		}
	}
}
