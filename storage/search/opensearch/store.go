// Package opensearch is the search engine on an OpenSearch cluster (2.4 or
// later), over its REST interface.
//
//	socorro202647    one index a week of date processed (%Y%W, Monday, UTC), as Socorro names them
//	socorroother     dates that no calendar of crashes has
//
// Every crash is one document whose id is the crash id. The mapping is made
// from the field table; indices are created from a template.
//
// Writes: a batch goes to the weeks' indices by bulk requests and is refreshed
// before Index returns, so what was acknowledged can be searched. A crash id
// ends in its date, which tells the week it should be in; those in another week
// are marked, so that an older copy elsewhere is found and removed without
// looking into every week. Between new and old copy a query may see both for
// the moment of that refresh.
//
// Answers are those of the embedded engine. Queries become filters (filter.go);
// terms counts of several shards are compared with their error bounds and
// counted again until they are exact (aggregate.go), over one pinned state of
// the indices. Where a cluster cannot do that within bounds, a warning says so.
// Strings past 32,766 bytes are cut, Lucene takes no longer terms.
//
// It does not install or tune a cluster.
package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// Options configure a Store; zero values take the defaults.
type Options struct {
	URL       string // of the cluster
	User      string
	Password  string
	Prefix    string // of the names of indices, "socorro"
	Fields    *plan.Fields
	Log       *zap.Logger
	Now       func() time.Time
	QueryTime time.Duration // a query's deadline, 10 s
	HTTP      *http.Client

	few bool // ask for so few terms at first that recounting is needed; for tests
}

// Store is a set of weekly indices.
type Store struct {
	opts    Options
	client  *client
	cols    []column
	filters filters
	id      *column
	date    *column

	write sync.Mutex // one writer of this process at a time
	ready bool       // under write: template and mappings are the field table's
}

// Open makes a Store; the cluster is not asked yet.
func Open(opts Options) (*Store, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "search.url %q is no http or https URL", opts.URL)
	}
	if opts.Prefix == "" {
		opts.Prefix = indexName
	}
	if !validPrefix(opts.Prefix) {
		return nil, fault.New(fault.Invalid, "search.index_prefix %q: lower-case letters, digits, - and _ only, beginning with a letter", opts.Prefix)
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.QueryTime == 0 {
		opts.QueryTime = 10 * time.Second
	}
	if opts.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = maxIdle
		opts.HTTP = &http.Client{Transport: t}
	}
	if u.User != nil { // settings are printed, but for secret ones
		return nil, fault.New(fault.Invalid, "search.url: user and password go into search.user and search.password")
	}
	s := &Store{opts: opts, client: &client{base: u, user: opts.User, password: opts.Password, http: opts.HTTP}, cols: columns(opts.Fields)}
	s.filters.columns = make(map[*plan.Field]*column, len(s.cols))
	for i := range s.cols {
		c := &s.cols[i]
		s.filters.columns[c.field] = c
		switch c.field.Name {
		case plan.IDField:
			s.id = c
		case plan.DateField:
			s.date = c
		}
	}
	return s, nil
}

// maxIdle is how many connections are kept: about as many as queries run.
const maxIdle = 32

func validPrefix(s string) bool {
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z':
		case i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_'):
		default:
			return false
		}
	}
	return true
}

// Close releases the connections.
func (s *Store) Close() error {
	s.opts.HTTP.CloseIdleConnections()
	return nil
}

// Check says whether the cluster answers and can serve.
func (s *Store) Check(ctx context.Context) error {
	var out struct {
		Status string `json:"status"`
	}
	if err := s.client.do(ctx, call{method: http.MethodGet, path: "/_cluster/health"}, &out); err != nil {
		return fault.Wrap(errorOf(err), "search index")
	}
	if out.Status == "red" {
		return fault.New(fault.Unavailable, "search index: the cluster's health is red")
	}
	return nil
}

// writeTries is how often a write is put to a busy cluster, which takes more
// than a minute of waiting unless ctx ends before.
const writeTries = 20

func (s *Store) put(ctx context.Context, method, path string, q url.Values, body any, out any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fault.As(fault.Internal, err, "%s", path)
	}
	return errorOf(s.client.do(ctx, call{method: method, path: path, query: q, body: data, tries: writeTries}, out))
}

// prepare has the cluster know the field table. The caller holds write.
func (s *Store) prepare(ctx context.Context) error {
	if s.ready {
		return nil
	}
	if err := s.put(ctx, http.MethodPut, "/_index_template/"+s.opts.Prefix, nil, template(s.opts.Prefix, s.cols), nil); err != nil {
		return fault.Wrap(err, "index template %s", s.opts.Prefix)
	}
	names, err := s.indices(ctx)
	if err != nil {
		return err
	}
	for _, one := range names {
		err := s.put(ctx, http.MethodPut, "/"+one.Name+"/_mapping", nil, mapping(s.cols), nil)
		if fault.Is(err, fault.Internal) { // a field has another type there
			s.opts.Log.Warn("fields have another type in a week's index; delete it and reindex", zap.String("index", one.Name), zap.Error(err))
			continue
		}
		if err != nil {
			return fault.Wrap(err, "mapping of %s", one.Name)
		}
	}
	s.ready = true
	return nil
}

// index is one weekly index.
type index struct {
	Name    string `json:"index"`
	Deleted string `json:"docs.deleted"`
}

// indices lists the weekly indices there are, the oldest first.
func (s *Store) indices(ctx context.Context) ([]index, error) {
	var list []index
	err := s.client.do(ctx, call{method: http.MethodGet, path: "/_cat/indices/" + s.opts.Prefix + "*",
		query: url.Values{"format": {"json"}, "h": {"index,docs.deleted"}}, tries: searchTries}, &list)
	if err != nil {
		return nil, fault.Wrap(errorOf(err), "list indices")
	}
	list = slices.DeleteFunc(list, func(x index) bool { return !s.isWeek(x.Name) })
	slices.SortFunc(list, func(a, b index) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// isWeek says whether an index is one of ours: others may begin alike.
func (s *Store) isWeek(name string) bool {
	w := strings.TrimPrefix(name, s.opts.Prefix)
	return w == otherWeek || len(w) == 6 && w[0] == '2' && strings.Trim(w, "0123456789") == ""
}

// weekOf names the index of a date.
func (s *Store) weekOf(t time.Time) string {
	if now := s.opts.Now(); t.Before(now.AddDate(-10, 0, 0)) || t.After(now.Add(48*time.Hour)) {
		return s.opts.Prefix + otherWeek
	}
	return s.opts.Prefix + strings.TrimPrefix(plan.IndexName(t), indexName)
}

// homeOf names the index that a crash id's date tells, "" when it tells none.
func (s *Store) homeOf(id string) string {
	if len(id) != 36 {
		return ""
	}
	t, err := time.Parse("060102", id[30:])
	if err != nil {
		return ""
	}
	return s.weekOf(t)
}

// Index implements search.Engine.
func (s *Store) Index(ctx context.Context, docs []search.Doc) (err error) {
	defer fault.In(&err, "index %d crashes", len(docs))
	if len(docs) == 0 {
		return nil
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	last := make(map[[16]byte]int, len(docs))
	for i := range docs {
		last[docs[i].ID] = i
	}
	week := make(map[string]string, len(last))
	b := s.newBulk(ctx)
	for i := range docs {
		d := &docs[i]
		if last[d.ID] != i {
			continue
		}
		id := search.FormatID(d.ID)
		in, home := s.weekOf(time.UnixMicro(d.Date)), s.homeOf(id)
		week[id] = in
		if err := b.index(in, id, d, in != home); err != nil {
			return err
		}
		if home != "" && in != home {
			if err := b.remove(home, id); err != nil {
				return err
			}
		}
	}
	if err := s.strays(b, week); err != nil {
		return err
	}
	return b.finish()
}

// Delete implements search.Engine.
func (s *Store) Delete(ctx context.Context, ids []string) (err error) {
	defer fault.In(&err, "delete %d crashes from the search index", len(ids))
	if len(ids) == 0 {
		return nil
	}
	s.write.Lock()
	defer s.write.Unlock()
	week := make(map[string]string, len(ids))
	b := s.newBulk(ctx)
	for _, id := range ids {
		if _, ok := search.ParseID(id); !ok {
			continue
		}
		week[id] = ""
		if home := s.homeOf(id); home != "" {
			if err := b.remove(home, id); err != nil {
				return err
			}
		}
	}
	if err := s.strays(b, week); err != nil {
		return err
	}
	return b.finish()
}

// strays removes the copies of crashes that are in a week other than their
// id's and other than the one given. Writes are refreshed before they are
// acknowledged, so a search sees all copies that count.
func (s *Store) strays(b *bulk, week map[string]string) error {
	ids := make([]string, 0, len(week))
	for id := range week {
		ids = append(ids, id)
	}
	for list := range slices.Chunk(ids, maxIDs) {
		var r struct {
			Hits struct {
				Hits []struct {
					Index string `json:"_index"`
					ID    string `json:"_id"`
				} `json:"hits"`
			} `json:"hits"`
		}
		body := object{"size": maxHits, "_source": false, "query": boolQuery("filter", object{"term": object{strayField: true}}, object{"ids": object{"values": list}})}
		if err := s.put(b.ctx, http.MethodPost, "/"+strings.Join(patterns(s.opts.Prefix), ",")+"/_search", url.Values{"ignore_unavailable": {"true"}}, body, &r); err != nil {
			return fault.Wrap(err, "look for older copies")
		}
		for _, h := range r.Hits.Hits {
			if s.isWeek(h.Index) && h.Index != week[h.ID] {
				if err := b.remove(h.Index, h.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

const (
	// maxIDs is how many crashes are looked for at once; each may be in two
	// weeks at most, after a write that ended half-way.
	maxIDs  = 5_000
	maxHits = 10_000
)

// bulk sends writes in requests of a bounded size. A document that the cluster
// refuses for what it holds is logged and left out.
type bulk struct {
	s       *Store
	ctx     context.Context
	body    bytes.Buffer
	lines   []line // of body
	touched map[string]bool
}

// line is one action of a bulk request: where it begins in the body.
type line struct {
	id         string
	start, end int
}

// bulkBytes bounds a bulk request: some thousand crashes, far below the 100 MB
// that a cluster takes.
const bulkBytes = 8 << 20

func (s *Store) newBulk(ctx context.Context) *bulk {
	return &bulk{s: s, ctx: ctx, touched: map[string]bool{}}
}

func (b *bulk) index(name, id string, d *search.Doc, stray bool) error {
	start := b.body.Len()
	fmt.Fprintf(&b.body, "{\"index\":{\"_index\":%q,\"_id\":%q}}\n", name, id)
	if err := encode(&b.body, b.s.cols, d, stray); err != nil {
		return err
	}
	return b.add(name, id, start)
}

func (b *bulk) remove(name, id string) error {
	start := b.body.Len()
	fmt.Fprintf(&b.body, "{\"delete\":{\"_index\":%q,\"_id\":%q}}\n", name, id)
	return b.add(name, id, start)
}

func (b *bulk) add(name, id string, start int) error {
	b.touched[name] = true
	b.lines = append(b.lines, line{id, start, b.body.Len()})
	if b.body.Len() < bulkBytes {
		return nil
	}
	return b.send()
}

// bulkReply says what became of each action, in their order.
type bulkReply struct {
	Errors bool                    `json:"errors"`
	Items  []map[string]itemResult `json:"items"`
}

type itemResult struct {
	Status int             `json:"status"`
	Error  json.RawMessage `json:"error"`
}

// send puts the actions to the cluster; those that it was too busy for are
// repeated after a pause.
func (b *bulk) send() error {
	body, lines := b.body.Bytes(), b.lines
	wait := pause
	for try := 1; len(lines) > 0; try++ {
		var r bulkReply
		err := b.s.client.do(b.ctx, call{method: http.MethodPost, path: "/_bulk", body: body, lines: true, tries: writeTries}, &r)
		if err != nil {
			return errorOf(err)
		}
		if len(r.Items) != len(lines) {
			return fault.New(fault.Unavailable, "OpenSearch answers %d of %d actions", len(r.Items), len(lines))
		}
		var again []line
		var rest []byte
		var last error
		for i, item := range r.Items {
			for _, res := range item {
				switch err := b.s.outcome(lines[i].id, res); {
				case err == nil:
				case fault.Is(err, fault.Internal):
					// One crash must not hold up all others; it stays in the bucket.
					b.s.opts.Log.Error("the search index refuses a crash", zap.Error(err))
				default:
					last = err
					start := len(rest)
					rest = append(rest, body[lines[i].start:lines[i].end]...)
					again = append(again, line{lines[i].id, start, len(rest)})
				}
			}
		}
		if len(again) > 0 && (try == writeTries || !sleep(b.ctx, wait)) {
			return last
		}
		wait = min(wait*2, maxPause)
		body, lines = rest, again
	}
	b.body.Reset()
	b.lines = b.lines[:0]
	return nil
}

// outcome reads what became of one action. To delete what is not there is done.
func (s *Store) outcome(id string, r itemResult) error {
	if r.Status < 300 || r.Status == http.StatusNotFound {
		return nil
	}
	var c causes
	api := &apiError{status: r.Status}
	if json.Unmarshal(r.Error, &c) == nil {
		c.collect(api, 0)
	}
	if api.status >= 400 && api.status < 500 && !busy(api.status) {
		return fault.As(fault.Internal, api, "crash %s", id)
	}
	return fault.As(fault.Unavailable, api, "crash %s", id)
}

// finish sends what is left and makes all of it visible.
func (b *bulk) finish() error {
	if err := b.send(); err != nil {
		return err
	}
	if len(b.touched) == 0 {
		return nil
	}
	names := make([]string, 0, len(b.touched))
	for n := range b.touched {
		names = append(names, n)
	}
	slices.Sort(names)
	for list := range slices.Chunk(names, maxNames) {
		err := b.s.client.do(b.ctx, call{method: http.MethodPost, path: "/" + strings.Join(list, ",") + "/_refresh",
			query: url.Values{"ignore_unavailable": {"true"}}, tries: writeTries}, nil)
		if err != nil {
			return fault.Wrap(errorOf(err), "refresh")
		}
	}
	return nil
}

// maxNames keeps the list of indices in a URL below the 4 kB that a cluster
// takes.
const maxNames = 100

// DropWeeks removes the weeks before the given one, such as 2026/21: retention.
func (s *Store) DropWeeks(before string) (dropped int, err error) {
	defer fault.In(&err, "drop weeks before %s", before)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.write.Lock()
	defer s.write.Unlock()
	list, err := s.indices(ctx)
	if err != nil {
		return 0, err
	}
	limit := s.opts.Prefix + strings.ReplaceAll(before, "/", "")
	for _, one := range list {
		if one.Name >= limit || one.Name == s.opts.Prefix+otherWeek {
			continue
		}
		err := s.client.do(ctx, call{method: http.MethodDelete, path: "/" + one.Name, tries: searchTries}, nil)
		var api *apiError
		if err != nil && !(errors.As(err, &api) && api.status == http.StatusNotFound) {
			return dropped, errorOf(err)
		}
		dropped++
	}
	return dropped, nil
}

// countTime is how long Count waits.
const countTime = 5 * time.Second

// Count is the number of documents, 0 when the cluster does not say.
func (s *Store) Count() int {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	var out struct {
		Count int `json:"count"`
	}
	err := s.client.do(ctx, call{method: http.MethodGet, path: "/" + strings.Join(patterns(s.opts.Prefix), ",") + "/_count",
		query: url.Values{"ignore_unavailable": {"true"}}}, &out)
	if err != nil {
		s.opts.Log.Warn("the search index does not say how much it holds", zap.Error(err))
	}
	return out.Count
}

// Broken is empty: a cluster mends its shards itself, and says in answers which
// it could not ask.
func (s *Store) Broken() []string { return nil }

// Mended is part of reindexing; there is nothing to note.
func (s *Store) Mended() error { return nil }

// EachID lists the crashes of the index in the order of their ids.
func (s *Store) EachID(ctx context.Context, yield func(id string) error) error {
	var after []json.RawMessage
	for {
		body := object{"size": maxHits, "_source": false, "track_total_hits": false, "sort": []any{object{s.id.exact: object{"order": "asc", "unmapped_type": "keyword"}}}}
		if after != nil {
			body["search_after"] = after
		}
		var r reply
		if err := s.put(ctx, http.MethodPost, "/"+strings.Join(patterns(s.opts.Prefix), ",")+"/_search", url.Values{"ignore_unavailable": {"true"}}, body, &r); err != nil {
			return fault.Wrap(err, "list crashes")
		}
		if len(r.Shards.Failures) > 0 {
			return fault.New(fault.Unavailable, "list crashes: %d shards do not answer", len(r.Shards.Failures))
		}
		for _, h := range r.Hits.Hits {
			var id string
			if len(h.Sort) != 1 || json.Unmarshal(h.Sort[0], &id) != nil {
				continue
			}
			if err := yield(id); err != nil {
				return err
			}
			after = h.Sort
		}
		if len(r.Hits.Hits) < maxHits {
			return nil
		}
	}
}

// cleanEvery is how often deleted values are made to leave the disk: a day is
// promised.
const cleanEvery = 12 * time.Hour

// Run keeps the indices in order until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	for {
		err := s.tidy(ctx)
		wait := cleanEvery
		if err != nil && ctx.Err() == nil {
			s.opts.Log.Warn("search indices are not in order yet", zap.Error(err))
			wait = time.Minute
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// tidy tells the cluster the field table and has it rewrite the segments that
// hold deleted or replaced crashes.
func (s *Store) tidy(ctx context.Context) error {
	s.write.Lock()
	s.ready = false // somebody may have removed the template
	err := s.prepare(ctx)
	s.write.Unlock()
	if err != nil {
		return err
	}
	list, err := s.indices(ctx)
	if err != nil {
		return err
	}
	for _, one := range list {
		if one.Deleted == "" || one.Deleted == "0" {
			continue
		}
		err := s.client.do(ctx, call{method: http.MethodPost, path: "/" + one.Name + "/_forcemerge", query: url.Values{"only_expunge_deletes": {"true"}}}, nil)
		if err != nil {
			return fault.Wrap(errorOf(err), "expunge deleted crashes of %s", one.Name)
		}
	}
	return nil
}
