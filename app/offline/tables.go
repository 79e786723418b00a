package offline

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/config"
	"mayday/app/metrics"
)

// Config is the command config: prints every setting and where its value came from.
func Config() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print every setting, its value and where that came from",
		Description: "Reads the configuration as serve would. With --example it prints a file that holds every setting with\n" +
			"its default instead; with --check it prints nothing and says by its exit code (0, 2) whether serve would accept it.",
		Flags: append(command.ConfigFlags(), command.FormatFlag(),
			&cli.BoolFlag{Name: "example", Usage: "print a commented example file"},
			&cli.BoolFlag{Name: "check", Usage: "only check"}),
		Action: func(c *cli.Context) error {
			if c.Bool("example") {
				return config.WriteExample(c.App.Writer)
			}
			l, err := command.LoadConfig(c)
			if err != nil || c.Bool("check") {
				return err
			}
			return config.Write(c.App.Writer, l.Settings, c.String("format"))
		},
	}
}

// Metrics is the command metrics: prints the table of metrics.
func Metrics() *cli.Command {
	return &cli.Command{
		Name:        "metrics",
		Usage:       "print every metric that /metrics shows",
		Description: "Reads nothing; prints the table of declared metrics.",
		Flags:       []cli.Flag{command.FormatFlag()},
		Action:      func(c *cli.Context) error { return metrics.Write(c.App.Writer, c.String("format")) },
	}
}

// Version is the command version: prints what was built.
func Version() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, commit and build",
		Action: func(c *cli.Context) error {
			e := json.NewEncoder(c.App.Writer)
			e.SetIndent("", "  ")
			return e.Encode(command.Version())
		},
	}
}
