// Package processor is the role that turns raw crashes into processed ones. It
// takes crash ids from the queues, reads the crash from the bucket, runs the
// rules (ruleset.go) over it, stores the processed crash and announces it to
// the queue `processed`.
//
// A worker takes the next crash when it is free. Crashes come from three
// queues, weighted 5 standard : 5 priority : 1 reprocessing where several have
// something waiting; one receiver a queue holds at most one message.
//
// What becomes of a message:
//
//	processed crash stored and announced     acknowledged, never before
//	no raw crash, or no crash id             acknowledged, counted, logged
//	raw crash broken for good                verdict stored, acknowledged
//	bucket or queue does not answer          nothing is pulled, tried again in place, not counted
//	symbols do not answer                    back to the queue, counted; the last try does without them
//	anything else fails                      back to the queue, counted; after Tries a verdict
//	lease lost                               left alone: somebody else has it
//	program stops                            running crashes get Drain, the rest goes back uncounted
//
// A verdict (storage.Verdict) says why a crash is given up; asking for the crash
// again tries it anew. Processing is idempotent by crash id: the same message
// twice gives one processed crash.
//
// A rule that fails does not fail the crash: the note names the rule. The
// stack walker is bounded in time and memory (walker.go), in this process or,
// with isolation, in a child of it (isolate.go). A crash that was taken before
// and not finished is walked in a child in any case: should it end the program,
// it does so once. Telemetry export never holds a
// crash up.
//
// The package needs the crash bucket and the queues alone; product versions
// come from a snapshot object that web publishes. So processors scale by
// starting more of them.
package processor

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayday/storage"
	"mayday/storage/queue"
)

// Source is where crashes are read from; *storage.Crashes is one.
type Source interface {
	Raw(ctx context.Context, id storage.CrashID) (storage.RawCrash, error)
	DumpNames(ctx context.Context, id storage.CrashID) ([]string, error)
	OpenDump(ctx context.Context, id storage.CrashID, name string) (*storage.DumpReader, error)
}

// Sink is where processed crashes go; *storage.Crashes is one.
type Sink interface {
	Processed(ctx context.Context, id storage.CrashID) (storage.ProcessedCrash, error)
	SaveProcessed(ctx context.Context, id storage.CrashID, p storage.ProcessedCrash) error
	SaveVerdict(ctx context.Context, id storage.CrashID, v storage.Verdict) error
}

// Exporter takes the public subset of each processed crash.
type Exporter interface {
	Export(ctx context.Context, key string, document map[string]any) error
}

// Options are what the role is made of.
type Options struct {
	Source   Source
	Sink     Sink
	Queues   *queue.Queues
	Pipeline *Pipeline
	Exporter Exporter // nil: nothing is exported
	// Arrived hears of symbols that came through other processes; nil where
	// none can.
	Arrived *ArrivedModules
	Workers int // 0: workersPerCPU for each processor of the machine
	Tries   int // 0: DefaultTries
	Drain   time.Duration
	TempDir string // for dumps too large to hold in memory; "" is the system's
	Log     *zap.Logger

	// Pause is the first wait before a thing that does not answer is asked
	// again; it doubles up to a minute. 0 is DefaultPause.
	Pause time.Duration
}

// Defaults of Options.
const (
	DefaultTries = 5
	DefaultPause = time.Second
	DefaultDrain = 15 * time.Second
)

// workersPerCPU keeps the processors busy while some workers wait for disks.
const workersPerCPU = 2

// maxPause is the longest wait between two asks.
const maxPause = time.Minute

// Processor is the role.
type Processor struct {
	Options
	pool  *pool
	locks idLocks
	tries tryCount
	gate  gate
}

// New makes the role; it starts nothing.
func New(o Options) (*Processor, error) {
	if o.Source == nil || o.Sink == nil || o.Queues == nil || o.Pipeline == nil {
		return nil, errors.New("processor: crashes, queues and a pipeline are needed")
	}
	if o.Workers <= 0 {
		o.Workers = workersPerCPU * runtime.GOMAXPROCS(0)
	}
	if o.Tries <= 0 {
		o.Tries = DefaultTries
	}
	if o.Pause <= 0 {
		o.Pause = DefaultPause
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Processor{Options: o, pool: newPool()}, nil
}

// Mount adds no route: the role answers no requests.
func (p *Processor) Mount(*echo.Echo) {}

// Run processes crashes until ctx ends. Crashes that are being worked on then
// have Drain to finish; what is left goes back to its queue.
func (p *Processor) Run(ctx context.Context) error {
	cleanTemp(p.TempDir, p.Log)
	// Work outlives ctx by the drain time.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	receivers, receiving := errgroup.WithContext(ctx)
	for _, row := range pulled {
		receivers.Go(func() error { return p.receive(receiving, work, row.name) })
	}
	if p.Arrived != nil {
		receivers.Go(func() error { return p.Arrived.Run(receiving) })
	}
	var workers sync.WaitGroup
	for range p.Workers {
		workers.Go(func() { p.work(ctx, work) })
	}
	err := receivers.Wait() // ends with ctx
	p.pool.close()
	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }()
	drain := time.NewTimer(p.Drain)
	defer drain.Stop()
	select {
	case <-done:
	case <-drain.C:
		stopWork()
		<-done
	}
	p.pool.giveBack(work, p.Queues)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// work processes one crash after the other until ctx ends.
func (p *Processor) work(ctx, work context.Context) {
	for {
		d, ok := p.pool.take(ctx)
		if !ok {
			return
		}
		p.handle(work, d)
	}
}

// receive pulls messages of one queue while workers are free.
func (p *Processor) receive(ctx, work context.Context, name queue.Name) error {
	pause := p.Pause
	for {
		if !p.pool.wanted(ctx, name) || !p.gate.wait(ctx) {
			return nil
		}
		sub, err := p.Queues.Subscription(ctx, name)
		if err == nil {
			m, receiveErr := sub.Receive(ctx)
			if err = receiveErr; err == nil {
				held, release := p.Queues.Hold(work, m)
				p.pool.put(name, &delivery{queue: name, message: m, ctx: held, release: release})
				pause = p.Pause
				continue
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		p.Log.Warn("queue does not answer", zap.String("queue", string(name)), zap.Error(err))
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

// sleep waits and reports whether ctx still runs.
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
