package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Request is one call of /api/SuperSearch/ or /api/SuperSearchUnredacted/.
type Request struct {
	Values     url.Values
	Viewer     plan.Viewer
	Options    plan.Options
	Unredacted bool
}

// Answer parses and executes a request, and gives the status and the JSON body
// of Socorro's API, for errors as well. It logs nothing; err is what the caller
// may want to log, nil when the request itself was at fault.
func Answer(ctx context.Context, engine Engine, fields *plan.Fields, rq Request) (status int, body []byte, err error) {
	if status, body := refuseUnredacted(rq); status != 0 {
		return status, body, nil
	}
	rq.Options.Unredacted = rq.Unredacted
	p, err := plan.Parse(rq.Values, fields, rq.Viewer, rq.Options)
	if err != nil {
		return failure(err)
	}
	if p.ReturnQuery {
		return explain(engine, p)
	}
	result, err := engine.Search(ctx, p)
	if err != nil {
		return failure(err)
	}
	result.Warnings = append(p.Warnings, result.Warnings...)
	return http.StatusOK, appendResult(nil, result), nil
}

// explain answers with the query itself: in the cluster's language where the
// engine has one, as the plan otherwise.
func explain(engine Engine, p *plan.Plan) (int, []byte, error) {
	var query any = p
	indices := p.Weeks()
	if x, ok := engine.(Explainer); ok {
		q, names, err := x.Explain(p)
		if err != nil {
			status, body := refusal(err)
			return status, body, nil
		}
		if q != nil {
			query, indices = q, names
		}
	}
	return http.StatusOK, encode(map[string]any{"query": query, "indices": indices}), nil
}

// refuseUnredacted answers those who may not search protected fields; the status
// is 0 for others.
func refuseUnredacted(rq Request) (status int, body []byte) {
	if rq.Unredacted && !rq.Viewer.Has(plan.ViewPII) {
		return http.StatusForbidden, errorBody("Use of this endpoint requires the 'View Personal Identifiable Information' permission")
	}
	return 0, nil
}

// failure answers an error, and gives it back for the log unless the request
// itself was at fault.
func failure(err error) (status int, body []byte, logged error) {
	status, body = refusal(err)
	if k := fault.Of(err); k == fault.Invalid || k == fault.Canceled || k == fault.TooLarge {
		return status, body, nil
	}
	return status, body, err
}

// refusal words an error as Socorro's API does.
func refusal(err error) (int, []byte) {
	var bad *plan.Error
	kind := fault.Of(err)
	switch {
	case errors.As(err, &bad) && bad.Form:
		return http.StatusBadRequest, encode(map[string]any{"errors": map[string][]string{bad.Param: {bad.Message}}})
	case errors.As(err, &bad):
		return http.StatusBadRequest, errorBody("Bad request: BadArgumentError: " + bad.Message)
	case kind == fault.Invalid, kind == fault.TooLarge:
		return http.StatusBadRequest, errorBody("Bad request: " + err.Error())
	case kind == fault.Timeout, kind == fault.Unavailable, kind == fault.Canceled:
		return http.StatusServiceUnavailable, errorBody(err.Error())
	}
	return http.StatusInternalServerError, errorBody("Internal Server Error")
}

func errorBody(message string) []byte { return encode(map[string]string{"error": message}) }

// encode writes JSON as the API does: no HTML escapes but for "</".
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // only a type that cannot be JSON, a bug
		return []byte(`{"error":"Internal Server Error"}`)
	}
	return bytes.ReplaceAll(bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte("</"), []byte(`<\/`))
}
