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
// are values of several fields, each with its field's name. A field that the
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
	var warnings []string
	for _, f := range list {
		buckets, warned, err := fieldValues(ctx, engine, fields, rq, f, typed, each)
		if err != nil {
			return failure(err)
		}
		warnings = warned
		for _, b := range buckets {
			one := completed{Term: b.Term, Count: b.Count}
			if field == box {
				one.Field = f.Name
			}
			found = append(found, one)
		}
	}
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

// fieldValues finds the values of one field; the request's filters on the field
// itself do not count, as they are what is being typed.
func fieldValues(ctx context.Context, engine Engine, fields *plan.Fields, rq Request, f *plan.Field, typed string, most int) ([]Bucket, []string, error) {
	values := url.Values{}
	for name, list := range rq.Values {
		if fields.Get(name) != nil && name != f.Name {
			values[name] = list
		}
	}
	values["_facets"], values["_facets_size"], values["_results_number"] = []string{f.Name}, []string{fmt.Sprint(plan.MaxFacets)}, []string{"0"}
	p, err := plan.Parse(values, fields, rq.Viewer, rq.Options)
	if err != nil {
		return nil, nil, err
	}
	if !rq.Viewer.MayRead(f) {
		return nil, p.Warnings, nil
	}
	found, err := completions(ctx, engine, p, f, typed, most)
	return found, p.Warnings, err
}

func completions(ctx context.Context, engine Engine, p *plan.Plan, f *plan.Field, typed string, most int) ([]Bucket, error) {
	filters := p.Filters
	if f.Storage == plan.Text && typed != "" { // words narrow the search before values are counted
		p.Filters = append(slices.Clip(filters), &plan.Expr{Op: plan.Or, Args: []*plan.Expr{
			{Op: plan.WordPrefix, Field: f, Text: typed}, begins(f, typed)}})
	}
	terms, err := values(ctx, engine, p, f)
	if err != nil {
		return nil, err
	}
	if len(terms) >= plan.MaxFacets && f.Storage.IsString() && f.Name != plan.IDField && typed != "" { // what is asked for may be among the rare ones
		p.Filters = append(slices.Clip(filters), begins(f, typed))
		more, err := values(ctx, engine, p, f)
		if err != nil {
			return nil, err
		}
		for _, b := range more {
			if !slices.ContainsFunc(terms, func(t Bucket) bool { return t.Term == b.Term }) {
				terms = append(terms, b)
			}
		}
	}
	typed = strings.ToLower(typed)
	rank := func(b Bucket) int { return strings.Index(strings.ToLower(fmt.Sprint(b.Term)), typed) }
	terms = slices.DeleteFunc(terms, func(b Bucket) bool { return rank(b) < 0 })
	slices.SortStableFunc(terms, func(a, b Bucket) int {
		return cmp.Or(cmp.Compare(min(rank(a), 1), min(rank(b), 1)), cmp.Compare(b.Count, a.Count))
	})
	return terms[:min(len(terms), most)], nil
}

func values(ctx context.Context, engine Engine, p *plan.Plan, f *plan.Field) ([]Bucket, error) {
	r, err := engine.Search(ctx, p)
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
