package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/signature/python"
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
		Flags: append(append(configFlags(), listsFlags()...),
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
	if dir == "" {
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
	return lists.With(signature.Improvements{Names: c.Bool("better-names"), Unsymbolicated: c.Bool("better-unsymbolicated")}), nil
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
	show, err := reporter(c.String("format"), out)
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
		return show(again{ID: name, URL: crash.url, Old: r.Original, Result: res, verbose: c.Bool("verbose")})
	})
	if e := out.Flush(); err == nil {
		err = e
	}
	if err == nil && changed && c.Bool("exit-code") {
		return cli.Exit("", exitChanged)
	}
	return err
}

// again is a crash and its new signature.
type again struct {
	ID, URL, Old string
	Result       signature.Result
	verbose      bool
}

func (a *again) same() string {
	if a.Old == a.Result.Signature {
		return "True"
	}
	return "False"
}

// reporter shows results in a format.
func reporter(format string, w *bufio.Writer) (func(again) error, error) {
	switch format {
	case "text":
		first := true
		return func(a again) error {
			if !first {
				fmt.Fprintln(w)
			}
			first = false
			return writeAgainText(w, a)
		}, nil
	case "csv":
		return againCSV(w), nil
	case "markdown":
		return func(a again) error { return writeAgainMarkdown(w, a) }, nil
	case "json":
		return func(a again) error { return writeAgainJSON(w, a) }, nil
	}
	return nil, usageError{fmt.Errorf("--format %q is none of text, csv, markdown, json", format)}
}

func writeAgainText(w io.Writer, a again) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Crash id: %s\nOriginal: %s\nNew:      %s\n", a.ID, a.Old, a.Result.Signature)
	if a.Result.Upstream != "" {
		fmt.Fprintf(&b, "Upstream: %s\n", a.Result.Upstream)
	}
	fmt.Fprintf(&b, "Same?:    %s\n", a.same())
	list := func(name string, lines []string) {
		fmt.Fprintf(&b, "%-9s (%d)\n", name+":", len(lines))
		for _, l := range lines {
			fmt.Fprintf(&b, "          %s\n", l)
		}
	}
	if len(a.Result.Notes) > 0 {
		list("Notes", a.Result.Notes)
	}
	if a.verbose {
		list("Debug", a.Result.DebugLog())
		if len(a.Result.NormalizedFrames) > 0 {
			fmt.Fprintln(&b, "Extra:")
			fmt.Fprintln(&b, "          normalized_frames:")
			for _, f := range a.Result.NormalizedFrames {
				fmt.Fprintf(&b, "          - %s\n", f)
			}
			fmt.Fprintf(&b, "          proto_signature: %s\n", a.Result.ProtoSignature)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// againCSV quotes every field, as the upstream's tool does: package csv would
// quote only where it must, and scripts compare the lines.
func againCSV(w io.Writer) func(again) error {
	row := func(fields ...string) error {
		for i, f := range fields {
			fields[i] = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
		}
		_, err := io.WriteString(w, strings.Join(fields, ",")+"\n")
		return err
	}
	first := true
	return func(a again) error {
		if first {
			first = false
			if err := row("crashid", "old", "new", "same?", "notes"); err != nil {
				return err
			}
		}
		notes := make([]any, len(a.Result.Notes))
		for i, n := range a.Result.Notes {
			notes[i] = n
		}
		return row(a.ID, a.Old, a.Result.Signature, a.same(), python.Str(notes))
	}
}

func writeAgainMarkdown(w io.Writer, a again) error {
	var b bytes.Buffer
	id := a.ID
	if a.URL != "" {
		id = fmt.Sprintf("[%s](%s)", a.ID, a.URL)
	}
	code := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "\\`") + "`" }
	fmt.Fprintf(&b, "**Crash id:** %s\n\n**Original:** %s\n\n**New:** %s\n\n**Same?:** %s\n\n", id, code(a.Old), code(a.Result.Signature), a.same())
	list := func(name string, lines []string) {
		fmt.Fprintf(&b, "**%s:** (%d)\n\n", name, len(lines))
		for _, l := range lines {
			fmt.Fprintf(&b, "* %s\n", l)
		}
		fmt.Fprintln(&b)
	}
	if len(a.Result.Notes) > 0 {
		list("Notes", a.Result.Notes)
	}
	if a.verbose {
		list("Debug", a.Result.DebugLog())
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeAgainJSON(w io.Writer, a again) error {
	line := struct {
		ID       string   `json:"crash_id"`
		Old      string   `json:"old"`
		New      string   `json:"new"`
		Upstream string   `json:"upstream,omitempty"`
		Same     bool     `json:"same"`
		Notes    []string `json:"notes"`
		Lists    string   `json:"lists"`
		Debug    []string `json:"debug_log,omitempty"`
		Frames   []string `json:"normalized_frames,omitempty"`
		Proto    string   `json:"proto_signature,omitempty"`
	}{ID: a.ID, Old: a.Old, New: a.Result.Signature, Upstream: a.Result.Upstream, Same: a.Old == a.Result.Signature,
		Notes: orEmpty(a.Result.Notes), Lists: a.Result.ListsVersion}
	if a.verbose {
		line.Debug, line.Frames, line.Proto = a.Result.DebugLog(), a.Result.NormalizedFrames, a.Result.ProtoSignature
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(line)
}
