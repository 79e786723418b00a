package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/lucene"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// model is a search engine that is too simple to be wrong in an interesting
// way: it looks at every crash for every question.
type model struct {
	fields *plan.Fields
	docs   map[[16]byte]search.Doc
}

func newModel(fields *plan.Fields) *model {
	return &model{fields: fields, docs: map[[16]byte]search.Doc{}}
}

// Index implements search.Engine.
func (m *model) Index(_ context.Context, docs []search.Doc) error {
	for _, d := range docs {
		m.docs[d.ID] = d
	}
	return nil
}

// Delete implements search.Engine.
func (m *model) Delete(_ context.Context, ids []string) error {
	for _, id := range ids {
		if bin, ok := search.ParseID(id); ok {
			delete(m.docs, bin)
		}
	}
	return nil
}

// Search implements search.Engine, but for cursors.
func (m *model) Search(_ context.Context, p *plan.Plan) (*search.Result, error) {
	var found []*search.Doc
	for _, d := range m.docs {
		ok := d.Date >= p.From && d.Date < p.To
		for _, e := range p.Filters {
			yes, err := m.test(&d, e)
			if err != nil {
				return nil, fault.As(fault.Invalid, err, "super search")
			}
			ok = ok && yes
		}
		if ok {
			found = append(found, &d)
		}
	}
	m.sort(found, p.Sort)
	res := &search.Result{Hits: []search.Hit{}, Total: int64(len(found)), Facets: search.Facets{}, Errors: []search.Error{}}
	for i := range p.Aggs {
		res.Facets[p.Aggs[i].Name] = m.aggregate(&p.Aggs[i], found, p.FacetSize)
	}
	for _, d := range found[min(p.Offset, len(found)):min(p.Offset+p.Number, len(found))] {
		res.Hits = append(res.Hits, m.hit(d, p.Columns))
	}
	return res, nil
}

// value is what a crash has in a field.
func (m *model) value(d *search.Doc, f *plan.Field) any {
	switch f.Name {
	case plan.IDField:
		return search.FormatID(d.ID)
	case plan.DateField:
		return d.Date
	}
	for i := range m.fields.All() {
		if m.fields.All()[i].Name == f.Name {
			if list, ok := d.Values[i].([]string); ok && len(list) == 0 {
				return nil
			}
			return d.Values[i]
		}
	}
	return nil
}

// whole are the values that a string field is compared and counted by.
func whole(f *plan.Field, v any) []string {
	var list []string
	switch v := v.(type) {
	case string:
		list = []string{v}
	case []string:
		list = v
	}
	if f.Storage != plan.Semicolon {
		return list
	}
	var out []string
	for _, s := range list {
		out = append(out, text.Tokens(s)...)
	}
	return out
}

func (m *model) test(d *search.Doc, e *plan.Expr) (bool, error) {
	switch e.Op {
	case plan.Never:
		return false, nil
	case plan.Not:
		ok, err := m.test(d, e.Args[0])
		return !ok, err
	case plan.And, plan.Or:
		all, any := true, false
		for _, a := range e.Args {
			ok, err := m.test(d, a)
			if err != nil {
				return false, err
			}
			all, any = all && ok, any || ok
		}
		return any && (all || e.Op == plan.Or), nil
	}
	v := m.value(d, e.Field)
	switch e.Op {
	case plan.Null:
		return v == nil, nil
	case plan.IsBool:
		return v == e.Bool, nil
	case plan.IntRange:
		n, ok := v.(int64)
		return ok && n >= e.Lo && n <= e.Hi, nil
	case plan.Real:
		n, ok := v.(float64)
		return ok && n >= e.FLo && n <= e.FHi && (n > e.FLo || !e.OpenLo) && (n < e.FHi || !e.OpenHi), nil
	}
	match, err := matcher(e)
	return err == nil && slices.ContainsFunc(whole(e.Field, v), match), err
}

// matcher makes the test of one string.
func matcher(e *plan.Expr) (func(string) bool, error) {
	f := e.Field
	words := f.Storage == plan.Text
	equal := func(s string) bool { return s == e.Text }
	switch e.Op {
	case plan.Match:
		switch {
		case words:
			want := text.Split(e.Text)
			return func(s string) bool {
				return slices.ContainsFunc(text.Split(s), func(w string) bool { return slices.Contains(want, w) })
			}, nil
		case f.Storage == plan.Semicolon:
			return func(s string) bool { return slices.Contains(text.Tokens(e.Text), s) }, nil
		}
		return equal, nil
	case plan.Equal:
		return equal, nil
	case plan.Phrase, plan.WordPrefix:
		return phrase(e, words), nil
	}
	if f.Name == plan.IDField {
		return func(string) bool { return false }, nil
	}
	pattern, compile := e.Text, lucene.Wildcard
	switch e.Op {
	case plan.Contains:
		pattern = "*" + pattern + "*"
	case plan.Prefix:
		pattern += "*"
	case plan.Suffix:
		pattern = "*" + pattern
	default:
		compile = lucene.Regexp
	}
	dfa, err := compile(pattern)
	if err != nil {
		return nil, &plan.Error{Param: f.Name, Message: "Bad value for parameter " + f.Name + ": " + err.Error()}
	}
	return func(s string) bool { return dfa.Match([]byte(s)) }, nil
}

func phrase(e *plan.Expr, words bool) func(string) bool {
	begun := e.Op == plan.WordPrefix
	if !words {
		value := e.Text
		if e.Field.Storage == plan.Semicolon {
			value = text.Lower(value)
		}
		return func(s string) bool {
			return s == value || begun && e.Field.Name != plan.IDField && strings.HasPrefix(s, value)
		}
	}
	want := text.Split(e.Text)
	return func(s string) bool {
		have := text.Split(s)
		for at := 0; len(want) > 0 && at+len(want) <= len(have); at++ {
			ok := true
			for i, w := range want {
				ok = ok && (have[at+i] == w || begun && i == len(want)-1 && strings.HasPrefix(have[at+i], w))
			}
			if ok {
				return true
			}
		}
		return false
	}
}

// sort puts crashes in order, the newest first when none is given.
func (m *model) sort(list []*search.Doc, order []plan.Order) {
	if len(order) == 0 {
		order = []plan.Order{{Field: m.fields.Get(plan.DateField), Desc: true}}
	}
	slices.SortFunc(list, func(a, b *search.Doc) int {
		for _, o := range order {
			x, y := m.sortKey(a, o), m.sortKey(b, o)
			switch {
			case x == nil && y == nil:
				continue
			case x == nil:
				return 1
			case y == nil:
				return -1
			}
			if c := compare(x, y); c != 0 && o.Desc {
				return -c
			} else if c != 0 {
				return c
			}
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
}

// sortKey is the least value of a field, or the greatest when descending.
func (m *model) sortKey(d *search.Doc, o plan.Order) any {
	v := m.value(d, o.Field)
	if !o.Field.Storage.IsString() {
		return v
	}
	list := whole(o.Field, v)
	switch {
	case len(list) == 0:
		return nil
	case o.Desc:
		return slices.Max(list)
	}
	return slices.Min(list)
}

func compare(a, b any) int {
	switch x := a.(type) {
	case string:
		return strings.Compare(x, b.(string))
	case int64:
		return cmp.Compare(x, b.(int64))
	case float64:
		return cmp.Compare(x, b.(float64))
	case bool:
		if x == b.(bool) {
			return 0
		}
		if x {
			return 1
		}
	}
	return -1
}

// keys are the buckets of an aggregation that a crash is in.
func (m *model) keys(d *search.Doc, a *plan.Agg) []any {
	v := m.value(d, a.Field)
	if a.Field.Storage.IsString() {
		seen := map[any]bool{}
		for _, s := range whole(a.Field, v) {
			seen[s] = true
		}
		return slices.Collect(maps.Keys(seen))
	}
	switch v := v.(type) {
	case int64:
		switch {
		case a.Field.Storage == plan.Instant && a.Kind == plan.Histogram:
			return []any{start(time.UnixMicro(v).UTC(), a.Calendar).UnixMicro()}
		case a.Field.Storage == plan.Instant:
			return []any{time.UnixMicro(v).Truncate(time.Millisecond).UnixMicro()}
		case a.Kind == plan.Histogram:
			return []any{math.Floor(float64(v)/a.Interval) * a.Interval}
		}
	case float64:
		if a.Kind == plan.Histogram {
			return []any{math.Floor(v/a.Interval) * a.Interval}
		}
	case nil:
		return nil
	}
	return []any{v}
}

// start is the beginning of the calendar interval that holds t.
func start(t time.Time, c plan.Calendar) time.Time {
	y, mo, d := t.Date()
	switch c {
	case plan.Minute:
		return t.Truncate(time.Minute)
	case plan.Hour:
		return t.Truncate(time.Hour)
	case plan.Week:
		d -= (int(t.Weekday()) + 6) % 7
	case plan.Month:
		d = 1
	case plan.Quarter:
		mo, d = (mo-1)/3*3+1, 1
	case plan.Year:
		mo, d = 1, 1
	}
	return time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)
}

func (m *model) aggregate(a *plan.Agg, docs []*search.Doc, size int) *search.Facet {
	groups := map[any][]*search.Doc{}
	for _, d := range docs {
		for _, k := range m.keys(d, a) {
			groups[k] = append(groups[k], d)
		}
	}
	if a.Kind == plan.Cardinality {
		return &search.Facet{IsNumber: true, Cardinality: int64(len(groups))}
	}
	keys := slices.Collect(maps.Keys(groups))
	slices.SortFunc(keys, func(x, y any) int {
		if c := cmp.Compare(len(groups[y]), len(groups[x])); c != 0 && a.Kind == plan.Terms {
			return c
		}
		return compare(x, y)
	})
	if a.Kind == plan.Terms {
		keys = keys[:min(size, len(keys))]
	}
	out := &search.Facet{}
	for _, k := range keys {
		b := search.Bucket{Term: termOf(a, k), Count: int64(len(groups[k]))}
		if len(a.Subs) > 0 {
			b.Facets = search.Facets{}
		}
		for i := range a.Subs {
			b.Facets[a.Subs[i].Name] = m.aggregate(&a.Subs[i], groups[k], size)
		}
		out.Buckets = append(out.Buckets, b)
	}
	return out
}

func termOf(a *plan.Agg, key any) any {
	switch k := key.(type) {
	case bool:
		if k {
			return "T"
		}
		return "F"
	case float64:
		return search.Real(k)
	case int64:
		if a.Field.Storage == plan.Instant {
			return time.UnixMicro(k).UTC().Format("2006-01-02T15:04:05Z")
		}
	}
	return key
}

func (m *model) hit(d *search.Doc, columns []*plan.Field) search.Hit {
	hit := search.Hit{}
	for _, f := range columns {
		v := m.value(d, f)
		if n, ok := v.(int64); ok && f.Storage == plan.Instant {
			v = search.FormatDate(n)
			if f.Name == plan.DateField {
				for i := range m.fields.All() {
					if s, ok := d.Values[i].(string); ok && m.fields.All()[i].Name == f.Name {
						v = s
					}
				}
			}
		}
		if list, ok := v.([]string); ok {
			if f.Storage == plan.Semicolon {
				v = strings.Join(list, ";")
			} else if len(list) == 1 {
				v = list[0]
			}
		}
		hit[f.Name] = v
	}
	return hit
}
