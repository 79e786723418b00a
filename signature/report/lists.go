package report

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"mayday/signature"
	"mayday/signature/lint"
	"mayday/signature/regroup"
)

// Findings shows what lint found, as text with the counts or as json. It
// reports whether there was more than advice.
func Findings(w io.Writer, found []lint.Finding, format string) (wrong bool, err error) {
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
		return wrong, e.Encode(map[string]any{"findings": found, "counts": counts})
	}
	out := bufio.NewWriter(w)
	for _, f := range found {
		fmt.Fprintln(out, f)
	}
	for _, code := range lint.Codes() {
		if counts[code] > 0 {
			fmt.Fprintf(out, "%5d %s\n", counts[code], code)
		}
	}
	return wrong, out.Flush()
}

// Changes shows what a change does, in text, csv, markdown, json, or as the ids
// of the crashes it moves; text and markdown show the top rows only (0: all).
func Changes(w io.Writer, r regroup.Report, format string, top int) error {
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
		changesMarkdown(out, r, top)
	default:
		changesText(out, r, top)
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

func changesText(w io.Writer, r regroup.Report, top int) {
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

func changesMarkdown(w io.Writer, r regroup.Report, top int) {
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

// ExplanationJSON writes an explanation as a line of JSON.
func ExplanationJSON(w io.Writer, r signature.Record, e signature.Explanation) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"crash_id": strings.Trim(r.ID, `"`), "original": r.Original, "explanation": e})
}

// Explanation shows what became of each frame of the crash called name.
func Explanation(w io.Writer, name string, r signature.Record, e signature.Explanation) {
	fmt.Fprintf(w, "Crash:     %s\nOriginal:  %s\nSignature: %s\nLists:     %s\n", name, r.Original, e.Result.Signature, e.Result.ListsVersion)
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

// Hits prints the entries by how often they decided, and those that never
// did.
func Hits(w io.Writer, lists *signature.Lists, hits map[string]int) {
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
