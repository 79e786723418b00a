package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mayday/app/fault"
)

// client speaks the REST interface of one cluster.
type client struct {
	base     *url.URL
	user     string
	password string
	http     *http.Client
}

// maxAnswer bounds an answer: 10,000 hits of some long columns, or a million
// buckets, are tens of MB.
const maxAnswer = 512 << 20

// call is one request.
type call struct {
	method string
	path   string // below the base, already escaped
	query  url.Values
	body   []byte
	lines  bool // the body is NDJSON
	tries  int  // how often a busy or unreachable cluster is asked; 0 is once
}

// pause is how long the first repetition waits; each further one waits twice as
// long, maxPause at most.
const (
	pause    = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// do sends a call and decodes its answer into out, which may be nil. A cluster
// that is busy (429, 502, 503, 504) or does not answer is asked again after a
// pause, until ctx ends. Answers that are no success are *apiError.
func (c *client) do(ctx context.Context, rq call, out any) error {
	wait := pause
	for try := 1; ; try++ {
		err := c.once(ctx, rq, out)
		if err == nil || try >= rq.tries || !passing(err) {
			return err
		}
		if !sleep(ctx, wait) {
			return err
		}
		wait = min(wait*2, maxPause)
	}
}

// sleep says whether all of d went by before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// passing says whether the same request may well succeed later.
func passing(err error) bool {
	var api *apiError
	if errors.As(err, &api) {
		return busy(api.status)
	}
	return fault.Is(err, fault.Unavailable)
}

func busy(status int) bool {
	return status == http.StatusTooManyRequests || status >= 502 && status <= 504
}

func (c *client) once(ctx context.Context, rq call, out any) error {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + rq.path
	u.RawQuery = rq.query.Encode()
	h, err := http.NewRequestWithContext(ctx, rq.method, u.String(), bytes.NewReader(rq.body))
	if err != nil {
		return fault.As(fault.Invalid, err, "search.url")
	}
	switch {
	case rq.lines:
		h.Header.Set("Content-Type", "application/x-ndjson")
	case len(rq.body) > 0:
		h.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" || c.password != "" {
		h.SetBasicAuth(c.user, c.password)
	}
	rs, err := c.http.Do(h)
	if err != nil {
		return fault.As(unreachable(ctx), err, "ask OpenSearch")
	}
	defer rs.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rs.Body, maxAnswer+1))
	if err != nil {
		return fault.As(unreachable(ctx), err, "read OpenSearch's answer")
	}
	if len(body) > maxAnswer {
		return fault.New(fault.TooLarge, "OpenSearch's answer is longer than %d MiB", maxAnswer>>20)
	}
	if rs.StatusCode >= 300 {
		return readError(rs.StatusCode, body)
	}
	if out == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // build ids and microseconds are past what a float holds
	return fault.As(fault.Unavailable, d.Decode(out), "OpenSearch's answer of %d bytes", len(body))
}

// unreachable is the kind of an error of the connection: the caller may have
// ended it.
func unreachable(ctx context.Context) fault.Kind {
	switch ctx.Err() {
	case nil:
		return fault.Unavailable
	case context.Canceled:
		return fault.Canceled
	}
	return fault.Timeout
}

// apiError is an answer that is no success.
type apiError struct {
	status int
	reason string
	types  []string // of the error and all its causes
}

// Error is the cluster's own words.
func (e *apiError) Error() string {
	name := "error"
	if len(e.types) > 0 {
		name = e.types[0]
	}
	return name + ": " + e.reason
}

// is says whether the error or a cause of it is of one of the types.
func (e *apiError) is(types ...string) bool {
	for _, have := range e.types {
		for _, t := range types {
			if have == t {
				return true
			}
		}
	}
	return false
}

// maxReason bounds what is quoted of the cluster's words.
const maxReason = 300

func readError(status int, body []byte) *apiError {
	e := &apiError{status: status}
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Error) == 0 {
		e.reason = strings.TrimSpace(string(body[:min(len(body), maxReason)]))
		return e
	}
	var cause causes
	if json.Unmarshal(answer.Error, &cause) != nil {
		e.reason = string(answer.Error[:min(len(answer.Error), maxReason)])
		return e
	}
	cause.collect(e, 0)
	return e
}

// causes is the form of an error in answers; it nests.
type causes struct {
	Type         string   `json:"type"`
	Reason       string   `json:"reason"`
	Root         []causes `json:"root_cause"`
	CausedBy     *causes  `json:"caused_by"`
	FailedShards []struct {
		Reason causes `json:"reason"`
	} `json:"failed_shards"`
}

// maxCauses bounds how deep causes are followed.
const maxCauses = 8

func (c *causes) collect(e *apiError, depth int) {
	if c.Type != "" {
		e.types = append(e.types, c.Type)
	}
	if c.Reason != "" { // the innermost says most
		e.reason = c.Reason[:min(len(c.Reason), maxReason)]
	}
	if depth == maxCauses {
		return
	}
	for i := range c.FailedShards {
		c.FailedShards[i].Reason.collect(e, depth+1)
	}
	for i := range c.Root {
		c.Root[i].collect(e, depth+1)
	}
	if c.CausedBy != nil {
		c.CausedBy.collect(e, depth+1)
	}
}

// errorOf gives an error of the cluster the kind that it means here.
func errorOf(err error) error {
	var api *apiError
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case api.is("too_many_buckets_exception"):
		return fault.As(fault.Invalid, api, "the answer has too many buckets (search.max_buckets of the cluster): ask for fewer facets or longer intervals")
	case api.is("circuit_breaking_exception"):
		return fault.As(fault.Unavailable, api, "the cluster lacks the memory for this search: narrow the dates or ask for less")
	case api.is("too_complex_to_determinize_exception", "too_many_clauses", "too_many_nested_clauses"):
		return fault.As(fault.Invalid, api, "the search is too complex")
	case api.is("task_cancelled_exception", "timeout_exception"):
		return fault.As(fault.Timeout, api, "OpenSearch ended the search")
	case busy(api.status), api.status >= 500, api.status == http.StatusUnauthorized, api.status == http.StatusForbidden:
		return fault.As(fault.Unavailable, api, "OpenSearch answers %d", api.status)
	case api.status == http.StatusNotFound:
		return fault.As(fault.NotFound, api, "OpenSearch")
	}
	return fault.As(fault.Internal, api, "OpenSearch answers %d", api.status)
}
