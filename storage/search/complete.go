package search

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// MaxValues is how many values a completion offers at most.
const MaxValues = 100

// box names the free-text parameter, and boxFields the fields whose values are
// offered there, in this order: what a report is recognised by.
const box = "q"

var boxFields = []string{"signature", "product", "version", "reason", "platform_pretty_version", "cpu_arch", "release_channel"}

// Complete offers values of a field that go on as typed, among the crashes that
// a request selects: those that begin so before those that hold it elsewhere,
// the most frequent first, whatever the case of letters. For the field "q" they
// are values of several fields, each with its field's name; what begins so comes
// first there as well, then fields come in the order of boxFields. A field that the
// viewer may not read has no values, as for a filter on it.
func Complete(ctx context.Context, engine Engine, fields *plan.Fields, rq Request, field, typed string, most int) (status int, body []byte, err error) {
	list := []*plan.Field{fields.Get(field)}
	if field == box {
		list = nil
		for _, name := range boxFields {
			if f := fields.Get(name); f != nil {
				list = append(list, f)
			}
		}
	} else if list[0] == nil {
		return failure(fault.As(fault.Invalid, &plan.Error{Param: "field", Message: fmt.Sprintf("Unknown field '%.100s'", field)}, "values"))
	}
	most = min(max(most, 1), MaxValues)
	each := most
	if field == box { // no field may take all places
		each = (most + 1) / 2
	}
	found := []completed{}
	values, warnings, err := fieldValues(ctx, engine, fields, rq, list, typed, each)
	if err != nil {
		return failure(err)
	}
	for i, f := range list {
		for _, b := range values[i][:min(len(values[i]), each)] {
			one := completed{Term: b.Term, Count: b.Count}
			if field == box {
				one.Field = f.Name
			}
			found = append(found, one)
		}
	}
	low := strings.ToLower(typed)
	slices.SortStableFunc(found, func(a, b completed) int { return cmp.Compare(place(a.Term, low), place(b.Term, low)) })
	return http.StatusOK, encode(struct {
		Field    string      `json:"field"`
		Values   []completed `json:"values"`
		Warnings []string    `json:"warnings,omitempty"`
	}{field, found[:min(len(found), most)], warnings}), nil
}

// completed is one value offered.
type completed struct {
	Field string `json:"field,omitempty"`
	Term  any    `json:"term"`
	Count int64  `json:"count"`
}

// fieldValues finds the values of some fields that hold what was typed, the best
// first. The request's filters on a field itself do not count for it, as they
// are what is being typed; fields without such are asked for in one search.
func fieldValues(ctx context.Context, engine Engine, fields *plan.Fields, rq Request, list []*plan.Field, typed string, most int) (found [][]Bucket, warnings []string, err error) {
	found = make([][]Bucket, len(list))
	var together []int
	var groups [][]int
	for i, f := range list {
		if _, filtered := rq.Values[f.Name]; filtered {
			groups = append(groups, []int{i})
		} else {
			together = append(together, i)
		}
	}
	if len(together) > 0 {
		groups = append(groups, together)
	}
	size := plan.MaxFacets
	if typed == "" { // the commonest it is
		size = most
	}
	for _, group := range groups {
		values := url.Values{"_facets_size": {fmt.Sprint(size)}, "_results_number": {"0"}}
		for name, given := range rq.Values {
			if fields.Get(name) != nil && (len(group) > 1 || name != list[group[0]].Name) {
				values[name] = given
			}
		}
		for _, i := range group {
			values.Add("_facets", list[i].Name)
		}
		p, err := plan.Parse(values, fields, rq.Viewer, rq.Options)
		if err != nil {
			return nil, nil, err
		}
		warnings = p.Warnings
		var asked []int
		for _, i := range group {
			if rq.Viewer.MayRead(list[i]) {
				asked = append(asked, i)
			}
		}
		if len(asked) == 0 {
			continue
		}
		for i := range p.Aggs {
			p.Aggs[i].Holding, p.Aggs[i].Most = typed, most
		}
		r, err := engine.Search(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		for _, i := range asked {
			if found[i], err = completions(ctx, engine, p, r.Facets[list[i].Name], list[i], typed); err != nil {
				return nil, nil, err
			}
		}
	}
	return found, warnings, nil
}

// completions picks the values of a facet that hold what was typed: those that
// begin so first.
func completions(ctx context.Context, engine Engine, p *plan.Plan, facet *Facet, f *plan.Field, typed string) ([]Bucket, error) {
	if facet == nil {
		return nil, nil
	}
	terms := facet.Buckets
	if len(terms) >= plan.MaxFacets && f.Storage.IsString() && f.Name != plan.IDField && typed != "" { // what is asked for may be among the rare ones
		more, err := rare(ctx, engine, p, f, typed)
		if err != nil {
			return nil, err
		}
		known := map[any]bool{}
		for _, t := range terms {
			known[t.Term] = true
		}
		for _, b := range more {
			if !known[b.Term] {
				terms = append(terms, b)
			}
		}
	}
	low := strings.ToLower(typed)
	terms = slices.DeleteFunc(terms, func(b Bucket) bool { return place(b.Term, low) < 0 })
	slices.SortStableFunc(terms, func(a, b Bucket) int {
		return cmp.Or(cmp.Compare(place(a.Term, low), place(b.Term, low)), cmp.Compare(b.Count, a.Count))
	})
	return terms, nil
}

// place is where a value holds a lower-case text: 0 at the beginning, 1
// elsewhere, -1 nowhere.
func place(term any, low string) int {
	return min(strings.Index(strings.ToLower(fmt.Sprint(term)), low), 1)
}

// rare finds the values of the crashes in which the field, or a word of it,
// begins as typed.
func rare(ctx context.Context, engine Engine, p *plan.Plan, f *plan.Field, typed string) ([]Bucket, error) {
	narrow := *p
	test := begins(f, typed)
	if f.Storage == plan.Text {
		test = &plan.Expr{Op: plan.Or, Args: []*plan.Expr{{Op: plan.WordPrefix, Field: f, Text: typed}, test}}
	}
	narrow.Filters = append(slices.Clip(p.Filters), test)
	narrow.Aggs = slices.DeleteFunc(slices.Clone(p.Aggs), func(a plan.Agg) bool { return a.Field != f })
	r, err := engine.Search(ctx, &narrow)
	if err != nil || r.Facets[f.Name] == nil {
		return nil, err
	}
	return r.Facets[f.Name].Buckets, nil
}

// begins is the test for values that begin with a text, wildcards taken as they
// stand.
func begins(f *plan.Field, text string) *plan.Expr {
	return &plan.Expr{Op: plan.Prefix, Field: f, Text: strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(text)}
}
