package offline

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/fault"
	"mayday/symbols/dump"
)

// SymbolsDump is the command symbols dump: makes symbol files of binaries.
func SymbolsDump() *cli.Command {
	return &cli.Command{
		Name: "dump", ArgsUsage: "BINARY", Usage: "make the symbol file of an ELF program or library",
		Description: "Writes functions, lines, inlined calls and unwind rules of BINARY as a Breakpad symbol file to the output, or\n" +
			"into a directory as `mayday symbols upload` and `mayday stackwalk` expect them.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "debug", Usage: "`FILE` with the debug information, where BINARY was stripped"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the module, if not that of the file"},
			&cli.StringFlag{Name: "store", Usage: "`DIR` to write to, as NAME/ID/NAME.sym"},
			&cli.StringFlag{Name: "memory", Value: "0", Usage: "most `BYTES` of memory to take, such as 1GiB; 0 is a bound by the size of the files"},
		},
		Action: dumpSymbols,
	}
}

func dumpSymbols(c *cli.Context) (err error) {
	if c.NArg() != 1 {
		return command.Usage("symbols dump takes BINARY")
	}
	memory, err := config.ParseBytes(c.String("memory"))
	if err != nil {
		return command.Usage("--memory: %v", err)
	}
	in := dump.Input{Name: c.String("name"), Memory: int64(memory) / 2} // the collector of the runtime takes as much again
	if memory > 0 {
		// What is kept is counted as ever; the kernel holds where that fails.
		debug.SetMemoryLimit(int64(memory))
		if err := command.LimitData(uint64(memory)); err != nil {
			return fault.As(fault.Unavailable, err, "limit memory to %d bytes more", memory)
		}
	}
	if in.Name == "" {
		in.Name = filepath.Base(c.Args().First())
	}
	if strings.ContainsAny(in.Name, "/\\\r\n") || in.Name == ".." {
		return command.Usage("%q is no name of a module", in.Name)
	}
	binary, err := os.Open(c.Args().First())
	if err != nil {
		return fault.As(fault.NotFound, err, "binary")
	}
	defer binary.Close()
	info, err := binary.Stat()
	if err != nil {
		return err
	}
	in.Binary, in.Size = binary, info.Size()
	if name := c.String("debug"); name != "" {
		debug, err := os.Open(name)
		if err != nil {
			return fault.As(fault.NotFound, err, "debug file")
		}
		defer debug.Close()
		info, err := debug.Stat()
		if err != nil {
			return err
		}
		in.Debug, in.DebugSize = debug, info.Size()
	}
	store := c.String("store")
	if store == "" {
		return dump.Write(c.Context, c.App.Writer, in)
	}
	return dumpInto(c.Context, store, in)
}

// dumpInto writes a symbol file under the id that its first line names.
func dumpInto(ctx context.Context, store string, in dump.Input) error {
	if err := os.MkdirAll(store, 0o777); err != nil {
		return fault.As(fault.Invalid, err, "store")
	}
	f, err := os.CreateTemp(store, ".dump-*")
	if err != nil {
		return fault.As(fault.Invalid, err, "store")
	}
	defer os.Remove(f.Name()) // once renamed it is gone
	err = dump.Write(ctx, f, in)
	first := make([]byte, 256)
	n, _ := f.ReadAt(first, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	words := bytes.Fields(first[:n]) // MODULE os cpu id name
	if len(words) < 5 {
		return fault.Wrap(io.ErrUnexpectedEOF, "symbol file")
	}
	dir := filepath.Join(store, in.Name, string(words[3]))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fault.As(fault.Invalid, err, "store")
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, in.Name+".sym"))
}
