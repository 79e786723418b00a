// Package app is the roof of the program: it reads the command line and the
// configuration, opens what the chosen roles need, runs them behind one HTTP
// server and closes everything again. Each command has a file cmd_<name>.go;
// all cloud drivers are named in drivers.go. Only main.go and the tests import
// it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"mayday/app/accounts"
	"mayday/app/client"
	"mayday/app/command"
	"mayday/app/fault"
	"mayday/app/offline"
)

// commands lists every command of the program, in the order of --help.
func commands() []*cli.Command {
	return []*cli.Command{
		cmdServe(),
		cmdDemo(),
		cmdProcess(),
		offline.Rules(),
		cmdSchema(),
		cmdWalkDump(),
		offline.Stackwalk(),
		cmdSignature(),
		client.Submit(),
		cmdThrottle(),
		accounts.User(withCatalog),
		accounts.Token(withCatalog),
		cmdReprocess(),
		cmdDelete(),
		cmdVerdicts(),
		cmdVersions(),
		cmdImport(),
		cmdReindex(),
		client.SuperSearch(),
		client.SuperSearchFacet(),
		offline.Config(),
		offline.Metrics(),
		cmdSymbols(),
		offline.Symbolicate(),
		offline.Version(),
	}
}

func cmdSymbols() *cli.Command {
	return &cli.Command{
		Name: "symbols", Usage: "upload, check, convert and make debug symbols",
		Subcommands: []*cli.Command{client.SymbolsUpload(), offline.SymbolsCheck(), offline.SymbolsConvert(), offline.SymbolsDump()},
	}
}

// Main runs the command that args name (args[0] is the program) and returns
// the exit code. It stops on SIGINT and SIGTERM.
func Main(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &cli.App{
		Name:                      "mayday",
		Usage:                     "self-hosted crash reporting for native applications",
		Version:                   command.Version().Version,
		HideVersion:               true,
		Commands:                  commands(),
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		DisableSliceFlagSeparator: true, // annotations hold commas
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usage,
		CommandNotFound:           nil,
		Metadata:                  map[string]any{command.EnvironKey: environ},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fault.New(fault.Invalid, "no command %q; see mayday --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	guard(a.Commands, slices.Contains(args, "--"))
	err := a.RunContext(ctx, dashes(args))
	return exitCode(err, stderr)
}

func exitCode(err error, stderr io.Writer) int {
	var coder cli.ExitCoder
	switch {
	case err == nil:
		return command.ExitDone
	case errors.As(err, &coder):
		if msg := err.Error(); msg != "" {
			fmt.Fprintln(stderr, msg)
		}
		return coder.ExitCode()
	}
	fmt.Fprintln(stderr, "mayday:", err)
	var u command.UsageError
	if errors.As(err, &u) || fault.Is(err, fault.Invalid) {
		return command.ExitUsage
	}
	return command.ExitFailed
}

func usage(_ *cli.Context, err error, _ bool) error { return command.AsUsage(err) }

// guard makes each command refuse flags that stand after an argument: the
// flag package would take them for arguments and quietly do something else.
func guard(list []*cli.Command, dashed bool) {
	for _, c := range list {
		c.OnUsageError = usage
		guard(c.Subcommands, dashed)
		act := c.Action
		if act == nil {
			if len(c.Subcommands) > 0 {
				c.Action = missingSubcommand
			}
			continue
		}
		if c.SkipFlagParsing { // it reads its flags itself
			continue
		}
		c.Action = func(c *cli.Context) error {
			for _, arg := range c.Args().Slice() {
				if !dashed && len(arg) > 1 && arg[0] == '-' {
					return command.Usage("%s stands after an argument; flags stand before arguments: mayday %s %s …", arg, c.Command.FullName(), arg)
				}
			}
			return act(c)
		}
	}
}

func missingSubcommand(c *cli.Context) error {
	var names []string
	for _, s := range c.Command.Subcommands {
		names = append(names, s.Name)
	}
	return command.Usage("%s: say which of %s; got %q", c.Command.Name, strings.Join(names, ", "), c.Args().First())
}

// dashes makes _ and - equal in flag names: --data_dir is --data-dir.
func dashes(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		if name, value, has := strings.Cut(arg, "="); strings.HasPrefix(name, "--") {
			out[i] = strings.ReplaceAll(name, "_", "-")
			if has {
				out[i] += "=" + value
			}
		}
	}
	return out
}
