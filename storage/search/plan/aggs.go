package plan

import (
	"math"
	"sort"
	"strconv"
	"strings"
)

// chains are the nested aggregation parameters that Socorro knows besides the
// single fields.
var chains = map[string]bool{
	"product.version": true,
	"android_cpu_abi.android_manufacturer.android_model": true,
}

// maxDepth is the number of levels of nested aggregations, the values of the
// parameter included; maxAggs bounds the tree of one request.
const (
	maxDepth = 4
	maxAggs  = 500
)

// aggregations reads _facets, _aggs.*, _histogram.* and _histogram_interval.*.
func (p *parser) aggregations() *Error {
	names := make([]string, 0, 8)
	for name := range p.values {
		if strings.HasPrefix(name, "_aggs.") || strings.HasPrefix(name, "_histogram") {
			names = append(names, name)
		}
	}
	// Deeper chains first: _aggs.product replaces what _aggs.product.version made.
	sort.Slice(names, func(i, j int) bool {
		a, b := names[i], names[j]
		if ha, hb := strings.HasPrefix(a, "_histogram"), strings.HasPrefix(b, "_histogram"); ha != hb {
			return ha
		}
		if da, db := strings.Count(a, "."), strings.Count(b, "."); da != db {
			return da > db
		}
		return a < b
	})
	if err := p.intervals(names); err != nil {
		return err
	}
	facets, err := p.members("_facets", p.given("_facets"))
	if err != nil {
		return err
	}
	if len(facets) == 0 {
		if facets, err = p.members("_facets", []string{"signature"}); err != nil {
			facets = nil // a field table without signatures
		}
	}
	for _, a := range facets {
		p.put(a)
	}
	for _, name := range names {
		if err := p.nested(name); err != nil {
			return err
		}
	}
	if p.plan.FacetSize == 0 {
		p.plan.Aggs = nil
	}
	return p.countAggs()
}

func (p *parser) countAggs() *Error {
	n := len(p.plan.Aggs)
	for i := range p.plan.Aggs {
		for level := p.plan.Aggs[i].Subs; len(level) > 0; level = level[0].Subs { // chains have one member on each level but the last
			n += len(level)
		}
	}
	if n > maxAggs {
		return bad("_aggs", "too many aggregations: %d, at most %d", n, maxAggs)
	}
	return nil
}

// put adds an aggregation or replaces the one of the same name.
func (p *parser) put(a Agg) {
	for i := range p.plan.Aggs {
		if p.plan.Aggs[i].Name == a.Name {
			p.plan.Aggs[i] = a
			return
		}
	}
	p.plan.Aggs = append(p.plan.Aggs, a)
}

// nested reads one _aggs.a.b= or _histogram.f= parameter.
func (p *parser) nested(name string) *Error {
	var path []string
	switch {
	case strings.HasPrefix(name, "_histogram_interval."):
		return nil
	case strings.HasPrefix(name, "_histogram."):
		path = []string{name}
	default:
		chain := strings.TrimPrefix(name, "_aggs.")
		path = strings.Split(chain, ".")
		if len(path) > 1 && !chains[chain] && (!p.opts.AnyAggs || len(path) >= maxDepth) {
			return nil
		}
	}
	levels := make([]Agg, 0, len(path))
	for _, one := range path {
		f := p.fields.Get(strings.TrimPrefix(one, "_histogram."))
		if f == nil || (one != f.Name && !f.Histogram) || !p.readable(f) {
			return nil // not a parameter of the language, or not this viewer's
		}
		a, err := p.member(name, one)
		if err != nil || a == nil {
			return err
		}
		levels = append(levels, *a)
	}
	subs, err := p.members(name, p.given(name))
	if err != nil || len(subs) == 0 {
		return err
	}
	for i := len(levels) - 1; i >= 0; i-- {
		levels[i].Subs = subs
		subs = []Agg{levels[i]}
	}
	p.put(subs[0])
	return nil
}

// members reads the values of an aggregation parameter, each once.
func (p *parser) members(param string, values []string) ([]Agg, *Error) {
	var out []Agg
	seen := map[string]bool{}
	for _, v := range values {
		a, err := p.member(param, v)
		if err != nil {
			return nil, err
		}
		if a != nil && !seen[a.Name] {
			seen[a.Name] = true
			out = append(out, *a)
		}
	}
	return out, nil
}

// member reads field, _histogram.field or _cardinality.field; nil when the
// viewer's kind has it dropped.
func (p *parser) member(param, value string) (*Agg, *Error) {
	a := Agg{}
	name := value
	if rest, ok := strings.CutPrefix(value, "_cardinality."); ok {
		name, a.Kind, a.Name = rest, Cardinality, "cardinality_"+rest
	} else if rest, ok := strings.CutPrefix(value, "_histogram."); ok {
		name, a.Kind, a.Name = rest, Histogram, "histogram_"+rest
	} else {
		a.Name = name
	}
	a.Field = p.fields.Get(name)
	if a.Field == nil || (a.Kind == Histogram && !a.Field.Histogram) {
		if p.redacted {
			return nil, nil
		}
		return nil, bad(param, "Unknown field '%s'", value)
	}
	if !p.readable(a.Field) {
		return nil, nil
	}
	if a.Kind == Histogram {
		err := p.interval(&a)
		return &a, err
	}
	return &a, nil
}

var calendars = map[string]Calendar{
	"minute": Minute, "1m": Minute, "hour": Hour, "1h": Hour, "day": Day, "1d": Day, "week": Week, "1w": Week,
	"month": Month, "1M": Month, "quarter": Quarter, "1q": Quarter, "year": Year, "1y": Year,
}

// intervals checks every interval given, used or not.
func (p *parser) intervals(names []string) *Error {
	for _, name := range names {
		field, ok := strings.CutPrefix(name, "_histogram_interval.")
		if !ok {
			continue
		}
		if f := p.fields.Get(field); f != nil && f.Histogram {
			a := Agg{Field: f}
			if err := p.interval(&a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) interval(a *Agg) *Error {
	name := "_histogram_interval." + a.Field.Name
	given := p.given(name)
	value := ""
	if len(given) > 0 {
		value = strings.TrimSpace(given[len(given)-1])
	}
	wrong := bad(name, "Bad value for parameter(s) '%s'", name)
	switch a.Field.Storage {
	case Instant:
		if value == "" {
			value = "day"
		}
		if a.Calendar = calendars[value]; a.Calendar == 0 {
			return wrong
		}
	case Double:
		v, err := strconv.ParseFloat(value, 64)
		if value == "" {
			v, err = 1, nil
		}
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return &Error{Param: name, Message: "Enter a number.", Form: true}
		}
		if a.Interval = v; v <= 0 {
			return wrong
		}
	default:
		n, over, ok := parseInt(value)
		if value == "" {
			n, over, ok = 1, 0, true
		}
		if !ok {
			return &Error{Param: name, Message: "Enter a whole number.", Form: true}
		}
		if a.Interval = float64(n); n <= 0 || over != 0 {
			return wrong
		}
	}
	return nil
}
