package opensearch

import (
	"math"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/storage/search/lucene"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// object is a piece of a request's JSON.
type object = map[string]any

// filters translates plans into the query language of the cluster.
type filters struct {
	columns map[*plan.Field]*column
}

func matchNone() object { return object{"match_none": object{}} }

func boolQuery(kind string, list ...any) object { return object{"bool": object{kind: list}} }

// query is the whole filter of a plan.
func (f *filters) query(p *plan.Plan, date *column) (object, error) {
	if p.To <= p.From {
		return matchNone(), nil
	}
	all := []any{object{"range": object{date.exact: object{"gte": p.From, "lt": p.To}}}}
	for _, e := range p.Filters {
		one, err := f.expr(e)
		if err != nil {
			return nil, fault.As(fault.Invalid, err, "super search")
		}
		all = append(all, one)
	}
	return boolQuery("filter", all...), nil
}

// expr translates an expression, which is three levels deep at most.
func (f *filters) expr(e *plan.Expr) (object, error) {
	switch e.Op {
	case plan.Never:
		return matchNone(), nil
	case plan.Not:
		one, err := f.expr(e.Args[0])
		return boolQuery("must_not", one), err
	case plan.And, plan.Or:
		return f.combine(e)
	}
	c := f.columns[e.Field]
	if c == nil {
		return nil, fault.New(fault.Internal, "field %q is not of the index", e.Field.Name)
	}
	return f.leaf(c, e)
}

func (f *filters) combine(e *plan.Expr) (object, error) {
	var list []any
	var err error
	for _, a := range gather(e) {
		one, ferr := f.expr(a)
		if ferr != nil {
			return nil, ferr
		}
		list = append(list, one)
	}
	switch {
	case len(list) == 0:
		return matchNone(), err
	case e.Op == plan.And:
		return boolQuery("filter", list...), err
	}
	return object{"bool": object{"should": list, "minimum_should_match": 1}}, err
}

// gather lists the arguments of an Or with its tests for plain values of one
// field as one of them: the cluster bounds the clauses of a query, not the
// values of one.
func gather(e *plan.Expr) []*plan.Expr {
	if e.Op != plan.Or || len(e.Args) < 2 {
		return e.Args
	}
	out := make([]*plan.Expr, 0, len(e.Args))
	groups := map[plainKey]*plan.Expr{}
	for _, a := range e.Args {
		if a.Op != plan.Equal && a.Op != plan.Match {
			out = append(out, a)
			continue
		}
		key := plainKey{a.Field, a.Op}
		if g := groups[key]; g != nil {
			g.Args = append(g.Args, a)
			continue
		}
		g := &plan.Expr{Op: a.Op, Field: a.Field, Text: a.Text, Args: []*plan.Expr{a}}
		groups[key] = g
		out = append(out, g)
	}
	return out
}

type plainKey struct {
	field *plan.Field
	op    plan.Op
}

// values are the texts of a leaf, or of all that gather put into it.
func values(e *plan.Expr) []string {
	if len(e.Args) == 0 {
		return []string{e.Text}
	}
	out := make([]string, len(e.Args))
	for i, a := range e.Args {
		out[i] = a.Text
	}
	return out
}

func (f *filters) leaf(c *column, e *plan.Expr) (object, error) {
	switch e.Op {
	case plan.Null:
		return boolQuery("must_not", f.exists(c)), nil
	case plan.IsBool:
		return object{"term": object{c.exact: e.Bool}}, nil
	case plan.IntRange:
		return rangeQuery(c.exact, e.Lo, e.Hi), nil
	case plan.Real:
		return realRange(c.exact, e), nil
	}
	if !c.field.Storage.IsString() {
		return matchNone(), nil
	}
	if e.Op != plan.Match && e.Op != plan.Equal && e.Op != plan.Phrase && c.field.Name == plan.IDField {
		return matchNone(), nil // crash ids are compared whole, on either engine
	}
	switch e.Op {
	case plan.Phrase, plan.WordPrefix:
		return f.phrase(c, e)
	case plan.Equal:
		return terms(c.exact, values(e)), nil
	case plan.Match:
		return f.match(c, values(e)), nil
	case plan.Contains, plan.Prefix, plan.Suffix:
		return wildcard(c, e), nil
	case plan.Regexp:
		return regexp(c, e), nil
	}
	return nil, fault.New(fault.Internal, "operator %v has no translation", e.Op)
}

func (f *filters) exists(c *column) object {
	here := object{"exists": object{"field": c.exact}}
	if c.field.Storage == plan.Semicolon {
		blank := object{"term": object{blankField: c.name}}
		return object{"bool": object{"should": []any{here, blank}, "minimum_should_match": 1}}
	}
	return here
}

func terms(name string, list []string) object {
	if len(list) == 1 {
		return object{"term": object{name: list[0]}}
	}
	return object{"terms": object{name: list}}
}

// maxMatch is how many words are left to the cluster's analyser; each becomes a
// clause, and those are bounded.
const maxMatch = 500

// match finds documents that hold any of the words.
func (f *filters) match(c *column, list []string) object {
	switch {
	case c.field.Storage == plan.Semicolon:
		var words []string
		for _, v := range list {
			words = append(words, text.Tokens(v)...)
		}
		if len(words) == 0 {
			return matchNone()
		}
		return terms(c.exact, words)
	case c.field.Storage != plan.Text || c.field.Name == plan.IDField:
		return terms(c.exact, list)
	}
	all := strings.Join(list, "\n")
	words := text.Split(all)
	switch {
	case len(words) == 0:
		return matchNone()
	case isASCII(all) || len(words) > maxMatch:
		return terms(c.name, words)
	}
	// The cluster's tables of Unicode may differ from ours: it should cut the
	// question as it cut the documents.
	return object{"match": object{c.name: object{"query": all, "operator": "or"}}}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func rangeQuery(name string, lo, hi int64) object {
	if lo == hi {
		return object{"term": object{name: lo}}
	}
	r := object{}
	if lo != math.MinInt64 {
		r["gte"] = lo
	}
	if hi != math.MaxInt64 {
		r["lte"] = hi
	}
	if len(r) == 0 {
		return object{"exists": object{"field": name}}
	}
	return object{"range": object{name: r}}
}

func realRange(name string, e *plan.Expr) object {
	r := object{}
	lower, upper := "gte", "lte"
	if e.OpenLo {
		lower = "gt"
	}
	if e.OpenHi {
		upper = "lt"
	}
	// No stored value is infinite: an infinite bound is none, or excludes all.
	switch {
	case math.IsInf(e.FLo, 1), math.IsInf(e.FHi, -1):
		return matchNone()
	}
	if !math.IsInf(e.FLo, -1) {
		r[lower] = e.FLo
	}
	if !math.IsInf(e.FHi, 1) {
		r[upper] = e.FHi
	}
	if len(r) == 0 {
		return object{"exists": object{"field": name}}
	}
	return object{"range": object{name: r}}
}

// wildcard tests for a text with live * and ? at some place of the value.
func wildcard(c *column, e *plan.Expr) object {
	pattern := e.Wildcard()
	literal, plain := lucene.Literal(e.Text)
	switch {
	case plain && literal == "":
		return object{"exists": object{"field": c.exact}}
	case plain && e.Op == plan.Prefix:
		return object{"prefix": object{c.exact: object{"value": literal}}}
	case plain:
		pattern = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(literal)
		if e.Op == plan.Contains {
			pattern += "*"
		}
		pattern = "*" + pattern
	}
	return object{"wildcard": object{c.exact: object{"value": pattern}}}
}

// regexp tests the whole value: the cluster has the language of the plan.
func regexp(c *column, e *plan.Expr) object {
	return object{"regexp": object{c.exact: object{"value": e.Text, "flags": "ALL", "max_determinized_states": maxStates}}}
}

// maxStates is where a pattern counts as too complex, on either engine.
const maxStates = 10_000

const (
	// maxPhrase is the number of words of a phrase, the same on either engine.
	maxPhrase = 64
	// maxExpansions is how many words of a week may begin with the last word of
	// a phrase.
	maxExpansions = 1 << 16
)

// phrase finds words side by side, the last of them possibly begun only. A
// field without words is compared whole.
func (f *filters) phrase(c *column, e *plan.Expr) (object, error) {
	begun := e.Op == plan.WordPrefix
	value := e.Text
	switch {
	case c.field.Storage == plan.Semicolon:
		value = text.Lower(value)
		fallthrough
	case c.field.Storage != plan.Text || c.field.Name == plan.IDField:
		if begun {
			return object{"prefix": object{c.exact: object{"value": value}}}, nil
		}
		return terms(c.exact, []string{value}), nil
	}
	words := text.Split(value)
	switch {
	case len(words) > maxPhrase:
		return nil, &plan.Error{Param: "q", Message: "Bad value for parameter q: a phrase of more than 64 words"}
	case len(words) == 0:
		return matchNone(), nil
	case len(words) == 1 && begun:
		return object{"prefix": object{c.name: object{"value": words[0]}}}, nil
	case len(words) == 1 && isASCII(value):
		return terms(c.name, words), nil
	case begun:
		return object{"match_phrase_prefix": object{c.name: object{"query": value, "max_expansions": maxExpansions}}}, nil
	}
	return object{"match_phrase": object{c.name: value}}, nil
}
