package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// required reads parameters that must be there; all that lack are named at
// once, as a form would.
func required(c echo.Context, names ...string) (map[string]string, error) {
	values, missing := map[string]string{}, map[string][]string{}
	for _, name := range names {
		if values[name] = c.QueryParam(name); values[name] == "" {
			missing[name] = []string{"This field is required."}
		}
	}
	if len(missing) > 0 {
		return nil, apiError{http.StatusBadRequest, map[string]any{"errors": missing}}
	}
	return values, nil
}

// many reads a parameter that may stand several times, in the query or in a form.
func many(c echo.Context, name string) ([]string, error) {
	values := c.QueryParams()[name]
	if c.Request().Method == http.MethodPost {
		form, err := c.FormParams()
		if err != nil {
			return nil, badRequest(fmt.Sprintf("Bad value for parameter(s) '%s'", name))
		}
		values = form[name]
	}
	if len(values) == 0 {
		return nil, formError(name, "This field is required.")
	}
	return values, nil
}

func hits[T any](c echo.Context, list []T) error {
	if list == nil {
		list = []T{}
	}
	return writeJSON(c, http.StatusOK, map[string]any{"hits": list, "total": len(list)})
}

func (a *API) bugs(c echo.Context) error {
	signatures, err := many(c, "signatures")
	if err != nil {
		return err
	}
	found, err := a.Catalog.BugsOf(c.Request().Context(), signatures)
	if err != nil {
		return err
	}
	return hits(c, found)
}

func (a *API) signaturesByBugs(c echo.Context) error {
	texts, err := many(c, "bug_ids")
	if err != nil {
		return err
	}
	var ids []int64
	for _, text := range texts {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return badRequest("Bad value for parameter(s) 'bug_ids'")
		}
		ids = append(ids, id)
	}
	found, err := a.Catalog.SignaturesOf(c.Request().Context(), ids)
	if err != nil {
		return err
	}
	return hits(c, found)
}

func (a *API) versionString(c echo.Context) error {
	v, err := required(c, "product", "channel", "build_id")
	if err != nil {
		return err
	}
	versions, err := a.Catalog.VersionsOf(c.Request().Context(), v["product"], v["channel"], v["build_id"])
	if err != nil {
		return err
	}
	var out []map[string]string
	for _, version := range versions {
		out = append(out, map[string]string{"version_string": version})
	}
	return hits(c, out)
}

func (a *API) noOp(c echo.Context) error {
	v, err := required(c, "product")
	if err != nil {
		return err
	}
	if v["product"] == "bad" {
		return badRequest("Bad product")
	}
	return hits[any](c, nil)
}
