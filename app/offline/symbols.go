package offline

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/lookup"
	"mayday/symbols/sym"
)

// SymbolsCheck is the command symbols check: judges symbol files, for build pipelines.
func SymbolsCheck() *cli.Command {
	return &cli.Command{
		Name: "check", ArgsUsage: "PATH…", Usage: "check the quality of symbol files",
		Description: "Reads each .sym file, and those below each directory, and prints what is wrong with it: lines that cannot\n" +
			"be read, no functions, no lines, no unwind information, a missing or zero id, an id other than that of the\n" +
			"directory it lies in, an end in the middle of a line. Exit code 1 when something is wrong, which fails a build.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only files with faults"},
			&cli.StringSliceFlag{Name: "allow", Usage: "accept the `FAULT` no-cfi, no-lines, no-functions or strict; may be repeated"},
		},
		Action: checkSymbols,
	}
}

// symbolFault is one thing that is wrong with a symbol file.
type symbolFault struct{ code, text string }

func checkSymbols(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("symbols check takes files or directories")
	}
	allowed := map[string]bool{}
	for _, a := range c.StringSlice("allow") {
		switch a {
		case "no-cfi", "no-lines", "no-functions", "strict":
			allowed[a] = true
		default:
			return command.Usage("--allow %q is none of no-cfi, no-lines, no-functions, strict", a)
		}
	}
	files, faulty := 0, 0
	for _, arg := range c.Args().Slice() {
		err := eachSymbolFile(arg, func(path string) error {
			files++
			t, err := readSymbols(path)
			if err != nil {
				return err
			}
			faults := symbolFaults(t, path)
			n := 0
			for _, f := range faults {
				if !allowed[f.code] {
					n++
					fmt.Fprintf(c.App.Writer, "%s: %s: %s\n", path, f.code, f.text)
				}
			}
			if n > 0 {
				faulty++
				return nil
			}
			if !c.Bool("quiet") {
				k := t.Counts()
				fmt.Fprintf(c.App.Writer, "%s: ok: %s %s, %d functions, %d lines, %d inlined calls, %d publics, %d unwind records\n",
					path, t.Module().Name, t.Module().ID, k.Funcs, k.Lines, k.Inlines, k.Publics, k.CFIInits+k.Wins)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	switch {
	case files == 0:
		return fault.New(fault.NotFound, "no .sym file in %s", strings.Join(c.Args().Slice(), ", "))
	case faulty > 0:
		return cli.Exit(fmt.Sprintf("%d of %d symbol files have faults", faulty, files), command.ExitFailed)
	}
	return nil
}

// eachSymbolFile calls f for a file, or for the .sym files below a directory.
func eachSymbolFile(path string, f func(string) error) error {
	st, err := os.Stat(path)
	if err != nil {
		return fault.As(fault.Invalid, err, "symbols")
	}
	if !st.IsDir() {
		return f(path)
	}
	return filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(p, ".sym") {
			return err
		}
		return f(p)
	})
}

func readSymbols(path string) (*lookup.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.As(fault.Invalid, err, "symbols")
	}
	defer f.Close()
	t, err := lookup.Read(f)
	return t, fault.Wrap(err, "%s", path)
}

// symbolFaults lists what is wrong with a symbol file.
func symbolFaults(t *lookup.Table, path string) []symbolFault {
	var out []symbolFault
	add := func(code, format string, args ...any) {
		out = append(out, symbolFault{code, fmt.Sprintf(format, args...)})
	}
	m, v, k := t.Module(), t.Verdict(), t.Counts()
	id, ok := symbols.NormalizeDebugID(m.ID)
	switch {
	case v.Lines == 0:
		add("empty", "the file is empty")
		return out
	case !m.Found:
		add("no-module", "there is no MODULE record")
	case !ok:
		add("bad-id", "%q is no debug id", m.ID)
	}
	// A store keeps FILE/ID/FILE.sym.
	parent := filepath.Base(filepath.Dir(path))
	if stored, isID := symbols.NormalizeDebugID(parent); isID && len(parent) > 32 && ok && stored != id {
		add("wrong-id", "MODULE says %s, the directory %s", m.ID, parent)
	}
	if v.Skipped > 0 {
		add("bad-lines", "%d lines cannot be read: %s", v.Skipped, numbers(v.SkippedLines, v.Skipped))
	}
	if v.Strict != 0 && v.Skipped == 0 {
		what := "minidump-stackwalk refuses the file for this line"
		if v.Strict == v.Lines {
			what += ", the last: is the file cut off?"
		}
		add("strict", "line %d: %s", v.Strict, what)
	}
	if k.Funcs == 0 && k.Publics == 0 {
		add("no-functions", "there is no FUNC and no PUBLIC record")
	}
	if k.Funcs > 0 && k.Lines == 0 {
		add("no-lines", "no function has lines")
	}
	if k.CFIInits+k.Wins == 0 {
		add("no-cfi", "there is no STACK record to unwind by")
	}
	return out
}

// numbers lists the first numbers of many.
func numbers(list []uint64, of uint64) string {
	s := strings.Trim(fmt.Sprint(list), "[]")
	if of > uint64(len(list)) {
		s += " …"
	}
	return s
}

// SymbolsConvert is the command symbols convert: text to compiled lookup file and back.
func SymbolsConvert() *cli.Command {
	return &cli.Command{
		Name: "convert", ArgsUsage: "FILE OUT", Usage: "compile a symbol file, or print a compiled one",
		Description: "Reads FILE, a .sym text or a compiled lookup file, and writes the other of the two to OUT; OUT - is the\n" +
			"output, for text alone. Lines of a text that cannot be read are left out.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "text", Usage: "write text whatever FILE is, which puts a .sym in order"}},
		Action: convertSymbols,
	}
}

func convertSymbols(c *cli.Context) error {
	if c.NArg() != 2 {
		return command.Usage("symbols convert takes FILE and OUT")
	}
	in, out := c.Args().Get(0), c.Args().Get(1)
	compiled, err := cache.OpenFile(in)
	if err == nil {
		defer compiled.Close()
		return printSymbols(c, compiled.Table(), out)
	}
	if !fault.Is(err, fault.Malformed) {
		return err
	}
	if !c.Bool("text") && out != "-" {
		return compileSymbols(in, out)
	}
	t, err := readSymbols(in)
	if err == nil {
		err = someSymbols(t, in)
	}
	if err != nil {
		return err
	}
	return printSymbols(c, t, out)
}

// someSymbols refuses what is no symbol file at all.
func someSymbols(t *lookup.Table, path string) error {
	if t.Counts() == (lookup.Counts{}) && !t.Module().Found {
		return fault.New(fault.Malformed, "%s is neither a symbol file nor a compiled one", path)
	}
	return nil
}

// compileSymbols makes a compiled file; OUT changes only when that is done.
func compileSymbols(in, out string) (err error) {
	text, err := os.Open(in)
	if err != nil {
		return fault.As(fault.Invalid, err, "symbols")
	}
	defer text.Close()
	dir, err := os.MkdirTemp(filepath.Dir(out), ".compile-")
	if err != nil {
		return fault.As(fault.Invalid, err, "out")
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "symc")
	if _, err := cache.Compile(path, text, ""); err != nil {
		return fault.Wrap(err, "%s", in)
	}
	f, err := cache.OpenFile(path)
	if err != nil {
		return err
	}
	err = someSymbols(f.Table(), in)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(path, out)
}

// printSymbols writes the records of a table as text.
func printSymbols(c *cli.Context, t *lookup.Table, out string) (err error) {
	var w io.Writer = c.App.Writer
	if out != "-" {
		f, err := os.Create(out)
		if err != nil {
			return fault.As(fault.Invalid, err, "out")
		}
		defer func() {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}()
		w = f
	}
	text := sym.NewWriter(w)
	if err := t.Records(text.Write); err != nil {
		return err
	}
	return text.Flush()
}
