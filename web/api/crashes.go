package api

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"mayday/app/fault"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/schema"
	"mayday/storage/search/plan"
	"mayday/web/auth"
)

func access(c echo.Context) schema.Access {
	return schema.Access(auth.From(c).Has(catalog.ViewPII))
}

// crashID reads the parameter crash_id.
func crashID(c echo.Context) (storage.CrashID, error) {
	text := c.QueryParam("crash_id")
	if text == "" {
		return "", formError("crash_id", "This field is required.")
	}
	id, err := storage.FindCrashID(text)
	if err != nil {
		return "", apiError{http.StatusBadRequest, map[string]any{"error": "Bad request: BadArgumentError: Bad value for parameter(s) 'uuid'"}}
	}
	return id, nil
}

// notFound words a missing crash as clients know it.
func notFound(err error, id storage.CrashID) error {
	if fault.Is(err, fault.NotFound) {
		return apiError{http.StatusNotFound, map[string]any{"error": fmt.Sprintf("Not found: CrashIDNotFound %s", id)}}
	}
	return err
}

func (a *API) rawCrash(c echo.Context) error {
	id, err := crashID(c)
	if err != nil {
		return err
	}
	switch c.QueryParam("format") {
	case "", "meta":
	case "raw":
		return a.rawFile(c, id)
	default:
		return badRequest("Bad value for parameter(s) 'format'")
	}
	raw, err := a.Crashes.Raw(c.Request().Context(), id)
	if err != nil {
		return notFound(err, id)
	}
	doc := a.Schema.RedactRaw(raw, access(c))
	return writeJSON(c, http.StatusOK, doc)
}

// rawFile streams one file of a crash.
func (a *API) rawFile(c echo.Context, id storage.CrashID) error {
	name := c.QueryParam("name")
	if name == "" || name == "dump" {
		name = storage.MinidumpName
	}
	if err := storage.CheckDumpName(name); err != nil {
		return badRequest("Bad value for parameter(s) 'name'")
	}
	f, err := a.Crashes.OpenDump(c.Request().Context(), id, name)
	if err != nil {
		return notFound(err, id)
	}
	defer f.Close()
	if !auth.From(c).Has(catalog.ViewRawDump) {
		return apiError{http.StatusForbidden, map[string]any{"error": "Binary response requires permissions: View Raw Dumps"}}
	}
	file := fmt.Sprintf("%s-%s.dmp", id, name)
	if name == storage.MinidumpName {
		file = id.String() + ".dmp"
	}
	if name == "memory_report" {
		file = "memory_report.json.gz"
	}
	h := c.Response().Header()
	h.Set("Content-Disposition", `attachment; filename="`+file+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(echo.HeaderContentType, "application/octet-stream")
	h.Set(echo.HeaderContentLength, strconv.FormatInt(f.Size, 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err = io.Copy(c.Response(), f)
	return err
}

func (a *API) processedCrash(c echo.Context) error {
	id, err := crashID(c)
	if err != nil {
		return err
	}
	processed, err := a.Crashes.Processed(c.Request().Context(), id)
	if err != nil {
		return notFound(err, id)
	}
	return writeJSON(c, http.StatusOK, a.Schema.Redact(processed, access(c)))
}

var jobPattern = regexp.MustCompile(`^([^:]+)(?::([a-z_]+))?$`)

// mostReprocessed bounds one request; clients send 50.
const mostReprocessed = 10_000

func (a *API) reprocessing(c echo.Context) error {
	form, err := c.FormParams()
	if err != nil {
		return fault.As(fault.Invalid, err, "form")
	}
	jobs := form["crash_ids"]
	if len(jobs) == 0 {
		return formError("crash_ids", "This field is required.")
	}
	if len(jobs) > mostReprocessed {
		return badRequest(fmt.Sprintf("more than %d crash ids", mostReprocessed))
	}
	type job struct {
		id      storage.CrashID
		ruleset string
	}
	var todo []job
	for _, text := range jobs {
		m := jobPattern.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			return badRequest(fmt.Sprintf("Crash id '%s' is not valid.", text))
		}
		id, err := storage.ParseCrashID(m[1])
		if err != nil {
			return badRequest(fmt.Sprintf("Crash id '%s' is not valid.", m[1]))
		}
		if m[2] != "" && m[2] != "default" && m[2] != "regenerate_signature" {
			return badRequest(fmt.Sprintf("Ruleset '%s' is not valid.", m[2]))
		}
		todo = append(todo, job{id, m[2]})
	}
	for _, j := range todo {
		if err := a.Reprocess(c.Request().Context(), j.id, j.ruleset); err != nil {
			return err
		}
	}
	if err := a.Catalog.Audit(c.Request().Context(), auth.From(c).Email, fmt.Sprintf("reprocess: %d crashes", len(todo))); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, nil)
}

func (a *API) crashVerify(c echo.Context) error {
	id, err := storage.FindCrashID(c.QueryParam("crash_id"))
	if err != nil {
		return apiError{http.StatusBadRequest, map[string]any{"error": "unknown crash id"}}
	}
	ctx := c.Request().Context()
	raw, err := a.Crashes.HasRaw(ctx, id)
	if err != nil {
		return err
	}
	processed, err := a.Crashes.HasProcessed(ctx, id)
	if err != nil {
		return err
	}
	indexed, err := a.indexed(c, id)
	if err != nil {
		return err
	}
	exported := false
	if a.HasTelemetry != nil {
		if exported, err = a.HasTelemetry(ctx, id); err != nil {
			return err
		}
	}
	return writeJSON(c, http.StatusOK, map[string]any{"uuid": id, "raw_crash": raw, "processed_crash": processed, "elasticsearch_crash": indexed, "telemetry_crash": exported})
}

// indexed reports whether the search index holds a crash, whatever its age.
func (a *API) indexed(c echo.Context, id storage.CrashID) (bool, error) {
	day, ok := id.Date()
	if !ok {
		return false, nil
	}
	// The date in the id is that of receipt, which is the date searched by; a
	// day on either side covers clocks and imports.
	q := map[string][]string{"uuid": {id.String()}, "_results_number": {"0"}, "_facets_size": {"0"},
		"date": {">=" + day.AddDate(0, 0, -2).Format(time.DateOnly), "<" + day.AddDate(0, 0, 3).Format(time.DateOnly)}}
	p, err := plan.Parse(q, a.Fields, plan.Viewer{}, plan.Options{Now: a.now()})
	if err != nil {
		return false, err
	}
	r, err := a.Engine.Search(c.Request().Context(), p)
	if err != nil {
		return false, err
	}
	return r.Total > 0, nil
}
