package enginetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// naive answers Super Search requests from the raw crashes. Unlike model, which
// takes plans, it shares nothing with what it tests but the table of fields:
// its parser, its words, wildcards and regular expressions are written from the
// description of the language alone, and only for clarity.
type naive struct {
	fields  []plan.Field
	byName  map[string]int
	crashes [][]fact // by crash, then field
	now     time.Time
	strict  []string // known products; nil knows all
	tests   map[string][]bool
}

// fact is what one crash has in one field.
type fact struct {
	there bool
	list  bool     // the strings came as a list
	texts []string // of a string field
	n     int64    // integer, boolean 0 or 1, or microseconds
	x     float64
}

func newNaive(fields *plan.Fields, now time.Time) *naive {
	n := &naive{fields: fields.All(), byName: map[string]int{}, now: now, tests: map[string][]bool{}}
	for i, f := range n.fields {
		n.byName[f.Name] = i
	}
	return n
}

// add takes processed crashes that were decoded without UseNumber.
func (n *naive) add(crashes ...map[string]any) {
	for _, c := range crashes {
		row := make([]fact, len(n.fields))
		for i := range n.fields {
			f := &n.fields[i]
			var at any = c
			for _, step := range strings.Split(f.Path, ".") {
				m, _ := at.(map[string]any)
				at = m[step]
			}
			if f.Name == plan.IDField {
				at = c["uuid"]
			}
			if at != nil {
				row[i] = factOf(f, at)
			}
		}
		n.crashes = append(n.crashes, row)
	}
}

// factOf applies the rules by which values are fixed before indexing.
func factOf(f *plan.Field, raw any) fact {
	switch f.Storage {
	case plan.Boolean:
		yes := raw == true || raw == "true" || raw == "1" || raw == 1.0
		return fact{there: true, n: map[bool]int64{true: 1}[yes]}
	case plan.Long, plan.Integer:
		var v int64
		switch raw := raw.(type) {
		case float64:
			v = int64(raw)
		case int:
			v = int64(raw)
		case string:
			var err error
			if v, err = strconv.ParseInt(strings.TrimSpace(raw), 10, 64); err != nil {
				return fact{}
			}
		default:
			return fact{}
		}
		return fact{there: f.Storage == plan.Long || v == int64(int32(v)), n: v}
	case plan.Double:
		v, err := strconv.ParseFloat(fmt.Sprint(raw), 64)
		return fact{there: err == nil && !math.IsNaN(v) && !math.IsInf(v, 0), x: v}
	case plan.Instant:
		at, err := time.Parse(time.RFC3339Nano, raw.(string))
		return fact{there: err == nil, n: at.UnixMicro(), texts: []string{raw.(string)}}
	}
	list, is := raw.([]any)
	if !is {
		list = []any{raw}
	}
	out := fact{there: len(list) > 0, list: is}
	for _, one := range list {
		s, ok := one.(string)
		switch {
		case !ok:
			s = "BAD DATA"
		case f.Storage == plan.Keyword && utf8.RuneCountInString(s) > 10_000:
			s = string([]rune(s)[:10_000])
		case f.Storage != plan.Keyword && len(s) > 32_766:
			for s = s[:32_766]; !utf8.ValidString(s); {
				s = s[:len(s)-1]
			}
		}
		out.texts = append(out.texts, s)
	}
	return out
}

// refused is an answer of status 400.
type refused struct {
	form  bool   // under "errors", by parameter
	param string // of the form
	text  string
}

func refuse(format string, args ...any) *refused { return &refused{text: fmt.Sprintf(format, args...)} }

// ask answers a request. Hits come in the order of their ids unless _sort is
// given.
func (n *naive) ask(v map[string][]string, pii, unredacted bool) (int, map[string]any) {
	if unredacted && !pii {
		return 403, map[string]any{"error": "Use of this endpoint requires the 'View Personal Identifiable Information' permission"}
	}
	out, err := n.answer(v, pii)
	switch {
	case err != nil && err.form:
		return 400, map[string]any{"errors": map[string]any{err.param: []any{err.text}}}
	case err != nil:
		return 400, map[string]any{"error": "Bad request: BadArgumentError: " + err.text}
	}
	text, _ := json.Marshal(out)
	var back map[string]any
	if err := json.Unmarshal(text, &back); err != nil {
		panic(err)
	}
	return 200, back
}

// number reads a control parameter.
func number(v map[string][]string, name string, otherwise int) (int, *refused) {
	for _, s := range v[name] {
		if s == "" {
			continue
		}
		got, err := strconv.Atoi(s)
		if err != nil {
			return 0, &refused{form: true, param: name, text: "Enter a whole number."}
		}
		otherwise = got
	}
	return otherwise, nil
}

func (n *naive) answer(v map[string][]string, pii bool) (map[string]any, *refused) {
	if n.strict != nil {
		for _, p := range v["product"] {
			if p != "__null__" && !strings.ContainsAny(p[:min(1, len(p))], "!~^$@") && !slices.Contains(n.strict, strings.TrimPrefix(p, "=")) {
				return nil, refuse("Not valid products: %s", p)
			}
		}
	}
	count, err := number(v, "_results_number", 100)
	if err != nil {
		return nil, err
	}
	offset, err := number(v, "_results_offset", 0)
	if err != nil {
		return nil, err
	}
	size, err := number(v, "_facets_size", 50)
	switch {
	case err != nil:
		return nil, err
	case count < 0:
		return nil, refuse("_results_number cannot be negative")
	case count > 1000:
		return nil, refuse("_results_number cannot be greater than 1,000")
	case offset < 0:
		return nil, refuse("_results_offset cannot be negative")
	case offset+count > 10_000:
		return nil, refuse("_results_offset + _results_number cannot be greater than 10,000")
	case size < 0:
		return nil, refuse("Bad value for parameter(s) '_facets_size cannot be negative'")
	case size > 10_000:
		return nil, refuse("Bad value for parameter(s) '_facets_size greater than 10,000'")
	}
	found, err := n.find(v, pii)
	if err != nil {
		return nil, err
	}
	columns, err := n.columns(v, pii)
	if err != nil {
		return nil, err
	}
	if err := n.order(found, v, pii); err != nil {
		return nil, err
	}
	facets, err := n.facets(v, pii, found, size)
	if err != nil {
		return nil, err
	}
	hits := []any{}
	for _, c := range found[min(offset, len(found)):min(offset+count, len(found))] {
		hit := map[string]any{}
		for _, i := range columns {
			hit[n.fields[i].Name] = shown(&n.fields[i], n.crashes[c][i])
		}
		hits = append(hits, hit)
	}
	return map[string]any{"hits": hits, "total": len(found), "facets": facets, "errors": []any{}}, nil
}

// shown is a value as a hit has it.
func shown(f *plan.Field, v fact) any {
	switch {
	case !v.there:
		return nil
	case f.Storage == plan.Boolean:
		return v.n == 1
	case f.Storage == plan.Long, f.Storage == plan.Integer:
		return v.n
	case f.Storage == plan.Double:
		return search.Real(v.x)
	case f.Storage == plan.Instant:
		if f.Name != plan.DateField {
			return search.FormatDate(v.n)
		}
		return v.texts[0]
	case len(v.texts) == 1:
		return v.texts[0]
	}
	return v.texts
}

// mine says whether a field is there for the viewer.
func (n *naive) mine(name string, pii bool) (i int, known, readable bool) {
	i, known = n.byName[name]
	return i, known, known && (pii || n.fields[i].Permission == "")
}

func (n *naive) columns(v map[string][]string, pii bool) ([]int, *refused) {
	names := without(v["_columns"], "")
	if len(names) == 0 {
		names = []string{"uuid", "date", "signature", "product", "version"}
	}
	var out []int
	for _, name := range names {
		i, known, readable := n.mine(name, pii)
		if !known {
			return nil, refuse("Unknown field '%s'", name)
		}
		if readable {
			out = append(out, i)
		}
	}
	return out, nil
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// order sorts by _sort, then by id. What lacks a value comes last, upwards and
// downwards.
func (n *naive) order(found []int, v map[string][]string, pii bool) *refused {
	type key struct {
		field int
		desc  bool
	}
	var keys []key
	for _, name := range without(v["_sort"], "") {
		bare, desc := strings.CutPrefix(name, "-")
		i, known, readable := n.mine(bare, pii)
		if !known && pii {
			return refuse("Unknown field '%s'", bare)
		}
		if readable {
			keys = append(keys, key{i, desc})
		}
	}
	keys = append(keys, key{field: n.byName["uuid"]})
	slices.SortFunc(found, func(a, b int) int {
		for _, k := range keys {
			f := &n.fields[k.field]
			va, vb := sortTerms(f, n.crashes[a][k.field]), sortTerms(f, n.crashes[b][k.field])
			if len(va) == 0 || len(vb) == 0 {
				if len(va) != len(vb) && (len(va) == 0 || len(vb) == 0) {
					return cmp.Compare(len(vb), len(va))
				}
				continue
			}
			less := func(x, y term) int { return x.compare(y) }
			x, y := slices.MinFunc(va, less), slices.MinFunc(vb, less)
			if k.desc {
				x, y = slices.MaxFunc(vb, less), slices.MaxFunc(va, less)
			}
			if c := x.compare(y); c != 0 {
				return c
			}
		}
		return 0
	})
	return nil
}

// term is what documents are counted and sorted by.
type term struct {
	text string
	x    float64
	n    int64
}

func (t term) compare(o term) int {
	return cmp.Or(cmp.Compare(t.n, o.n), cmp.Compare(t.x, o.x), cmp.Compare(t.text, o.text))
}

// terms are the distinct values of a crash in a field.
func terms(f *plan.Field, v fact) []term {
	if !v.there {
		return nil
	}
	switch f.Storage {
	case plan.Double:
		return []term{{x: v.x}}
	case plan.Instant: // facets show seconds, but tell milliseconds apart
		return []term{{n: floorTo(v.n, 1000)}}
	case plan.Keyword, plan.Text, plan.Semicolon:
		var out []term
		for _, s := range compared(f, v) {
			if t := (term{text: s}); !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
		return out
	}
	return []term{{n: v.n}}
}

func sortTerms(f *plan.Field, v fact) []term {
	if f.Storage == plan.Instant && v.there {
		return []term{{n: v.n}}
	}
	return terms(f, v)
}

// compared are the texts that whole-value operators see.
func compared(f *plan.Field, v fact) []string {
	if f.Storage != plan.Semicolon {
		return v.texts
	}
	var out []string
	for _, s := range v.texts {
		out = append(out, without(strings.Split(lower(s), ";"), "")...)
	}
	return out
}

func floorTo(n, unit int64) int64 {
	return n - ((n%unit)+unit)%unit
}
