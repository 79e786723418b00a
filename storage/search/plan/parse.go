package plan

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage/search/lucene"
)

// Options steer Parse.
type Options struct {
	Now        time.Time
	Products   []string // known products; only with Strict does an unknown one fail
	Strict     bool
	Unredacted bool // unknown facets and sort keys are errors, as for a viewer with ViewPII
	// MostResults lifts the bound of _results_number, for downloads; 0 is MaxResults.
	MostResults int
	AnyAggs     bool // nested aggregations over any fields, not the two chains of Socorro alone
}

// parser holds what one Parse needs.
type parser struct {
	values   url.Values
	fields   *Fields
	viewer   Viewer
	opts     Options
	plan     *Plan
	redacted bool
	asked    map[*Field]bool // protected fields that were dropped
}

// Parse reads the parameters of a request. Names that are no field and no
// control parameter are ignored. Fields that the viewer may not read are
// dropped from filters, facets, aggregations, sort keys and columns, each with
// a line in Plan.Warnings. Errors are *Error of kind fault.Invalid.
func Parse(values url.Values, fields *Fields, viewer Viewer, opts Options) (*Plan, error) {
	p := &parser{values: values, fields: fields, viewer: viewer, opts: opts, plan: &Plan{}, asked: map[*Field]bool{},
		redacted: !opts.Unredacted && !viewer.Has(ViewPII)}
	for _, step := range []func() *Error{p.size, p.products, p.control, p.dates, p.filters, p.columns, p.sorting, p.aggregations} {
		if err := step(); err != nil {
			return nil, fault.As(fault.Invalid, err, "super search")
		}
	}
	for i := range fields.list {
		if f := &fields.list[i]; p.asked[f] {
			p.plan.Warnings = append(p.plan.Warnings, "field "+f.Name+" needs the permission "+f.Permission+": ignored")
		}
	}
	return p.plan, nil
}

// size refuses requests far larger than any real one.
func (p *parser) size() *Error {
	count := 0
	for name, list := range p.values {
		count += len(list)
		for _, v := range list {
			if len(v) > maxLength {
				return bad(name, "Bad value for parameter %s: longer than %d bytes", name, maxLength)
			}
		}
	}
	if count > maxValues {
		return bad("", "too many parameters: %d, at most %d", count, maxValues)
	}
	return nil
}

// given lists the values of a control parameter; empty ones do not count.
func (p *parser) given(name string) []string {
	var out []string
	for _, v := range p.values[name] {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

func (p *parser) products() *Error {
	if !p.opts.Strict {
		return nil
	}
	var unknown []string
	for _, v := range p.values["product"] {
		name := v
		switch {
		case strings.HasPrefix(v, "="):
			name = v[1:]
		case strings.ContainsAny(v[:min(1, len(v))], "!~^$@") || strings.HasPrefix(v, "__null__"):
			continue
		}
		if !slices.Contains(p.opts.Products, name) {
			unknown = append(unknown, v)
		}
	}
	if len(unknown) > 0 {
		return bad("product", "Not valid products: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// whole reads a whole-number control parameter.
func (p *parser) whole(name string, otherwise int) (int, *Error) {
	given := p.given(name)
	if len(given) == 0 {
		return otherwise, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(given[len(given)-1]))
	if err != nil {
		return 0, &Error{Param: name, Message: "Enter a whole number.", Form: true}
	}
	return n, nil
}

func (p *parser) control() (err *Error) {
	pl := p.plan
	if pl.Number, err = p.whole("_results_number", 100); err != nil {
		return err
	}
	if pl.Offset, err = p.whole("_results_offset", 0); err != nil {
		return err
	}
	if pl.FacetSize, err = p.whole("_facets_size", 50); err != nil {
		return err
	}
	switch {
	case pl.Number < 0:
		return bad("_results_number", "_results_number cannot be negative")
	case p.opts.MostResults == 0 && pl.Number > MaxResults:
		return bad("_results_number", "_results_number cannot be greater than 1,000")
	case p.opts.MostResults > 0 && pl.Number > p.opts.MostResults:
		return bad("_results_number", "_results_number cannot be greater than %d in a download", p.opts.MostResults)
	case pl.Offset < 0:
		return bad("_results_offset", "_results_offset cannot be negative")
	case pl.Offset > MaxWindow || p.opts.MostResults == 0 && pl.Offset+pl.Number > MaxWindow:
		return bad("_results_offset", "_results_offset + _results_number cannot be greater than 10,000")
	case pl.FacetSize < 0:
		return bad("_facets_size", "Bad value for parameter(s) '_facets_size cannot be negative'")
	case pl.FacetSize > MaxFacets:
		return bad("_facets_size", "Bad value for parameter(s) '_facets_size greater than 10,000'")
	}
	for _, v := range p.given("_return_query") {
		pl.ReturnQuery = truth(v)
	}
	for _, v := range p.values["_cursor"] {
		pl.WantCursor = true
		if v != "" && v != "*" {
			pl.Cursor = v
		}
	}
	return nil
}

// truth reads a boolean the way Socorro does.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "t", "1", "y", "yes":
		return true
	}
	return false
}

// readable drops a field the viewer may not read and remembers that it did.
func (p *parser) readable(f *Field) bool {
	if p.viewer.MayRead(f) {
		return true
	}
	p.asked[f] = true
	return false
}

func (p *parser) columns() *Error {
	names := p.given("_columns")
	if len(names) == 0 {
		names = []string{"uuid", "date", "signature", "product", "version"}
		names = slices.DeleteFunc(names, func(n string) bool { return p.fields.Get(n) == nil })
	}
	for _, name := range names {
		f := p.fields.Get(name)
		if f == nil {
			return bad("_columns", "Unknown field '%s'", name)
		}
		if p.readable(f) && !slices.Contains(p.plan.Columns, f) {
			p.plan.Columns = append(p.plan.Columns, f)
		}
	}
	return nil
}

func (p *parser) sorting() *Error {
	for _, name := range p.given("_sort") {
		bare, desc := strings.CutPrefix(name, "-")
		f := p.fields.Get(bare)
		switch {
		case f == nil && p.redacted:
			continue
		case f == nil:
			return bad("_sort", "Unknown field '%s'", bare)
		case p.readable(f):
			p.plan.Sort = append(p.plan.Sort, Order{f, desc})
		}
	}
	return nil
}

// filters reads every parameter that is a field, but for the date.
func (p *parser) filters() *Error {
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		f := p.fields.Get(name)
		if f == nil || name == DateField || len(p.values[name]) == 0 || !p.readable(f) {
			continue
		}
		e, err := p.filter(f, p.values[name])
		if err != nil {
			return err
		}
		p.plan.Filters = append(p.plan.Filters, e)
	}
	return p.anywhere()
}

// filter combines the values of one field.
func (p *parser) filter(f *Field, values []string) (*Expr, *Error) {
	var all *Expr
	var plain, plainNot []*Expr
	join := func(e *Expr, isRange bool) {
		switch {
		case all == nil:
			all = e
		case isRange:
			all = combine(And, all, e)
		default:
			all = combine(Or, all, e)
		}
	}
	for _, v := range values {
		text, negated := strings.CutPrefix(v, "!")
		op, rest := operator(f, text)
		e, err := leaf(f, op, rest)
		if err != nil {
			return nil, err
		}
		e.sourceText = text
		if op == "" && f.Type == Enum && text != "" && strings.ContainsAny(text[:1], "=~^$@") {
			p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf("field %s takes no operators: %.100q is looked for as it stands", f.Name, text))
		}
		switch {
		case op == "" && negated:
			plainNot = append(plainNot, e)
		case op == "":
			plain = append(plain, e)
		case negated:
			join(&Expr{Op: Not, Args: []*Expr{e}}, ranges(op))
		default:
			join(e, ranges(op))
		}
	}
	if len(plainNot) > 0 {
		join(&Expr{Op: Not, Args: []*Expr{anyOf(plainNot)}}, false)
	}
	if len(plain) > 0 {
		join(anyOf(plain), false)
	}
	return all, nil
}

func combine(op Op, a, b *Expr) *Expr {
	if a.Op == op {
		a.Args = append(a.Args, b)
		return a
	}
	return &Expr{Op: op, Args: []*Expr{a, b}}
}

func anyOf(list []*Expr) *Expr {
	if len(list) == 1 {
		return list[0]
	}
	return &Expr{Op: Or, Args: list}
}

func ranges(op string) bool { return op == ">=" || op == "<=" || op == "<" || op == ">" }

var operators = map[Type][]string{
	Str:   {"=", "~", "$", "^", "@", "__null__"},
	Enum:  {"__null__"},
	Int:   {">=", "<=", "<", ">", "__null__"},
	Float: {">=", "<=", "<", ">", "__null__"},
	Date:  {">=", "<=", "<", ">", "__null__"},
	Bool:  {"__true__", "__null__"},
}

// operator cuts the operator from the front of a value.
func operator(f *Field, text string) (op, rest string) {
	t := f.Type
	if f.Whole {
		t = Str
	}
	for _, op := range operators[t] {
		if rest, ok := strings.CutPrefix(text, op); ok {
			return op, rest
		}
	}
	if f.BetaPrefix && strings.HasSuffix(text, "b") {
		return "^", text
	}
	return "", text
}

// leaf makes the test that one operator and value mean.
func leaf(f *Field, op, text string) (*Expr, *Error) {
	e := &Expr{Field: f, Text: text}
	switch op {
	case "__null__":
		e.Op = Null
		return e, nil
	case "__true__":
		e.Op, e.Bool = IsBool, true
		return e, nil
	}
	switch f.Storage {
	case Boolean:
		e.Op, e.Bool = IsBool, truth(text)
		return e, nil
	case Long, Integer:
		return intLeaf(e, op, text)
	case Instant:
		t, ok := parseDate(text, time.Time{})
		if !ok {
			return nil, bad(f.Name, "Bad value for parameter %s: not a valid datetime", f.Name)
		}
		return intLeaf(e, op, strconv.FormatInt(t.UnixMicro(), 10))
	case Double:
		return floatLeaf(e, op, text)
	}
	switch op {
	case "=":
		e.Op = Equal
	case "~":
		e.Op = Contains
	case "^":
		e.Op = Prefix
	case "$":
		e.Op = Suffix
	case "@":
		e.Op = Regexp
	default:
		e.Op = Match
		if f.Whole {
			e.Op = Equal
		}
	}
	return e, patterned(e)
}

// patterned refuses patterns that no engine could run, whatever crashes there
// are to run them on.
func patterned(e *Expr) *Error {
	var err error
	switch e.Op {
	case Contains, Prefix, Suffix:
		if _, plain := lucene.Literal(e.Text); !plain {
			_, err = lucene.Wildcard(e.Wildcard())
		}
	case Regexp:
		_, err = lucene.Regexp(e.Text)
	}
	if err != nil {
		return bad(e.Field.Name, "Bad value for parameter %s: %v", e.Field.Name, err)
	}
	return nil
}

func intLeaf(e *Expr, op, text string) (*Expr, *Error) {
	n, over, ok := parseInt(text)
	if !ok {
		return nil, bad(e.Field.Name, "Bad value for parameter %s: not a valid int", e.Field.Name)
	}
	e.Op, e.Lo, e.Hi = IntRange, math.MinInt64, math.MaxInt64
	switch {
	case op == "" && over != 0:
		e.Op = Never
	case op == "":
		e.Lo, e.Hi = n, n
	case over != 0: // past 64 bits: everything or nothing is on the asked side
		if (op[0] == '>') == (over > 0) {
			e.Op = Never
		}
	case op == ">=":
		e.Lo = n
	case op == "<=":
		e.Hi = n
	case op == ">" && n == math.MaxInt64, op == "<" && n == math.MinInt64:
		e.Op = Never
	case op == ">":
		e.Lo = n + 1
	default:
		e.Hi = n - 1
	}
	return e, nil
}

func floatLeaf(e *Expr, op, text string) (*Expr, *Error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if (err != nil && !math.IsInf(v, 0)) || math.IsNaN(v) || strings.ContainsAny(text, "xX") {
		return nil, bad(e.Field.Name, "Bad value for parameter %s: not a valid float", e.Field.Name)
	}
	e.Op, e.FLo, e.FHi = Real, math.Inf(-1), math.Inf(1)
	switch op {
	case "":
		e.FLo, e.FHi = v, v
	case ">=":
		e.FLo = v
	case "<=":
		e.FHi = v
	case ">":
		e.FLo, e.OpenLo = v, true
	default:
		e.FHi, e.OpenHi = v, true
	}
	return e, nil
}

// parseInt reads a whole number as Python's int() does: blanks around it, one
// sign, single underscores between digits. over is the sign of a number that
// needs more than 64 bits.
func parseInt(s string) (n int64, over int, ok bool) {
	s = strings.TrimSpace(s)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || digits[0] == '_' || digits[len(digits)-1] == '_' || strings.Contains(digits, "__") {
		return 0, 0, false
	}
	for i := 0; i < len(digits); i++ {
		if c := digits[i]; c != '_' && (c < '0' || c > '9') {
			return 0, 0, false
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil { // only the range can be wrong now
		if s[0] == '-' {
			return 0, -1, true
		}
		return 0, 1, true
	}
	return n, 0, true
}
