package remote

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
)

// formats are the forms of a printed table.
var formats = []string{"table", "tab", "csv", "json", "markdown"}

// CheckFormat says whether a format is known.
func CheckFormat(f string) error {
	for _, known := range formats {
		if f == known {
			return nil
		}
	}
	return fault.New(fault.Invalid, "format %q is none of %s", f, strings.Join(formats, ", "))
}

// Table is rows under a heading.
type Table struct {
	Head []string
	Rows [][]string
}

// Write prints the table; heading says whether tab and csv begin with Head.
func (t *Table) Write(w io.Writer, format string, heading bool) error {
	switch format {
	case "csv":
		c := csv.NewWriter(w)
		if heading {
			_ = c.Write(t.Head) // Error below tells
		}
		_ = c.WriteAll(t.Rows)
		return c.Error()
	case "json":
		list := make([]map[string]string, 0, len(t.Rows))
		for _, r := range t.Rows {
			one := map[string]string{}
			for i, cell := range r {
				one[t.Head[i]] = cell
			}
			list = append(list, one)
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(list)
	case "tab":
		return t.lines(w, heading, func(cells []string) string {
			return strings.Join(each(cells, strings.NewReplacer("\t", `\t`, "\n", `\n`, "\r", `\r`).Replace), "\t")
		})
	case "markdown":
		return t.markdown(w)
	}
	return t.aligned(w)
}

func each(cells []string, f func(string) string) []string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = f(c)
	}
	return out
}

func (t *Table) lines(w io.Writer, heading bool, line func([]string) string) error {
	var b strings.Builder
	if heading {
		b.WriteString(line(t.Head) + "\n")
	}
	for _, r := range t.Rows {
		b.WriteString(line(r) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) markdown(w io.Writer) error {
	cell := strings.NewReplacer("|", `\|`, "\n", "<br>", "\r", "").Replace
	line := func(cells []string) string { return "| " + strings.Join(each(cells, cell), " | ") + " |" }
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---"
	}
	_, err := fmt.Fprintf(w, "%s\n| %s |\n", line(t.Head), strings.Join(rule, " | "))
	if err != nil {
		return err
	}
	return t.lines(w, false, line)
}

func (t *Table) aligned(w io.Writer) error {
	cell := strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace
	width := make([]int, len(t.Head))
	for _, r := range append([][]string{t.Head}, t.Rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	line := func(cells []string) string {
		var b strings.Builder
		for i, c := range cells {
			if i > 0 {
				b.WriteString(" | ")
			}
			b.WriteString(cell(c))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(c))))
			}
		}
		return b.String()
	}
	return t.lines(w, true, line)
}

// HitTable makes rows of hits; a column that the host does not give is an error.
func HitTable(columns []string, hits []map[string]any) (*Table, error) {
	t := &Table{Head: columns}
	for _, h := range hits {
		row := make([]string, len(columns))
		for i, name := range columns {
			v, ok := h[name]
			if !ok {
				return nil, fault.New(fault.NotFound, "%s: no data", name)
			}
			row[i] = text(v)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// text writes a value of JSON for people.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// Tables makes one table of each aggregation, in the order of their names. A
// total row is added to those of one level, and what is in no bucket when
// leftover is set.
func (a *Answer) Tables(leftover bool) []*Table {
	var out []*Table
	for _, name := range sorted(a.Facets) {
		f := a.Facets[name]
		if f.Value != nil {
			out = append(out, &Table{Head: []string{name, "value"}, Rows: [][]string{{name, fmt.Sprint(*f.Value)}}})
			continue
		}
		paths := map[string]*Table{}
		var order []string
		flatten(paths, &order, name, "", f)
		for _, path := range order {
			out = append(out, paths[path])
		}
		if t := paths[name]; t != nil {
			sum := int64(0)
			for _, b := range f.Buckets {
				sum += b.Count
			}
			if leftover && a.Total > sum {
				t.Rows = append(t.Rows, []string{"--", fmt.Sprint(a.Total - sum)})
			}
			t.Rows = append(t.Rows, []string{"total", fmt.Sprint(a.Total)})
		}
	}
	return out
}

// flatten walks nested facets, which are four levels deep at most, into one
// table for each path of names.
func flatten(paths map[string]*Table, order *[]string, name, prefix string, f *Facet) {
	add := func(term string, value int64, column string) {
		t := paths[name]
		if t == nil {
			t = &Table{Head: []string{name, column}}
			paths[name] = t
			*order = append(*order, name)
		}
		t.Rows = append(t.Rows, []string{prefix + term, fmt.Sprint(value)})
	}
	if f.Value != nil {
		add(strings.TrimSuffix(prefix, " / "), *f.Value, "value")
		t := paths[name]
		t.Rows[len(t.Rows)-1][0] = strings.TrimSuffix(prefix, " / ")
		return
	}
	for _, b := range f.Buckets {
		add(text(b.Term), b.Count, "count")
		for _, sub := range sorted(b.Facets) {
			flatten(paths, order, name+" / "+sub, prefix+text(b.Term)+" / ", b.Facets[sub])
		}
	}
}

func sorted(m map[string]*Facet) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
