package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

// perPage is how many reports a page of results lists.
const perPage = 50

// searchFacets are the facets beside the results: field and heading.
var searchFacets = []struct{ field, title string }{
	{"product", "Product"}, {"version", "Version"}, {"platform", "Platform"}, {"release_channel", "Channel"},
	{"process_type", "Process"}, {"cpu_arch", "CPU"}, {"report_type", "Kind"},
}

type searchPage struct {
	Products   []option
	Form       searchForm
	Chips      []chip
	Warnings   []string
	Error      string
	Facets     []facetBox
	Total      int64
	Span       string
	Chart      *bars
	Signatures []sigRow
	Reports    []reportRow
	Fields     []fieldOption
	APIURL     string
	Downloads  downloads
	Previous   string
	Next       string
	Shown      string
}

type option struct {
	Name     string
	Selected bool
}

// fieldOption is a field that a filter can be made for.
type fieldOption struct {
	Name      string
	Operators bool // its values are compared with = ~ ^ $ @
}

// downloads are the addresses of all that a page of results shows a part of.
type downloads struct{ CSV, NDJSON, Signatures string }

type searchForm struct {
	Anywhere, Version, Platform, Signature, From, To string
	Others                                           []pair // filters that the form has no field for
}

type pair struct{ Name, Value string }

type chip struct{ Name, Value, Remove string }

type facetBox struct {
	Title string
	Terms []facetTerm
}

type facetTerm struct {
	Text, URL string
	Count     int64
}

// formFields are the filters that the form shows, beside dates, with one value
// each.
var formFields = []string{anywhere, "product", "version", "platform", "signature"}

// anywhere is the parameter that looks into all fields.
const anywhere = "q"

func (s *Site) search(c echo.Context) error {
	filters, page := s.searchFilters(c)
	viewer := auth.From(c)
	out := searchPage{APIURL: apiURL(viewer, filters), Downloads: downloadsOf(viewer, filters), Fields: s.fieldOptions(viewer.Search()), Form: searchForm{
		Anywhere: filters.Get(anywhere), Version: filters.Get("version"), Platform: filters.Get("platform"), Signature: filters.Get("signature")}}
	for _, name := range sorted(filters) {
		for i, v := range filters[name] {
			if name == "date" && out.Form.date(v) || i == 0 && slices.Contains(formFields, name) {
				continue
			}
			out.Form.Others = append(out.Form.Others, pair{name, v})
		}
	}
	out.Chips = chips(filters)
	for _, p := range s.Products.List {
		out.Products = append(out.Products, option{p.Name, filters.Get("product") == p.Name})
	}
	status, err := s.fillSearch(c, filters, page, &out)
	if err != nil {
		return err
	}
	return s.render(c, status, "search", "Search", "search", out)
}

// fieldOptions lists the fields that a viewer may filter by.
func (s *Site) fieldOptions(viewer plan.Viewer) []fieldOption {
	var out []fieldOption
	for i := range s.Fields.All() {
		if f := &s.Fields.All()[i]; viewer.MayRead(f) && f.Type != plan.Date {
			out = append(out, fieldOption{f.Name, f.Type == plan.Str})
		}
	}
	slices.SortFunc(out, func(a, b fieldOption) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// apiURL is the address of a search in the API, which sees the protected fields
// that the viewer may read.
func apiURL(viewer auth.Viewer, query url.Values) string {
	if viewer.Has(catalog.ViewPII) {
		return "/api/SuperSearchUnredacted/?" + query.Encode()
	}
	return "/api/SuperSearch/?" + query.Encode()
}

func downloadsOf(viewer auth.Viewer, filters url.Values) downloads {
	table := func(format string) string {
		q := cloned(filters)
		q["_columns"], q["_sort"], q["_format"] = reportColumns, []string{"-date"}, []string{format}
		return apiURL(viewer, q)
	}
	signatures := cloned(filters)
	signatures["_facets"], signatures["_table"], signatures["_format"] = []string{"signature"}, []string{"signature"}, []string{"csv"}
	signatures["_facets_size"] = []string{strconv.Itoa(plan.MaxFacets)}
	return downloads{CSV: table("csv"), NDJSON: table("ndjson"), Signatures: apiURL(viewer, signatures)}
}

// searchFilters reads the filters of a request: fields of the index and the
// free text, with the two dates of the form as a range, and the field that the
// form lets one choose.
func (s *Site) searchFilters(c echo.Context) (url.Values, int) {
	filters := url.Values{}
	for name, vs := range c.QueryParams() {
		if s.Fields.Get(name) == nil && name != anywhere {
			continue
		}
		for _, v := range vs {
			if strings.TrimSpace(v) != "" {
				filters.Add(name, v)
			}
		}
	}
	if from, err := time.Parse(time.DateOnly, c.QueryParam("from")); err == nil {
		filters.Add("date", ">="+from.Format(time.DateOnly))
	}
	if to, err := time.Parse(time.DateOnly, c.QueryParam("to")); err == nil {
		filters.Add("date", "<"+to.AddDate(0, 0, 1).Format(time.DateOnly))
	}
	if f, v := s.Fields.Get(c.QueryParam("field")), c.QueryParam("value"); f != nil && strings.TrimSpace(v) != "" {
		filters.Add(f.Name, v)
	}
	page, err := strconv.Atoi(c.QueryParam("page"))
	if err != nil || page < 1 || page > plan.MaxWindow/perPage {
		page = 1
	}
	return filters, page
}

// date takes a date filter over if it is one that the form's two dates make.
func (f *searchForm) date(filter string) bool {
	if v, ok := strings.CutPrefix(filter, ">="); ok && f.From == "" && len(v) == len(time.DateOnly) {
		f.From = v
		return true
	}
	v, ok := strings.CutPrefix(filter, "<")
	t, err := time.Parse(time.DateOnly, v)
	if !ok || err != nil || f.To != "" {
		return false
	}
	f.To = t.AddDate(0, 0, -1).Format(time.DateOnly)
	return true
}

func (s *Site) fillSearch(c echo.Context, filters url.Values, page int, out *searchPage) (status int, err error) {
	q := cloned(filters)
	q["_columns"] = reportColumns
	q["_sort"] = []string{"-date"}
	q["_results_number"] = []string{strconv.Itoa(perPage)}
	q["_results_offset"] = []string{strconv.Itoa((page - 1) * perPage)}
	q["_facets_size"] = []string{"10"}
	q["_facets"] = []string{"_histogram.date"}
	q["_aggs.signature"] = []string{"platform"}
	for _, f := range searchFacets {
		q["_facets"] = append(q["_facets"], f.field)
	}
	r, p, err := s.ask(c, q)
	var bad *plan.Error
	switch {
	case errors.As(err, &bad):
		out.Error = bad.Message
		return http.StatusBadRequest, nil
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge), fault.Is(err, fault.Timeout):
		out.Error = err.Error()
		return fault.Of(err).Status(), nil
	case err != nil:
		return 0, err
	}
	out.Warnings, out.Total, out.Span = r.Warnings, r.Total, span(p)
	for _, e := range r.Errors {
		out.Warnings = append(out.Warnings, "Part of the index does not answer: "+e.Index)
	}
	chart := byDay(r.Facets["histogram_date"], time.UnixMicro(p.From), time.UnixMicro(p.To-1), "Crashes by day")
	out.Chart = &chart
	out.Signatures = s.sigRows(c.Request().Context(), r.Facets["signature"], r.Total, filters)
	out.Reports = reportRows(r.Hits)
	for _, f := range searchFacets {
		out.Facets = append(out.Facets, s.facetLinks(f.field, f.title, r.Facets[f.field], filters))
	}
	if len(out.Products) == 0 {
		if f := r.Facets["product"]; f != nil {
			for _, b := range f.Buckets {
				out.Products = append(out.Products, option{text(b.Term), filters.Get("product") == text(b.Term)})
			}
		}
	}
	out.Previous, out.Next, out.Shown = pageLinks("/search/", filters, page, len(out.Reports), r.Total)
	return http.StatusOK, nil
}

// facetLinks makes a box of terms; each adds itself to the filters.
func (s *Site) facetLinks(field, title string, f *search.Facet, filters url.Values) facetBox {
	box := facetBox{Title: title}
	if f == nil {
		return box
	}
	for _, b := range f.Buckets {
		term := text(b.Term)
		q := cloned(filters)
		q[field] = []string{s.exactly(field, term)}
		box.Terms = append(box.Terms, facetTerm{Text: term, URL: "/search/?" + q.Encode(), Count: b.Count})
	}
	return box
}

// exactly is the filter value that means term as a whole: fields with string
// operators need "=", the others compare whole values anyway.
func (s *Site) exactly(field, term string) string {
	if f := s.Fields.Get(field); f != nil && f.Type == plan.Str {
		return "=" + term
	}
	return term
}

// pageLinks are the links to the pages before and after, with the filters.
func pageLinks(path string, filters url.Values, page, rows int, total int64) (previous, next, shown string) {
	at := func(n int) string {
		q := cloned(filters)
		q.Set("page", strconv.Itoa(n))
		return path + "?" + q.Encode()
	}
	if page > 1 {
		previous = at(page - 1)
	}
	end := int64(page * perPage)
	if total > end && end+perPage <= plan.MaxWindow {
		next = at(page + 1)
	}
	if rows > 0 {
		first := int64((page-1)*perPage + 1)
		shown = fmt.Sprintf("%s–%s of %s", thousandsOf(first), thousandsOf(first+int64(rows)-1), thousandsOf(total))
	}
	return previous, next, shown
}

func chips(filters url.Values) (out []chip) {
	for _, name := range sorted(filters) {
		for i, v := range filters[name] {
			q := cloned(filters)
			q[name] = slices.Delete(slices.Clone(q[name]), i, i+1)
			out = append(out, chip{name, v, "/search/?" + q.Encode()})
		}
	}
	return out
}

func sorted(q url.Values) []string {
	var names []string
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func cloned(q url.Values) url.Values {
	out := make(url.Values, len(q))
	for name, vs := range q {
		out[name] = slices.Clone(vs)
	}
	return out
}

// quick goes straight to a crash when it gets an id.
func (s *Site) quick(c echo.Context) error {
	query := strings.TrimSpace(c.QueryParam("query"))
	if id, err := storage.FindCrashID(query); err == nil {
		return c.Redirect(http.StatusFound, "/report/index/"+id.String())
	}
	if query == "" {
		return c.Redirect(http.StatusFound, "/search/")
	}
	return c.Redirect(http.StatusFound, "/search/?"+url.Values{"signature": {"~" + query}}.Encode())
}

type signaturePage struct {
	Signature, SearchURL  string
	Total, Installs       int64
	FirstSeen, FirstBuild string
	Error, Span           string
	Chart                 bars
	Matrix                matrix
	Facets                []facetBox
	Reports               []reportRow
	Previous, Next, Shown string
}

// matrix counts crashes by version and platform.
type matrix struct {
	Columns []string
	Rows    []matrixRow
}

type matrixRow struct {
	Name, URL string
	Cells     []int64
	Count     int64
}

// signature shows one signature over the last month, or the dates asked for.
func (s *Site) signature(c echo.Context) error {
	names := c.QueryParams()["signature"]
	if len(names) != 1 || names[0] == "" || strings.ContainsRune(names[0], 0) {
		return fault.New(fault.Invalid, "name exactly one signature")
	}
	filters, page := s.searchFilters(c)
	name := names[0]
	filters["signature"] = []string{"=" + name}
	if len(filters["date"]) == 0 {
		filters.Set("date", ">="+midnight(s.now()).AddDate(0, 0, -29).Format(time.DateOnly))
	}
	q := cloned(filters)
	q["_columns"], q["_sort"], q["_facets_size"] = reportColumns, []string{"-date"}, []string{"20"}
	q["_results_number"], q["_results_offset"] = []string{strconv.Itoa(perPage)}, []string{strconv.Itoa((page - 1) * perPage)}
	q["_facets"] = []string{"_histogram.date", "_cardinality.install_time", "platform_pretty_version", "process_type", "cpu_arch", "release_channel", "reason", "product"}
	q["_aggs.version"] = []string{"platform"}
	r, p, err := s.ask(c, q)
	if err != nil {
		return err
	}
	links := cloned(filters)
	links.Del("page")
	out := signaturePage{Signature: name, Total: r.Total, SearchURL: "/search/?" + links.Encode(), Span: span(p),
		Chart:  byDay(r.Facets["histogram_date"], time.UnixMicro(p.From), time.UnixMicro(p.To-1), "Crashes by day"),
		Matrix: versionMatrix(r.Facets["version"], links), Reports: reportRows(r.Hits)}
	if f := r.Facets["cardinality_install_time"]; f != nil {
		out.Installs = min(f.Cardinality, r.Total)
	}
	for _, f := range []struct{ field, title string }{{"product", "Product"}, {"platform_pretty_version", "Operating system"},
		{"process_type", "Process"}, {"cpu_arch", "CPU"}, {"release_channel", "Channel"}, {"reason", "Reason"}} {
		out.Facets = append(out.Facets, s.facetLinks(f.field, f.title, r.Facets[f.field], links))
	}
	seen, err := s.Catalog.FirstSeen(c.Request().Context(), []string{name})
	if err != nil {
		return err
	}
	if len(seen) == 1 {
		out.FirstSeen, out.FirstBuild = seen[0].Date.Format(time.DateOnly), seen[0].Build
	}
	keep := cloned(filters)
	keep.Set("signature", name)
	out.Previous, out.Next, out.Shown = pageLinks("/signature/", keep, page, len(out.Reports), r.Total)
	return s.render(c, http.StatusOK, "signature", name, "search", out)
}

func versionMatrix(f *search.Facet, filters url.Values) matrix {
	var m matrix
	if f == nil {
		return m
	}
	for _, b := range f.Buckets {
		if p := b.Facets["platform"]; p != nil {
			for _, x := range p.Buckets {
				if name := text(x.Term); !slices.Contains(m.Columns, name) {
					m.Columns = append(m.Columns, name)
				}
			}
		}
	}
	slices.Sort(m.Columns)
	for _, b := range f.Buckets {
		q := cloned(filters)
		q.Set("version", text(b.Term))
		row := matrixRow{Name: text(b.Term), URL: "/search/?" + q.Encode(), Cells: make([]int64, len(m.Columns)), Count: b.Count}
		if p := b.Facets["platform"]; p != nil {
			for _, x := range p.Buckets {
				row.Cells[slices.Index(m.Columns, text(x.Term))] = x.Count
			}
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}
