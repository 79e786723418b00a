package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/storage/search"
)

// homeDays is how far back the home page looks.
const homeDays = 14

type homePage struct {
	Base     string
	Days     int
	Total    int64
	Products []productCard
	Top      []sigRow
}

type productCard struct {
	Title, URL, Description, VersionsText string
	Count                                 int64
	Chart                                 bars
}

func productNames(list []config.Product) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func (s *Site) home(c echo.Context) error { return s.overview(c, "") }

func (s *Site) product(c echo.Context) error {
	name, err := url.PathUnescape(c.Param("product"))
	if err != nil {
		return fault.As(fault.Invalid, err, "product")
	}
	return s.overview(c, name)
}

// overview shows all products, or one.
func (s *Site) overview(c echo.Context, only string) error {
	now := s.now().UTC()
	from := midnight(now).AddDate(0, 0, 1-homeDays)
	q := url.Values{
		"date":            {">=" + from.Format(time.DateOnly)},
		"_results_number": {"0"}, "_facets_size": {"20"},
		"_aggs.product":   {"_histogram.date", "version"},
		"_aggs.signature": {"platform"},
	}
	if only != "" {
		q.Set("product", "="+only)
		if s.Products.Strict {
			q.Set("product", only)
		}
	}
	r, _, err := s.ask(c, q)
	if err != nil {
		return err
	}
	page := homePage{Base: s.base(c), Days: homeDays, Total: r.Total, Top: s.sigRows(c.Request().Context(), r.Facets["signature"], r.Total, url.Values{"product": productFilter(only)})}
	page.Products = s.cards(r.Facets["product"], only, from, now)
	if only != "" && len(page.Products) == 0 {
		return fault.New(fault.NotFound, "no crashes of a product %q in the last %d days", only, homeDays)
	}
	title := "Crashes"
	if only != "" {
		title = only
	}
	return s.render(c, http.StatusOK, "home", title, "home", page)
}

func productFilter(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// cards makes one card for each configured product, in the order of the
// configuration, then for each other product that had crashes.
func (s *Site) cards(f *search.Facet, only string, from, to time.Time) []productCard {
	buckets := map[string]search.Bucket{}
	var names []string
	for _, p := range s.Products.List {
		names = append(names, p.Name)
	}
	if f != nil {
		for _, b := range f.Buckets {
			name := text(b.Term)
			buckets[name] = b
			if !slices.Contains(names, name) && !s.Products.Strict {
				names = append(names, name)
			}
		}
	}
	var out []productCard
	for _, name := range names {
		if only != "" && name != only {
			continue
		}
		b := buckets[name]
		card := productCard{Title: name, URL: "/search/?" + url.Values{"product": {name}}.Encode(), Count: b.Count,
			Chart: byDay(b.Facets["histogram_date"], from, to, "Crashes of "+name+" by day")}
		if i := slices.IndexFunc(s.Products.List, func(p config.Product) bool { return p.Name == name }); i >= 0 {
			p := s.Products.List[i]
			card.Description = p.Description
			if p.Title != "" {
				card.Title = p.Title
			}
		}
		if v := b.Facets["version"]; v != nil {
			var versions []string
			for _, x := range v.Buckets[:min(3, len(v.Buckets))] {
				versions = append(versions, text(x.Term))
			}
			card.VersionsText = strings.Join(versions, " · ")
		}
		out = append(out, card)
	}
	return out
}
