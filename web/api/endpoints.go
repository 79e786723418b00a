package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"mayday/storage/catalog"
)

// Endpoint is one API: /api/<Name>/.
type Endpoint struct {
	Name       string
	Method     string
	Permission catalog.Permission // "" is everybody
	Params     string             // names of the parameters; * is required
	Doc        string

	alsoPost bool
	handle   func(*API, echo.Context) error
}

// endpoints is the table of APIs; documentation and dispatch read it.
func endpoints() []Endpoint {
	return []Endpoint{
		{Name: "SuperSearch", Method: http.MethodGet, Params: "fields, _columns, _facets, _aggs.*, _histogram.*, _sort, _results_number, _results_offset, _cursor, _return_query, q, _format (json, csv, ndjson), _table", Doc: "Searches and counts crashes.", handle: (*API).superSearch},
		{Name: "SuperSearchUnredacted", Method: http.MethodGet, Permission: catalog.ViewPII, Params: "as SuperSearch", Doc: "Searches protected fields too.", handle: (*API).superSearchUnredacted},
		{Name: "SuperSearchFields", Method: http.MethodGet, Doc: "Lists the fields that can be searched.", handle: (*API).superSearchFields},
		{Name: "SuperSearchValues", Method: http.MethodGet, Params: "_field*, _value, _results_number, fields", Doc: "Completes a value of a field.", handle: (*API).searchValues},
		{Name: "RawCrash", Method: http.MethodGet, Params: "crash_id*, format (meta, raw), name", Doc: "Annotations of a crash, or one of its files.", handle: (*API).rawCrash},
		{Name: "ProcessedCrash", Method: http.MethodGet, Params: "crash_id*", Doc: "What the processor made of a crash.", handle: (*API).processedCrash},
		{Name: "Bugs", Method: http.MethodGet, Params: "signatures*", Doc: "Bugs that name signatures.", alsoPost: true, handle: (*API).bugs},
		{Name: "SignaturesByBugs", Method: http.MethodGet, Params: "bug_ids*", Doc: "Signatures that bugs name.", handle: (*API).signaturesByBugs},
		{Name: "VersionString", Method: http.MethodGet, Params: "product*, channel*, build_id*", Doc: "The version of a build.", handle: (*API).versionString},
		{Name: "SignatureFirstDate", Method: http.MethodGet, Params: "signatures*", Doc: "When signatures first appeared.", handle: (*API).signatureFirstDate},
		{Name: "Reprocessing", Method: http.MethodPost, Permission: catalog.ReprocessCrashes, Params: "crash_ids*", Doc: "Has crashes processed again.", handle: (*API).reprocessing},
		{Name: "CrashSignature", Method: http.MethodPost, Params: "JSON body: jobs*", Doc: "Signatures of given stacks.", handle: (*API).crashSignature},
		{Name: "CrashVerify", Method: http.MethodGet, Params: "crash_id*", Doc: "Where a crash is stored.", handle: (*API).crashVerify},
		{Name: "MissingProcessedCrash", Method: http.MethodGet, Params: "page", Doc: "Crashes that were found without a processed crash, 1000 a page, and whether they have one now.", handle: (*API).missingProcessed},
		{Name: "NoOp", Method: http.MethodGet, Params: "product*", Doc: "Does nothing, for tests of clients.", handle: (*API).noOp},
	}
}

// Endpoints lists the APIs for documentation and `mayday routes`.
func Endpoints() []Endpoint { return endpoints() }
