// Package report writes what the signature tools find for people and for
// scripts: crashes with their old and new signature, findings in lists, what a
// change of lists moves, and what became of each frame.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/signature/python"
)

// Again is a crash and its new signature.
type Again struct {
	ID, URL, Old string
	Result       signature.Result
	// Verbose also tells how the signature came about.
	Verbose bool
}

func (a *Again) same() string {
	if a.Old == a.Result.Signature {
		return "True"
	}
	return "False"
}

// Crashes shows crashes one after the other in a format: text, csv, markdown or
// json (an object a line).
func Crashes(format string, w *bufio.Writer) (func(Again) error, error) {
	switch format {
	case "text":
		first := true
		return func(a Again) error {
			if !first {
				fmt.Fprintln(w)
			}
			first = false
			return writeAgainText(w, a)
		}, nil
	case "csv":
		return againCSV(w), nil
	case "markdown":
		return func(a Again) error { return writeAgainMarkdown(w, a) }, nil
	case "json":
		return func(a Again) error { return writeAgainJSON(w, a) }, nil
	}
	return nil, fault.New(fault.Invalid, "format %q is none of text, csv, markdown, json", format)
}

func writeAgainText(w io.Writer, a Again) error {
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
	if a.Verbose {
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
func againCSV(w io.Writer) func(Again) error {
	row := func(fields ...string) error {
		for i, f := range fields {
			fields[i] = `"` + strings.ReplaceAll(f, `"`, `""`) + `"`
		}
		_, err := io.WriteString(w, strings.Join(fields, ",")+"\n")
		return err
	}
	first := true
	return func(a Again) error {
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

func writeAgainMarkdown(w io.Writer, a Again) error {
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
	if a.Verbose {
		list("Debug", a.Result.DebugLog())
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeAgainJSON(w io.Writer, a Again) error {
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
		Notes: append([]string{}, a.Result.Notes...), Lists: a.Result.ListsVersion}
	if a.Verbose {
		line.Debug, line.Frames, line.Proto = a.Result.DebugLog(), a.Result.NormalizedFrames, a.Result.ProtoSignature
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(line)
}
