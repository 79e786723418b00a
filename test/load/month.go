package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mayday/app/demo"
	"mayday/test/process"
)

const (
	monthCrashes = 3000             // of one seed; the next seed follows
	watchEvery   = 10 * time.Second // between lines about the queue
	retryAfter   = 100 * time.Millisecond
	rateHeld     = .95 // share of the rate that must be reached
	deferred     = '1' // digit of an id whose crash is stored and not processed
	digitAt      = 29  // where an id has that digit
	idLength     = 36
)

// sending is the state of a run, shared by its connections.
type sending struct {
	options
	base   string
	client *http.Client
	filler []byte
	sample *sample

	mu         sync.Mutex
	ids        []string // answered, in order
	took       []time.Duration
	sizes      []int // of the dumps, where there are any
	failed     int
	firstError error
	lastAnswer time.Time
	late       time.Duration // behind schedule, at the most
}

// month sends the crashes of the demo and looks for them afterwards.
func month(ctx context.Context, o options, u *url.URL, out io.Writer) error {
	s := &sending{options: o, base: u.Scheme + "://" + u.Host, filler: filler(2*o.size + 1), lastAnswer: time.Now(),
		client: &http.Client{Timeout: o.patience, Transport: &http.Transport{MaxIdleConnsPerHost: o.connections + 8}}}
	s.sample = &sample{}
	before, err := process.CPU(o.pid)
	if err != nil {
		return err
	}
	w := &watch{sending: s, out: out}
	w.begin(ctx)
	start := time.Now()

	background, end := context.WithCancel(context.Background())
	var others sync.WaitGroup
	others.Go(func() { w.run(background, start) })
	others.Go(func() { s.follow(background) })
	stopped := s.send(ctx, start)
	elapsed := time.Since(start)
	waiting := w.look(background, start)
	after, cpuErr := process.CPU(o.pid)

	fmt.Fprintf(out, "sent for %v over %d connections: %d answered (%.1f/s), %d not answered\n", elapsed.Round(time.Millisecond), o.connections, len(s.ids), float64(len(s.ids))/elapsed.Seconds(), s.failed)
	if len(s.ids) > 0 {
		fmt.Fprintf(out, "dumps: median %d bytes; answered in %s; at most %v behind schedule\n", median(s.sizes), percentiles(s.took), s.late.Round(time.Millisecond))
	}
	found, checkErr := s.check(background, stopped == nil)
	end()
	others.Wait()
	fmt.Fprintln(out, found)
	if text := s.sample.report(); text != "" {
		fmt.Fprintln(out, text)
	}
	if o.pid > 0 && cpuErr == nil {
		s.serverReport(out, after-before)
	}
	return errors.Join(s.verdict(elapsed, waiting, stopped), checkErr)
}

// verdict says what was wrong with the sending, if anything.
func (s *sending) verdict(elapsed time.Duration, waiting float64, stopped error) error {
	switch rate := float64(len(s.ids)) / elapsed.Seconds(); {
	case stopped != nil:
		return stopped
	case s.failed > 0:
		return fmt.Errorf("%d crashes were not answered; the first: %w", s.failed, s.firstError)
	case len(s.ids) == 0:
		return errors.New("no crash was sent")
	case s.rate > 0 && s.crashes == 0 && rate < rateHeld*s.rate:
		return fmt.Errorf("%.1f crashes/s were answered where %.1f were to be sent", rate, s.rate)
	case s.backlog > 0 && waiting > s.backlog*rate:
		return fmt.Errorf("%.0f crashes waited for processing when sending ended, over %v s' worth", waiting, s.backlog)
	}
	return nil
}

func (s *sending) serverReport(out io.Writer, used time.Duration) {
	memory, err := process.MemoryOf(s.pid)
	if err != nil {
		fmt.Fprintln(out, "server:", err)
		return
	}
	fmt.Fprintf(out, "server: peak memory %d MB, CPU %.2f ms/crash while sending\n", memory.Peak>>20, used.Seconds()*1000/float64(max(len(s.ids), 1)))
}

// crash is one of the month's, and when it is to be sent.
type crash struct {
	demo.Crash
	due time.Time
}

// material is one month after the other.
func (s *sending) material() iter.Seq[demo.Crash] {
	return func(yield func(demo.Crash) bool) {
		for seed := s.seed; ; seed++ {
			m := demo.Month{Seed: seed, Last: time.Now().UTC().AddDate(0, 0, -1), Days: 30, Crashes: monthCrashes}
			for c := range m.All() {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// send sends until the time is over. It says why when it ends early.
func (s *sending) send(ctx context.Context, start time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan crash)
	var connections sync.WaitGroup
	for range s.connections {
		connections.Go(func() {
			for c := range work {
				s.one(ctx, cancel, c)
			}
		})
	}
	n := 0
	for c := range s.material() {
		due := time.Now()
		if s.rate > 0 {
			due = start.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
		}
		if due.Sub(start) >= s.duration || s.crashes > 0 && n >= s.crashes {
			break
		}
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		select {
		case work <- crash{c, due}:
			n++
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(work)
	connections.Wait()
	return context.Cause(ctx)
}

// one sends a crash and writes down what came of it.
func (s *sending) one(ctx context.Context, cancel context.CancelCauseFunc, c crash) {
	if ctx.Err() != nil {
		return
	}
	body, kind, size := s.body(c.Crash)
	start := time.Now()
	id, err := s.post(ctx, body, kind)
	now := time.Now()
	if err != nil {
		defer time.Sleep(retryAfter) // a server that is down is not stormed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.ids, s.took, s.lastAnswer = append(s.ids, id), append(s.took, now.Sub(start)), now
		if size > 0 {
			s.sizes = append(s.sizes, size)
		}
		s.late = max(s.late, start.Sub(c.due))
		if id[digitAt] != deferred {
			s.sample.offer(id, start)
		}
		return
	}
	s.failed++
	if s.firstError == nil {
		s.firstError = err
	}
	if silent := now.Sub(s.lastAnswer); silent > s.patience {
		cancel(fmt.Errorf("the server at %s has answered no crash for %v, after %d answers: %w", s.base, silent.Round(time.Second), len(s.ids), err))
		return
	}
}

// body is a crash as a client sends it: annotations, and the dump filled up so
// that the median has the size asked for.
func (s *sending) body(c demo.Crash) (body []byte, contentType string, size int) {
	var b bytes.Buffer
	var to io.Writer = &b
	var zipped *gzip.Writer
	if s.gzip {
		zipped, _ = gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that exists
		to = zipped
	}
	form := multipart.NewWriter(to) // all writes are to memory
	for name, value := range c.Annotations {
		_ = form.WriteField(name, value)
	}
	if dump := c.DeepDump(s.frames); dump != nil {
		w, _ := form.CreateFormFile("upload_file_minidump", "crash.dmp")
		_, _ = w.Write(dump)
		// Half as large to twice as large, as often the one as the other.
		wanted := int(float64(s.size) * math.Exp2(2*rand.Float64()-1))
		fill := s.filler[:min(len(s.filler), max(0, wanted-len(dump)))]
		_, _ = w.Write(fill)
		size = len(dump) + len(fill)
	}
	_ = form.Close()
	if zipped != nil {
		_ = zipped.Close()
	}
	return b.Bytes(), form.FormDataContentType(), size
}

// filler compresses about as well as the stacks of real dumps.
func filler(size int) []byte {
	out := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range out {
		if i%8 < 3 {
			out[i] = byte(r.Uint32())
		}
	}
	return out
}

// post sends a body and returns the id in the answer.
func (s *sending) post(ctx context.Context, body []byte, contentType string) (string, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/submit", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	rq.Header.Set("Content-Type", contentType)
	rq.Header.Set("User-Agent", "load/1")
	if s.gzip {
		rq.Header.Set("Content-Encoding", "gzip")
	}
	rs, err := s.client.Do(rq)
	if err != nil {
		return "", err
	}
	defer rs.Body.Close()
	text, err := io.ReadAll(io.LimitReader(rs.Body, 1<<16))
	if err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "CrashID=bp-")
	if rs.StatusCode != http.StatusOK || !ok || len(id) != idLength {
		return "", fmt.Errorf("the collector answers %s %q", rs.Status, text[:min(len(text), 200)])
	}
	return id, nil
}

// median sorts what it is given; it is 0 of nothing.
func median(sizes []int) int {
	slices.Sort(sizes)
	if len(sizes) == 0 {
		return 0
	}
	return sizes[len(sizes)/2]
}

// percentiles sorts what it is given.
func percentiles(took []time.Duration) string {
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[min(len(took)-1, int(share*float64(len(took))))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, max %v", at(.5), at(.9), at(.99), at(1))
}
