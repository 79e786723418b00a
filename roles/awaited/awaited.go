// Package awaited has crashes processed again whose symbols came after them.
//
// The symbol server says which modules arrived; the catalog remembers them, so
// that a restart forgets none. What then happens to a module:
//
//  1. It is published in the bucket (storage.AwaitedSnapshot), so that
//     processors elsewhere drop what they remember of it.
//  2. Once uploads have paused a moment, all modules that are due are looked up
//     together: the search index names the crashes whose missing_symbols lists
//     one of them, the latest first.
//  3. Of each the processed crash is read. Only one that was walked before the
//     symbols came, and lacks exactly that module, goes to the queue
//     `reprocessing`, the one of the least weight. The processor notes what came.
//  4. It is looked for twice more, for crashes that were being processed or
//     indexed at the time, and then forgotten.
//
// A bulk upload makes no storm: a crash that lacks many of its modules is
// queued once, crashes that wait in a queue already are passed over, no more
// than Options.Rate a minute are queued, and none while maxBacklog wait.
//
// It does not look for symbols that come to suppliers elsewhere.
package awaited

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage"
	"mayday/storage/catalog"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/symbols"
)

// crashes is what is asked of the bucket.
type crashes interface {
	ProcessedJSON(ctx context.Context, id storage.CrashID) ([]byte, error)
	SaveSnapshot(ctx context.Context, name string, value any) error
}

// index finds the crashes.
type index interface {
	Search(ctx context.Context, p *plan.Plan) (*search.Result, error)
}

// queues take them.
type queues interface {
	Send(ctx context.Context, n queue.Name, messages ...queue.Message) error
	Depths(ctx context.Context) ([]queue.Depth, error)
	Pending(ctx context.Context, names ...queue.Name) (map[storage.CrashID]bool, error)
}

// Options are what it works with; all but Log are needed.
type Options struct {
	Crashes crashes
	Index   index
	Fields  *plan.Fields
	Queues  queues
	Catalog *catalog.DB
	Rate    int // crashes a minute that may be queued
	Days    int // how far back crashes are looked for
	Log     *zap.Logger
}

// Awaited follows arriving symbols.
type Awaited struct {
	Options
	limit *rate.Limiter
	wake  chan struct{}

	// Used by Run alone.
	published map[string]time.Time // module to the time of its publication
	snapshot  string               // what was published last
}

const (
	// settle is how long uploads must pause, or one module wait, before crashes
	// are looked for: what comes together is looked up together.
	settle = 2 * time.Second
	// noticed is how long processors may take to see what was published; they
	// look every second before they take a crash that is processed again.
	noticed = 2 * time.Second
	// walked is how long after its arrival a walk may have missed a module that
	// was there: it looked for the symbols before, or remembered that there are
	// none. A crash that was walked later and lacks the module cannot be helped.
	walked = 15 * time.Second
	// pause is the time between two tries while something does not answer.
	pause = 5 * time.Second
	// maxModules bounds one round, and what is published; the others follow.
	maxModules = 2000
	// burst is how many crashes may be queued at once.
	burst = 20
	// maxBacklog is how many crashes may wait to be processed again before more
	// are queued.
	maxBacklog = 500
)

// looks are the times after its arrival at which crashes that lack a module
// are looked for. The last one is later than any usual walk and batch of the
// indexer takes.
var looks = []time.Duration{settle, 30 * time.Second, 3 * time.Minute}

// New makes it; nothing happens before Run but Arrived.
func New(o Options) *Awaited {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Awaited{Options: o, limit: rate.NewLimiter(rate.Limit(float64(o.Rate)/60), burst), wake: make(chan struct{}, 1), snapshot: "unknown", published: map[string]time.Time{}}
}

// Arrived notes that the symbols of a module came. An error means that crashes
// which lack it stay as they are.
func (a *Awaited) Arrived(ctx context.Context, id symbols.ModuleID) error {
	if _, ok := id.Path(); !ok {
		return nil
	}
	id = id.Normalize()
	now := time.Now()
	err := a.Catalog.SaveAwaited(ctx, catalog.Awaited{DebugFile: id.DebugFile, DebugID: id.DebugID, Arrived: now, Due: now.Add(looks[0])})
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return err
}

// Run follows what Arrived noted, in this and in earlier lives of the program,
// until ctx ends.
func (a *Awaited) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait, err := a.round(ctx)
		if err != nil && ctx.Err() == nil {
			a.Log.Warn("crashes that lacked symbols are looked for again later", zap.Error(err))
			wait = pause
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// idle is how often the catalog is looked at when nothing arrives here: other
// processes may write it.
const idle = time.Minute

// round looks once at all modules that are due, and says when to come again.
func (a *Awaited) round(ctx context.Context) (time.Duration, error) {
	known, err := a.Catalog.Awaited(ctx, maxModules)
	if err != nil {
		return 0, err
	}
	if err := a.publish(ctx, known); err != nil {
		return 0, err
	}
	now := time.Now()
	var due []catalog.Awaited
	next := idle
	for _, m := range known {
		at := m.Due
		if seen := a.published[keyOf(m)].Add(noticed); seen.After(at) {
			at = seen
		}
		if at.After(now) {
			next = min(next, at.Sub(now))
			continue
		}
		due = append(due, m)
	}
	if len(due) == 0 {
		return next, nil
	}
	if young := now.Sub(known[0].Arrived); young < settle && now.Sub(due[len(due)-1].Arrived) < maxSettle {
		return settle - young, nil // more is coming
	}
	more, err := a.look(ctx, due)
	if err != nil || more {
		return 0, err // what is new meanwhile joins the next round
	}
	for _, m := range due {
		if err := a.lookedFor(ctx, m); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// maxSettle is how long a module waits for uploads to pause.
const maxSettle = 10 * time.Second

// lookedFor puts a module off to its next look, or forgets it after the last.
func (a *Awaited) lookedFor(ctx context.Context, m catalog.Awaited) error {
	m.Looks++
	if m.Looks >= len(looks) {
		return a.Catalog.DropAwaited(ctx, m)
	}
	m.Due = m.Arrived.Add(looks[m.Looks])
	if soon := time.Now().Add(settle); m.Due.Before(soon) {
		m.Due = soon // the looks before took their time
	}
	return a.Catalog.PutOffAwaited(ctx, m)
}

func keyOf(m catalog.Awaited) string { return m.DebugFile + "/" + m.DebugID + m.Arrived.String() }

// publish tells processors elsewhere what came.
func (a *Awaited) publish(ctx context.Context, known []catalog.Awaited) error {
	list := make([]storage.AwaitedModule, 0, len(known))
	text := ""
	for _, m := range known {
		list = append(list, storage.AwaitedModule{DebugFile: m.DebugFile, DebugID: m.DebugID, Arrived: m.Arrived})
		text += keyOf(m) + "\n"
	}
	if text == a.snapshot {
		return nil
	}
	if err := a.Crashes.SaveSnapshot(ctx, storage.AwaitedSnapshot, list); err != nil {
		return err
	}
	a.snapshot = text
	now := time.Now()
	published := map[string]time.Time{}
	for _, m := range known {
		if published[keyOf(m)] = a.published[keyOf(m)]; published[keyOf(m)].IsZero() {
			published[keyOf(m)] = now
		}
	}
	a.published = published
	return nil
}

// look queues crashes that lack one of the modules, half a minute's worth at
// most; more says that it stopped there.
func (a *Awaited) look(ctx context.Context, modules []catalog.Awaited) (more bool, err error) {
	l := newLacking(modules)
	if modules, err = a.narrow(ctx, modules); err != nil || len(modules) == 0 {
		return false, err
	}
	pending, err := a.pending(ctx)
	if err != nil {
		return false, err
	}
	most, queued := max(burst, a.Rate/2), 0
	defer func() {
		if queued > 0 {
			a.Log.Info("symbols came for crashes that lacked them", zap.Int("modules", len(modules)), zap.String("first", modules[0].DebugFile), zap.Int("crashes", queued))
		}
	}()
	for id, err := range a.find(ctx, modules) {
		if err != nil {
			return false, err
		}
		if pending[id] {
			continue
		}
		pending[id] = true
		text, err := a.Crashes.ProcessedJSON(ctx, id)
		if fault.Is(err, fault.NotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return false, err
		}
		if !l.helped(text) {
			metrics.AwaitedCrashes.Inc("passed_over")
			continue
		}
		if queued == most {
			return true, nil
		}
		if err := a.room(ctx); err != nil {
			return false, err
		}
		if err := a.Queues.Send(ctx, queue.Reprocessing, queue.Message{ID: id}); err != nil {
			return false, err
		}
		metrics.AwaitedCrashes.Inc("queued")
		queued++
	}
	return false, nil
}

// pending are the crashes that will be processed anyway.
func (a *Awaited) pending(ctx context.Context) (map[storage.CrashID]bool, error) {
	p, err := a.Queues.Pending(ctx, queue.Standard, queue.Priority, queue.Reprocessing)
	if fault.Is(err, fault.Unsupported) || err == nil && p == nil {
		return map[storage.CrashID]bool{}, nil
	}
	return p, err
}

// room waits until one more crash may be queued.
func (a *Awaited) room(ctx context.Context) error {
	if err := a.limit.Wait(ctx); err != nil {
		return fault.As(fault.Canceled, err, "wait to queue crashes")
	}
	for {
		depths, err := a.Queues.Depths(ctx)
		if fault.Is(err, fault.Unsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		waiting := 0
		for _, d := range depths {
			if d.Name == queue.Reprocessing {
				waiting = d.Waiting
			}
		}
		if waiting < maxBacklog {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return errors.Join(fault.New(fault.Canceled, "wait for the queue"), ctx.Err())
		case <-t.C:
		}
	}
}
