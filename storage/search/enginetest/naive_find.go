package enginetest

import (
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayday/storage/search/plan"
)

// find gives the crashes that pass the date and all filters.
func (n *naive) find(v map[string][]string, pii bool) ([]int, *refused) {
	from, to, err := n.dates(v["date"])
	if err != nil {
		return nil, err
	}
	var passed [][]bool
	names := make([]string, 0, len(n.fields)) // in whose order errors are found
	for name := range n.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		i := n.byName[name]
		f, values := &n.fields[i], v[name]
		if len(values) == 0 || f.Name == plan.DateField {
			continue
		}
		if _, _, readable := n.mine(f.Name, pii); !readable {
			continue
		}
		set, err := n.filter(i, values)
		if err != nil {
			return nil, err
		}
		passed = append(passed, set)
	}
	found := []int{}
	date := n.byName[plan.DateField]
	for c := range n.crashes {
		at := n.crashes[c][date].n
		if at >= from && at < to && !slices.ContainsFunc(passed, func(set []bool) bool { return !set[c] }) {
			found = append(found, c)
		}
	}
	return found, nil
}

var signs = map[plan.Type][]string{
	plan.Str:   {"=", "~", "$", "^", "@", "__null__"},
	plan.Enum:  {"__null__"},
	plan.Int:   {">=", "<=", "<", ">", "__null__"},
	plan.Float: {">=", "<=", "<", ">", "__null__"},
	plan.Date:  {">=", "<=", "<", ">", "__null__"},
	plan.Bool:  {"__true__", "__null__"},
}

// filter combines the values of one field: those with an operator as they are
// given, a range joined by "and" and others by "or", then those that are not to
// be equal to any plain value, then those that are equal to one.
func (n *naive) filter(i int, values []string) ([]bool, *refused) {
	f := &n.fields[i]
	list := signs[f.Type]
	if f.Whole {
		list = signs[plan.Str]
	}
	type group struct {
		not    bool
		sign   string
		values []string
	}
	var groups []group
	plain, plainNot := group{}, group{not: true}
	for _, text := range values {
		g := group{}
		text, g.not = strings.CutPrefix(text, "!")
		for _, s := range list {
			if strings.HasPrefix(text, s) {
				g.sign, text = s, text[len(s):]
				break
			}
		}
		if g.sign == "" && f.BetaPrefix && strings.HasSuffix(text, "b") {
			g.sign = "^"
		}
		g.values = []string{text}
		switch {
		case g.sign != "":
			groups = append(groups, g)
		case g.not:
			plainNot.values = append(plainNot.values, text)
		default:
			plain.values = append(plain.values, text)
		}
	}
	for _, g := range []group{plainNot, plain} {
		if len(g.values) > 0 {
			groups = append(groups, g)
		}
	}
	var all []bool
	for at, g := range groups {
		one := make([]bool, len(n.crashes))
		for _, text := range g.values {
			set, err := n.test(i, g.sign, text)
			if err != nil {
				return nil, err
			}
			for c := range one {
				one[c] = one[c] || set[c]
			}
		}
		for c := range one {
			one[c] = one[c] != g.not
			switch {
			case at == 0:
			case strings.ContainsAny(g.sign, "<>"):
				one[c] = one[c] && all[c]
			default:
				one[c] = one[c] || all[c]
			}
		}
		all = one
	}
	return all, nil
}

// test gives the crashes that one operator and value fit.
func (n *naive) test(i int, sign, text string) ([]bool, *refused) {
	key := strconv.Itoa(i) + " " + sign + " " + text
	if set, ok := n.tests[key]; ok {
		return set, nil
	}
	fits, err := predicate(&n.fields[i], sign, text)
	if err != nil {
		return nil, err
	}
	set := make([]bool, len(n.crashes))
	for c := range set {
		set[c] = fits(n.crashes[c][i])
	}
	n.tests[key] = set
	return set, nil
}

var (
	wholeNumber = regexp.MustCompile(`^\s*[+-]?\d+(_\d+)*\s*$`)
	realNumber  = regexp.MustCompile(`^\s*[+-]?(\d+(_\d+)*(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$`)
)

func predicate(f *plan.Field, sign, text string) (func(fact) bool, *refused) {
	if sign == "__null__" {
		return func(v fact) bool { return !v.there }, nil
	}
	switch f.Storage {
	case plan.Boolean:
		want := sign == "__true__" || slices.Contains([]string{"true", "t", "1", "y", "yes"}, strings.ToLower(text))
		return func(v fact) bool { return v.there && (v.n == 1) == want }, nil
	case plan.Long, plan.Integer:
		if !wholeNumber.MatchString(text) {
			return nil, refuse("Bad value for parameter %s: not a valid int", f.Name)
		}
		want, _ := new(big.Int).SetString(strings.ReplaceAll(strings.TrimSpace(text), "_", ""), 10)
		return func(v fact) bool { return v.there && side(sign, big.NewInt(v.n).Cmp(want)) }, nil
	case plan.Double:
		if !realNumber.MatchString(text) {
			return nil, refuse("Bad value for parameter %s: not a valid float", f.Name)
		}
		want, _ := new(big.Float).SetString(strings.ReplaceAll(strings.TrimSpace(text), "_", ""))
		near, _ := want.Float64()
		return func(v fact) bool { return v.there && side(sign, big.NewFloat(v.x).Cmp(big.NewFloat(near))) }, nil
	case plan.Instant:
		at, ok := moment(text)
		if !ok {
			return nil, refuse("Bad value for parameter %s: not a valid datetime", f.Name)
		}
		return func(v fact) bool { return v.there && side(sign, big.NewInt(v.n).Cmp(big.NewInt(at.UnixMicro()))) }, nil
	}
	var fits func(string) bool
	switch sign {
	case "=":
		fits = func(s string) bool { return s == text }
	case "~":
		fits = func(s string) bool { return wild("*"+text+"*", s) }
	case "^":
		fits = func(s string) bool { return wild(text+"*", s) }
	case "$":
		fits = func(s string) bool { return wild("*"+text, s) }
	case "@":
		re := regexpOf(text)
		if !re.sound {
			return nil, refuse("Bad value for parameter %s: ", f.Name) // goes on with what is wrong
		}
		fits = re.match
	default:
		return plainly(f, text), nil
	}
	known := map[string]bool{} // crashes share values
	return func(v fact) bool {
		return slices.ContainsFunc(compared(f, v), func(s string) bool {
			yes, ok := known[s]
			if !ok {
				yes = fits(s)
				known[s] = yes
			}
			return yes
		})
	}, nil
}

// plainly is the test without an operator.
func plainly(f *plan.Field, text string) func(fact) bool {
	switch {
	case f.Whole, f.Storage == plan.Keyword:
		return func(v fact) bool { return slices.Contains(v.texts, text) }
	case f.Storage == plan.Semicolon:
		want := compared(f, fact{texts: []string{text}})
		return func(v fact) bool {
			return slices.ContainsFunc(compared(f, v), func(s string) bool { return slices.Contains(want, s) })
		}
	}
	want := wordsOf(text)
	return func(v fact) bool {
		return slices.ContainsFunc(v.texts, func(s string) bool {
			return slices.ContainsFunc(wordsOf(s), func(w string) bool { return slices.Contains(want, w) })
		})
	}
}

func side(sign string, compared int) bool {
	switch sign {
	case ">=":
		return compared >= 0
	case "<=":
		return compared <= 0
	case "<":
		return compared < 0
	case ">":
		return compared > 0
	}
	return compared == 0
}

func moment(s string) (time.Time, bool) {
	for _, form := range []string{"2006-01-02", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339, "2006-01-02 15:04:05Z07:00"} {
		if at, err := time.Parse(form, s); err == nil { // the forms take fractions as well
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// dates gives the first microsecond and the one after the last.
func (n *naive) dates(values []string) (from, to int64, err *refused) {
	const second = 1_000_000
	var lows, highs []int64
	for _, text := range values {
		sign := ""
		for _, s := range signs[plan.Date] {
			if strings.HasPrefix(text, s) {
				sign, text = s, text[len(s):]
				break
			}
		}
		if sign == "" {
			return 0, 0, refuse("date must have a prefix operator")
		}
		at, ok := moment(text)
		if !ok {
			return 0, 0, refuse("Bad value for parameter date: not a valid datetime")
		}
		sec := floorTo(at.UnixMicro(), second)
		switch sign {
		case ">=":
			lows = append(lows, sec)
		case ">":
			lows = append(lows, sec+second)
		case "<":
			highs = append(highs, sec)
		case "<=":
			highs = append(highs, sec+second)
		}
	}
	to = floorTo(n.now.UnixMicro(), second) + second
	if len(highs) > 0 {
		to = slices.Min(highs)
	}
	week := int64(7 * 24 * 3600 * second)
	switch {
	case len(lows) > 0:
		from = slices.Max(lows)
	case len(highs) > 0:
		from = to - week
	default:
		from = to - second - week
	}
	if to-from > 365*24*3600*second+second {
		return 0, 0, refuse("Date range is bigger than 365 days")
	}
	return from, to, nil
}
