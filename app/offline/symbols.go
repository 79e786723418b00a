package offline

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/lookup"
	"mayday/symbols/quality"
	"mayday/symbols/sym"
)

// The faults that reading every record finds, beside those of package quality.
const (
	badRecords = "bad-records"
	strict     = "strict"
)

// SymbolsCheck is the command symbols check: judges symbol files, for build pipelines.
func SymbolsCheck() *cli.Command {
	return &cli.Command{
		Name: "check", ArgsUsage: "PATH…", Usage: "check the quality of symbol files",
		Description: "Reads each .sym file, and those below each directory, and prints what is wrong with it, a fault a line, in the\n" +
			"words that the symbol server has for it: " + strings.Join(quality.Codes(), ", ") + ".\n" +
			"A file below NAME/ID/ is to have that name and id. Every record is read too: bad-records are lines that cannot be,\n" +
			"strict is a line for which minidump-stackwalk refuses the file. Exit code 1 when something is wrong, which fails\n" +
			"a build.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only files with faults"},
			&cli.StringSliceFlag{Name: "allow", Usage: "accept the `FAULT`; may be repeated"},
		},
		Action: checkSymbols,
	}
}

func checkSymbols(c *cli.Context) error {
	if c.NArg() == 0 {
		return command.Usage("symbols check takes files or directories")
	}
	codes := append(quality.Codes(), badRecords, strict)
	for _, a := range c.StringSlice("allow") {
		if !slices.Contains(codes, a) {
			return command.Usage("--allow %q is none of %s", a, strings.Join(codes, ", "))
		}
	}
	files, faulty := 0, 0
	for _, arg := range c.Args().Slice() {
		err := eachSymbolFile(arg, func(path string) error {
			files++
			sum, faults, err := judge(path)
			if err != nil {
				return err
			}
			faults = slices.DeleteFunc(faults, func(f quality.Fault) bool { return slices.Contains(c.StringSlice("allow"), f.Code) })
			for _, f := range faults {
				fmt.Fprintf(c.App.Writer, "%s: %s: %s\n", path, f.Code, f.Text)
			}
			if len(faults) > 0 {
				faulty++
			} else if !c.Bool("quiet") {
				fmt.Fprintf(c.App.Writer, "%s: ok: %s\n", path, sum)
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

// judge reads a symbol file and says what it holds and what is wrong with it.
func judge(path string) (sum string, faults []quality.Fault, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fault.As(fault.Invalid, err, "symbols")
	}
	defer f.Close()
	var checker quality.Checker
	t, drop, err := compiled(io.TeeReader(f, &checker))
	if err == nil {
		defer drop()
		_, err = io.Copy(&checker, f) // what the reader left
	}
	if err != nil {
		return "", nil, fault.Wrap(err, "%s", path)
	}
	faults = checker.Faults(keptUnder(path))
	v, k := t.Verdict(), t.Counts()
	if v.Skipped > 0 {
		faults = append(faults, quality.Fault{Code: badRecords, Text: fmt.Sprintf("%d lines cannot be read: %s", v.Skipped, numbers(v.SkippedLines, v.Skipped))})
	} else if v.Strict != 0 {
		faults = append(faults, quality.Fault{Code: strict, Text: fmt.Sprintf("line %d: minidump-stackwalk refuses the file for this line", v.Strict)})
	}
	return fmt.Sprintf("%s %s, %d functions, %d lines, %d inlined calls, %d publics, %d unwind records",
		t.Module().Name, t.Module().ID, k.Funcs, k.Lines, k.Inlines, k.Publics, k.CFIInits+k.Wins), faults, nil
}

// keptUnder is the debug file and debug id that a file NAME/ID/FILE.sym is kept
// under; "" when it does not lie in such folders.
func keptUnder(path string) (debugFile, debugID string) {
	full, err := filepath.Abs(path)
	if err != nil {
		return "", ""
	}
	dir := filepath.Dir(full)
	id, ok := symbols.NormalizeDebugID(filepath.Base(dir))
	if !ok || len(filepath.Base(dir)) <= 32 {
		return "", ""
	}
	return filepath.Base(filepath.Dir(dir)), id
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

// compiled compiles a text into a temporary file, so that memory is bounded
// however large it is. drop gives the table back.
func compiled(text io.Reader) (t *lookup.Table, drop func(), err error) {
	dir, err := os.MkdirTemp("", "mayday-symbols-*")
	if err != nil {
		return nil, nil, fault.As(fault.Unavailable, err, "temporary file")
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	path := filepath.Join(dir, "symc")
	if _, err = cache.Compile(path, text, ""); err != nil {
		return nil, nil, err
	}
	f, err := cache.OpenFile(path)
	if err != nil {
		return nil, nil, err
	}
	return f.Table(), func() { f.Close(); os.RemoveAll(dir) }, nil
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
	file, err := cache.OpenFile(in)
	if err == nil {
		defer file.Close()
		return printSymbols(c, file.Table(), out)
	}
	if !fault.Is(err, fault.Malformed) {
		return err
	}
	if !c.Bool("text") && out != "-" {
		return compileSymbols(in, out)
	}
	text, err := os.Open(in)
	if err != nil {
		return fault.As(fault.Invalid, err, "symbols")
	}
	defer text.Close()
	t, drop, err := compiled(text)
	if err != nil {
		return fault.Wrap(err, "%s", in)
	}
	defer drop()
	if err := someSymbols(t, in); err != nil {
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
