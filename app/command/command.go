// Package command holds what the commands of the program share: the error of
// a command line that cannot be understood, the environment, the flags and
// reading of the configuration, and the program's version. It knows no
// command.
package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// Exit codes of the program. A command may have others, named in its help.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// UsageError is a command line that cannot be understood; it exits with 2.
type UsageError struct{ error }

// Usage makes a UsageError of a text, as fmt.Errorf does.
func Usage(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// AsUsage makes a UsageError of err.
func AsUsage(err error) error { return UsageError{err} }

// EnvironKey is where Metadata of the cli.App holds the environment.
const EnvironKey = "environ"

// Environ is the environment that the program was given, as KEY=VALUE.
func Environ(c *cli.Context) []string {
	env, _ := c.App.Metadata[EnvironKey].([]string)
	return env
}
