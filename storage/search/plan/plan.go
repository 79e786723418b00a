// Package plan reads the query language of Socorro's Super Search into a typed
// plan that any engine can execute.
//
// In: the parameters of a request, the field table, the permissions of the
// viewer, the time. Out: a Plan, or an error that names the parameter. Parsing
// is pure: no clock, no index, no network. Both engines, the pages and the
// command line share it, so a query means the same everywhere.
//
// The language is that of Crash Stats (documentation page "Super Search"): a
// parameter is a field, its value an operator and a text, "!" negates; names
// with an underscore steer columns, sorting, paging and aggregations. Within
// one field the prefixed values stand first as given, then the negated plain
// values as one group, then the plain ones: a range is ANDed to what stands
// before it, all else is ORed. Fields are ANDed.
//
// It does not execute anything, and it does not tokenise: what the words of a
// text are is the engine's business.
package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Op is what a node of an expression does.
type Op uint8

// The operators of expressions; those from Match on are leaves.
const (
	Never      Op = iota // no document
	And                  // all of Args
	Or                   // any of Args
	Not                  // not Args[0]
	Match                // a word of Text is a word of the field; keyword: the whole value
	Equal                // whole value is Text
	Contains             // * and ? in Text are live
	Prefix               // the same
	Suffix               // the same
	Regexp               // Lucene regular expression on the whole value
	Null                 // absent
	IntRange             // Lo ≤ value ≤ Hi
	Real                 // FLo … FHi
	IsBool               // equals Bool
	Phrase               // the words of Text stand in the field side by side and in order; keyword: the whole value
	WordPrefix           // a word of the field begins with the last word of Text, the words before stand in front of it; keyword: the value begins with Text
)

var opNames = [...]string{"never", "and", "or", "not", "match", "equal", "contains", "prefix", "suffix", "regexp", "null", "range", "range", "is", "phrase", "word prefix"}

// String is the operator's name in _return_query.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Expr is a node of a filter: a combination of Args, or a leaf on Field.
type Expr struct {
	Op    Op
	Args  []*Expr
	Field *Field

	Text       string
	Lo, Hi     int64 // IntRange, both included; Instant fields: microseconds since 1970
	FLo, FHi   float64
	OpenLo     bool // Real: FLo itself is outside
	OpenHi     bool
	Bool       bool
	sourceText string // the value as given, for MarshalJSON
}

// Wildcard is the pattern for the whole value that Contains, Prefix and Suffix
// mean.
func (e *Expr) Wildcard() string {
	switch e.Op {
	case Prefix:
		return e.Text + "*"
	case Suffix:
		return "*" + e.Text
	}
	return "*" + e.Text + "*"
}

// Kind is the sort of an aggregation.
type Kind uint8

// The aggregations.
const (
	Terms       Kind = iota // one bucket per value
	Histogram               // one bucket per interval
	Cardinality             // number of distinct values
)

// Calendar is the length of a date histogram's interval.
type Calendar uint8

// The calendar intervals; weeks begin on Monday, all in UTC.
const (
	Minute Calendar = iota + 1
	Hour
	Day
	Week
	Month
	Quarter
	Year
)

// Agg is one aggregation and what is aggregated inside each of its buckets.
type Agg struct {
	Name     string // key in the answer
	Kind     Kind
	Field    *Field
	Calendar Calendar // Histogram of an Instant field
	Interval float64  // Histogram of a number
	// Holding, on the first level of Terms, asks for Most values that hold this,
	// whatever the case, those that begin so first. An engine may give the
	// commonest of all instead, as many as of any other facet.
	Holding string
	Most    int
	Subs    []Agg
}

// Order is one key of the sort order; documents without the field come last
// either way.
type Order struct {
	Field *Field
	Desc  bool
}

// OrderName names a sort order: a cursor goes on in the one it was made in.
func OrderName(order []Order) string {
	var b strings.Builder
	for _, o := range order {
		if o.Desc {
			b.WriteByte('-')
		}
		b.WriteString(o.Field.Name)
		b.WriteByte(' ')
	}
	return b.String()
}

// Plan is a parsed query.
type Plan struct {
	From, To    int64 // microseconds since 1970, From included, To not
	Filters     []*Expr
	Columns     []*Field // of hits
	Sort        []Order
	Offset      int
	Number      int
	FacetSize   int
	Aggs        []Agg
	Cursor      string // continue after the hit that this names; "" starts at Offset
	WantCursor  bool   // the answer should name its last hit
	ReturnQuery bool   // answer the plan itself
	Warnings    []string
}

// Limits of the language (Socorro's own), each answered with an error.
const (
	MaxResults  = 1_000
	MaxWindow   = 10_000
	MaxFacets   = 10_000
	MaxSpan     = 365 * 24 * time.Hour
	DefaultSpan = 7 * 24 * time.Hour
	// maxValues and maxLength bound what one request can make an engine do: a
	// URL of a browser holds far less.
	maxValues = 2_000
	maxLength = 64 << 10
)

// Weeks names the weekly indices the plan's dates touch, oldest first, as
// Socorro does: socorro%Y%W.
func (p *Plan) Weeks() []string {
	var out []string
	if p.To <= p.From {
		return out
	}
	from, to := time.UnixMicro(p.From).UTC(), time.UnixMicro(p.To-1).UTC()
	for d := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, time.UTC); !d.After(to); d = d.AddDate(0, 0, 1) {
		name := IndexName(d)
		if len(out) == 0 || out[len(out)-1] != name {
			out = append(out, name)
		}
		if len(out) > 200 { // MaxSpan gives 54 at most
			break
		}
	}
	return out
}

// IndexName is the name of the weekly index of an instant.
func IndexName(t time.Time) string {
	y, w := Week0(t)
	return fmt.Sprintf("socorro%04d%02d", y, w)
}

// Week0 is strftime's %Y and %W in UTC: weeks begin on Monday, days before the
// first Monday of the year are in week 0.
func Week0(t time.Time) (year, week int) {
	t = t.UTC()
	return t.Year(), (t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7
}

// MarshalJSON shows the plan for _return_query.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type order struct {
		Field string `json:"field"`
		Desc  bool   `json:"desc,omitempty"`
	}
	out := struct {
		From    string   `json:"from"`
		To      string   `json:"to"`
		Filters []*Expr  `json:"filters"`
		Columns []string `json:"columns"`
		Sort    []order  `json:"sort"`
		Offset  int      `json:"offset"`
		Number  int      `json:"number"`
		Facets  int      `json:"facets_size"`
		Aggs    []Agg    `json:"aggregations"`
	}{From: stamp(p.From), To: stamp(p.To), Filters: p.Filters, Offset: p.Offset, Number: p.Number, Facets: p.FacetSize, Aggs: p.Aggs,
		Columns: []string{}, Sort: []order{}}
	for _, c := range p.Columns {
		out.Columns = append(out.Columns, c.Name)
	}
	for _, s := range p.Sort {
		out.Sort = append(out.Sort, order{s.Field.Name, s.Desc})
	}
	return json.Marshal(out)
}

func stamp(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano) }

// MarshalJSON shows an expression for _return_query.
func (e *Expr) MarshalJSON() ([]byte, error) {
	if e.Op <= Not {
		return json.Marshal(struct {
			Op   string  `json:"op"`
			Args []*Expr `json:"args,omitempty"`
		}{e.Op.String(), e.Args})
	}
	out := struct {
		Op    string `json:"op"`
		Field string `json:"field,omitempty"`
		Value string `json:"value,omitempty"`
	}{Op: e.Op.String(), Value: e.sourceText}
	if e.Field != nil {
		out.Field = e.Field.Name
	}
	return json.Marshal(out)
}

// MarshalJSON shows an aggregation for _return_query.
func (a Agg) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name     string `json:"name"`
		Field    string `json:"field"`
		Kind     string `json:"kind"`
		Interval string `json:"interval,omitempty"`
		Subs     []Agg  `json:"aggregations,omitempty"`
	}{a.Name, a.Field.Name, [...]string{"terms", "histogram", "cardinality"}[a.Kind], a.interval(), a.Subs})
}

func (a Agg) interval() string {
	switch {
	case a.Kind != Histogram:
		return ""
	case a.Calendar != 0:
		return [...]string{"", "minute", "hour", "day", "week", "month", "quarter", "year"}[a.Calendar]
	}
	return fmt.Sprint(a.Interval)
}

// Error is a parameter that cannot be taken.
type Error struct {
	Param   string
	Message string
	Form    bool // the value has not even the right form; Socorro answers these under another key
}

// Error is the message as Socorro words it.
func (e *Error) Error() string { return e.Message }

func bad(param, format string, args ...any) *Error {
	return &Error{Param: param, Message: fmt.Sprintf(format, args...)}
}
