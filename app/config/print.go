package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write prints each setting, its value, where that came from and what it
// means. format is text, json or markdown.
func Write(w io.Writer, settings []*Setting, format string) error {
	switch format {
	case "json":
		type row struct {
			Setting string `json:"setting"`
			Env     string `json:"env"`
			Type    string `json:"type"`
			Default string `json:"default"`
			Value   string `json:"value"`
			From    string `json:"from"`
			Doc     string `json:"doc"`
		}
		rows := []row{}
		for _, s := range settings {
			rows = append(rows, row{s.Path, s.Env(), s.Type, s.Default, s.String(), s.Source, s.Doc})
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	case "markdown":
		fmt.Fprint(w, "| setting | environment | default | what |\n|---|---|---|---|\n")
		for _, s := range settings {
			fmt.Fprintf(w, "| `%s` | `%s` | `%s` | %s |\n", s.Path, s.Env(), s.Default, strings.ReplaceAll(s.Doc, "|", "\\|"))
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tENV\tDEFAULT\tVALUE\tFROM\tWHAT")
	for _, s := range settings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Path, s.Env(), s.Default, s, s.Source, s.Doc)
	}
	return t.Flush()
}

// WriteExample prints a configuration file that holds every setting with its
// default, commented out: without the first # of each line it is valid YAML.
func WriteExample(w io.Writer) error {
	fmt.Fprintln(w, "## Every setting of Mayday with its default. Made by `mayday config --example`; change the declarations")
	fmt.Fprintln(w, "## in app/config/config.go instead. Each can be set by environment too: "+EnvPrefix+"LISTEN, "+EnvPrefix+"LOG_LEVEL ….")
	section := ""
	for _, s := range (&Config{}).Settings() {
		dir, name := "", s.Path
		if i := strings.LastIndexByte(s.Path, '.'); i >= 0 {
			dir, name = s.Path[:i], s.Path[i+1:]
		}
		if dir != section {
			fmt.Fprintln(w)
			for depth, part := range strings.Split(dir, ".") {
				if strings.HasPrefix(section+".", strings.Join(strings.Split(dir, ".")[:depth+1], ".")+".") {
					continue // said already, further up
				}
				fmt.Fprintf(w, "#%s%s:\n", strings.Repeat("  ", depth), part)
			}
			section = dir
		}
		indent := ""
		if dir != "" {
			indent = strings.Repeat("  ", 1+strings.Count(dir, "."))
		}
		fmt.Fprintf(w, "#%s# %s", indent, s.Doc)
		if s.Choices != nil {
			fmt.Fprintf(w, " One of: %s.", strings.TrimPrefix(strings.Join(s.Choices, ", "), ", "))
		}
		fmt.Fprintf(w, "\n#%s%s: %s\n", indent, name, exampleValue(s))
	}
	return nil
}

func exampleValue(s *Setting) string {
	switch s.Type {
	case "list":
		return "[" + strings.ReplaceAll(s.Default, ",", ", ") + "]"
	case typeFileOnly:
		return "[]"
	}
	if s.Default == "" {
		return `""`
	}
	return s.Default
}
