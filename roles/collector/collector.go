// Package collector is the front door: it takes crashes that clients send to
// POST /submit (and /post, the path of old Electron), decides by the throttle
// rules what becomes of each, stores it, puts its id into the queue `standard`
// and answers the client with the id.
//
// The wire contract is that of Mozilla's collector (Antenna) and of Breakpad's
// minidump upload: a multipart body with annotations (form fields or one JSON
// object) and files. Beyond it, clients are understood that no proxy has
// tidied up after: chunked bodies, HTTP/1.0 with chunked bodies (Listener),
// several compressions, other names for product and version.
//
// The way of a crash:
//
//	wire       counts bytes, moves deadlines on                  wire.go
//	decompress gzip, deflate, zstd                               wire.go
//	multipart  parts                                             multipart.go
//	payload    annotations, notes, names of files                payload.go
//	held       files in memory or in a nameless file, hashed     held.go
//	decide     throttle rules, crash id, raw crash               submit.go
//	keep       bucket and queue, or the spool                    keep.go, journal, spool.go
//	answer     by client                                         answer.go
//
// Nothing is stored before the whole body was read and decided on, and no id is
// answered before the crash is in the bucket or synced in the spool. Most
// clients try once, so a bucket or queue that is down is no reason to refuse: the
// crash waits in the spool, which Run forwards, oldest first.
//
// Memory: a request holds its annotations, a read buffer of 64 KiB and at most
// 512 KiB of files; Options.Config.MaxRequests bounds how many there are.
//
// The package does not process crashes, knows no field but the few it maps and
// removes, and serves no page.
package collector

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayday/app/config"
	"mayday/app/fault"
	"mayday/roles/collector/journal"
	"mayday/roles/collector/throttle"
	"mayday/storage"
	"mayday/storage/queue"
)

// Sender puts crash ids into a queue; *queue.Queues is one.
type Sender interface {
	Send(ctx context.Context, name queue.Name, messages ...queue.Message) error
}

// Options are what a collector is made of.
type Options struct {
	Config   config.Collector
	Strict   bool     // unknown products are refused
	Products []string // known products, for a strict collector without a list of its own
	SpoolDir string   // where crashes wait; "" keeps none
	Crashes  *storage.Crashes
	Unsynced *storage.Crashes // the same on a local bucket, written without syncing; nil: no journal
	Folder   string           // of that bucket
	Queue    Sender
	Log      *zap.Logger
}

// Limits bound one request.
type Limits struct {
	Body        int64
	Unpacked    int64
	Annotations int64
	Parts       int
	Dumps       int
}

// Collector takes crashes. Its handlers run from New on, forwarding from Run.
type Collector struct {
	cfg      config.Collector
	strict   bool
	products []string
	crashes  *storage.Crashes
	queue    Sender
	log      *zap.Logger
	limits   Limits
	mapping  []mapping
	stop     map[string]bool // Product/Version pairs that shall stop sending
	temp     string          // where files of requests are held
	room     budget          // for them
	spool    *spool          // nil: none
	unsynced *storage.Crashes
	journal  *journal.Journal // nil: none; else crashes may be written to unsynced
	rate     *rateLimit       // nil: none
	slots    chan struct{}    // requests under way
	zstd     chan struct{}    // of these, with zstd bodies
	requests sync.Pool        // of *request

	rules     atomic.Pointer[throttle.Rules]
	rulesTime time.Time    // modification of the rules' file; Run's alone after New
	downUntil atomic.Int64 // Unix nanoseconds until which the bucket counts as down
}

// New reads the throttle rules and opens the spool.
func New(o Options) (*Collector, error) {
	c := &Collector{
		cfg: o.Config, strict: o.Strict, products: o.Products, crashes: o.Crashes, queue: o.Queue, log: o.Log,
		limits: Limits{Body: int64(o.Config.MaxBody), Unpacked: int64(o.Config.MaxUnpacked), Annotations: int64(o.Config.MaxAnnotations),
			Parts: o.Config.MaxParts, Dumps: o.Config.MaxDumps},
		stop:  map[string]bool{},
		slots: make(chan struct{}, max(1, o.Config.MaxRequests)),
		zstd:  make(chan struct{}, zstdAtOnce),
	}
	c.room.limit = int64(o.Config.SpoolSize)
	c.requests.New = func() any { return &request{buf: make([]byte, readBuffer), held: held{dir: c.temp, room: &c.room}} }
	for _, v := range o.Config.StopSending {
		c.stop[v] = true
	}
	var err error
	if c.mapping, err = parseMapping(o.Config.Mapping); err != nil {
		return nil, err
	}
	if err := c.loadRules(); err != nil {
		return nil, err
	}
	if o.Config.RateLimit > 0 {
		c.rate = newRateLimit(o.Config.RateLimit)
	}
	c.temp = os.TempDir()
	if o.SpoolDir != "" {
		c.temp = filepath.Join(o.SpoolDir, "incoming")
		if c.spool, err = openSpool(o.SpoolDir, int64(o.Config.SpoolSize)); err != nil {
			return nil, err
		}
	}
	if c.spool != nil && o.Unsynced != nil {
		c.unsynced = o.Unsynced
		if c.journal, err = journal.Open(filepath.Join(o.SpoolDir, journalDir), o.Folder); err != nil {
			c.spool.close()
			return nil, err
		}
	}
	return c, nil
}

// loadRules reads the rules' file, or takes the rules of the configuration.
func (c *Collector) loadRules() error {
	t := c.cfg.Throttle
	if t.File != "" {
		info, err := os.Stat(t.File)
		if err != nil {
			return fault.As(fault.Invalid, err, "throttle rules")
		}
		fromFile, err := throttle.ReadFile(t.File)
		if err != nil {
			return err
		}
		c.rulesTime = info.ModTime()
		t = fromFile
	}
	rules, err := throttle.Compile(t, c.strict, c.products)
	if err != nil {
		return err
	}
	c.rules.Store(rules)
	return nil
}

// Close empties the journal and releases the spool's folder. No request may be
// under way.
func (c *Collector) Close() error {
	if c.spool == nil {
		return nil
	}
	var err error
	if c.journal != nil {
		err = c.journal.Settle(true)
	}
	return errors.Join(err, c.spool.close())
}

// Mount adds the routes.
func (c *Collector) Mount(e *echo.Echo) {
	for _, path := range []string{"/submit", "/post"} {
		e.Any(path, c.submit)
	}
}

// rulesEvery is how often the rules' file is looked at.
const rulesEvery = 5 * time.Second

// Run forwards what waits in the spool and rereads the rules when their file
// changes, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return c.watchRules(ctx) })
	if c.spool != nil {
		group.Go(func() error { return c.forward(ctx) })
	}
	if c.journal != nil {
		group.Go(func() error { return c.settle(ctx) })
	}
	err := group.Wait()
	<-ctx.Done()
	return err
}

func (c *Collector) watchRules(ctx context.Context) error {
	if c.cfg.Throttle.File == "" {
		return nil
	}
	every(ctx, rulesEvery, c.rereadRules)
	return nil
}

// every calls do at each tick until ctx ends.
func every(ctx context.Context, tick time.Duration, do func()) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		do()
	}
}

// rereadRules takes the rules' file when it changed. Broken rules are reported
// and the old ones stay in force.
func (c *Collector) rereadRules() {
	info, err := os.Stat(c.cfg.Throttle.File)
	if err != nil || info.ModTime().Equal(c.rulesTime) {
		return // an editor may be replacing it
	}
	if err := c.loadRules(); err != nil {
		c.rulesTime = info.ModTime() // say it once
		c.log.Error("throttle rules stay as they were", zap.Error(err))
		return
	}
	c.log.Info("throttle rules were read again", zap.String("file", c.cfg.Throttle.File))
}

// Health says whether crashes are stored as they come: an error while the
// bucket is down or crashes wait in the spool.
func (c *Collector) Health(ctx context.Context) error {
	if err := c.crashes.Health(ctx); err != nil {
		return err
	}
	if c.spool == nil {
		return nil
	}
	if n, bytes := c.spool.waiting(); n > 0 {
		return fault.New(fault.Unavailable, "%d crashes (%d bytes) wait in the spool", n, bytes)
	}
	return nil
}

// slotWait is how long a request waits for one of the slots. Clients give up
// after 20 to 60 seconds.
const slotWait = 10 * time.Second

// slot takes one of a number of places and gives a func that frees it.
func slot(ctx context.Context, slots chan struct{}) (release func(), err error) {
	release = func() { <-slots }
	select {
	case slots <- struct{}{}:
		return release, nil
	default:
	}
	t := time.NewTimer(slotWait)
	defer t.Stop()
	select {
	case slots <- struct{}{}:
		return release, nil
	case <-t.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errBusy = errors.New("too many crashes at once")

func random() float64 { return rand.Float64() }

// errMethod answers all methods but POST and OPTIONS.
var errMethod = echo.NewHTTPError(http.StatusMethodNotAllowed)
