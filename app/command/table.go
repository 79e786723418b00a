package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// FormatFlag picks the form of a printed table.
func FormatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Value: "text", Usage: "text, json or markdown", Action: func(_ *cli.Context, f string) error {
		if f != "text" && f != "json" && f != "markdown" {
			return Usage("--format %q is none of text, json, markdown", f)
		}
		return nil
	}}
}

// WriteJSON prints indented JSON.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteTable prints rows as text, JSON or a Markdown table.
func WriteTable(w io.Writer, head []string, rows [][]string, format string) error {
	switch format {
	case "json":
		list := make([]map[string]string, 0, len(rows))
		for _, r := range rows {
			one := map[string]string{}
			for i, cell := range r {
				one[head[i]] = cell
			}
			list = append(list, one)
		}
		return WriteJSON(w, list)
	case "markdown":
		escape := strings.NewReplacer("|", `\|`, "\n", " ")
		fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
		for _, r := range rows {
			for i := range r {
				r[i] = escape.Replace(r[i])
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
		}
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range append([][]string{head}, rows...) {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}
