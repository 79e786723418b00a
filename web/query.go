package web

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

// ask runs a Super Search for a viewer.
func (s *Site) ask(c echo.Context, values url.Values) (*search.Result, *plan.Plan, error) {
	p, err := plan.Parse(values, s.Fields, auth.From(c).Search(), plan.Options{
		Now: s.now(), Products: productNames(s.Products.List), Strict: s.Products.Strict, AnyAggs: true,
	})
	if err != nil {
		return nil, nil, err
	}
	r, err := s.Index.Search(c.Request().Context(), p)
	if err != nil {
		return nil, p, err
	}
	r.Warnings = append(p.Warnings, r.Warnings...)
	return r, p, nil
}

func thousandsOf(n int64) string { return thousands(strconv.FormatInt(n, 10)) }

// text is a value of a hit or bucket as pages show it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = text(x)
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}

// sigRow is one line of a table of signatures.
type sigRow struct {
	Rank                              int
	Signature, URL                    string
	Count                             int64
	Share, Platforms, FirstSeen, Size string
}

// sigRows turns a signature facet into table lines; query keeps the filters
// that the links carry on.
func (s *Site) sigRows(ctx context.Context, f *search.Facet, total int64, keep url.Values) []sigRow {
	if f == nil {
		return nil
	}
	var names []string
	for _, b := range f.Buckets {
		names = append(names, text(b.Term))
	}
	first := map[string]string{}
	seen, err := s.Catalog.FirstSeen(ctx, names)
	if err != nil {
		s.Log.Warn("first appearances cannot be read") // the page is useful without them
	}
	for _, f := range seen {
		first[f.Signature] = f.Date.Format(time.DateOnly)
	}
	var out []sigRow
	for i, b := range f.Buckets {
		name := text(b.Term)
		row := sigRow{Rank: i + 1, Signature: name, URL: signatureURL(name, keep), Count: b.Count, FirstSeen: first[name]}
		if total > 0 {
			row.Share = fmt.Sprintf("%.1f %%", 100*float64(b.Count)/float64(total))
		}
		if p := b.Facets["platform"]; p != nil {
			var parts []string
			for _, x := range p.Buckets {
				parts = append(parts, text(x.Term)+" "+thousandsOf(x.Count))
			}
			row.Platforms = strings.Join(parts, " · ")
		}
		out = append(out, row)
	}
	return out
}

// signatureURL is the page of a signature, with the filters of keep.
func signatureURL(signature string, keep url.Values) string {
	q := url.Values{"signature": {signature}}
	for _, name := range []string{"product", "version", "date"} {
		if vs := keep[name]; len(vs) > 0 {
			q[name] = vs
		}
	}
	return "/signature/?" + q.Encode()
}

// reportRow is one line of a table of reports.
type reportRow struct {
	URL, Short, Date, Signature, Product, Version, Platform, Reason string
}

// reportColumns are the columns that reportRows needs.
var reportColumns = []string{"uuid", "date", "signature", "product", "version", "platform", "reason"}

func reportRows(hits []search.Hit) []reportRow {
	var out []reportRow
	for _, h := range hits {
		id := text(h["uuid"])
		row := reportRow{URL: "/report/index/" + id, Short: id[:min(8, len(id))], Date: text(h["date"]), Signature: text(h["signature"]),
			Product: text(h["product"]), Version: text(h["version"]), Platform: text(h["platform"]), Reason: text(h["reason"])}
		if t, err := time.Parse(time.RFC3339, row.Date); err == nil {
			row.Date = t.UTC().Format("2006-01-02 15:04")
		}
		out = append(out, row)
	}
	return out
}

// span says the dates of a plan in words.
func span(p *plan.Plan) string {
	from, to := time.UnixMicro(p.From).UTC(), time.UnixMicro(p.To).UTC()
	return from.Format("2 January 15:04") + " – " + to.Format("2 January 2006 15:04") + " UTC"
}
