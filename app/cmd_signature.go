package app

import (
	"os"

	"github.com/urfave/cli/v2"

	"mayday/app/fault"
	"mayday/signature"
)

func cmdSignature() *cli.Command {
	return &cli.Command{
		Name:  "signature",
		Usage: "make signatures again, and tend the signature lists",
		Subcommands: []*cli.Command{
			signatureJSONL(), signatureFrames(), signatureConvert(),
		},
	}
}

// listsFlags pick the lists of a command.
func listsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "lists", Usage: "use the four signature lists in `DIR` instead of the built-in ones"},
		&cli.BoolFlag{Name: "better-names", Usage: "also improve the names that upstream leaves ugly"},
		&cli.BoolFlag{Name: "better-unsymbolicated", Usage: "also tell stacks without symbols apart"},
	}
}

// listsOf loads the lists that listsFlags name.
func listsOf(c *cli.Context) (*signature.Lists, error) {
	lists := signature.Default()
	if dir := c.String("lists"); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return nil, fault.As(fault.Invalid, err, "--lists")
		}
		var err error
		if lists, err = signature.Load(os.DirFS(dir), dir); err != nil {
			return nil, err
		}
	}
	return lists.With(signature.Improvements{Names: c.Bool("better-names"), Unsymbolicated: c.Bool("better-unsymbolicated")}), nil
}
