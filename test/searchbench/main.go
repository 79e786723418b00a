// Command searchbench measures Super Search through HTTP, JSON included: each
// query of queries.tsv once after a start, then again until its time is known,
// by one client that asks one question at a time.
//
// It prints one table, wall time and the server's CPU time side by side, marks
// what takes longer than the table says it may, and ends with what eight clients
// at once make of the server's memory. It knows nothing of how the server
// searches: the same table is asked of any instance, whatever its index. A
// second instance, --peer, gets columns of its own in the same run. Where that
// one searches on a cluster, --cluster asks the cluster itself as well, for what
// _return_query shows, its caches of answers off.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mayday/test/process"
)

//go:embed queries.tsv
var queryText string

// query is a row of queries.tsv.
type query struct {
	name          string
	target, first time.Duration // 0: none
	days          int
	values        url.Values
}

func readQueries(text string) ([]query, error) {
	var out []query
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("queries.tsv: %q has %d columns, want 5", line, len(f))
		}
		q := query{name: f[0]}
		var err error
		for i, to := range []*time.Duration{&q.target, &q.first} {
			if f[i+1] == "-" {
				continue
			}
			ms, err := strconv.Atoi(f[i+1])
			if err != nil {
				return nil, fmt.Errorf("queries.tsv: %q: %w", line, err)
			}
			*to = time.Duration(ms) * time.Millisecond
		}
		if q.days, err = strconv.Atoi(f[3]); err != nil {
			return nil, fmt.Errorf("queries.tsv: %q: %w", line, err)
		}
		if q.values, err = url.ParseQuery(f[4]); err != nil {
			return nil, fmt.Errorf("queries.tsv: %q: %w", line, err)
		}
		if !q.values.Has("_results_number") {
			q.values.Set("_results_number", "0")
		}
		out = append(out, q)
	}
	return out, nil
}

// bench is one run over the table.
type bench struct {
	base    string
	cluster string // ask this with what base would
	client  *http.Client
	last    time.Time // day after the newest crash
	queries map[string]clusterQuery
	seconds time.Duration
}

// clusterQuery is the answer to _return_query.
type clusterQuery struct {
	Query   json.RawMessage
	Indices []string
}

// parameters are those of a query over the days before last.
func (b *bench) parameters(q query) url.Values {
	v := url.Values{"date": {">=" + b.last.AddDate(0, 0, -q.days).Format(time.DateOnly), "<" + b.last.Format(time.DateOnly)}}
	for name, list := range q.values {
		v[name] = list
	}
	return v
}

// ask puts a query and gives how long the answer took, to its last byte.
func (b *bench) ask(ctx context.Context, q query) (took time.Duration, total int64, err error) {
	if b.cluster != "" {
		return b.askCluster(ctx, q)
	}
	took, text, err := b.get(ctx, b.base+"/api/SuperSearch/?"+b.parameters(q).Encode(), nil)
	var answer struct{ Total int64 }
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", q.name, err)
	}
	return took, answer.Total, nil
}

// get fetches an answer, of a body when there is one.
func (b *bench) get(ctx context.Context, u string, body []byte) (took time.Duration, text []byte, err error) {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	rq, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		rq.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	rs, err := b.client.Do(rq)
	if err != nil {
		return 0, nil, err
	}
	defer rs.Body.Close()
	text, err = io.ReadAll(rs.Body)
	took = time.Since(start)
	if err == nil && rs.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %.300s", rs.Status, text)
	}
	return took, text, err
}

// askCluster puts to the cluster what the instance would put to it.
func (b *bench) askCluster(ctx context.Context, q query) (took time.Duration, total int64, err error) {
	rq := b.queries[q.name]
	if rq.Query == nil {
		v := b.parameters(q)
		v.Set("_return_query", "1")
		_, text, err := b.get(ctx, b.base+"/api/SuperSearch/?"+v.Encode(), nil)
		if err == nil {
			err = json.Unmarshal(text, &rq)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", q.name, err)
		}
		b.queries[q.name] = rq
	}
	took, text, err := b.get(ctx, b.cluster+"/"+strings.Join(rq.Indices, ",")+"/_search?ignore_unavailable=true&request_cache=false", rq.Query)
	var answer struct {
		Hits struct{ Total struct{ Value int64 } }
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", q.name, err)
	}
	return took, answer.Hits.Total.Value, nil
}

// newest finds the day after the newest crash of the last year.
func (b *bench) newest(ctx context.Context) error {
	_, text, err := b.get(ctx, b.base+"/api/SuperSearch/?_sort=-date&_columns=date&_results_number=1&_facets_size=0&date="+
		url.QueryEscape(">="+time.Now().AddDate(0, 0, -364).Format(time.DateOnly)), nil)
	if err != nil {
		return err
	}
	var answer struct{ Hits []struct{ Date string } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	if len(answer.Hits) == 0 {
		return fmt.Errorf("%s holds no crash of the last year", b.base)
	}
	t, err := time.Parse(time.RFC3339, answer.Hits[0].Date)
	b.last = t.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	return err
}

// measured is what one query cost one server.
type measured struct {
	first, median, least time.Duration
	cpu                  time.Duration // of the server, for one answer
	total                int64
}

// leastRuns is how often a query is asked after the first time, unless that
// takes longer than patience.
const (
	leastRuns = 5
	patience  = 5 * time.Second
)

func (b *bench) measure(ctx context.Context, q query, pid int) (m measured, err error) {
	if m.first, m.total, err = b.ask(ctx, q); err != nil {
		return m, err
	}
	var took []time.Duration
	used, err := process.CPU(pid)
	if err != nil {
		return m, err
	}
	start := time.Now()
	more := func() bool {
		gone := time.Since(start)
		return len(took) == 0 || gone < b.seconds || len(took) < leastRuns && gone < patience
	}
	for more() {
		one, _, err := b.ask(ctx, q)
		if err != nil {
			return m, err
		}
		took = append(took, one)
	}
	now, err := process.CPU(pid)
	if err != nil {
		return m, err
	}
	slices.Sort(took)
	m.median, m.least, m.cpu = took[len(took)/2], took[0], (now-used)/time.Duration(len(took))
	return m, nil
}

// together asks all queries by n clients for a while, for the memory it takes.
func (b *bench) together(ctx context.Context, list []query, n int, d time.Duration) (asked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		wg.Go(func() {
			for j := i; ctx.Err() == nil; j += 5 {
				_, _, one := b.ask(ctx, list[j%len(list)])
				mu.Lock()
				if one == nil {
					asked++
				} else if ctx.Err() == nil {
					err = one
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return asked, err
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

// over marks what takes longer than it may.
func over(d, most time.Duration) string {
	if most > 0 && d > most {
		return "!"
	}
	return " "
}

// rivals are the other servers of a run.
type rivals struct {
	name   string
	bench  *bench
	ratios []float64
}

func run(ctx context.Context) error {
	base := flag.String("url", "http://127.0.0.1:8000", "`URL` of the instance")
	pid := flag.Int("pid", 0, "its process, for CPU time and memory")
	peer := flag.String("peer", "", "`URL` of another instance over the same crashes, asked in turn with the first")
	cluster := flag.String("cluster", "", "`URL` of the peer's OpenSearch, asked itself as well")
	last := flag.String("last", "", "ask for the time before this `day`; without it, up to the newest crash")
	only := flag.String("only", "", "only queries whose name begins with this")
	runs := flag.Duration("for", 300*time.Millisecond, "how long each query is asked")
	flag.Parse()
	list, err := readQueries(queryText)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(q query) bool { return !strings.HasPrefix(q.name, *only) })
	b := &bench{base: *base, client: &http.Client{Timeout: 2 * time.Minute}, seconds: *runs}
	if *last == "" {
		err = b.newest(ctx)
	} else {
		b.last, err = time.Parse(time.DateOnly, *last)
	}
	if err != nil {
		return err
	}
	var others []*rivals
	if *peer != "" {
		others = append(others, &rivals{name: "peer", bench: &bench{base: *peer, client: b.client, seconds: *runs, last: b.last}})
	}
	if *cluster != "" {
		others = append(others, &rivals{name: "direct", bench: &bench{base: *peer, cluster: *cluster, client: b.client, seconds: *runs, last: b.last, queries: map[string]clusterQuery{}}})
	}
	fmt.Printf("%-42s %9s %8s %8s %8s %8s", "query (ms)", "crashes", "first", "median", "least", "CPU")
	for _, o := range others {
		fmt.Printf(" %12s %12s %7s", o.name+" median", o.name+" least", "times")
	}
	fmt.Println()
	for _, q := range list {
		if err := b.row(ctx, q, *pid, others); err != nil {
			return err
		}
	}
	for _, o := range others {
		slices.Sort(o.ratios)
		fmt.Printf("%s takes %.1f times as long in the median of the queries, at least %.1f times\n", o.name, o.ratios[len(o.ratios)/2], o.ratios[0])
	}
	if *pid == 0 || *only != "" {
		return nil
	}
	asked, err := b.together(ctx, list, 8, 10*time.Second)
	if err != nil {
		return err
	}
	memory, err := process.MemoryOf(*pid)
	if err != nil {
		return err
	}
	fmt.Printf("eight clients at once: %d answers in 10 s; the server has %d MB resident, %d MB of it its own\n", asked, memory.Resident>>20, memory.Own>>20)
	return nil
}

// row measures one query everywhere.
func (b *bench) row(ctx context.Context, q query, pid int, others []*rivals) error {
	m, err := b.measure(ctx, q, pid)
	if err != nil {
		return err
	}
	fmt.Printf("%-42s %9d %7s%s %7s%s %8s %8s", q.name, m.total, ms(m.first), over(m.first, q.first), ms(m.median), over(m.median, q.target), ms(m.least), ms(m.cpu))
	for _, o := range others {
		p, err := o.bench.measure(ctx, q, 0)
		if err != nil {
			return err
		}
		ratio := float64(p.median) / float64(m.median)
		o.ratios = append(o.ratios, ratio)
		fmt.Printf(" %12s %12s %7.1f", ms(p.median), ms(p.least), ratio)
		if p.total != m.total {
			fmt.Printf("  finds %d", p.total)
		}
	}
	fmt.Println()
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
