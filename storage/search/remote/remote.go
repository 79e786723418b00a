// Package remote asks the Super Search API of a host, Mayday's or Crash Stats',
// and prints what it answers as tables.
//
// Hits are fetched page by page: by cursor where the host has one, by offset
// otherwise, which ends at 10,000. A host that is busy (429, 502, 503, 504) is
// asked again after a pause. Nested aggregations are printed one row a path.
package remote

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Client asks one host.
type Client struct {
	Base  string // https://crash-stats.example.com
	Token string // of the API; may be empty
	HTTP  *http.Client
	Agent string
}

// Answer is what the API answers.
type Answer struct {
	Hits     []map[string]any  `json:"hits"`
	Total    int64             `json:"total"`
	Facets   map[string]*Facet `json:"facets"`
	Errors   []json.RawMessage `json:"errors"`
	Warnings []string          `json:"warnings"`
	Cursor   string            `json:"cursor"`
}

// Facet is an aggregation: buckets, or the number of distinct values.
type Facet struct {
	Buckets []Bucket
	Value   *int64
}

// Bucket is one value of an aggregation.
type Bucket struct {
	Term   any               `json:"term"`
	Count  int64             `json:"count"`
	Facets map[string]*Facet `json:"facets"`
}

// UnmarshalJSON reads a list of buckets or {"value": n}.
func (f *Facet) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return decode(b, &f.Buckets)
	}
	var v struct {
		Value int64 `json:"value"`
	}
	err := decode(b, &v)
	f.Value = &v.Value
	return err
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber() // build ids are past what a float holds
	return d.Decode(v)
}

const (
	// maxAnswer bounds an answer: 1,000 hits of a few long columns are some MB.
	maxAnswer = 256 << 20
	tries     = 5
	pause     = 300 * time.Millisecond
)

// Raw fetches one answer as it comes.
func (c *Client) Raw(ctx context.Context, values url.Values) ([]byte, error) {
	wait := pause
	for try := 1; ; try++ {
		body, status, err := c.get(ctx, values)
		if err == nil && status == http.StatusOK {
			return body, nil
		}
		busy := err != nil || status == http.StatusTooManyRequests || status >= 502 && status <= 504
		if !busy || try == tries || ctx.Err() != nil {
			if err != nil {
				return nil, err
			}
			return nil, refusal(status, body)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func (c *Client) get(ctx context.Context, values url.Values) ([]byte, int, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Base, "/")+"/api/SuperSearch/?"+values.Encode(), nil)
	if err != nil {
		return nil, 0, fault.As(fault.Invalid, err, "host %q", c.Base)
	}
	rq.Header.Set("User-Agent", c.Agent)
	if c.Token != "" {
		rq.Header.Set("Auth-Token", c.Token)
	}
	rs, err := c.HTTP.Do(rq)
	if err != nil {
		return nil, 0, fault.As(fault.Unavailable, err, "ask")
	}
	defer rs.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rs.Body, maxAnswer))
	return body, rs.StatusCode, fault.As(fault.Unavailable, err, "read the answer")
}

// refusal makes an error of an answer that is no success.
func refusal(status int, body []byte) error {
	var b struct {
		Error  string              `json:"error"`
		Errors map[string][]string `json:"errors"`
	}
	text := strings.TrimSpace(string(body[:min(len(body), 300)]))
	if json.Unmarshal(body, &b) == nil {
		switch {
		case b.Error != "":
			text = b.Error
		case len(b.Errors) > 0:
			var parts []string
			for name, list := range b.Errors {
				parts = append(parts, name+": "+strings.Join(list, " "))
			}
			text = strings.Join(parts, "; ")
		}
	}
	kind := fault.Unavailable
	switch status {
	case http.StatusBadRequest:
		kind = fault.Malformed
	case http.StatusForbidden, http.StatusUnauthorized:
		kind = fault.Forbidden
	case http.StatusNotFound:
		kind = fault.NotFound
	}
	return fault.New(kind, "the host answers %d: %s", status, text)
}

// Ask fetches and reads one answer.
func (c *Client) Ask(ctx context.Context, values url.Values) (*Answer, error) {
	body, err := c.Raw(ctx, values)
	if err != nil {
		return nil, err
	}
	a := new(Answer)
	if err := decode(body, a); err != nil {
		return nil, fault.As(fault.Malformed, err, "answer of %d bytes", len(body))
	}
	return a, nil
}

// Hits calls yield with up to most hits, page by page.
func (c *Client) Hits(ctx context.Context, values url.Values, most int, yield func([]map[string]any) error) error {
	values = clone(values)
	values.Set("_facets_size", "0")
	values["_cursor"] = []string{"*"}
	for done := 0; done < most; {
		values.Set("_results_number", strconv.Itoa(min(plan.MaxResults, most-done)))
		a, err := c.Ask(ctx, values)
		if err != nil {
			return err
		}
		if len(a.Hits) > 0 {
			if err := yield(a.Hits); err != nil {
				return err
			}
		}
		done += len(a.Hits)
		switch {
		case len(a.Hits) == 0 || int64(done) >= a.Total:
			return nil
		case a.Cursor != "":
			values["_cursor"] = []string{a.Cursor}
			values.Del("_results_offset")
		case done >= plan.MaxWindow:
			return fault.New(fault.TooLarge, "the host gives the first %d of %d hits only", done, a.Total)
		default:
			values.Set("_results_offset", strconv.Itoa(done))
			if done+plan.MaxResults > plan.MaxWindow {
				most = min(most, plan.MaxWindow)
			}
		}
	}
	return nil
}

func clone(v url.Values) url.Values {
	out := make(url.Values, len(v)+3)
	for k, list := range v {
		out[k] = append([]string(nil), list...)
	}
	return out
}
