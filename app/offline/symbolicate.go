package offline

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/fetch"
	"mayday/symbols/symbolicate"
)

// maxSymbolicateRequest bounds a JSON request on the command line.
const maxSymbolicateRequest = 256 << 20

// Symbolicate is the command symbolicate: names the addresses of text stacks.
func Symbolicate() *cli.Command {
	return &cli.Command{
		Name: "symbolicate", ArgsUsage: "[FILE]", Usage: "put functions and lines to the addresses of stacks",
		Description: "Reads stacks from FILE, or from its input, and prints them with function, file and line in place of each\n" +
			"module+0xOFFSET, as sanitizers and loggers print them. The debug id of a module comes from a (BuildId: …) on\n" +
			"the line, from a line MODULE OS ARCH ID FILE before it, from --module, or from the symbol directories where\n" +
			"they hold the module once. A FILE that begins with { is a request of the symbolication API, version 5, and\n" +
			"gets its answer.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "symbols-path", Usage: "take symbols from the directory or .sym file `PATH`; may be repeated"},
			&cli.StringSliceFlag{Name: "symbols-url", Usage: "ask the symbol server at `URL`; may be repeated"},
			&cli.StringFlag{Name: "symbols-cache", Usage: "keep downloaded and compiled symbols in `DIR`; without it nothing is kept"},
			&cli.StringSliceFlag{Name: "module", Usage: "debug id of a module, `FILE=ID`; may be repeated"},
		},
		Action: symbolicateStacks,
	}
}

func symbolicateStacks(c *cli.Context) (err error) {
	if c.NArg() > 1 {
		return command.Usage("symbolicate takes one file, not %d", c.NArg())
	}
	ids := map[string]string{}
	for _, m := range c.StringSlice("module") {
		file, id, ok := strings.Cut(m, "=")
		if !ok || !symbols.IsHex(id) {
			return command.Usage("--module %q is not FILE=ID", m)
		}
		ids[file] = id
	}
	in := c.App.Reader
	if name := c.Args().First(); name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fault.As(fault.Invalid, err, "stacks")
		}
		defer f.Close()
		in = f
	}
	dir := c.String("symbols-cache")
	if dir == "" {
		if dir, err = os.MkdirTemp("", "mayday-symbols-*"); err != nil {
			return fault.As(fault.Unavailable, err, "symbol cache")
		}
		defer os.RemoveAll(dir)
	}
	paths := c.StringSlice("symbols-path")
	source := fetch.New(fetch.Options{Paths: paths, URLs: c.StringSlice("symbols-url"), Cache: dir})
	store := cache.New(cache.Options{Dir: filepath.Join(dir, "compiled"), Fetch: source.Fetch})
	defer store.Close()
	engine := symbolicate.New(store)

	r := bufio.NewReader(in)
	if first, err := r.Peek(1); err == nil && first[0] == '{' {
		request, err := io.ReadAll(io.LimitReader(r, maxSymbolicateRequest))
		if err != nil {
			return fault.Wrap(err, "read request")
		}
		answer, err := engine.JSON(c.Context, request)
		if err != nil {
			return err
		}
		_, err = c.App.Writer.Write(append(answer, '\n'))
		return err
	}
	return engine.Text(c.Context, r, c.App.Writer, func(file string) string {
		if id := ids[file]; id != "" {
			return id
		}
		return onlyID(paths, file)
	})
}

// onlyID is the debug id under which symbol directories hold a module, if
// there is just one.
func onlyID(paths []string, file string) string {
	found := ""
	for _, p := range paths {
		entries, err := os.ReadDir(filepath.Join(p, symbols.Leaf(file)))
		if err != nil {
			continue // not a directory, or not in it
		}
		for _, e := range entries {
			id, ok := symbols.NormalizeDebugID(e.Name())
			switch {
			case !ok:
			case found != "" && found != id:
				return ""
			default:
				found = id
			}
		}
	}
	return found
}
