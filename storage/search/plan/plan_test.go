package plan

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayday/app/fault"
)

func table(t testing.TB) *Fields {
	t.Helper()
	f, err := NewFields([]Field{
		{Name: "uuid", Path: "uuid", Type: Enum},
		{Name: "date", Path: "date_processed", Type: Date, Storage: Instant, Histogram: true},
		{Name: "signature", Path: "signature", Storage: Text},
		{Name: "product", Path: "product", Type: Enum, Storage: Text, Whole: true},
		{Name: "version", Path: "version", Type: Enum, BetaPrefix: true},
		{Name: "platform", Path: "os_name", Type: Enum, Storage: Text},
		{Name: "uptime", Path: "uptime", Type: Int, Storage: Long, Histogram: true},
		{Name: "uptime_ts", Path: "uptime_ts", Type: Float, Storage: Double, Histogram: true},
		{Name: "startup_crash", Path: "startup_crash", Type: Bool, Storage: Boolean},
		{Name: "url", Path: "url", Permission: ViewPII},
		{Name: "comments", Path: "comments", Storage: Text, Permission: ViewPII},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var now = time.Date(2026, 9, 30, 12, 0, 0, 0, time.UTC)

// brief writes an expression on one line.
func brief(e *Expr) string {
	if e.Op <= Not {
		parts := make([]string, 0, len(e.Args))
		for _, a := range e.Args {
			parts = append(parts, brief(a))
		}
		return e.Op.String() + "(" + strings.Join(parts, " ") + ")"
	}
	return e.Op.String() + ":" + e.Text
}

func TestFilters(t *testing.T) {
	tests := []struct {
		name, query, want string
	}{
		{"plain", "signature=foo", "match:foo"},
		{"plain values are one group at the end", "signature=a&signature=~b&signature=c", "or(contains:b or(match:a match:c))"},
		{"negated plain values are one group", "signature=!a&signature=!b", "not(or(match:a match:b))"},
		{"negated prefixed values are single", "signature=!~a&signature=!~b", "or(not(contains:a) not(contains:b))"},
		{"a range is anded to what stands before", "uptime=__null__&uptime=>5", "and(null: range:5)"},
		{"a plain number stands after ranges", "uptime=5&uptime=>100", "or(range:100 range:5)"},
		{"enum signs are literal", "platform=~Lin", "match:~Lin"},
		{"product takes operators", "product=~Fire", "contains:Fire"},
		{"product plain is whole", "product=Firefox", "equal:Firefox"},
		{"beta version is a prefix", "version=143.0b", "prefix:143.0b"},
		{"negated beta version", "version=!143.0b", "not(prefix:143.0b)"},
		{"bool", "startup_crash=!__true__", "not(is:)"},
		{"not null", "signature=!__null__", "not(null:)"},
		{"free text", "q=render+crash", "or(phrase:render phrase:render phrase:render phrase:render phrase:render)"},
		{"free text as a prefix", "q=-%22lost+dev%22*", "not(or(word prefix:lost dev word prefix:lost dev word prefix:lost dev word prefix:lost dev word prefix:lost dev))"},
		{"only one negation", "signature=!!a", "not(match:!a)"},
		{"beyond 64 bits below is all", "uptime=<99999999999999999999", "range:99999999999999999999"},
		{"beyond 64 bits above is none", "uptime=>99999999999999999999", "never()"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := url.ParseQuery(tt.query)
			p, err := Parse(v, table(t), Viewer{}, Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(p.Filters[0]); got != tt.want {
				t.Errorf("Parse(%q) filter = %s, want %s", tt.query, got, tt.want)
			}
		})
	}
}

// TestOperatorWhereNoneIs: it is part of the value, and a warning says so.
func TestOperatorWhereNoneIs(t *testing.T) {
	for query, want := range map[string]int{"platform==Linux": 1, "platform=~Lin&platform=!^W": 2, "platform=Linux": 0, "platform=__null__": 0, "product==Firefox": 0, "signature==x": 0} {
		v, _ := url.ParseQuery(query)
		p, err := Parse(v, table(t), Viewer{}, Options{Now: now})
		if err != nil || len(p.Warnings) != want {
			t.Errorf("%s: %v, warnings %q, want %d", query, err, p.Warnings, want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		query, message, param string
		form                  bool
	}{
		{"uptime=abc", "Bad value for parameter uptime: not a valid int", "uptime", false},
		{"uptime=", "Bad value for parameter uptime: not a valid int", "uptime", false},
		{"uptime=1__0", "Bad value for parameter uptime: not a valid int", "uptime", false},
		{"uptime_ts=x", "Bad value for parameter uptime_ts: not a valid float", "uptime_ts", false},
		{"uptime_ts=nan", "Bad value for parameter uptime_ts: not a valid float", "uptime_ts", false},
		{"signature=@(", `Bad value for parameter signature: regular expression "(": unexpected end`, "signature", false},
		{"signature=~" + strings.Repeat("*", 1001), "Bad value for parameter signature: wildcard pattern of 1003 characters: at most 1000", "signature", false},
		{"date=2026-09-01", "date must have a prefix operator", "date", false},
		{"date=>=notadate", "Bad value for parameter date: not a valid datetime", "date", false},
		{"date=>=2020-01-01", "Date range is bigger than 365 days", "date", false},
		{"_results_number=1001", "_results_number cannot be greater than 1,000", "_results_number", false},
		{"_results_number=-1", "_results_number cannot be negative", "_results_number", false},
		{"_results_number=x", "Enter a whole number.", "_results_number", true},
		{"_results_offset=9999&_results_number=50", "_results_offset + _results_number cannot be greater than 10,000", "_results_offset", false},
		{"_results_offset=9223372036854775807", "_results_offset + _results_number cannot be greater than 10,000", "_results_offset", false},
		{"_facets_size=10001", "Bad value for parameter(s) '_facets_size greater than 10,000'", "_facets_size", false},
		{"_columns=nosuch", "Unknown field 'nosuch'", "_columns", false},
		{"_histogram_interval.date=2d", "Bad value for parameter(s) '_histogram_interval.date'", "_histogram_interval.date", false},
		{"_histogram_interval.uptime=big", "Enter a whole number.", "_histogram_interval.uptime", true},
		{"_histogram_interval.uptime=0", "Bad value for parameter(s) '_histogram_interval.uptime'", "_histogram_interval.uptime", false},
		{"q=" + strings.Repeat("a+", 30), "Bad value for parameter q: more than 20 words", "q", false},
		{"product=Nope&product=Firefox", "Not valid products: Nope", "product", false},
	}
	for _, tt := range tests {
		v, _ := url.ParseQuery(tt.query)
		_, err := Parse(v, table(t), Viewer{}, Options{Now: now, Strict: true, Products: []string{"Firefox"}})
		var bad *Error
		if !errors.As(err, &bad) || !fault.Is(err, fault.Invalid) {
			t.Errorf("Parse(%q) error = %v, want one of kind invalid", tt.query, err)
			continue
		}
		if diff := cmp.Diff(Error{tt.param, tt.message, tt.form}, *bad); diff != "" {
			t.Errorf("Parse(%q) error (-want +got):\n%s", tt.query, diff)
		}
	}
}

func TestDates(t *testing.T) {
	tests := []struct {
		query, from, to string
	}{
		{"", "2026-09-23T12:00:00Z", "2026-09-30T12:00:01Z"},
		{"date=<2026-09-15", "2026-09-08T00:00:00Z", "2026-09-15T00:00:00Z"},
		{"date=>=2026-09-15", "2026-09-15T00:00:00Z", "2026-09-30T12:00:01Z"},
		{"date=>2026-09-15T10:00:00.7Z&date=<=2026-09-16 10:00:00", "2026-09-15T10:00:01Z", "2026-09-16T10:00:01Z"},
		{"date=>=2026-09-08T12:30:00%2B02:00&date=<2026-09-09T00:00:00 02:00", "2026-09-08T10:30:00Z", "2026-09-08T22:00:00Z"},
		{"date=<2026-09-20&date=<2026-09-10", "2026-09-03T00:00:00Z", "2026-09-10T00:00:00Z"},
		{"date=>=-3d", "2026-09-27T12:00:00Z", "2026-09-30T12:00:01Z"},
	}
	for _, tt := range tests {
		v, _ := url.ParseQuery(tt.query)
		p, err := Parse(v, table(t), Viewer{}, Options{Now: now})
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.query, err)
			continue
		}
		if got, want := stamp(p.From)+" "+stamp(p.To), tt.from+" "+tt.to; got != want {
			t.Errorf("Parse(%q) dates = %s, want %s", tt.query, got, want)
		}
	}
}

func aggNames(list []Agg) string {
	var parts []string
	for _, a := range list {
		s := a.Name
		if len(a.Subs) > 0 {
			s += "[" + aggNames(a.Subs) + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestAggregations(t *testing.T) {
	pii := Viewer{Permissions: []string{ViewPII}}
	tests := []struct {
		name, query string
		viewer      Viewer
		want        string
	}{
		{"default", "", Viewer{}, "signature"},
		{"all dropped", "_facets=url&_facets=nosuch", Viewer{}, "signature"},
		{"protected for a viewer", "_facets=url", pii, "url"},
		{"no facets at all", "_facets_size=0", Viewer{}, ""},
		{"kinds", "_facets=_histogram.uptime&_facets=_cardinality.signature", Viewer{}, "histogram_uptime cardinality_signature"},
		{"nested", "_aggs.product.version=platform", Viewer{}, "signature product[version[platform]]"},
		{"replaced", "_aggs.product.version=platform&_aggs.product=version&_facets=product", Viewer{}, "product[version]"},
		{"unknown chain", "_aggs.version.product=platform", Viewer{}, "signature"},
		{"no values left", "_aggs.product=url", Viewer{}, "signature"},
		{"histogram", "_histogram.date=product&_histogram.signature=product", Viewer{}, "signature histogram_date[product]"},
		{"protected parent", "_aggs.url=product", Viewer{}, "signature"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := url.ParseQuery(tt.query)
			p, err := Parse(v, table(t), tt.viewer, Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if got := aggNames(p.Aggs); got != tt.want {
				t.Errorf("Parse(%q) aggregations = %s, want %s", tt.query, got, tt.want)
			}
		})
	}
	for _, query := range []string{"_facets=nosuch", "_sort=nosuch", "_aggs.product=nosuch"} {
		v, _ := url.ParseQuery(query)
		if _, err := Parse(v, table(t), pii, Options{Now: now, Unredacted: true}); err == nil || !strings.Contains(err.Error(), "Unknown field 'nosuch'") {
			t.Errorf("unredacted Parse(%q) error = %v, want an unknown field", query, err)
		}
	}
}

func TestProtectedFiltersAreDropped(t *testing.T) {
	v, _ := url.ParseQuery("url=~private&_columns=url&_columns=uuid&_sort=-url&uptime=>1")
	p, err := Parse(v, table(t), Viewer{}, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Filters) != 1 || len(p.Columns) != 1 || len(p.Sort) != 0 {
		t.Errorf("%d filters, %d columns, %d sort keys; want 1, 1, 0", len(p.Filters), len(p.Columns), len(p.Sort))
	}
	if diff := cmp.Diff([]string{"field url needs the permission view_pii: ignored"}, p.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestWeek0(t *testing.T) {
	tests := map[string]string{ // strftime("%Y%W")
		"2026-01-01": "socorro202600", "2026-01-05": "socorro202601", "2024-01-01": "socorro202401",
		"2025-12-31": "socorro202552", "2026-11-21": "socorro202646", "2023-01-01": "socorro202300",
	}
	for day, want := range tests {
		d, _ := time.Parse(time.DateOnly, day)
		if got := IndexName(d); got != want {
			t.Errorf("IndexName(%s) = %s, want %s", day, got, want)
		}
	}
}

func FuzzPlan(f *testing.F) {
	for _, s := range []string{"signature=foo&signature=!~b*", "uptime=>=5&uptime=!7", "date=>=2026-09-01&date=<2026-10-01", "date=>-3d",
		"_aggs.product.version=_histogram.date&_histogram_interval.date=1w", "_sort=-date&_columns=uuid&_return_query=1", "version=1b&product=!=x",
		"q=a+%22b+c%22*+-d*+%22&_cursor=*&_results_offset=9&_results_number=0", "_facets=_cardinality.uptime&_facets=_histogram.uptime_ts&_histogram_interval.uptime_ts=.5&_facets_size=1"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	fields := table(f)
	f.Fuzz(func(t *testing.T, query string, pii bool) {
		v, _ := url.ParseQuery(query)
		viewer := Viewer{}
		if pii {
			viewer.Permissions = []string{ViewPII}
		}
		p, err := Parse(v, fields, viewer, Options{Now: now, AnyAggs: pii})
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("Parse(%q) error %v is no *Error", query, err)
			}
			return
		}
		if _, err := json.Marshal(p); err != nil {
			t.Fatal(err)
		}
		if p.Offset+p.Number > MaxWindow || p.Offset < 0 || p.Number < 0 || p.FacetSize < 0 || len(p.Weeks()) > 60 {
			t.Fatalf("Parse(%q) let %d+%d, %d facets, %d weeks through", query, p.Offset, p.Number, p.FacetSize, len(p.Weeks()))
		}
		for _, c := range p.Columns {
			if !viewer.MayRead(c) {
				t.Fatalf("Parse(%q) gives column %s away", query, c.Name)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	fields := table(b)
	v, _ := url.ParseQuery("product=Firefox&signature=~foo&date=>=2026-09-01&date=<2026-10-01&_aggs.product=version&_facets=signature&_sort=-date")
	for b.Loop() {
		if _, err := Parse(v, fields, Viewer{}, Options{Now: now}); err != nil {
			b.Fatal(err)
		}
	}
}
