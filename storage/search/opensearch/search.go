package opensearch

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// query is one running search.
type query struct {
	s      *Store
	ctx    context.Context
	plan   *plan.Plan
	filter object
	path   string // of the weeks asked
	pit    string // the state of the index that several requests share; "" asks the present one
	res    *search.Result
	failed map[string]bool // indices reported in res.Errors
}

// reply is the cluster's answer to one request.
type reply struct {
	TimedOut bool `json:"timed_out"`
	Shards   struct {
		Failures []struct {
			Index  string `json:"index"`
			Reason causes `json:"reason"`
		} `json:"failures"`
	} `json:"_shards"`
	Hits struct {
		Total struct {
			Value int64 `json:"value"`
		} `json:"total"`
		Hits []hitReply `json:"hits"`
	} `json:"hits"`
	Aggs map[string]*aggReply `json:"aggregations"`
}

type hitReply struct {
	Source map[string]any    `json:"_source"`
	Sort   []json.RawMessage `json:"sort"`
}

// Search implements search.Engine.
func (s *Store) Search(ctx context.Context, p *plan.Plan) (*search.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.QueryTime)
	defer cancel()
	q := &query{s: s, ctx: ctx, plan: p, failed: map[string]bool{}}
	q.path = "/" + strings.Join(s.weeks(p), ",") + "/_search"
	err := q.run()
	switch {
	case err == nil:
		return q.res, nil
	case ctx.Err() == context.Canceled:
		return nil, fault.As(fault.Canceled, ctx.Err(), "search")
	case ctx.Err() != nil, fault.Is(err, fault.Timeout):
		return nil, fault.New(fault.Timeout, "the search took longer than %s (search.timeout): narrow the dates or ask for less", s.opts.QueryTime)
	}
	return nil, err
}

// Explain implements search.Explainer: the plan as one request, the way a client
// of the cluster would put it. Its counts of terms are those of the cluster,
// which can be too low where shards differ; Search makes them exact.
func (s *Store) Explain(p *plan.Plan) (_ any, indices []string, err error) {
	q := &query{s: s, plan: p}
	body := object{"track_total_hits": true, "size": 0}
	if err := q.page(body); err != nil {
		return nil, nil, err
	}
	if body["query"], err = s.filters.query(p, s.date); err != nil {
		return nil, nil, err
	}
	if len(p.Aggs) > 0 {
		body["aggs"] = q.plain(p.Aggs)
	}
	return body, s.weeks(p), nil
}

// weeks names the indices that a plan's dates touch.
func (s *Store) weeks(p *plan.Plan) []string {
	var out []string
	for _, w := range p.Weeks() {
		out = append(out, s.opts.Prefix+strings.TrimPrefix(w, indexName))
	}
	return append(out, s.opts.Prefix+otherWeek)
}

// indexName is the beginning of the names that plans give to weeks.
const indexName = "socorro"

func (q *query) run() (err error) {
	if q.filter, err = q.s.filters.query(q.plan, q.s.date); err != nil {
		return err
	}
	if needsSteps(q.plan) {
		if err := q.pin(); err != nil {
			return err
		}
	}
	defer q.unpin()
	err = q.answer()
	if errors.Is(err, errSteps) { // first seen in the counts
		if err = q.pin(); err == nil {
			err = q.answer()
		}
	}
	return err
}

// needsSteps says whether aggregations take more than one request whatever the
// counts, or often do because they are over many weeks.
func needsSteps(p *plan.Plan) bool {
	many := len(p.Weeks()) > 2
	for i := range p.Aggs {
		a := &p.Aggs[i]
		if len(a.Subs) > 0 || a.Kind == plan.Cardinality || many && !complete(a) {
			return true
		}
	}
	return false
}

// answer asks for hits and aggregations.
func (q *query) answer() error {
	q.res = &search.Result{Hits: []search.Hit{}, Facets: search.Facets{}, Errors: []search.Error{}}
	body := object{"track_total_hits": true, "size": 0}
	if err := q.page(body); err != nil {
		return err
	}
	root, err := q.aggregate(body, func(r *reply) {
		q.res.Total = r.Hits.Total.Value
		q.hits(r)
	})
	if err != nil {
		return err
	}
	for i := range q.plan.Aggs {
		q.res.Facets[q.plan.Aggs[i].Name] = facet(root.subs[i])
	}
	return nil
}

// ask puts one request with the plan's filter. What the cluster could not ask
// is noted in the result.
func (q *query) ask(body object) (*reply, error) {
	body["query"] = q.filter
	if deadline, ok := q.ctx.Deadline(); ok {
		body["timeout"] = fmt.Sprintf("%dms", max(1, time.Until(deadline).Milliseconds()))
	}
	rq := call{method: http.MethodPost, path: q.path, query: url.Values{"ignore_unavailable": {"true"}}, tries: searchTries}
	if q.pit != "" {
		body["pit"] = object{"id": q.pit, "keep_alive": keepAlive}
		rq.path, rq.query = "/_search", nil
	}
	var err error
	if rq.body, err = json.Marshal(body); err != nil {
		return nil, fault.As(fault.Internal, err, "query")
	}
	r := new(reply)
	if err := q.s.client.do(q.ctx, rq, r); err != nil {
		var api *apiError
		if q.plan.Cursor != "" && errors.As(err, &api) && api.status == http.StatusBadRequest {
			return nil, errCursor()
		}
		return nil, errorOf(err)
	}
	if r.TimedOut {
		return nil, fault.New(fault.Timeout, "OpenSearch ended the search")
	}
	return r, q.failures(r)
}

// searchTries is how often a search is put to a busy cluster.
const searchTries = 4

// failures notes the indices that did not answer, and gives an error where the
// query itself is the reason.
func (q *query) failures(r *reply) error {
	for i := range r.Shards.Failures {
		f := &r.Shards.Failures[i]
		api := &apiError{status: http.StatusOK}
		f.Reason.collect(api, 0)
		if err := errorOf(api); fault.Is(err, fault.Invalid) || fault.Is(err, fault.Timeout) || api.is("circuit_breaking_exception") {
			return err
		}
		name := indexName + strings.TrimPrefix(f.Index, q.s.opts.Prefix)
		if !q.failed[name] {
			q.failed[name] = true
			q.res.Errors = append(q.res.Errors, search.Error{Type: "shards", Index: name})
		}
	}
	return nil
}

// keepAlive is how long the cluster keeps a pinned state between two requests.
const keepAlive = "1m"

// pin has all requests see one state of the index.
func (q *query) pin() error {
	var out struct {
		ID string `json:"pit_id"`
	}
	err := q.s.client.do(q.ctx, call{method: http.MethodPost, path: q.path + "/point_in_time",
		query: url.Values{"ignore_unavailable": {"true"}, "keep_alive": {keepAlive}, "allow_partial_pit_creation": {"true"}}, tries: searchTries}, &out)
	var api *apiError
	if errors.As(err, &api) && api.status == http.StatusBadRequest {
		// Without any index there is nothing to pin, and nothing to find.
		return nil
	}
	q.pit = out.ID
	return errorOf(err)
}

// unpinTime is how long giving a state back may take.
const unpinTime = 2 * time.Second

func (q *query) unpin() {
	if q.pit == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx), unpinTime)
	defer cancel()
	body, _ := json.Marshal(object{"pit_id": []string{q.pit}}) // of strings
	// One that stays ends by itself after keepAlive.
	_ = q.s.client.do(ctx, call{method: http.MethodDelete, path: "/_search/point_in_time", body: body}, nil)
}

// page asks for the hits of the plan.
func (q *query) page(body object) error {
	p := q.plan
	order := q.order()
	var after []json.RawMessage
	if p.Cursor != "" {
		var err error
		if after, err = readCursor(p.Cursor, order); err != nil {
			return err
		}
	}
	if p.Number == 0 {
		return nil
	}
	var sort []any
	for _, o := range order {
		c := q.s.filters.columns[o.Field]
		direction := "asc"
		if o.Desc {
			direction = "desc"
		}
		sort = append(sort, object{c.exact: object{"order": direction, "missing": "_last", "unmapped_type": c.kind}})
	}
	tie := object{"order": "asc", "unmapped_type": "long"}
	body["sort"] = append(sort, object{highField: tie}, object{lowField: tie})
	body["size"] = p.Number
	body["_source"] = object{"includes": q.sources()}
	if after != nil {
		body["search_after"] = after
		body["size"] = p.Offset + p.Number
	} else if p.Offset > 0 {
		body["from"] = p.Offset
	}
	return nil
}

// order is the plan's sort order, or the newest first.
func (q *query) order() []plan.Order {
	if len(q.plan.Sort) > 0 {
		return q.plan.Sort
	}
	return []plan.Order{{Field: q.s.date.field, Desc: true}}
}

// sources names what is read of each hit.
func (q *query) sources() []string {
	out := []string{}
	for _, f := range q.plan.Columns {
		c := q.s.filters.columns[f]
		switch {
		case c == nil:
		case f.Name == plan.DateField:
			out = append(out, c.exact, c.name+textSuffix)
		case f.Storage == plan.Instant:
			out = append(out, c.exact)
		default:
			out = append(out, c.name)
		}
	}
	return out
}

// hits reads the page of a reply.
func (q *query) hits(r *reply) {
	p := q.plan
	list := r.Hits.Hits
	last := len(list) > 0 && len(list) == p.Number
	if p.Cursor != "" {
		last = len(list) > p.Offset && len(list) == p.Offset+p.Number
		list = list[min(p.Offset, len(list)):]
	}
	for i := range list {
		q.res.Hits = append(q.res.Hits, q.hit(list[i].Source))
	}
	if p.WantCursor && last {
		q.res.Cursor = cursorOf(q.order(), list[len(list)-1].Sort)
	}
}

// hit brings a source to the columns asked for.
func (q *query) hit(source map[string]any) search.Hit {
	hit := make(search.Hit, len(q.plan.Columns))
	for _, f := range q.plan.Columns {
		hit[f.Name] = nil
		c := q.s.filters.columns[f]
		if c == nil {
			continue
		}
		switch {
		case f.Storage == plan.Instant:
			if n, ok := whole(source[c.exact]); ok {
				hit[f.Name] = search.FormatDate(n)
			}
			if s, ok := source[c.name+textSuffix].(string); ok {
				hit[f.Name] = s
			}
		case f.Storage.IsInt():
			if n, ok := whole(source[c.name]); ok {
				hit[f.Name] = n
			}
		default:
			hit[f.Name] = value(source[c.name])
		}
	}
	return hit
}

func whole(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// value is a value of a source as hits show it: a list of one is its element.
func value(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
		return nil
	case []any:
		switch len(v) {
		case 0:
			return nil
		case 1:
			return v[0]
		}
		list := make([]string, 0, len(v))
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return v
}

// A cursor is base64 of the JSON of cursorBody: the sort values of the last hit,
// bound to the order they belong to. It says nothing that the viewer was not
// shown and leads nowhere that an own query would not, so it is not signed; any
// process of an instance takes it.
type cursorBody struct {
	Order string            `json:"o"`
	Keys  []json.RawMessage `json:"k"`
}

func cursorOf(order []plan.Order, keys []json.RawMessage) string {
	body, err := json.Marshal(cursorBody{plan.OrderName(order), keys})
	if err != nil {
		return "" // keys come out of JSON
	}
	return base64.RawURLEncoding.EncodeToString(body)
}

func errCursor() error {
	return fault.As(fault.Invalid, &plan.Error{Param: "_cursor", Message: "Bad value for parameter _cursor: not a cursor of this search"}, "super search")
}

func readCursor(cursor string, order []plan.Order) ([]json.RawMessage, error) {
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	var body cursorBody
	if err != nil || json.Unmarshal(data, &body) != nil || body.Order != plan.OrderName(order) || len(body.Keys) != len(order)+2 {
		return nil, errCursor()
	}
	for i, k := range body.Keys {
		if len(k) == 0 || k[0] == '{' || k[0] == '[' {
			return nil, errCursor()
		}
		if i < len(order) {
			continue
		}
		var half int64 // of the id
		if json.Unmarshal(k, &half) != nil {
			return nil, errCursor()
		}
	}
	return body.Keys, nil
}
