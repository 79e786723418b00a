package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"mayday/web/api"
)

type docsPage struct {
	Base      string
	Fields    []fieldDoc
	Endpoints []api.Endpoint
}

type fieldDoc struct {
	Name, Annotation, Type, Search, Doc string
	Public                              bool
}

// documentation shows the query language, the APIs and every field, straight
// from their tables.
func (s *Site) documentation(c echo.Context) error {
	page := docsPage{Base: s.base(c), Endpoints: api.Endpoints()}
	search := map[string]string{}
	for _, f := range s.Schema.SearchFields() {
		root, _, _ := strings.Cut(f.Source, ".")
		search[root] = f.Name
	}
	for _, f := range s.Schema.Fields() {
		page.Fields = append(page.Fields, fieldDoc{Name: f.Name, Annotation: f.Annotation, Type: f.Type.String(), Search: search[f.Name], Doc: f.Doc, Public: f.Public})
	}
	return s.render(c, http.StatusOK, "documentation", "Help", "docs", page)
}
