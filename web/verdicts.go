package web

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/web/auth"
)

// verdictsShown is how many crashes that were given up one page lists.
const verdictsShown = 100

type verdictsPage struct {
	Total          int
	List           []catalog.Verdict
	Previous, Next string
}

// verdicts lists the crashes that were given up and why. The reasons are texts
// of errors, so they are for administrators alone.
func (s *Site) verdicts(c echo.Context) error {
	if !auth.From(c).Has(catalog.Admin) {
		return fault.New(fault.Forbidden, "this page is for administrators")
	}
	ctx := c.Request().Context()
	page, err := strconv.Atoi(c.QueryParam("page"))
	if err != nil || page < 1 || page > 1<<20 {
		page = 1
	}
	p := verdictsPage{}
	if p.Total, err = s.Catalog.CountVerdicts(ctx); err != nil {
		return err
	}
	if p.List, err = s.Catalog.Verdicts(ctx, verdictsShown, (page-1)*verdictsShown); err != nil {
		return err
	}
	if page > 1 {
		p.Previous = "/verdicts/?page=" + strconv.Itoa(page-1)
	}
	if page*verdictsShown < p.Total {
		p.Next = "/verdicts/?page=" + strconv.Itoa(page+1)
	}
	return s.render(c, http.StatusOK, "verdicts", "Set aside", "", p)
}
