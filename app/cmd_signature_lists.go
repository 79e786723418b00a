package app

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/signature/lint"
	"mayday/signature/regroup"
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
		Flags: append(configFlags(), formatFlagOf("text", "json")),
		Action: func(c *cli.Context) error {
			dir := c.Args().First()
			if dir == "" {
				l, err := loadConfig(c)
				if err != nil {
					return err
				}
				if dir = l.Signature.ListsDir; dir == "" {
					return usageError{fmt.Errorf("say the directory of the lists: no signature.lists_dir is configured")}
				}
			}
			found, err := lint.Check(os.DirFS(dir))
			if err != nil {
				return fault.As(fault.Invalid, err, "signature lists in %s", dir)
			}
			return writeFindings(c.App.Writer, found, c.String("format"))
		},
	}
}

func writeFindings(w io.Writer, found []lint.Finding, format string) error {
	wrong := false
	counts := map[lint.Code]int{}
	for _, f := range found {
		counts[f.Code]++
		wrong = wrong || !f.Code.Advice()
	}
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		if found == nil {
			found = []lint.Finding{}
		}
		if err := e.Encode(map[string]any{"findings": found, "counts": counts}); err != nil {
			return err
		}
	} else {
		out := bufio.NewWriter(w)
		for _, f := range found {
			fmt.Fprintln(out, f)
		}
		for _, code := range lint.Codes() {
			if counts[code] > 0 {
				fmt.Fprintf(out, "%5d %s\n", counts[code], code)
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	if wrong {
		return cli.Exit("", exitFailed)
	}
	return nil
}

// formatFlagOf picks one of several formats, the first by default.
func formatFlagOf(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "format", Value: formats[0], Usage: strings.Join(formats, ", "), Action: func(_ *cli.Context, f string) error {
		for _, ok := range formats {
			if f == ok {
				return nil
			}
		}
		return usageError{fmt.Errorf("--format %q is none of %s", f, strings.Join(formats, ", "))}
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
		Flags: append(append(configFlags(), listsFlags()...), urlFlag(),
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
	report := changes.Report()
	if err := writeReport(c.App.Writer, report, c.String("format"), c.Int("top")); err != nil {
		return err
	}
	if report.Changed > 0 && c.Bool("exit-code") {
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
		l, err := loadConfig(c)
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

func writeReport(w io.Writer, r regroup.Report, format string, top int) error {
	out := bufio.NewWriter(w)
	switch format {
	case "json":
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return err
		}
	case "ids":
		for _, id := range r.IDs {
			fmt.Fprintln(out, id)
		}
	case "csv":
		rows := csv.NewWriter(out)
		if err := rows.Write([]string{"count", "old", "new", "ids"}); err != nil {
			return err
		}
		for _, m := range r.Moves {
			if err := rows.Write([]string{strconv.Itoa(m.Count), m.Old, m.New, strings.Join(m.IDs, " ")}); err != nil {
				return err
			}
		}
		rows.Flush()
		if err := rows.Error(); err != nil {
			return err
		}
	case "markdown":
		writeReportMarkdown(out, r, top)
	default:
		writeReportText(out, r, top)
	}
	return out.Flush()
}

// limit is how many of n rows are shown.
func limit(n, top int) int {
	if top > 0 && n > top {
		return top
	}
	return n
}

func writeReportText(w io.Writer, r regroup.Report, top int) {
	fmt.Fprintf(w, "%d crashes, %d with another signature; %d signatures before, %d after\n", r.Crashes, r.Changed, r.Before, r.After)
	if len(r.Moves) > 0 {
		fmt.Fprintf(w, "\nMoves (%d of %d):\n", limit(len(r.Moves), top), len(r.Moves))
	}
	for _, m := range r.Moves[:limit(len(r.Moves), top)] {
		fmt.Fprintf(w, "%7d  %s\n      →  %s\n", m.Count, m.Old, m.New)
	}
	groups := func(title, arrow string, list []regroup.Group) {
		if len(list) > 0 {
			fmt.Fprintf(w, "\n%s (%d of %d):\n", title, limit(len(list), top), len(list))
		}
		for _, g := range list[:limit(len(list), top)] {
			fmt.Fprintf(w, "%7d  %s\n", g.Count, g.Signature)
			for _, p := range g.Parts[:limit(len(g.Parts), top)] {
				fmt.Fprintf(w, "   %s %7d  %s\n", arrow, p.Count, p.Signature)
			}
		}
	}
	groups("Split", "→", r.Split)
	groups("Merged", "←", r.Merged)
}

func writeReportMarkdown(w io.Writer, r regroup.Report, top int) {
	code := func(s string) string {
		return "`" + strings.ReplaceAll(strings.ReplaceAll(s, "`", "\\`"), "|", "\\|") + "`"
	}
	fmt.Fprintf(w, "%d crashes, %d with another signature; %d signatures before, %d after.\n", r.Crashes, r.Changed, r.Before, r.After)
	if len(r.Moves) > 0 {
		fmt.Fprint(w, "\n| Crashes | Old | New |\n|---:|---|---|\n")
	}
	for _, m := range r.Moves[:limit(len(r.Moves), top)] {
		fmt.Fprintf(w, "| %d | %s | %s |\n", m.Count, code(m.Old), code(m.New))
	}
	groups := func(title string, list []regroup.Group) {
		if len(list) > 0 {
			fmt.Fprintf(w, "\n**%s**\n\n", title)
		}
		for _, g := range list[:limit(len(list), top)] {
			fmt.Fprintf(w, "* %d %s\n", g.Count, code(g.Signature))
			for _, p := range g.Parts[:limit(len(g.Parts), top)] {
				fmt.Fprintf(w, "  * %d %s\n", p.Count, code(p.Signature))
			}
		}
	}
	groups("Split", r.Split)
	groups("Merged", r.Merged)
}

func signatureExplain() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "show frame by frame how signatures come about",
		ArgsUsage: "[ID | URL | FILE]…",
		Description: "Shows of each frame what the stack holds, what it is normalised to, and what was done with it, with the list, line\n" +
			"and entry that decided. With --hits it only counts how often each entry decided over all crashes, and lists the\n" +
			"entries that never did.",
		Flags: append(append(configFlags(), listsFlags()...), urlFlag(),
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
					return writeExplanationJSON(out, crash, r, e)
				}
				writeExplanation(out, crash, r, e)
				return nil
			})
			if err == nil && c.Bool("hits") {
				writeHits(out, lists, hits)
			}
			if e := out.Flush(); err == nil {
				err = e
			}
			return err
		},
	}
}

func writeExplanationJSON(w io.Writer, crash foundCrash, r signature.Record, e signature.Explanation) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"crash_id": strings.Trim(r.ID, `"`), "original": r.Original, "explanation": e})
}

func writeExplanation(w io.Writer, crash foundCrash, r signature.Record, e signature.Explanation) {
	fmt.Fprintf(w, "Crash:     %s\nOriginal:  %s\nSignature: %s\nLists:     %s\n", crash.name, r.Original, e.Result.Signature, e.Result.ListsVersion)
	if e.Result.Upstream != "" {
		fmt.Fprintf(w, "Upstream:  %s\n", e.Result.Upstream)
	}
	for _, n := range e.Result.Notes {
		fmt.Fprintf(w, "Note:      %s\n", n)
	}
	if e.Thread >= 0 {
		fmt.Fprintf(w, "Thread %d:\n", e.Thread)
	}
	for i, f := range e.Frames {
		mark := ""
		if f.Inline {
			mark = " (inlined)"
		}
		fmt.Fprintf(w, "%3d%s %s\n      = %q\n      %s", i, mark, f.Raw, f.Normalized, f.Verdict)
		if f.By != "" {
			fmt.Fprintf(w, " by %s", f.By)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// writeHits prints the entries by how often they decided, and those that never
// did.
func writeHits(w io.Writer, lists *signature.Lists, hits map[string]int) {
	type row struct {
		count int
		entry string
	}
	var rows []row
	for _, name := range signature.ListNames() {
		if name == signature.LineNumbersList {
			continue // their work shows in the normalised frame
		}
		for _, e := range lists.Entries(name) {
			entry := fmt.Sprintf("%s.txt:%d: %s", name, e.Line, e.Text)
			rows = append(rows, row{hits[entry], entry})
		}
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].count > rows[j].count })
	for _, r := range rows {
		fmt.Fprintf(w, "%7d  %s\n", r.count, r.entry)
	}
}
