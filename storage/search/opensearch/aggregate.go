package opensearch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// aggReply is one aggregation of a reply.
type aggReply struct {
	// Bound is the most documents that a term which is in no bucket can have,
	// as far as the shards cut their lists: their last counts, added.
	Bound   int64         `json:"doc_count_error_upper_bound"`
	Other   int64         `json:"sum_other_doc_count"`
	Buckets []bucketReply `json:"buckets"`
	Value   int64         `json:"value"`
}

type bucketReply struct {
	Key   json.RawMessage
	Count int64
	Error int64 // the most documents that shards may have left out
	Subs  map[string]*aggReply
}

// UnmarshalJSON reads a bucket, whose sub-aggregations stand beside its own
// keys.
func (b *bucketReply) UnmarshalJSON(data []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, raw := range all {
		var err error
		switch {
		case name == "key":
			b.Key = raw
		case name == "doc_count":
			err = json.Unmarshal(raw, &b.Count)
		case name == "doc_count_error_upper_bound":
			err = json.Unmarshal(raw, &b.Error)
		case strings.HasPrefix(name, subName):
			sub := new(aggReply)
			err = json.Unmarshal(raw, sub)
			if b.Subs == nil {
				b.Subs = map[string]*aggReply{}
			}
			b.Subs[name] = sub
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// subName begins the names of aggregations in requests; none of a bucket's own
// keys begins so.
const subName = "agg"

func nameOf(i int) string { return subName + strconv.Itoa(i) }

// node is an answered aggregation.
type node struct {
	agg     *plan.Agg
	buckets []*bucket
	card    int64
	exact   bool
	bound   int64 // most documents of a term that is not among buckets
}

type bucket struct {
	key   string // text, or the number as JSON writes it
	count int64
	subs  []*node // one for each aggregation inside, nil until known
}

// step is one level of the way down to an aggregation.
type step struct {
	agg   *plan.Agg
	index int // among its siblings
}

// errSteps says that counts need more requests, which must see one state.
var errSteps = errors.New("more requests are needed")

// The counts of terms are exact for the first buckets when every shard, that is
// every week, named them and no other term can have as many documents. Each
// shard is asked for firstShard terms at least, for moreShard when that was not
// enough below the first level.
const (
	firstShard = 1_000
	moreShard  = 50_000
	// spare and fewSpare are buckets asked for beyond those wanted, on the first
	// level and below.
	spare    = 50
	fewSpare = 5
	// maxBuckets is how many buckets one request may answer: the cluster's own
	// default is 65,535.
	maxBuckets = 60_000
	// perPart is how many documents one part of a complete count may have, and
	// maxParts how many parts there may be.
	perPart  = 250_000
	maxParts = 16
	// maxListed is how many distinct values are listed to count them exactly;
	// past it the cluster's estimate stands, with a warning.
	maxListed = 10_000
)

// sizes are what a terms aggregation asks for.
type sizes struct {
	size, shard int
	include     any
}

func (q *query) sizes(shard, more int) sizes {
	if q.s.opts.few && shard == firstShard {
		shard, more = 2, 1
	}
	n := q.plan.FacetSize + more
	return sizes{size: n, shard: max(shard, n+n/2)}
}

// complete says whether the cluster answers an aggregation exactly at once, so
// that those inside it can be asked together with it.
func complete(a *plan.Agg) bool {
	return a.Kind == plan.Histogram || a.Kind == plan.Terms && a.Field.Storage == plan.Boolean
}

var calendars = [...]string{plan.Minute: "minute", plan.Hour: "hour", plan.Day: "day", plan.Week: "week", plan.Month: "month", plan.Quarter: "quarter", plan.Year: "year"}

// request words one aggregation, with those inside it where it is complete.
func (q *query) request(a *plan.Agg, z sizes) object {
	c := q.s.filters.columns[a.Field]
	field := c.exact
	if a.Field.Storage == plan.Instant {
		field = c.name // by the millisecond
	}
	out := object{}
	switch {
	case a.Kind == plan.Cardinality:
		out["cardinality"] = object{"field": field, "precision_threshold": 40_000}
	case a.Kind == plan.Histogram && a.Calendar != 0:
		out["date_histogram"] = object{"field": field, "calendar_interval": calendars[a.Calendar], "min_doc_count": 1}
	case a.Kind == plan.Histogram:
		out["histogram"] = object{"field": field, "interval": a.Interval, "min_doc_count": 1}
	default:
		t := object{"field": field, "size": z.size}
		if z.shard > 0 {
			t["shard_size"], t["show_term_doc_count_error"] = z.shard, true
		}
		if z.include != nil {
			t["include"] = z.include
		}
		out["terms"] = t
	}
	if complete(a) && len(a.Subs) > 0 {
		out["aggs"] = q.requests(a.Subs, z)
	}
	return out
}

func (q *query) requests(list []plan.Agg, z sizes) object {
	out := object{}
	for i := range list {
		out[nameOf(i)] = q.request(&list[i], z)
	}
	return out
}

// plain words aggregations at any depth at once.
func (q *query) plain(list []plan.Agg) object {
	out := object{}
	for i := range list {
		flat := list[i]
		flat.Subs = nil
		one := q.request(&flat, sizes{size: q.plan.FacetSize})
		if len(list[i].Subs) > 0 {
			one["aggs"] = q.plain(list[i].Subs)
		}
		out[list[i].Name] = one
	}
	return out
}

// read takes an answered aggregation.
func (q *query) read(a *plan.Agg, r *aggReply, z sizes) *node {
	n := &node{agg: a, exact: true}
	if r == nil {
		return n
	}
	if a.Kind == plan.Cardinality {
		n.card = r.Value
		return n
	}
	n.buckets = make([]*bucket, len(r.Buckets))
	for i := range r.Buckets {
		b := &r.Buckets[i]
		n.buckets[i] = &bucket{key: keyText(b.Key), count: b.Count, subs: make([]*node, len(a.Subs))}
		for j := range a.Subs {
			if complete(a) {
				n.buckets[i].subs[j] = q.read(&a.Subs[j], b.Subs[nameOf(j)], z)
			}
		}
	}
	if a.Kind == plan.Terms {
		q.judge(n, r, z)
	}
	return n
}

// judge decides whether the first buckets of terms are surely the right ones
// with the right counts.
func (q *query) judge(n *node, r *aggReply, z sizes) {
	n.bound = r.Bound
	if len(r.Buckets) >= z.size && r.Bound > 0 { // others were named and cut off
		n.bound += r.Buckets[len(r.Buckets)-1].Count
	}
	want := min(q.plan.FacetSize, len(r.Buckets))
	if want == 0 {
		n.exact = n.bound == 0
		return
	}
	least := r.Buckets[want-1].Count
	for i := range r.Buckets {
		b := &r.Buckets[i]
		if b.Error > 0 && (i < want || b.Count+b.Error >= least) {
			n.exact = false
		}
	}
	if n.bound > 0 && (want < q.plan.FacetSize || least <= n.bound) {
		n.exact = false
	}
}

// keyText is a bucket's key as text.
func keyText(raw json.RawMessage) string {
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	return string(raw)
}

// aggregate answers the aggregations of the plan. The first request goes with
// body; first is given its reply.
func (q *query) aggregate(body object, first func(*reply)) (*bucket, error) {
	aggs := q.plan.Aggs
	root := &bucket{subs: make([]*node, len(aggs))}
	z := q.sizes(firstShard, spare)
	for at := 0; at < len(aggs) || first != nil; {
		n := min(len(aggs)-at, max(1, maxBuckets/z.size))
		if n > 0 {
			body["aggs"] = q.requests(aggs[at:at+n], z)
		}
		r, err := q.ask(body)
		if err != nil {
			return nil, err
		}
		if first != nil {
			first(r)
			first = nil
		}
		for i := range n {
			root.subs[at+i] = q.read(&aggs[at+i], r.Aggs[nameOf(i)], z)
		}
		at += n
		body = object{"size": 0}
	}
	root.count = q.res.Total
	return root, q.settle(root, nil, aggs, []*bucket{root})
}

// settle makes a level exact and then those inside it. list are the
// aggregations inside the last step of chain, parents the buckets of that step.
func (q *query) settle(root *bucket, chain []step, list []plan.Agg, parents []*bucket) error {
	if len(parents) == 0 {
		return nil
	}
	if slices.ContainsFunc(parents, func(b *bucket) bool { return slices.Contains(b.subs, nil) }) {
		z := q.sizes(firstShard, fewSpare)
		err := q.fetch(root, chain, list, len(parents)*(1+len(list)*z.size), z, func(b *bucket, i int, r *aggReply) {
			b.subs[i] = q.read(&list[i], r, z)
		})
		if err != nil {
			return err
		}
	}
	for i := range list {
		a := &list[i]
		var err error
		switch {
		case a.Kind == plan.Cardinality:
			err = q.distinct(root, chain, a, i, parents)
		case a.Kind == plan.Terms && inexact(parents, i) && len(chain) == 0:
			root.subs[i], err = q.recount(root.subs[i])
		case a.Kind == plan.Terms && inexact(parents, i):
			err = q.enlarge(root, chain, a, i, parents)
		}
		if err != nil {
			return err
		}
		if len(a.Subs) == 0 && a.Kind != plan.Terms {
			continue
		}
		var inner []*bucket
		for _, b := range parents {
			n := b.subs[i]
			if n == nil {
				b.subs[i] = &node{agg: a}
				continue
			}
			if a.Kind == plan.Terms && len(n.buckets) > q.plan.FacetSize {
				n.buckets = n.buckets[:q.plan.FacetSize]
			}
			inner = append(inner, n.buckets...)
		}
		if len(a.Subs) > 0 {
			if err := q.settle(root, append(slices.Clone(chain), step{a, i}), a.Subs, inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func inexact(parents []*bucket, i int) bool {
	return slices.ContainsFunc(parents, func(b *bucket) bool { return b.subs[i] != nil && !b.subs[i].exact })
}

// fetch asks for aggregations inside the buckets of a chain, which are all
// known, and gives each answer to take. buckets is how many the answer may have.
func (q *query) fetch(root *bucket, chain []step, list []plan.Agg, buckets int, z sizes, take func(b *bucket, i int, r *aggReply)) error {
	includes := make([][]string, len(chain))
	outermost := -1
	for d := range chain {
		if complete(chain[d].agg) {
			continue
		}
		includes[d] = keysAt(root, chain[:d+1])
		if outermost < 0 {
			outermost = d
		}
	}
	pieces := [][]string{nil}
	if outermost >= 0 {
		all := includes[outermost]
		n := max(1, (len(all)*maxBuckets)/max(1, buckets))
		pieces = slices.Collect(slices.Chunk(all, min(n, max(1, len(all)))))
	}
	for _, piece := range pieces {
		if outermost >= 0 {
			includes[outermost] = piece
		}
		inner := q.requests(list, z)
		for d := len(chain) - 1; d >= 0; d-- {
			level := plan.Agg{Name: chain[d].agg.Name, Kind: chain[d].agg.Kind, Field: chain[d].agg.Field, Calendar: chain[d].agg.Calendar, Interval: chain[d].agg.Interval}
			one := q.request(&level, sizes{size: max(2, len(includes[d])), shard: max(2, len(includes[d])), include: orNil(includes[d])})
			one["aggs"] = inner
			inner = object{nameOf(0): one}
		}
		r, err := q.ask(object{"size": 0, "aggs": inner})
		if err != nil {
			return err
		}
		attach(root, chain, r.Aggs, len(list), take)
	}
	return nil
}

func orNil(list []string) any {
	if list == nil {
		return nil
	}
	return list
}

// keysAt lists the distinct keys of the last step of a chain.
func keysAt(root *bucket, chain []step) []string {
	level := []*bucket{root}
	for _, s := range chain {
		var next []*bucket
		for _, b := range level {
			if n := b.subs[s.index]; n != nil {
				next = append(next, n.buckets...)
			}
		}
		level = next
	}
	seen := make(map[string]bool, len(level))
	var out []string
	for _, b := range level {
		if !seen[b.key] {
			seen[b.key] = true
			out = append(out, b.key)
		}
	}
	return out
}

// attach follows a chain through the known buckets and the reply's.
func attach(b *bucket, chain []step, aggs map[string]*aggReply, n int, take func(b *bucket, i int, r *aggReply)) {
	if len(chain) == 0 {
		for i := range n {
			take(b, i, aggs[nameOf(i)])
		}
		return
	}
	level, known := aggs[nameOf(0)], b.subs[chain[0].index]
	if level == nil || known == nil {
		return
	}
	byKey := make(map[string]*bucketReply, len(level.Buckets))
	for i := range level.Buckets {
		byKey[keyText(level.Buckets[i].Key)] = &level.Buckets[i]
	}
	for _, one := range known.buckets {
		if r := byKey[one.key]; r != nil {
			attach(one, chain[1:], r.Subs, n, take)
		}
	}
}

// enlarge asks every shard for more terms.
func (q *query) enlarge(root *bucket, chain []step, a *plan.Agg, index int, parents []*bucket) error {
	if q.pit == "" {
		return errSteps
	}
	z := q.sizes(moreShard, fewSpare)
	flat := []plan.Agg{*a}
	defer q.hurry()()
	err := q.fetch(root, chain, flat, len(parents)*(1+z.size), z, func(b *bucket, _ int, r *aggReply) { b.subs[index] = q.read(a, r, z) })
	if tooMuch(err) || err == nil && inexact(parents, index) {
		q.doubt(a, "it has too many values")
		return nil
	}
	return err
}

// hurry has what makes counts exact end while there is still time to answer
// without it; the function it gives ends that.
func (q *query) hurry() (restore func()) {
	whole := q.ctx
	deadline, _ := whole.Deadline() // every search has one
	short, cancel := context.WithDeadline(whole, deadline.Add(-q.s.opts.QueryTime/4))
	q.ctx = short
	return func() {
		cancel()
		q.ctx = whole
	}
}

// tooMuch says whether the cluster lacked the memory or the time for exact
// counts.
func tooMuch(err error) bool { return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) }

// doubt warns of counts that could not be made exact.
func (q *query) doubt(a *plan.Agg, why string) {
	line := "facet " + a.Name + " is approximate: " + why
	if a.Kind == plan.Cardinality {
		line = "cardinality of " + a.Field.Name + " is approximate: " + why
	}
	if !slices.Contains(q.res.Warnings, line) {
		q.res.Warnings = append(q.res.Warnings, line)
	}
}

// recount makes the counts of an aggregation of the first level exact: its
// candidates are counted in every shard, or, where others could come before
// them, all terms are, part by part.
func (q *query) recount(n *node) (*node, error) {
	if q.pit == "" {
		return nil, errSteps
	}
	defer q.hurry()()
	keys := make([]string, len(n.buckets))
	for i, b := range n.buckets {
		keys[i] = b.key
	}
	if len(keys) >= q.plan.FacetSize {
		z := sizes{size: len(keys), shard: len(keys), include: keys}
		r, err := q.ask(object{"size": 0, "aggs": object{nameOf(0): q.request(n.agg, z)}})
		if tooMuch(err) {
			q.doubt(n.agg, "it has too many values")
			return n, nil
		}
		if err != nil {
			return nil, err
		}
		counted := q.read(n.agg, r.Aggs[nameOf(0)], z)
		inOrder(counted)
		if want := q.plan.FacetSize; len(counted.buckets) >= want && counted.buckets[want-1].count > n.bound {
			counted.exact = true
			return counted, nil
		}
	}
	better, err := q.inParts(n)
	if tooMuch(err) || err == nil && better == nil {
		q.doubt(n.agg, "it has too many values")
		return n, nil
	}
	return better, err
}

// inParts counts all terms, a part of them at a time, so that no shard has to
// cut its list; nil when that is too much.
func (q *query) inParts(n *node) (*node, error) {
	parts := int(q.res.Total/perPart) + 1
	if parts > maxParts {
		return nil, nil
	}
	all := &node{agg: n.agg, exact: true}
	for i := range parts {
		z := q.sizes(2*perPart, 0)
		if parts > 1 {
			z.include = object{"partition": i, "num_partitions": parts}
		}
		r, err := q.ask(object{"size": 0, "aggs": object{nameOf(0): q.request(n.agg, z)}})
		if err != nil {
			return nil, err
		}
		part := q.read(n.agg, r.Aggs[nameOf(0)], z)
		if part.bound > 0 {
			return nil, nil
		}
		all.buckets = append(all.buckets, part.buckets...)
	}
	inOrder(all)
	return all, nil
}

// inOrder puts buckets in the order of answers: count downwards, then term
// upwards.
func inOrder(n *node) {
	slices.SortStableFunc(n.buckets, func(a, b *bucket) int {
		if c := cmp.Compare(b.count, a.count); c != 0 {
			return c
		}
		return compareKeys(n.agg.Field, a.key, b.key)
	})
}

func compareKeys(f *plan.Field, a, b string) int {
	if f.Storage.IsString() {
		return strings.Compare(a, b)
	}
	x, errx := strconv.ParseInt(a, 10, 64)
	y, erry := strconv.ParseInt(b, 10, 64)
	if errx == nil && erry == nil {
		return cmp.Compare(x, y)
	}
	v, _ := strconv.ParseFloat(a, 64) // keys of a float field are numbers
	w, _ := strconv.ParseFloat(b, 64)
	return cmp.Compare(v, w)
}

// distinct makes numbers of distinct values exact by listing the values.
func (q *query) distinct(root *bucket, chain []step, a *plan.Agg, index int, parents []*bucket) error {
	var sum, most int64
	for _, b := range parents {
		n := b.subs[index]
		if n == nil {
			n = &node{agg: a}
			b.subs[index] = n
		}
		if a.Field.Name == plan.IDField { // every crash has its own
			n.card = b.count
			continue
		}
		sum += n.card
		most = max(most, n.card)
	}
	switch {
	case sum == 0, a.Field.Storage == plan.Boolean:
		return nil
	case sum > maxListed:
		q.doubt(a, fmt.Sprintf("it has more than %d values", maxListed))
		return nil
	case q.pit == "":
		return errSteps
	}
	size := int(2*most) + 64
	z := sizes{size: size, shard: size}
	list := []plan.Agg{{Name: a.Name, Kind: plan.Terms, Field: a.Field}}
	return q.fetch(root, chain, list, int(2*sum)+len(parents), z, func(b *bucket, _ int, r *aggReply) {
		switch {
		case r == nil:
		case r.Bound > 0 || r.Other > 0:
			q.doubt(a, "it has too many values")
		default:
			b.subs[index].card = int64(len(r.Buckets))
		}
	})
}

// facet brings an answered aggregation to the form of answers.
func facet(n *node) *search.Facet {
	if n == nil {
		return &search.Facet{}
	}
	if n.agg.Kind == plan.Cardinality {
		return &search.Facet{IsNumber: true, Cardinality: n.card}
	}
	out := &search.Facet{Buckets: make([]search.Bucket, len(n.buckets))}
	for i, b := range n.buckets {
		out.Buckets[i] = search.Bucket{Term: term(n.agg, b.key), Count: b.count}
		if len(n.agg.Subs) == 0 {
			continue
		}
		out.Buckets[i].Facets = search.Facets{}
		for j := range n.agg.Subs {
			out.Buckets[i].Facets[n.agg.Subs[j].Name] = facet(b.subs[j])
		}
	}
	return out
}

// term is a key as the answer shows it.
func term(a *plan.Agg, key string) any {
	st := a.Field.Storage
	switch {
	case st.IsString():
		return key
	case st == plan.Boolean:
		if key == "1" {
			return "T"
		}
		return "F"
	case st == plan.Instant:
		ms, _ := strconv.ParseInt(key, 10, 64) // keys of dates are milliseconds
		return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z")
	case st == plan.Double, a.Kind == plan.Histogram:
		v, _ := strconv.ParseFloat(key, 64) // keys of numbers are numbers
		return search.Real(v)
	}
	n, _ := strconv.ParseInt(key, 10, 64)
	return n
}
