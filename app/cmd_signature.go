package app

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/signature"
	"mayday/signature/report"
)

// exitChanged is the exit code of --exit-code when a signature changed.
const exitChanged = 3

func cmdSignature() *cli.Command {
	return &cli.Command{
		Name:      "signature",
		Usage:     "make signatures of crashes again, and tend the signature lists",
		ArgsUsage: "[ID | URL | FILE]…",
		Description: "Makes the signatures of crashes again and shows old and new. A crash is named by its id (with or without bp-;\n" +
			"read from the data directory, or with --url from that server), by the URL of its report page, or by a file of\n" +
			"crash data or processed crashes, one or many. Without arguments ids or crashes come from standard input.\n" +
			"A token for other servers is read from CRASHSTATS_API_TOKEN or SOCORRO_API_TOKEN. Crashes that cannot be had are warned\n" +
			"about and passed over. Exit code 1 when a server refuses further requests, 3 with --exit-code when a signature\n" +
			"changed.",
		Flags: append(append(command.ConfigFlags(), listsFlags()...),
			urlFlag(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "text, csv, markdown or json (an object a line)"},
			&cli.BoolFlag{Name: "different-only", Usage: "show only crashes whose signature changed"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit with 3 when a signature changed"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show how each signature came about"}),
		Subcommands: []*cli.Command{
			signatureJSONL(), signatureFrames(), signatureConvert(),
			signatureLint(), signatureTry(), signatureExplain(),
		},
		Action: signatureAgain,
	}
}

func urlFlag() cli.Flag {
	return &cli.StringFlag{Name: "url", Usage: "get crashes by id from the server at `URL` instead of the data directory"}
}

// listsFlags pick the lists of a command.
func listsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "lists", Aliases: []string{"signature-list-dir"}, Usage: "use the four signature lists in `DIR` instead of the configured or built-in ones"},
		&cli.BoolFlag{Name: "better-names", Usage: "also improve the names that upstream leaves ugly"},
		&cli.BoolFlag{Name: "better-unsymbolicated", Usage: "also tell stacks without symbols apart"},
	}
}

// listsOf loads the lists that listsFlags name, or those of the configuration.
func listsOf(c *cli.Context) (*signature.Lists, error) {
	dir := c.String("lists")
	improve := signature.Improvements{Names: c.Bool("better-names"), Unsymbolicated: c.Bool("better-unsymbolicated")}
	if dir == "" {
		l, err := command.LoadConfig(c)
		if err != nil {
			return nil, err
		}
		dir = l.Signature.ListsDir
		improve.Names = improve.Names || l.Signature.BetterNames
		improve.Unsymbolicated = improve.Unsymbolicated || l.Signature.BetterUnsymbolicated
	}
	lists, err := loadLists(dir)
	if err != nil {
		return nil, err
	}
	return lists.With(improve), nil
}

// loadLists loads the lists in a directory; "" is the built-in ones.
func loadLists(dir string) (*signature.Lists, error) {
	if dir == "" {
		return signature.Default(), nil
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fault.As(fault.Invalid, err, "signature lists")
	}
	return signature.Load(os.DirFS(dir), dir)
}

func signatureAgain(c *cli.Context) error {
	out := bufio.NewWriter(c.App.Writer)
	show, err := report.Crashes(c.String("format"), out)
	if err != nil {
		return err
	}
	lists, err := listsOf(c)
	if err != nil {
		return err
	}
	source, err := newCrashSource(c)
	if err != nil {
		return err
	}
	defer func() { source.close() }()
	changed := false
	err = source.each(c.Context, func(crash foundCrash) error {
		r, err := signature.ParseRecord(crash.text)
		if err != nil {
			fmt.Fprintf(c.App.ErrWriter, "WARNING: %s: %v\n", crash.name, err)
			return nil
		}
		res := signature.Generate(r.Input, lists)
		if res.Signature == r.Original && c.Bool("different-only") {
			return nil
		}
		changed = changed || res.Signature != r.Original
		name := crash.id
		if name == "" {
			name = strings.Trim(r.ID, `"`)
		}
		if name == "" {
			name = crash.name
		}
		return show(report.Again{ID: name, URL: crash.url, Old: r.Original, Result: res, Verbose: c.Bool("verbose")})
	})
	if e := out.Flush(); err == nil {
		err = e
	}
	if err == nil && changed && c.Bool("exit-code") {
		return cli.Exit("", exitChanged)
	}
	return err
}
