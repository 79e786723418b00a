package enginetest

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// division is one level of an aggregation.
type division struct {
	name  string
	field int
	kind  string // "", "_histogram." or "_cardinality."
	subs  []division
}

// facets reads the parameters of aggregations and counts.
func (n *naive) facets(v map[string][]string, pii bool, found []int, size int) (map[string]any, *refused) {
	out := map[string]any{}
	top, err := n.divisions(without(v["_facets"], ""), pii)
	if err != nil {
		return nil, err
	}
	if len(top) == 0 {
		top, _ = n.divisions([]string{"signature"}, pii)
	}
	var chains []string
	for name := range v {
		if rest, ok := strings.CutPrefix(name, "_histogram_interval."); ok {
			if i, known := n.byName[rest]; known && n.fields[i].Histogram {
				if _, err := n.interval(i, v); err != nil {
					return nil, err
				}
			}
		} else if strings.HasPrefix(name, "_aggs.") || strings.HasPrefix(name, "_histogram.") {
			chains = append(chains, name)
		}
	}
	sort.Slice(chains, func(i, j int) bool { // the shorter one wins its name
		return cmp.Or(cmp.Compare(strings.Count(chains[j], "."), strings.Count(chains[i], ".")), cmp.Compare(chains[i], chains[j])) < 0
	})
	for _, name := range chains {
		path := []string{name}
		if rest, ok := strings.CutPrefix(name, "_aggs."); ok {
			path = strings.Split(rest, ".")
			if len(path) > 1 && rest != "product.version" && rest != "android_cpu_abi.android_manufacturer.android_model" {
				continue
			}
		}
		levels, err := n.divisions(path, false) // unknown ones are no parameters
		if pii && len(levels) < len(path) {
			levels, err = n.divisions(slices.DeleteFunc(slices.Clone(path), func(s string) bool {
				_, known, _ := n.mine(strings.TrimPrefix(s, "_histogram."), true)
				return !known
			}), true)
		}
		if err != nil || len(levels) < len(path) {
			continue
		}
		subs, err := n.divisions(without(v[name], ""), pii)
		if err != nil {
			return nil, err
		}
		if len(subs) == 0 {
			continue
		}
		for i := len(levels) - 1; i >= 0; i-- {
			levels[i].subs = subs
			subs = []division{levels[i]}
		}
		top = append(slices.DeleteFunc(top, func(d division) bool { return d.name == subs[0].name }), subs[0])
	}
	if size > 0 {
		for i := range top {
			out[top[i].name] = n.count(&top[i], v, found, size)
		}
	}
	return out, nil
}

// divisions reads values such as product, _histogram.date, _cardinality.uuid,
// each once.
func (n *naive) divisions(values []string, pii bool) ([]division, *refused) {
	var out []division
	for _, text := range values {
		d := division{}
		bare := text
		for _, kind := range []string{"_histogram.", "_cardinality."} {
			if rest, ok := strings.CutPrefix(text, kind); ok {
				bare, d.kind = rest, kind
			}
		}
		i, known, readable := n.mine(bare, pii)
		if known && d.kind == "_histogram." && !n.fields[i].Histogram {
			known, readable = false, false
		}
		if !known && pii {
			return nil, refuse("Unknown field '%s'", text)
		}
		d.field, d.name = i, strings.Replace(strings.TrimPrefix(d.kind, "_"), ".", "_", 1)+bare
		if readable && !slices.ContainsFunc(out, func(o division) bool { return o.name == d.name }) {
			out = append(out, d)
		}
	}
	return out, nil
}

// interval is the width of a histogram: of numbers, or the unit of dates.
func (n *naive) interval(i int, v map[string][]string) (any, *refused) {
	f := &n.fields[i]
	param := "_histogram_interval." + f.Name
	given := without(v[param], "")
	text := ""
	if len(given) > 0 {
		text = given[len(given)-1]
	}
	switch f.Storage {
	case plan.Instant:
		for _, unit := range [][]string{{"minute", "1m"}, {"hour", "1h"}, {"day", "1d", ""}, {"week", "1w"}, {"month", "1M"}, {"quarter", "1q"}, {"year", "1y"}} {
			if slices.Contains(unit, text) {
				return unit[0], nil
			}
		}
		return nil, refuse("Bad value for parameter(s) '%s'", param)
	case plan.Double:
		x, err := strconv.ParseFloat(cmp.Or(text, "1"), 64)
		if err != nil {
			return nil, &refused{form: true, param: param, text: "Enter a number."}
		}
		if x <= 0 {
			return nil, refuse("Bad value for parameter(s) '%s'", param)
		}
		return x, nil
	}
	whole, err := strconv.ParseInt(cmp.Or(text, "1"), 10, 64)
	if err != nil {
		return nil, &refused{form: true, param: param, text: "Enter a whole number."}
	}
	if whole <= 0 {
		return nil, refuse("Bad value for parameter(s) '%s'", param)
	}
	return float64(whole), nil
}

func (n *naive) count(d *division, v map[string][]string, crashes []int, size int) any {
	f := &n.fields[d.field]
	members := map[term][]int{}
	for _, c := range crashes {
		for _, t := range terms(f, n.crashes[c][d.field]) {
			if d.kind == "_histogram." {
				width, _ := n.interval(d.field, v)
				t = begin(f, t, width)
			}
			members[t] = append(members[t], c)
		}
	}
	if d.kind == "_cardinality." {
		return map[string]int{"value": len(members)}
	}
	var keys []term
	for t := range members {
		keys = append(keys, t)
	}
	slices.SortFunc(keys, func(a, b term) int {
		if d.kind == "_histogram." {
			return a.compare(b)
		}
		return cmp.Or(cmp.Compare(len(members[b]), len(members[a])), a.compare(b))
	})
	if d.kind == "" {
		keys = keys[:min(size, len(keys))]
	}
	list := []any{}
	for _, t := range keys {
		bucket := map[string]any{"term": label(f, t, d.kind), "count": len(members[t])}
		if len(d.subs) > 0 {
			inner := map[string]any{}
			for i := range d.subs {
				inner[d.subs[i].name] = n.count(&d.subs[i], v, members[t], size)
			}
			bucket["facets"] = inner
		}
		list = append(list, bucket)
	}
	return list
}

// begin is the interval that a value is in.
func begin(f *plan.Field, t term, width any) term {
	switch width := width.(type) {
	case float64:
		return term{x: math.Floor((float64(t.n)+t.x)/width) * width}
	case string:
		at := time.UnixMicro(t.n).UTC()
		day := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
		switch width {
		case "minute":
			at = at.Truncate(time.Minute)
		case "hour":
			at = at.Truncate(time.Hour)
		case "day":
			at = day
		case "week":
			for at = day; at.Weekday() != time.Monday; {
				at = at.AddDate(0, 0, -1)
			}
		case "month":
			at = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		case "quarter":
			at = time.Date(at.Year(), (at.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
		case "year":
			at = time.Date(at.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		}
		return term{n: at.UnixMicro()}
	}
	return t
}

// label is a term as answers show it.
func label(f *plan.Field, t term, kind string) any {
	switch {
	case f.Storage == plan.Instant:
		return time.UnixMicro(t.n).UTC().Format("2006-01-02T15:04:05Z")
	case kind == "_histogram.", f.Storage == plan.Double:
		return search.Real(t.x)
	case f.Storage == plan.Boolean:
		return map[int64]string{0: "F", 1: "T"}[t.n]
	case f.Storage.IsString():
		return t.text
	}
	return t.n
}
