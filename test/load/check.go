package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mayday/test/process"
)

const (
	batch        = 100                    // ids in one search
	sampleEvery  = 250 * time.Millisecond // between crashes whose way is timed
	samplePoll   = 100 * time.Millisecond // so their times are that coarse
	checkers     = 8
	mostResponse = 8 << 20
	shownMissing = 3
)

// get fetches a path; what is not found is no error.
func (s *sending) get(ctx context.Context, path string) (int, []byte, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	rs, err := s.client.Do(rq)
	if err != nil {
		return 0, nil, err
	}
	defer rs.Body.Close()
	text, err := io.ReadAll(io.LimitReader(rs.Body, mostResponse))
	return rs.StatusCode, text, err
}

func (s *sending) json(ctx context.Context, path string, into any) error {
	status, text, err := s.get(ctx, path)
	switch {
	case err != nil:
		return err
	case status == http.StatusTooManyRequests:
		return errors.New("the server limits how often it is asked; start it with --web.rate-limit 0")
	case status != http.StatusOK:
		return fmt.Errorf("%.60s answers %d %.200q", path, status, text)
	}
	return json.Unmarshal(text, into)
}

// search says which of the ids, a batch at most, can be found, and how often.
func (s *sending) search(ctx context.Context, ids []string) (map[string]int, error) {
	var r struct {
		Hits []struct{ UUID string }
	}
	q := url.Values{"uuid": ids, "_columns": {"uuid"}, "_facets_size": {"0"}, "_results_number": {strconv.Itoa(2 * batch)}}
	if err := s.json(ctx, "/api/SuperSearch/?"+q.Encode(), &r); err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, h := range r.Hits {
		found[h.UUID]++
	}
	return found, nil
}

// findings is what became of the crashes that were answered.
type findings struct {
	answered, deferred, stored, processed, searchable, twice int
	unknown                                                  int // could not be asked about
}

func (f findings) String() string {
	text := fmt.Sprintf("answered %d, stored %d, processed %d, searchable %d", f.answered, f.stored, f.processed, f.searchable)
	if f.deferred > 0 {
		text += fmt.Sprintf(", deferred by throttling %d", f.deferred)
	}
	if f.unknown > 0 {
		text += fmt.Sprintf(" (%d could not be asked about)", f.unknown)
	}
	return text
}

// check compares the answers with the server's data. A server that has gone is
// asked once only.
func (s *sending) check(ctx context.Context, alive bool) (findings, error) {
	f := findings{answered: len(s.ids)}
	var expected []string
	for _, id := range s.ids {
		if id[digitAt] == deferred {
			f.deferred++
			continue
		}
		expected = append(expected, id)
	}
	if !alive {
		if _, _, err := s.get(ctx, "/__lbheartbeat__"); err != nil {
			f.unknown = f.answered
			return f, nil // that it has gone is said already
		}
	}
	missing, err := s.searchAll(ctx, expected, &f)
	if err != nil {
		f.unknown = f.answered - f.searchable
		return f, fmt.Errorf("search for what was answered: %w", err)
	}
	if err := s.verifyAll(ctx, &f); err != nil {
		return f, fmt.Errorf("look for what was answered: %w", err)
	}
	switch {
	case len(missing) > 0:
		return f, fmt.Errorf("%d answered crashes cannot be found, among them %s", len(missing), strings.Join(missing[:min(shownMissing, len(missing))], " "))
	case f.twice > 0:
		return f, fmt.Errorf("%d crashes are found more than once", f.twice)
	case f.stored < f.answered || f.processed < len(expected):
		return f, fmt.Errorf("of %d answered crashes %d are not stored, %d not processed", f.answered, f.answered-f.stored, len(expected)-f.processed)
	}
	return f, nil
}

// searchAll asks for the ids until all are found, or none came for too long.
func (s *sending) searchAll(ctx context.Context, ids []string, f *findings) (missing []string, err error) {
	missing = ids
	progress := time.Now()
	for {
		start := time.Now()
		var left []string
		for len(missing) > 0 {
			some := missing[:min(batch, len(missing))]
			missing = missing[len(some):]
			found, err := s.search(ctx, some)
			if err != nil {
				return nil, err
			}
			for _, id := range some {
				switch n := found[id]; {
				case n == 0:
					left = append(left, id)
					continue
				case n > 1:
					f.twice++
				}
				f.searchable++
				progress = time.Now()
			}
		}
		missing = left
		if len(missing) == 0 || time.Since(progress) > 2*s.patience {
			return missing, nil
		}
		// Half of the time is the server's own.
		time.Sleep(max(500*time.Millisecond, time.Since(start)))
	}
}

// verifyAll asks where each crash is stored.
func (s *sending) verifyAll(ctx context.Context, f *findings) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	for _, id := range s.ids {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			var r struct {
				Raw       bool `json:"raw_crash"`
				Processed bool `json:"processed_crash"`
			}
			err := s.json(ctx, "/api/CrashVerify/?crash_id="+id, &r)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				return err
			case r.Raw:
				f.stored++
			}
			if r.Processed {
				f.processed++
			}
			return nil
		})
	}
	err := group.Wait()
	if err != nil {
		f.unknown = f.answered - f.stored
	}
	return err
}

// sample times the way from sending to being found, of a few crashes a second.
type sample struct {
	mu      sync.Mutex
	last    time.Time
	pending []timed
	took    []time.Duration
}

type timed struct {
	id   string
	sent time.Time
}

// offer takes a crash into the sample when it is time for one.
func (p *sample) offer(id string, sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= sampleEvery {
		p.last = now
		p.pending = append(p.pending, timed{id, sent})
	}
}

// oldest is what to ask for next.
func (p *sample) oldest() (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.pending[:min(batch, len(p.pending))] {
		ids = append(ids, t.id)
	}
	return ids
}

// found writes down the times of what was found.
func (p *sample) found(found map[string]int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []timed
	for _, t := range p.pending {
		if found[t.id] == 0 {
			left = append(left, t)
			continue
		}
		p.took = append(p.took, now.Sub(t.sent))
	}
	p.pending = left
}

func (p *sample) report() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.took) == 0 {
		return ""
	}
	return fmt.Sprintf("from submit to searchable: %s (%d timed, %d of the sample not seen)", percentiles(p.took), len(p.took), len(p.pending))
}

// follow looks for the sample until the run ends.
func (s *sending) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(samplePoll):
		}
		if ids := s.sample.oldest(); len(ids) > 0 {
			// A server that does not answer is the senders' to report.
			if found, err := s.search(ctx, ids); err == nil {
				s.sample.found(found, time.Now())
			}
		}
	}
}

// watch prints now and then how many crashes wait for processing.
type watch struct {
	*sending
	out    io.Writer
	before float64 // processed when sending began
	known  bool
}

// begin writes down what was processed before.
func (w *watch) begin(ctx context.Context) {
	var err error
	if w.before, err = w.processed(ctx); err != nil {
		fmt.Fprintln(w.out, "the queue is not watched:", err)
		return
	}
	w.known = true
}

// processed is the server's own count.
func (w *watch) processed(ctx context.Context) (float64, error) {
	const counter = `mayday_processor_crashes_total{queue="standard",result="processed"} `
	status, text, err := w.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("/metrics answers %d", status)
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), counter); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("/metrics does not count processed crashes")
}

// look prints a line and returns how many crashes wait.
func (w *watch) look(ctx context.Context, start time.Time) float64 {
	if !w.known {
		return 0
	}
	now, err := w.processed(ctx)
	if err != nil {
		return 0 // the senders report a server that has gone
	}
	w.mu.Lock()
	answered := len(w.ids)
	w.mu.Unlock()
	waiting := max(0, float64(answered)-(now-w.before))
	memory := ""
	if m, err := process.MemoryOf(w.pid); w.pid > 0 && err == nil {
		memory = fmt.Sprintf(", peak memory %d MB", m.Peak>>20)
	}
	fmt.Fprintf(w.out, "%4.0f s: %d answered, %.0f processed, %.0f waiting%s\n", time.Since(start).Seconds(), answered, now-w.before, waiting, memory)
	return waiting
}

func (w *watch) run(ctx context.Context, start time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchEvery):
			w.look(ctx, start)
		}
	}
}
