package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
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

// searchRequest is a request in the words of package search.
func (a *API) searchRequest(c echo.Context, unredacted bool) search.Request {
	var products []string
	for _, p := range a.Products.List {
		products = append(products, p.Name)
	}
	return search.Request{Values: c.QueryParams(), Viewer: auth.From(c).Search(), Unredacted: unredacted,
		Options: plan.Options{Now: a.now(), Products: products, Strict: a.Products.Strict}}
}

func (a *API) runSearch(c echo.Context, unredacted bool) error {
	if f := c.QueryParam("_format"); f != "" && f != "json" {
		return a.downloadSearch(c, a.searchRequest(c, unredacted), search.Form{Name: f, Table: c.QueryParam("_table")})
	}
	status, body, err := search.Answer(c.Request().Context(), a.Engine, a.Fields, a.searchRequest(c, unredacted))
	return a.writeSearch(c, status, body, err)
}

// writeSearch sends the answer to a search; err is for the log.
func (a *API) writeSearch(c echo.Context, status int, body []byte, err error) error {
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

// downloadSearch streams a table. Once it has begun only a broken connection
// can say that it is not whole.
func (a *API) downloadSearch(c echo.Context, rq search.Request, form search.Form) error {
	status, body, err := search.Export(c.Request().Context(), a.Engine, a.Fields, rq, form, func() io.Writer {
		h := c.Response().Header()
		h.Set("Content-Type", form.ContentType())
		h.Set("Content-Disposition", "attachment; filename=\"crashes."+form.Name+"\"")
		h.Set("X-Content-Type-Options", "nosniff")
		c.Response().WriteHeader(http.StatusOK)
		return c.Response()
	})
	if !c.Response().Committed {
		return a.writeSearch(c, status, body, err)
	}
	if err != nil {
		if !fault.Is(err, fault.Canceled) {
			a.Log.Error("download of a search failed", zap.String("query", c.QueryString()), zap.Error(err))
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// searchValues completes what somebody types into a filter.
func (a *API) searchValues(c echo.Context) error {
	field := c.QueryParam("_field")
	if field == "" {
		return formError("_field", "This field is required.")
	}
	most := 10
	if text := c.QueryParam("_results_number"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return formError("_results_number", "Enter a whole number.")
		}
		most = n
	}
	status, body, err := search.Complete(c.Request().Context(), a.Engine, a.Fields, a.searchRequest(c, false), field, c.QueryParam("_value"), most)
	return a.writeSearch(c, status, body, err)
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
