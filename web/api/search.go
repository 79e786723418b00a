package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/signature"
	"mayday/storage/schema"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

func (a *API) superSearch(c echo.Context) error           { return a.runSearch(c, false) }
func (a *API) superSearchUnredacted(c echo.Context) error { return a.runSearch(c, true) }

func (a *API) runSearch(c echo.Context, unredacted bool) error {
	var products []string
	for _, p := range a.Products.List {
		products = append(products, p.Name)
	}
	status, body, err := search.Answer(c.Request().Context(), a.Engine, a.Fields, search.Request{
		Values: c.QueryParams(), Viewer: searchViewer(auth.From(c)), Unredacted: unredacted,
		Options: plan.Options{Now: a.now(), Products: products, Strict: a.Products.Strict},
	})
	if err != nil {
		a.Log.Error("search failed", zap.String("query", c.QueryString()), zap.Error(err))
	}
	if status == http.StatusOK {
		c.Response().Header().Set("Cache-Control", "private, max-age=300")
	}
	if c.QueryParam("pretty") == "print" {
		var out bytes.Buffer
		if json.Indent(&out, body, "", "  ") == nil {
			body = out.Bytes()
		}
	}
	return writeBody(c, status, body)
}

// searchViewer says who asks in the words of the query language.
func searchViewer(v auth.Viewer) plan.Viewer {
	var out plan.Viewer
	for _, p := range v.Permissions {
		out.Permissions = append(out.Permissions, string(p))
		if p == "admin" {
			out.Permissions = append(out.Permissions, plan.ViewPII)
		}
	}
	return out
}

func (a *API) superSearchFields(c echo.Context) error {
	out := map[string]any{}
	for _, f := range a.Schema.SearchFields() {
		out[f.Name] = describe(f)
	}
	c.Response().Header().Set("Cache-Control", "private, max-age=300")
	return writeJSON(c, http.StatusOK, out)
}

// describe is a field as the list of search fields shows it.
func describe(f schema.SearchField) map[string]any {
	storage := map[string]any{"type": f.Storage}
	if f.Analyzer != "" {
		storage["analyzer"], storage["fielddata"] = f.Analyzer, true
	}
	if f.FullValue {
		storage["fields"] = map[string]any{"full": map[string]any{"type": "keyword"}}
	}
	needed := []string{}
	if !f.Public {
		needed = append(needed, "crashstats.view_pii")
	}
	choices := f.Choices
	if choices == nil {
		choices = []string{}
	}
	out := map[string]any{
		"name": f.Name, "namespace": f.Namespace, "in_database_name": f.InDatabase, "query_type": f.QueryType,
		"data_validation_type": f.Validation, "form_field_choices": choices, "has_full_version": f.FullValue,
		"is_exposed": true, "is_returned": true, "storage_mapping": storage, "permissions_needed": f.Permissions(),
		"webapp_permissions_needed": needed, "description": f.Doc,
	}
	if f.Source != f.Name {
		out["source_key"] = "processed_crash." + f.Source
		var keys []string
		for _, k := range f.Keys {
			keys = append(keys, "processed_crash."+k)
		}
		out["destination_keys"], out["search_key"] = keys, "processed_crash."+f.Key
	}
	return out
}

func (a *API) signatureFirstDate(c echo.Context) error {
	names := c.QueryParams()["signatures"]
	if len(names) == 0 {
		return formError("signatures", "This field is required.")
	}
	seen, err := a.Catalog.FirstSeen(c.Request().Context(), names)
	if err != nil {
		return err
	}
	hits := []map[string]any{}
	for _, s := range seen {
		hits = append(hits, map[string]any{"signature": s.Signature, "first_build": s.Build, "first_date": s.Date.Format(time.RFC3339)})
	}
	c.Response().Header().Set("Cache-Control", "private, max-age=300")
	return writeJSON(c, http.StatusOK, map[string]any{"hits": hits, "total": len(hits)})
}

// mostSignatureBytes bounds the body of a CrashSignature request: ten thousand
// stacks of some kilobytes.
const mostSignatureBytes = 64 << 20

func (a *API) crashSignature(c echo.Context) error {
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, mostSignatureBytes))
	if err != nil {
		return fault.As(fault.TooLarge, err, "request body")
	}
	answer, err := signature.AnswerRequest(body, a.Lists())
	if err != nil {
		return err
	}
	return writeBody(c, http.StatusOK, answer)
}
