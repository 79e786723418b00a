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

	"mayday/app/fault"
)

// commands lists every command of the program, in the order of --help.
func commands() []*cli.Command {
	return []*cli.Command{
		cmdServe(),
		cmdDemo(),
		cmdProcess(),
		cmdRules(),
		cmdSchema(),
		cmdWalkDump(),
		cmdStackwalk(),
		cmdSignature(),
		cmdSubmit(),
		cmdThrottle(),
		cmdUser(),
		cmdToken(),
		cmdReprocess(),
		cmdDelete(),
		cmdImport(),
		cmdReindex(),
		cmdSuperSearch(),
		cmdSuperSearchFacet(),
		cmdConfig(),
		cmdMetrics(),
		cmdSymbols(),
		cmdSymbolicate(),
		cmdVersion(),
	}
}

// Exit codes of the program. A command may have others, named in its help.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// environKey is where Metadata of the cli.App holds the environment.
const environKey = "environ"

// Main runs the command that args name (args[0] is the program) and returns
// the exit code. It stops on SIGINT and SIGTERM.
func Main(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &cli.App{
		Name:                      "mayday",
		Usage:                     "self-hosted crash reporting for native applications",
		Version:                   version().Version,
		HideVersion:               true,
		Commands:                  commands(),
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		DisableSliceFlagSeparator: true, // annotations hold commas
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usage,
		CommandNotFound:           nil,
		Metadata:                  map[string]any{environKey: environ},
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
		return exitDone
	case errors.As(err, &coder):
		if msg := err.Error(); msg != "" {
			fmt.Fprintln(stderr, msg)
		}
		return coder.ExitCode()
	}
	fmt.Fprintln(stderr, "mayday:", err)
	var u usageError
	if errors.As(err, &u) || fault.Is(err, fault.Invalid) {
		return exitUsage
	}
	return exitFailed
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usage(_ *cli.Context, err error, _ bool) error { return usageError{err} }

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
					return usageError{fmt.Errorf("%s stands after an argument; flags stand before arguments: mayday %s %s …", arg, c.Command.FullName(), arg)}
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
	return usageError{fmt.Errorf("%s: say which of %s; got %q", c.Command.Name, strings.Join(names, ", "), c.Args().First())}
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

// environ is the environment that Main was given.
func environ(c *cli.Context) []string {
	env, _ := c.App.Metadata[environKey].([]string)
	return env
}
