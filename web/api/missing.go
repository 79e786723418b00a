package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// missingPage is how many crashes one page holds.
const missingPage = 1000

// missingProcessed lists the crashes that the sweep found without a processed
// crash, page by page.
func (a *API) missingProcessed(c echo.Context) error {
	page := 1
	if text := c.QueryParam("page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1<<20 {
			return badRequest("Bad value for parameter(s) 'page'")
		}
		page = n
	}
	ctx := c.Request().Context()
	count, err := a.Catalog.CountMissingProcessed(ctx)
	if err != nil {
		return err
	}
	offset := (page - 1) * missingPage
	if page > 1 && offset >= count {
		return apiError{http.StatusNotFound, map[string]any{"detail": "Invalid page."}}
	}
	list, err := a.Catalog.MissingProcessed(ctx, missingPage, offset)
	if err != nil {
		return err
	}
	results := []map[string]any{}
	for _, m := range list {
		results = append(results, map[string]any{"crash_id": m.CrashID, "is_processed": m.Processed, "created": m.Created.UTC().Format("2006-01-02T15:04:05.000000Z")})
	}
	var next, previous any
	if offset+len(list) < count {
		next = a.pageURL(c, page+1)
	}
	if page > 1 {
		previous = a.pageURL(c, page-1)
	}
	return writeJSON(c, http.StatusOK, map[string]any{"count": count, "next": next, "previous": previous, "results": results})
}

// pageURL is the address of another page of the same list.
func (a *API) pageURL(c echo.Context, page int) string {
	base := strings.TrimSuffix(a.Config.BaseURL, "/")
	if base == "" {
		base = c.Scheme() + "://" + c.Request().Host
	}
	q := url.Values{}
	for name, values := range c.QueryParams() {
		q[name] = values
	}
	q.Set("page", fmt.Sprint(page))
	return base + c.Request().URL.Path + "?" + q.Encode()
}
