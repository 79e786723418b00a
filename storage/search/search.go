// Package search finds crashes: it defines what a search engine of Mayday must
// do, the documents it holds and the answers it gives, and answers the requests
// of Socorro's Super Search API with either engine.
//
//	request ──▶ plan.Parse ──▶ Engine.Search ──▶ Result ──▶ JSON of /api/SuperSearch/
//	processed crash ──▶ NewDoc ──▶ Engine.Index
//
// The embedded engine is package column, that on a cluster package opensearch.
// Both must give the same answer to the same plan; package enginetest sees to
// that. Documents are made from the processed crash in
// the bucket, never from a message, so an index can always be built anew.
//
// It knows nothing of HTTP routes, users or rate limits.
package search

import (
	"context"
	"encoding/json"
	"math"
	"strconv"

	"mayday/storage/search/plan"
)

// Engine is a search index: the embedded one or a cluster's.
type Engine interface {
	// Index adds documents or replaces those of the same id, in whatever week
	// they were. When it returns nil they are durable and every later Search
	// sees them.
	Index(ctx context.Context, docs []Doc) error
	// Search executes a plan over one unchanging state of the index.
	Search(ctx context.Context, p *plan.Plan) (*Result, error)
	// Delete removes documents; ids that are not there are no error.
	Delete(ctx context.Context, ids []string) error
}

// Explainer is an engine that can say what it would ask of a cluster.
type Explainer interface {
	// Explain gives the query in the cluster's language and the indices it goes
	// to; query is nil where there is no such language.
	Explain(p *plan.Plan) (query any, indices []string, err error)
}

// Result is the answer to a plan. Its JSON is that of /api/SuperSearch/.
type Result struct {
	Hits     []Hit    `json:"hits"`
	Total    int64    `json:"total"`
	Facets   Facets   `json:"facets"`
	Errors   []Error  `json:"errors"`
	Warnings []string `json:"warnings,omitempty"`
	Cursor   string   `json:"cursor,omitempty"` // names the last hit, when the plan asked for it
}

// Hit is one document: exactly the columns asked for. Absent is nil, a list of
// one is its element. Values are string, int64, float64, bool or []string.
type Hit map[string]any

// Error says that part of the index could not be asked.
type Error struct {
	Type  string `json:"type"`  // missing_index
	Index string `json:"index"` // socorro202640
}

// Facets are aggregations by their name in the answer.
type Facets map[string]*Facet

// Facet is one aggregation: buckets, or a number of distinct values.
type Facet struct {
	Buckets     []Bucket
	Cardinality int64
	IsNumber    bool // Cardinality is meant
}

// Bucket is one value or interval and how many documents have it.
type Bucket struct {
	Term   any    `json:"term"` // string, int64 or Real
	Count  int64  `json:"count"`
	Facets Facets `json:"facets,omitempty"`
}

// MarshalJSON writes a list of buckets, or {"value": n}.
func (f *Facet) MarshalJSON() ([]byte, error) {
	switch {
	case f.IsNumber:
		return json.Marshal(map[string]int64{"value": f.Cardinality})
	case f.Buckets == nil:
		return []byte("[]"), nil
	}
	return json.Marshal(f.Buckets)
}

// Real is a floating-point term: whole ones are written 60.0, as Elasticsearch
// does.
type Real float64

// MarshalJSON writes a number that is seen to be a float.
func (r Real) MarshalJSON() ([]byte, error) {
	v := float64(r)
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.AppendFloat(nil, v, 'f', 1, 64), nil
	}
	return json.Marshal(v)
}
