package app

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"mayday/app/command"
	"mayday/app/fault"
	"mayday/signature"
	"mayday/signature/lint"
	"mayday/signature/regroup"
	"mayday/signature/report"
	"mayday/storage"
)

func signatureLint() *cli.Command {
	return &cli.Command{
		Name:      "lint",
		Usage:     "look for mistakes in signature lists",
		ArgsUsage: "DIR",
		Description: "Reads the four lists in DIR (without DIR: those of the configuration) and prints what is wrong as\n" +
			"file:line: code: text, then the counts. Findings of order (by letters and digits, without regard to case,\n" +
			"escapes and what stands before the first letter; a comment or empty line begins a new group) and sentinels\n" +
			"that never show are advice. Exit code 1 when anything but advice was found.",
		Flags: append(command.ConfigFlags(), formatFlagOf("text", "json")),
		Action: func(c *cli.Context) error {
			dir := c.Args().First()
			if dir == "" {
				l, err := command.LoadConfig(c)
				if err != nil {
					return err
				}
				if dir = l.Signature.ListsDir; dir == "" {
					return command.Usage("say the directory of the lists: no signature.lists_dir is configured")
				}
			}
			found, err := lint.Check(os.DirFS(dir))
			if err != nil {
				return fault.As(fault.Invalid, err, "signature lists in %s", dir)
			}
			wrong, err := report.Findings(c.App.Writer, found, c.String("format"))
			if err == nil && wrong {
				err = cli.Exit("", command.ExitFailed)
			}
			return err
		},
	}
}

// formatFlagOf picks one of several formats, the first by default.
func formatFlagOf(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "format", Value: formats[0], Usage: strings.Join(formats, ", "), Action: func(_ *cli.Context, f string) error {
		for _, ok := range formats {
			if f == ok {
				return nil
			}
		}
		return command.Usage("--format %q is none of %s", f, strings.Join(formats, ", "))
	}}
}

func signatureTry() *cli.Command {
	return &cli.Command{
		Name:      "try",
		Usage:     "show what other lists would do to stored crashes",
		ArgsUsage: "[ID | URL | FILE]…",
		Description: "Makes the signatures of crashes with the lists in --lists and compares them with the signatures they have, or\n" +
			"with those that the lists in --old-lists give (crash data without a signature: the configured lists): which move, which groups split and which merge. Reads the\n" +
			"crashes that are named, else all processed crashes in the data directory. Changes nothing. With --format ids\n" +
			"it prints the ids of crashes whose signature changes, for `mayday reprocess --ruleset regenerate_signature`.\n" +
			"Exit code 3 with --exit-code when a signature changes.",
		Flags: append(append(command.ConfigFlags(), listsFlags()...), urlFlag(),
			&cli.StringFlag{Name: "old-lists", Usage: "compare with the signatures that the lists in `DIR` give (built-in: the built-in ones)"},
			&cli.IntFlag{Name: "top", Value: 20, Usage: "moves, splits and merges to show; 0 for all"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit with 3 when a signature changes"},
			formatFlagOf("text", "csv", "markdown", "json", "ids")),
		Action: signatureTryAction,
	}
}

func signatureTryAction(c *cli.Context) error {
	lists, err := listsOf(c)
	if err != nil {
		return err
	}
	lists = lists.WithCache(signature.DefaultCacheSize)
	old, err := oldLists(c)
	if err != nil {
		return err
	}
	source, err := newCrashSource(c)
	if err != nil {
		return err
	}
	defer func() { source.close() }()
	changes := &regroup.Changes{KeepIDs: c.String("format") == "ids"}
	warn := func(name string, err error) { fmt.Fprintf(c.App.ErrWriter, "WARNING: %s: %v\n", name, err) }
	err = eachCrash(c.Context, source, func(crash foundCrash) {
		r, err := signature.ParseRecord(crash.text)
		if err != nil {
			warn(crash.name, err)
			return
		}
		before := r.Original
		if before == "" || c.IsSet("old-lists") {
			before = signature.Generate(r.Input, old).Signature
		}
		changes.Add(strings.Trim(r.ID, `"`), before, signature.Generate(r.Input, lists).Signature)
	})
	if err != nil {
		return err
	}
	result := changes.Report()
	if err := report.Changes(c.App.Writer, result, c.String("format"), c.Int("top")); err != nil {
		return err
	}
	if result.Changed > 0 && c.Bool("exit-code") {
		return cli.Exit("", exitChanged)
	}
	return nil
}

// oldLists are those that "before" is made with: of --old-lists, or the
// configured ones for crash data that holds no signature.
func oldLists(c *cli.Context) (*signature.Lists, error) {
	dir := c.String("old-lists")
	switch dir {
	case "built-in":
		dir = ""
	case "":
		l, err := command.LoadConfig(c)
		if err != nil {
			return nil, err
		}
		dir = l.Signature.ListsDir
	}
	lists, err := loadLists(dir)
	if err != nil {
		return nil, err
	}
	return lists.WithCache(signature.DefaultCacheSize), nil
}

// eachCrash hands the crashes of a source to all processors; without names all
// processed crashes of the store.
func eachCrash(ctx context.Context, s *crashSource, work func(foundCrash)) error {
	g, ctx := errgroup.WithContext(ctx)
	found := make(chan foundCrash, 64)
	ids := make(chan storage.CrashID, 64)
	send := func(c foundCrash) error {
		select {
		case found <- c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var readers errgroup.Group
	if len(s.names) > 0 {
		close(ids)
		readers.Go(func() error { return s.each(ctx, send) })
	} else {
		crashes, err := s.open(ctx)
		if err != nil {
			return err
		}
		g.Go(func() error {
			defer close(ids)
			for id, err := range crashes.ListProcessed(ctx) {
				if err != nil {
					return err
				}
				select {
				case ids <- id:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		for range 2 * runtime.GOMAXPROCS(0) {
			readers.Go(func() error {
				for id := range ids {
					if err := s.fromStore(ctx, id, send); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	g.Go(func() error {
		defer close(found)
		return readers.Wait()
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for c := range found {
				work(c)
			}
			return nil
		})
	}
	return g.Wait()
}

func signatureExplain() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "show frame by frame how signatures come about",
		ArgsUsage: "[ID | URL | FILE]…",
		Description: "Shows of each frame what the stack holds, what it is normalised to, and what was done with it, with the list, line\n" +
			"and entry that decided. With --hits it only counts how often each entry decided over all crashes, and lists the\n" +
			"entries that never did.",
		Flags: append(append(command.ConfigFlags(), listsFlags()...), urlFlag(),
			&cli.BoolFlag{Name: "hits", Usage: "count what each entry of the lists decided"},
			formatFlagOf("text", "json")),
		Action: func(c *cli.Context) error {
			lists, err := listsOf(c)
			if err != nil {
				return err
			}
			source, err := newCrashSource(c)
			if err != nil {
				return err
			}
			defer func() { source.close() }()
			out := bufio.NewWriter(c.App.Writer)
			hits := map[string]int{}
			err = source.each(c.Context, func(crash foundCrash) error {
				r, err := signature.ParseRecord(crash.text)
				if err != nil {
					fmt.Fprintf(c.App.ErrWriter, "WARNING: %s: %v\n", crash.name, err)
					return nil
				}
				e := signature.Explain(r.Input, lists)
				switch {
				case c.Bool("hits"):
					e.Hits(hits)
					return nil
				case c.String("format") == "json":
					return report.ExplanationJSON(out, r, e)
				}
				report.Explanation(out, crash.name, r, e)
				return nil
			})
			if err == nil && c.Bool("hits") {
				report.Hits(out, lists, hits)
			}
			if e := out.Flush(); err == nil {
				err = e
			}
			return err
		},
	}
}
