package app

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"
	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"mayday/app/client"
	"mayday/app/command"
	"mayday/app/demo"
	"mayday/app/fault"
	"mayday/storage/search/sample"
	"mayday/symbols/fetch"
)

func cmdDemo() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "fill an instance with a made-up month of crashes",
		Description: "Makes up crashes of three programs on five platforms, uploads their symbols, and sends them like clients would.\n" +
			"It reaches the server that runs on --data-dir, or the one at --url, which then needs the submitter token that the\n" +
			"server was configured with. The month follows from --seed and the date: sending it twice changes nothing. Prints\n" +
			"how many crashes were answered and how many can be found. Exit code 1 when some were not.",
		Flags: append(command.ConfigFlags(),
			&cli.StringFlag{Name: "url", Usage: "`URL` of the instance; without it the server that runs on --data-dir"},
			&cli.IntFlag{Name: "days", Value: 30, Usage: "days to fill, up to yesterday"},
			&cli.IntFlag{Name: "crashes", Value: 5000, Usage: "about how many crashes in all"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "another seed makes another month"},
			&cli.StringFlag{Name: "submitter-token", Usage: "collector.submitter_token of the instance at --url", EnvVars: []string{"MAYDAY_COLLECTOR_SUBMITTER_TOKEN"}},
			&cli.StringFlag{Name: "token", Usage: "API `TOKEN` with the permission upload_symbols at --url; without it stacks there stay without names", EnvVars: []string{"MAYDAY_TOKEN"}},
			&cli.BoolFlag{Name: "force", Usage: "also fill an instance that holds crashes of other programs"},
			&cli.BoolFlag{Name: "processed-only", Usage: "put other made-up crashes, already processed, into the index alone; for benchmarks of searching"}),
		Action: runDemo,
	}
}

const (
	demoSenders  = 8
	demoPatience = time.Minute      // without progress, while the server processes
	demoUpload   = 10 * time.Minute // of the symbols
	demoRestart  = 5 * time.Second  // without answers to searches, while the server processes
	demoPoll     = time.Second      // between searches; the default web.rate_limit allows them
	demoLast     = 100              // crashes that are looked for by id
	demoInARow   = 50               // crashes refused one after the other: no more is sent
)

// demoClient asks; a server that hangs is an error like one that is gone.
func demoClient() *http.Client { return &http.Client{Timeout: demoPatience / 2} }

// demoTarget is the instance that is filled.
type demoTarget struct {
	URL       string         `json:"url"`
	Submitter string         `json:"submitter_token"`
	control   *controlClient // nil for an instance elsewhere
}

// controlDemo lets a demo on the same machine send crashes with ids and times
// of its own, and put symbols into the bucket.
func controlDemo(e *echo.Echo, d *deps, address string) {
	e.GET("/demo", func(c echo.Context) error {
		return c.JSON(http.StatusOK, demoTarget{URL: "http://" + address, Submitter: d.cfg.Collector.SubmitterToken})
	})
	e.PUT("/symbols/*", func(c echo.Context) error {
		b, err := d.SymbolsBucket(c.Request().Context())
		if err != nil {
			return err
		}
		key := fetch.Prefix + c.Param("*")
		if err := b.Upload(c.Request().Context(), key, c.Request().Body, &blob.WriterOptions{ContentType: "text/plain"}); err != nil {
			return fault.As(fault.Unavailable, err, "store %s", key)
		}
		return c.NoContent(http.StatusNoContent)
	})
}

func runDemo(c *cli.Context) error {
	m := demo.Month{Seed: c.Uint64("seed"), Last: time.Now().UTC().AddDate(0, 0, -1), Days: c.Int("days"), Crashes: c.Int("crashes")}
	if m.Days < 1 || m.Days > 365 || m.Crashes < 1 || m.Crashes > 10_000_000 {
		return command.Usage("demo: --days from 1 to 365, --crashes from 1 to 10,000,000")
	}
	t, err := findDemoTarget(c)
	if err != nil {
		return err
	}
	if err := t.check(c.Context, c.Bool("force")); err != nil {
		return err
	}
	if c.Bool("processed-only") {
		return t.importSample(c, sample.Crashes{Seed: m.Seed, Last: m.Last, Days: m.Days, Count: m.Crashes})
	}
	if err := t.putSymbols(c, m); err != nil {
		return err
	}
	return t.sendMonth(c, m)
}

func findDemoTarget(c *cli.Context) (*demoTarget, error) {
	l, err := command.LoadConfig(c)
	if err != nil {
		return nil, err
	}
	t := &demoTarget{}
	if control, ok := dialControl(l.DataDir); ok {
		var answer bytes.Buffer
		if err := control.post(c.Context, http.MethodGet, "/demo", nil, &answer); err != nil {
			return nil, fault.Wrap(err, "ask the server on %s", l.DataDir)
		}
		if err := json.Unmarshal(answer.Bytes(), t); err != nil {
			return nil, fault.As(fault.Malformed, err, "answer of the server")
		}
		t.control = control
	}
	want := strings.TrimSuffix(c.String("url"), "/")
	switch {
	case want == "" && t.control == nil:
		return nil, fault.New(fault.Unavailable, "no server runs on %s; start mayday serve there, or name an instance by --url", l.DataDir)
	case want != "" && want != t.URL:
		if c.String("submitter-token") == "" {
			return nil, fault.New(fault.Invalid, "%s is not the server on %s, so --submitter-token is needed", want, l.DataDir)
		}
		return &demoTarget{URL: want, Submitter: c.String("submitter-token")}, nil
	}
	return t, nil
}

// check makes sure that a Mayday answers, and that it holds no real crashes.
func (t *demoTarget) check(ctx context.Context, force bool) error {
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fault.New(fault.Invalid, "%q is no address such as http://127.0.0.1:8000", t.URL)
	}
	var found struct {
		Total  int
		Facets struct {
			Product []struct {
				Term  string
				Count int
			}
		}
	}
	if err := t.search(ctx, url.Values{"_facets": {"product"}, "_results_number": {"0"}, "date": {">=" + time.Now().AddDate(0, -3, 0).Format(time.DateOnly)}}, &found); err != nil {
		return fault.Wrap(err, "%s does not answer as Mayday does", t.URL)
	}
	for _, p := range found.Facets.Product {
		if !demo.IsProduct(p.Term) && !sample.IsProduct(p.Term) && !force {
			return fault.New(fault.Conflict, "%s holds %d crashes of %s; made-up crashes would be mixed among them (--force does it all the same)", t.URL, p.Count, p.Term)
		}
	}
	return nil
}

func (t *demoTarget) search(ctx context.Context, q url.Values, into any) error {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+"/api/SuperSearch/?"+q.Encode(), nil)
	if err != nil {
		return fault.As(fault.Invalid, err, "address")
	}
	rs, err := demoClient().Do(rq)
	if err != nil {
		return fault.As(fault.Unavailable, err, "search")
	}
	defer rs.Body.Close()
	text, err := io.ReadAll(io.LimitReader(rs.Body, 1<<20))
	if err != nil || rs.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "search answers %s", rs.Status)
	}
	return fault.As(fault.Malformed, json.Unmarshal(text, into), "search answers no JSON")
}

// putSymbols stores the symbols of every release.
func (t *demoTarget) putSymbols(c *cli.Context, m demo.Month) error {
	if t.control == nil {
		return t.uploadSymbols(c, m)
	}
	n := 0
	for f := range m.Symbols() {
		if err := t.control.post(c.Context, http.MethodPut, "/symbols/"+(&url.URL{Path: f.Path}).EscapedPath(), bytes.NewReader(f.Text), io.Discard); err != nil {
			return fault.Wrap(err, "store symbols %s", f.Path)
		}
		n++
	}
	fmt.Fprintf(c.App.ErrWriter, "%d symbol files\n", n)
	return nil
}

// uploadSymbols sends the symbols of every release to an instance elsewhere, as
// one archive, the way build pipelines do.
func (t *demoTarget) uploadSymbols(c *cli.Context, m demo.Month) error {
	token := c.String("token")
	if token == "" {
		fmt.Fprintln(c.App.ErrWriter, "no --token: the symbols are not uploaded, stacks of that instance stay without names")
		return nil
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("symbols.zip", "symbols.zip")
	if err != nil {
		return fault.Wrap(err, "symbols")
	}
	archive, n := zip.NewWriter(part), 0
	for f := range m.Symbols() {
		w, err := archive.Create(f.Path)
		if err == nil {
			_, err = w.Write(f.Text)
		}
		if err != nil {
			return fault.Wrap(err, "symbols %s", f.Path)
		}
		n++
	}
	if err := errors.Join(archive.Close(), form.Close()); err != nil {
		return fault.Wrap(err, "symbols")
	}
	rq, err := http.NewRequestWithContext(c.Context, http.MethodPost, t.URL+"/upload/", &body)
	if err != nil {
		return fault.As(fault.Invalid, err, "address")
	}
	rq.Header.Set("Content-Type", form.FormDataContentType())
	rq.Header.Set("Auth-Token", token)
	rs, err := (&http.Client{Timeout: demoUpload}).Do(rq)
	if err != nil {
		return fault.As(fault.Unavailable, err, "upload symbols")
	}
	defer rs.Body.Close()
	if rs.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(rs.Body, 4096)) // the status matters more than its text
		return fault.New(kindOfStatus(rs.StatusCode), "upload symbols: %s %s", rs.Status, bytes.TrimSpace(text))
	}
	fmt.Fprintf(c.App.ErrWriter, "%d symbol files\n", n)
	return nil
}

// sendMonth sends the crashes and waits until they can be found.
func (t *demoTarget) sendMonth(c *cli.Context, m demo.Month) error {
	total := m.Count()
	var answered, inARow atomic.Int64
	crashes := make(chan demo.Crash)
	group, ctx := errgroup.WithContext(c.Context)
	group.Go(func() error {
		defer close(crashes)
		for crash := range m.All() {
			select {
			case crashes <- crash:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	var lastError atomic.Value
	last := make(chan string, demoLast)
	for range demoSenders {
		group.Go(func() error {
			for crash := range crashes {
				if err := t.send(ctx, crash); err != nil {
					if ctx.Err() == nil {
						lastError.Store(&err)
					}
					if inARow.Add(1) > demoInARow || fault.Of(err) == fault.Timeout {
						return err
					}
					continue
				}
				inARow.Store(0)
				keepLast(last, crash.ID)
				if n := answered.Add(1); n%250 == 0 {
					progress(c.App.ErrWriter, "sent", int(n), total)
				}
			}
			return nil
		})
	}
	sendErr := group.Wait()
	fmt.Fprintf(c.App.ErrWriter, "\n")
	if e, ok := lastError.Load().(*error); ok {
		sendErr = *e
	}
	n := int(answered.Load())
	close(last)
	found, err := t.wait(c, m, n, sendErr == nil)
	if err == nil {
		// Crashes of another seed may have made up the number.
		err = t.waitLast(c, m, last)
	}
	can := fmt.Sprintf("%d can be found", found)
	if found < 0 {
		can = "how many can be found is not known"
	}
	fmt.Fprintf(c.App.Writer, "%d crashes: %d answered, %d not, %s\n", total, n, total-n, can)
	if sendErr != nil {
		return fault.Wrap(sendErr, "send")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "look at %s/\n", t.URL)
	return nil
}

func progress(w io.Writer, what string, n, total int) {
	const width = 40
	done := min(width, n*width/max(total, 1))
	fmt.Fprintf(w, "\r%s [%s%s] %d of %d", what, strings.Repeat("#", done), strings.Repeat(".", width-done), n, total)
}

// send posts one crash as a client does.
func (t *demoTarget) send(ctx context.Context, crash demo.Crash) error {
	s := client.Submission{URL: t.URL + "/submit", Token: t.Submitter, Dump: crash.Dump()}
	for name, value := range crash.Annotations {
		s.Annotations = append(s.Annotations, [2]string{name, value})
	}
	s.Annotations = append(s.Annotations, [2]string{"uuid", crash.ID}, [2]string{"submitted_timestamp", crash.Submitted.Format("2006-01-02T15:04:05.000000+00:00")})
	limited, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	id, err := s.Send(limited, "")
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fault.New(fault.Timeout, "%s does not answer within %v", t.URL, demoPatience)
	}
	if err == nil && id.String() != crash.ID {
		return fault.New(fault.Conflict, "crash %s was answered as %s; is the submitter token right?", crash.ID, id)
	}
	return err
}

// wait polls until the crashes can be found, as long as their number grows. It
// returns -1 when no search was answered. A server that is alive may miss some
// searches, as it does when it is started again.
func (t *demoTarget) wait(c *cli.Context, m demo.Month, want int, alive bool) (int, error) {
	q := url.Values{"_results_number": {"0"}, "_facets_size": {"0"}, "product": demo.Products(),
		"date": {">=" + m.Last.AddDate(0, 0, 1-m.Days).Format(time.DateOnly), "<" + m.Last.AddDate(0, 0, 1).Format(time.DateOnly)}}
	last, since, heard := -1, time.Now(), time.Now()
	for {
		var found struct{ Total int }
		err := t.search(c.Context, q, &found)
		switch {
		case err != nil && (!alive || time.Since(heard) > demoRestart):
			return last, err
		case err == nil && found.Total >= want:
			fmt.Fprintln(c.App.ErrWriter)
			return found.Total, nil
		case err == nil:
			heard = time.Now()
		}
		if err == nil && found.Total > last {
			last, since = found.Total, time.Now()
			progress(c.App.ErrWriter, "processed", last, want)
		}
		if time.Since(since) > demoPatience {
			return last, fault.New(fault.Timeout, "%d of %d crashes can be found and no more come", max(last, 0), want)
		}
		select {
		case <-c.Context.Done():
			return last, c.Context.Err()
		case <-time.After(demoPoll):
		}
	}
}

// keepLast puts an id among the last ones, in place of the oldest. A sender
// that loses a race for the free place leaves its id out.
func keepLast(last chan string, id string) {
	select {
	case last <- id:
		return
	default:
	}
	select {
	case <-last:
	default:
	}
	select {
	case last <- id:
	default:
	}
}

// waitLast polls until the crashes that were sent last can be found.
func (t *demoTarget) waitLast(c *cli.Context, m demo.Month, last <-chan string) error {
	q := url.Values{"_results_number": {"0"}, "_facets_size": {"0"}, "date": {">=" + m.Last.AddDate(0, 0, 1-m.Days).Format(time.DateOnly)}}
	for id := range last {
		q.Add("uuid", id)
	}
	since := time.Now()
	for len(q["uuid"]) > 0 {
		var found struct{ Total int }
		if err := t.search(c.Context, q, &found); err != nil {
			return err
		}
		if found.Total >= len(q["uuid"]) {
			return nil
		}
		if time.Since(since) > demoPatience {
			return fault.New(fault.Timeout, "of the %d crashes sent last only %d can be found", len(q["uuid"]), found.Total)
		}
		select {
		case <-c.Context.Done():
			return c.Context.Err()
		case <-time.After(demoPoll):
		}
	}
	return nil
}

// importSample streams processed crashes into the index of the server.
func (t *demoTarget) importSample(c *cli.Context, crashes sample.Crashes) error {
	if t.control == nil {
		return fault.New(fault.Invalid, "--processed-only works on the server of --data-dir alone")
	}
	r, w := io.Pipe()
	go func() {
		e := json.NewEncoder(w)
		n := 0
		for crash := range crashes.All() {
			if err := e.Encode(crash); err != nil {
				return // the reader has gone and says why
			}
			if n++; n%10_000 == 0 {
				progress(c.App.ErrWriter, "imported", n, crashes.Count)
			}
		}
		w.Close()
	}()
	defer r.Close() // ends the writer above, whatever happens
	var report bytes.Buffer
	if err := t.control.post(c.Context, http.MethodPost, "/import-processed?index_only=true", r, &report); err != nil {
		return fault.Wrap(err, "import")
	}
	fmt.Fprintf(c.App.ErrWriter, "\n")
	fmt.Fprintf(c.App.Writer, "%s\n", bytes.TrimSpace(report.Bytes()))
	return nil
}
