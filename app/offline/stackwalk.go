package offline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/rawtext"
	"mayday/minidump/stackwalk"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/fetch"
)

// maxExtra bounds the file of annotations that --evil-json names.
const maxExtra = 64 << 20

// memoryBase and nearly four times the size of a dump is the memory that garbage is
// kept within; the program itself takes some 40 MB more.
const memoryBase = 20 << 20

// Stackwalk is the command stackwalk: prints the stacks of a minidump.
func Stackwalk() *cli.Command {
	return &cli.Command{
		Name:      "stackwalk",
		Usage:     "walk the stacks of a minidump",
		ArgsUsage: "DUMP [SYMBOLS-PATH…]",
		Description: "Reads the minidump and the symbols of its modules, and prints what crashed, why, and the call stack of\n" +
			"each thread: as text, or with --json in the schema of minidump-stackwalk. Symbols are .sym files: in\n" +
			"directories as FILE/ID/FILE.sym, single ones, or at symbol servers.\n\n" +
			"Exit codes: 0 the dump was walked, even if parts of it are broken; 1 it cannot be read, with a line\n" +
			"\"ERROR Name - …\" on stderr and nothing on stdout; 2 usage.",
		Flags:  stackwalkFlags(),
		Action: stackwalkDump,
	}
}

func stackwalkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		&cli.BoolFlag{Name: "human", Usage: "print text (the default)"},
		&cli.StringFlag{Name: "cyborg", Usage: "print text, and write JSON to `FILE`"},
		&cli.BoolFlag{Name: "dump", Usage: "print the streams and records of the dump as they lie there, in place of the stacks"},
		&cli.BoolFlag{Name: "pretty", Usage: "indent the JSON"},
		&cli.BoolFlag{Name: "brief", Usage: "in text, only the crash and its thread; with --dump, no bytes of memory"},
		&cli.StringFlag{Name: "heuristics", Value: "best", Usage: "best, or parity for the stacks that minidump-stackwalk finds"},
		&cli.StringSliceFlag{Name: "symbols-path", Usage: "take symbols from the directory or .sym file `PATH`; may be repeated"},
		&cli.StringSliceFlag{Name: "symbols-url", Usage: "ask the symbol server at `URL`; may be repeated"},
		&cli.StringFlag{Name: "symbols-cache", Usage: "keep downloaded symbols, and compiled ones for the next walk, in `DIR` (default for downloads: mayday-symbols in the temporary directory)"},
		&cli.IntFlag{Name: "symbols-download-timeout-secs", Value: int(fetch.DefaultTimeout / time.Second), Usage: "give up a download after `N` seconds"},
		&cli.StringSliceFlag{Name: "binaries-path", Usage: "unwind modules by their own binaries in the directory or file `PATH`, beside those in symbol paths; / means the files of this machine; may be repeated"},
		&cli.StringFlag{Name: "evil-json", Usage: "take module signatures and the microcode version from the annotations in `FILE`"},
		&cli.StringFlag{Name: "output-file", Usage: "print to `FILE`"},
		&cli.StringFlag{Name: "log-file", Usage: "write errors to `FILE`"},
		&cli.StringFlag{Name: "verbose", Value: "error", Usage: "off, error, warn, info, debug or trace; off prints no errors, warn and above what was broken too"},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours in errors; they have none unless stderr is a terminal"},
		&cli.StringFlag{Name: "features", Value: "stable-basic", Usage: "stable-basic, stable-all (the same) or unstable-all, which is --recover-function-args"},
		&cli.BoolFlag{Name: "recover-function-args", Usage: "in text, guess arguments of x86 functions from the words on the stack"},
		&cli.BoolFlag{Name: "use-local-debuginfo", Usage: "make symbols of modules that have none from their binaries and debug files on this machine"},
		&cli.BoolFlag{Name: "version", Aliases: []string{"V"}, Usage: "print the version and end"},
		&cli.StringFlag{Name: "symbols-tmp", Hidden: true, Usage: "accepted for minidump-stackwalk's sake: downloads are written in the cache itself and renamed"},
		&cli.BoolFlag{Name: "no-interactive", Hidden: true, Usage: "accepted for minidump-stackwalk's sake: no progress is ever shown"},
	}
}

// unstableFeatures is the value of --features that switches guesses on.
const unstableFeatures = "unstable-all"

// stackwalkRun is one run of the command.
type stackwalkRun struct {
	c         *cli.Context
	verbosity int // index in verbosities
	log       io.Writer
	color     bool
	close     func() // what the state's texts lie in
}

var verbosities = []string{"off", "error", "warn", "info", "debug", "trace"}

func stackwalkDump(c *cli.Context) error {
	if c.Bool("version") {
		_, err := fmt.Fprintln(c.App.Writer, "mayday stackwalk", command.Version().Version)
		return err
	}
	r := &stackwalkRun{c: c, verbosity: -1, log: c.App.ErrWriter}
	for i, v := range verbosities {
		if v == c.String("verbose") {
			r.verbosity = i
		}
	}
	options := stackwalk.Options{Registers: !c.Bool("json")}
	reading := symbols.Best
	switch h := c.String("heuristics"); {
	case r.verbosity < 0:
		return command.Usage("--verbose %q is none of off, error, warn, info, debug, trace", c.String("verbose"))
	case !slices.Contains([]string{"stable-basic", "stable-all", unstableFeatures}, c.String("features")):
		return command.Usage("--features %q is none of stable-basic, stable-all, unstable-all", c.String("features"))
	case c.NArg() < 1:
		return command.Usage("stackwalk takes a minidump")
	case forms(c) > 1:
		return command.Usage("only one of --json, --human, --cyborg and --dump can be given")
	case h == "parity":
		options.Heuristics, reading = unwind.Parity, symbols.Parity
	case h != "best":
		return command.Usage("--heuristics %q is none of best, parity", h)
	}
	if path := c.String("log-file"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return fault.As(fault.Invalid, err, "--log-file")
		}
		defer f.Close()
		r.log = f
	} else {
		r.color = !c.Bool("no-color") && command.Terminal(r.log)
	}
	r.close = func() {}
	defer func() { r.close() }()
	return r.walk(c.Context, options, reading)
}

// forms is how many forms of output were asked for.
func forms(c *cli.Context) (n int) {
	for _, name := range []string{"json", "human", "cyborg", "dump"} {
		if c.IsSet(name) && (name == "cyborg" || c.Bool(name)) {
			n++
		}
	}
	return n
}

// walk reads the dump, walks it and prints what it finds.
func (r *stackwalkRun) walk(ctx context.Context, o stackwalk.Options, reading symbols.Reading) error {
	c := r.c
	if path := c.String("evil-json"); path != "" {
		f, err := os.Open(path)
		if err != nil {
			return fault.As(fault.Invalid, err, "--evil-json")
		}
		o.Extra, err = io.ReadAll(io.LimitReader(f, maxExtra))
		f.Close()
		if err != nil {
			return fault.As(fault.Invalid, err, "--evil-json")
		}
	}
	f, err := os.Open(c.Args().First())
	if err != nil {
		name, text := "IoError", err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			name, text = "FileNotFound", "File not found"
		}
		return r.fail(name, "reading", text)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		return r.fail("IoError", "reading", c.Args().First()+" is no file")
	}
	source, closeSource := r.source(reading)
	r.close = closeSource
	binaries := fetch.NewBinaries(fetch.BinaryOptions{Paths: slices.Concat(c.StringSlice("binaries-path"), r.symbolPaths())})
	defer binaries.Close() // files that were read
	o.Binaries = binaries
	if source == nil {
		// Symbols take what they take, but a dump alone no more than its size
		// allows, garbage included.
		before := debug.SetMemoryLimit(memoryBase + 15*st.Size()/4)
		r.close = func() { debug.SetMemoryLimit(before) }
	}
	d, err := minidump.Read(f, st.Size())
	if err != nil {
		return r.fail(formatName(err, "IoError"), "reading", err.Error())
	}
	if c.Bool("dump") {
		return r.printRaw(ctx, f, d)
	}
	if err = d.Usable(); err == nil {
		err = r.print(ctx, d, source, o)
	}
	var broken *walkError
	if errors.As(err, &broken) || d.Usable() != nil {
		return r.fail(formatName(err, "Internal"), "processing", err.Error())
	}
	if r.verbosity >= 2 {
		for _, e := range d.Errors {
			fmt.Fprintln(r.log, "WARN", e)
		}
	}
	return err
}

// symbolPaths are the directories and files that were given.
func (r *stackwalkRun) symbolPaths() []string {
	return slices.Concat(r.c.StringSlice("symbols-path"), r.c.Args().Tail())
}

// walkError is an error of the walk and not of what it is written to.
type walkError struct{ error }

func (e *walkError) Unwrap() error { return e.error }

// source is where symbols come from; nil when no place is given.
func (r *stackwalkRun) source(reading symbols.Reading) (stackwalk.SymbolSource, func()) {
	c := r.c
	o := fetch.Options{
		Paths: r.symbolPaths(), URLs: c.StringSlice("symbols-url"),
		Cache: c.String("symbols-cache"), Reading: reading,
		Timeout: time.Duration(c.Int("symbols-download-timeout-secs")) * time.Second, Local: c.Bool("use-local-debuginfo"),
	}
	if len(o.Paths) == 0 && len(o.URLs) == 0 && !o.Local {
		return nil, func() {}
	}
	if o.Cache == "" && len(o.URLs) > 0 {
		o.Cache = filepath.Join(os.TempDir(), "mayday-symbols")
	}
	if o.Cache != "" && c.IsSet("symbols-cache") {
		o.Compiled = filepath.Join(o.Cache, "compiled")
	}
	source := fetch.New(o)
	return source, func() {
		// Closing only gives mapped files back; the program ends next anyway.
		_ = source.Close()
	}
}

// output is what is printed to, and what closes it.
func (r *stackwalkRun) output() (io.Writer, func() error, error) {
	path := r.c.String("output-file")
	if path == "" {
		return r.c.App.Writer, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, fault.As(fault.Invalid, err, "--output-file")
	}
	return f, f.Close, nil
}

// printRaw prints what is in the dump as it lies there.
func (r *stackwalkRun) printRaw(ctx context.Context, f io.ReaderAt, d *minidump.Dump) error {
	out, end, err := r.output()
	if err != nil {
		return err
	}
	err = rawtext.Write(ctx, out, f, d, rawtext.Options{Brief: r.c.Bool("brief")})
	return errors.Join(err, end())
}

// print walks the dump and prints it in the form that the flags ask for.
func (r *stackwalkRun) print(ctx context.Context, d *minidump.Dump, source stackwalk.SymbolSource, o stackwalk.Options) error {
	c := r.c
	out, end, err := r.output()
	if err != nil {
		return err
	}
	defer func() { _ = end() }() // what could not be written was told before
	text := stackwalk.TextOptions{Brief: c.Bool("brief")}
	if c.Bool("recover-function-args") || c.String("features") == unstableFeatures {
		text.Arguments = d
	}
	if !c.Bool("json") && !c.IsSet("cyborg") {
		// Text needs no more than one thread at a time.
		w := &watchedWriter{w: out}
		err := stackwalk.WalkText(ctx, d, source, o, w, text)
		if err != nil && w.err == nil {
			return &walkError{err}
		}
		return err
	}
	s, err := stackwalk.Walk(ctx, d, source, o)
	if err != nil {
		return &walkError{err}
	}
	if path := c.String("cyborg"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return fault.As(fault.Invalid, err, "--cyborg")
		}
		if err := writeStateJSON(f, s, c.Bool("pretty")); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return fault.As(fault.Unavailable, err, "--cyborg")
		}
	}
	if c.Bool("json") {
		return writeStateJSON(out, s, c.Bool("pretty"))
	}
	return s.Text(out, text)
}

// watchedWriter remembers whether writing failed.
type watchedWriter struct {
	w   io.Writer
	err error
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

func writeStateJSON(w io.Writer, s *stackwalk.State, pretty bool) error {
	b := bufio.NewWriter(w)
	if err := s.JSON(b, pretty); err != nil {
		return err
	}
	if pretty {
		b.WriteByte('\n')
	}
	return b.Flush()
}

// fail says on the log why the dump cannot be used, in the form that scripts
// around minidump-stackwalk look for, and ends with exit code 1.
func (r *stackwalkRun) fail(name, doing, text string) error {
	if r.verbosity > 0 {
		word := "ERROR"
		if r.color {
			word = "\x1b[31mERROR\x1b[0m"
		}
		fmt.Fprintf(r.log, "%s %s - Error %s dump: %s\n", word, name, doing, text)
	}
	return cli.Exit("", command.ExitFailed)
}

// formatName is the name of a dump's error.
func formatName(err error, otherwise string) string {
	var e *minidump.FormatError
	if errors.As(err, &e) && e.Name != "" {
		return e.Name
	}
	return otherwise
}
