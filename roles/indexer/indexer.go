// Package indexer puts processed crashes into the search index and the catalog.
//
// The queue `processed` carries crash ids alone. For each the indexer reads the
// processed crash that is in the bucket now, so repeated, reordered and old
// messages do no harm, and a crash that is gone from the bucket leaves the
// index. Crashes are indexed in batches; a message is acknowledged after its
// crash can be found. When the index is away, messages stay in the queue and
// are tried again.
//
// A crash that was given up comes as `<id>:verdict`; its verdict goes to the
// catalog, and leaves it when the crash is processed after all.
package indexer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/pubsub"
	"golang.org/x/sync/errgroup"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// crashes is what the indexer reads.
type crashes interface {
	ProcessedJSON(ctx context.Context, id storage.CrashID) ([]byte, error)
	Verdict(ctx context.Context, id storage.CrashID) (storage.Verdict, error)
}

// engine is what it writes.
type engine interface {
	Index(ctx context.Context, docs []search.Doc) error
	Delete(ctx context.Context, ids []string) error
}

// firsts is what it tells the catalog.
type firsts interface {
	RecordSeen(ctx context.Context, seen []catalog.FirstSeen) error
}

// verdicts is where it lists the crashes that were given up.
type verdicts interface {
	SaveVerdicts(ctx context.Context, list []catalog.Verdict) error
	HasVerdict(ctx context.Context, ids []string) ([]string, error)
	DropVerdicts(ctx context.Context, ids []string) error
}

// Options is what an indexer works on.
type Options struct {
	Messages *pubsub.Subscription // of the queue `processed`
	Crashes  crashes
	Engine   engine
	Fields   *plan.Fields
	Catalog  firsts
	Verdicts verdicts
	Retain   int // weeks of crashes that can be searched; 0 is all
	Log      *zap.Logger
}

// Indexer follows the queue `processed`.
type Indexer struct {
	Options
	reader *search.Reader
}

// New makes an indexer.
func New(o Options) *Indexer {
	return &Indexer{Options: o, reader: search.NewReader(o.Fields, "signature", "build")}
}

const (
	batchWait  = 300 * time.Millisecond // how long the first crash of a batch waits for others
	batchRows  = 1024
	batchReads = 4               // processed crashes read at once
	pause      = 2 * time.Second // after an error of the index or the bucket
	finishTime = 10 * time.Second
)

// Run indexes until ctx ends, then finishes the batch under way and gives the
// rest back.
func (x *Indexer) Run(ctx context.Context) error {
	incoming := make(chan *pubsub.Message)
	var pump sync.WaitGroup
	pump.Go(func() {
		defer close(incoming)
		x.receive(ctx, incoming)
	})
	defer pump.Wait()
	for {
		batch, open := gather(incoming)
		if len(batch) > 0 {
			// What was taken is finished even while the program stops.
			work, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
			x.handle(work, batch, ctx.Err() != nil)
			cancel()
		}
		if !open {
			return nil
		}
	}
}

// receive hands messages over until ctx ends.
func (x *Indexer) receive(ctx context.Context, out chan<- *pubsub.Message) {
	for {
		m, err := x.Messages.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			x.Log.Warn("queue does not answer", zap.String("queue", "processed"), zap.Error(err))
			sleep(ctx, pause)
			continue
		}
		out <- m
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// gather waits for a message and then for others that come soon after. open is
// false when no more will come.
func gather(in <-chan *pubsub.Message) (batch []*pubsub.Message, open bool) {
	m, open := <-in
	if !open {
		return nil, false
	}
	batch = append(batch, m)
	timer := time.NewTimer(batchWait)
	defer timer.Stop()
	for len(batch) < batchRows {
		select {
		case m, open := <-in:
			if !open {
				return batch, false
			}
			batch = append(batch, m)
		case <-timer.C:
			return batch, true
		}
	}
	return batch, true
}

// handle indexes a batch and answers its messages.
func (x *Indexer) handle(ctx context.Context, batch []*pubsub.Message, stopping bool) {
	start := time.Now()
	err := x.index(ctx, batch)
	metrics.IndexerSeconds.Observe(time.Since(start).Seconds())
	if err == nil {
		for _, m := range batch {
			m.Ack()
		}
		return
	}
	metrics.IndexerCrashes.Add(float64(len(batch)), "failed")
	x.Log.Warn("crashes were not indexed and will be tried again", zap.Int("crashes", len(batch)), zap.Error(err))
	for _, m := range batch {
		if m.Nackable() {
			m.Nack()
		}
	}
	if !stopping {
		sleep(ctx, pause)
	}
}

// row is one crash of a batch: its document, or that it is gone, or why it was
// given up.
type row struct {
	id      storage.CrashID
	doc     *search.Doc
	gone    bool
	seen    *catalog.FirstSeen
	verdict *catalog.Verdict
}

func (x *Indexer) index(ctx context.Context, batch []*pubsub.Message) error {
	rows, err := x.read(ctx, batch)
	if err != nil {
		return err
	}
	var docs []search.Doc
	var gone []string
	var seen []catalog.FirstSeen
	for _, r := range rows {
		switch {
		case r.gone:
			gone = append(gone, r.id.String())
		case r.doc != nil:
			docs = append(docs, *r.doc)
			if r.seen != nil {
				seen = append(seen, *r.seen)
			}
		}
	}
	if len(docs) > 0 {
		if err := x.Engine.Index(ctx, docs); err != nil {
			return fault.Wrap(err, "index")
		}
	}
	if len(gone) > 0 {
		if err := x.Engine.Delete(ctx, gone); err != nil {
			return fault.Wrap(err, "delete from index")
		}
	}
	if err := x.Catalog.RecordSeen(ctx, seen); err != nil {
		return fault.Wrap(err, "first appearances")
	}
	if err := x.recordVerdicts(ctx, rows); err != nil {
		return fault.Wrap(err, "verdicts")
	}
	metrics.IndexerCrashes.Add(float64(len(docs)), "indexed")
	metrics.IndexerCrashes.Add(float64(len(gone)), "gone")
	return nil
}

// recordVerdicts lists the crashes that were given up, and strikes those out
// whose verdict is gone from the bucket.
func (x *Indexer) recordVerdicts(ctx context.Context, rows []row) error {
	var given []catalog.Verdict
	var others []string
	for _, r := range rows {
		if r.verdict != nil {
			given = append(given, *r.verdict)
		} else {
			others = append(others, r.id.String())
		}
	}
	if err := x.Verdicts.SaveVerdicts(ctx, given); err != nil {
		return err
	}
	listed, err := x.Verdicts.HasVerdict(ctx, others)
	if err != nil {
		return err
	}
	var over []string
	for _, text := range listed {
		_, err := x.Crashes.Verdict(ctx, storage.CrashID(text))
		if fault.Is(err, fault.NotFound) {
			over = append(over, text)
		} else if err != nil {
			return err
		}
	}
	return x.Verdicts.DropVerdicts(ctx, over)
}

// read reads the processed crashes of a batch, each once.
func (x *Indexer) read(ctx context.Context, batch []*pubsub.Message) ([]row, error) {
	var wanted []queue.Message
	taken := map[queue.Message]bool{}
	for _, m := range batch {
		w, err := queue.ParseMessage(m.Body)
		if err != nil {
			x.Log.Warn("message holds no crash id", zap.ByteString("message", m.Body[:min(len(m.Body), 64)]))
			continue
		}
		if w.Ruleset != queue.VerdictRuleset {
			w.Ruleset = ""
		}
		if !taken[w] {
			taken[w] = true
			wanted = append(wanted, w)
		}
	}
	rows := make([]row, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(batchReads)
	for i, w := range wanted {
		group.Go(func() (err error) {
			if w.Ruleset == queue.VerdictRuleset {
				rows[i], err = x.readVerdict(ctx, w.ID)
			} else {
				rows[i], err = x.readOne(ctx, w.ID)
			}
			return err
		})
	}
	return rows, group.Wait()
}

// readVerdict reads why a crash was given up; it may have been forgiven since.
func (x *Indexer) readVerdict(ctx context.Context, id storage.CrashID) (row, error) {
	v, err := x.Crashes.Verdict(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Malformed):
		return row{id: id}, nil
	case err != nil:
		return row{}, err
	}
	return row{id: id, verdict: &catalog.Verdict{CrashID: id.String(), Reason: v.Reason, Tries: v.Tries, Time: v.Time, Queue: v.Queue}}, nil
}

func (x *Indexer) readOne(ctx context.Context, id storage.CrashID) (row, error) {
	text, err := x.Crashes.ProcessedJSON(ctx, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return row{id: id, gone: true}, nil
	case fault.Is(err, fault.Malformed):
		x.Log.Error("processed crash cannot be read", zap.String("crash_id", id.String()), zap.Error(err))
		return row{id: id}, nil
	case err != nil:
		return row{}, fault.Wrap(err, "read processed crash %s", id)
	}
	doc, besides, err := x.reader.DocBesides(text)
	if err != nil {
		x.Log.Error("processed crash cannot be indexed", zap.String("crash_id", id.String()), zap.Error(err))
		return row{id: id}, nil
	}
	if x.expired(doc.Date) {
		return row{id: id, gone: true}, nil
	}
	return row{id: id, doc: &doc, seen: firstSeen(besides[0], besides[1], doc.Date)}, nil
}

// expired reports whether a crash is older than what can be searched: one that
// is processed again must not bring a week back that was dropped.
func (x *Indexer) expired(date int64) bool {
	if x.Retain <= 0 {
		return false
	}
	year, week := plan.Week0(time.UnixMicro(date))
	oldYear, oldWeek := plan.Week0(time.Now().Add(-time.Duration(x.Retain) * 7 * 24 * time.Hour))
	return year < oldYear || year == oldYear && week < oldWeek
}

// firstSeen is what the catalog learns from one crash; nil without signature.
func firstSeen(signature, build any, date int64) *catalog.FirstSeen {
	text, _ := signature.(string)
	if text == "" {
		return nil
	}
	seen := &catalog.FirstSeen{Signature: text, Date: time.UnixMicro(date)}
	if build != nil {
		seen.Build = fmt.Sprint(build)
	}
	return seen
}
