package processor

import (
	"context"
	"slices"
	"sync"

	"gocloud.dev/pubsub"

	"mayday/storage"
	"mayday/storage/queue"
)

// pulled lists the queues that crashes come from and how often each has its
// turn when all have something waiting. Live crashes must not starve behind a
// mass reprocessing.
var pulled = []struct {
	name   queue.Name
	weight int
}{
	{queue.Standard, 5},
	{queue.Priority, 5},
	{queue.Reprocessing, 1},
}

// delivery is one message on its way to a worker. Its lease is renewed until
// release is called.
type delivery struct {
	queue   queue.Name
	message *pubsub.Message
	ctx     context.Context // ends when the lease is lost or the work must stop
	release func()
}

// pool hands messages from the receivers to the workers: one place a queue.
type pool struct {
	mu sync.Mutex
	// guarded by mu
	idle    int // workers that wait
	places  map[queue.Name]*delivery
	credit  map[queue.Name]int
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

func newPool() *pool {
	return &pool{places: map[queue.Name]*delivery{}, credit: map[queue.Name]int{}, changed: make(chan struct{})}
}

// notify wakes all that wait; mu is held.
func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until ready is true, which is asked with mu held, and reports
// false when ctx ended or the pool was closed first.
func (p *pool) await(ctx context.Context, ready func() bool) bool {
	for {
		p.mu.Lock()
		if ctx.Err() != nil || p.closed {
			p.mu.Unlock()
			return false
		}
		if ready() {
			p.mu.Unlock()
			return true
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// wanted waits until a worker is free and the queue's place is empty.
func (p *pool) wanted(ctx context.Context, name queue.Name) bool {
	return p.await(ctx, func() bool { return p.idle > 0 && p.places[name] == nil })
}

// put hands a message over. Its place is empty: each queue has one receiver,
// which asked wanted before.
func (p *pool) put(name queue.Name, d *delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[name] = d
	p.notify()
}

// take waits for a message; false when ctx ended.
func (p *pool) take(ctx context.Context) (*delivery, bool) {
	var d *delivery
	p.mu.Lock()
	p.idle++
	p.notify()
	p.mu.Unlock()
	ok := p.await(ctx, func() bool {
		d = p.choose()
		return d != nil
	})
	p.mu.Lock()
	p.idle--
	p.mu.Unlock()
	return d, ok
}

// choose takes one of the waiting messages, by weight: each waiting queue earns
// its weight, the richest is served and pays for all. mu is held.
func (p *pool) choose() *delivery {
	var best queue.Name
	total := 0
	for _, row := range pulled {
		if p.places[row.name] == nil {
			continue
		}
		p.credit[row.name] += row.weight
		total += row.weight
		if best == "" || p.credit[row.name] > p.credit[best] {
			best = row.name
		}
	}
	if best == "" {
		return nil
	}
	p.credit[best] -= total
	d := p.places[best]
	delete(p.places, best)
	p.notify()
	return d
}

// close lets everybody who waits go.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.notify()
}

// giveBack returns what nobody took to the queues, as if never received.
func (p *pool) giveBack(ctx context.Context, q *queue.Queues) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, d := range p.places {
		d.release()
		// An error means that the lease runs out by itself.
		_ = q.GiveBack(context.WithoutCancel(ctx), d.message, 0, false)
		delete(p.places, name)
	}
}

// idLocks keeps two workers from one crash.
type idLocks struct {
	mu   sync.Mutex
	held map[storage.CrashID]chan struct{} // guarded by mu
}

// lock waits for id and returns its unlock; nil when ctx ended.
func (l *idLocks) lock(ctx context.Context, id storage.CrashID) func() {
	for {
		l.mu.Lock()
		if l.held == nil {
			l.held = map[storage.CrashID]chan struct{}{}
		}
		other, taken := l.held[id]
		if !taken {
			mine := make(chan struct{})
			l.held[id] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, id)
				l.mu.Unlock()
				close(mine)
			}
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil
		}
	}
}

// maxCounted bounds the crashes whose tries are counted here.
const maxCounted = 10_000

// tryCount counts tries for queues that do not.
type tryCount struct {
	mu    sync.Mutex
	tries map[storage.CrashID]int // guarded by mu
	order []storage.CrashID       // oldest first; guarded by mu
}

func (t *tryCount) next(id storage.CrashID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tries == nil {
		t.tries = map[storage.CrashID]int{}
	}
	if t.tries[id] == 0 {
		t.order = append(t.order, id)
		if len(t.order) > maxCounted {
			delete(t.tries, t.order[0])
			t.order = slices.Delete(t.order, 0, 1)
		}
	}
	t.tries[id]++
	return t.tries[id]
}

func (t *tryCount) forget(id storage.CrashID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tries[id] > 0 {
		delete(t.tries, id)
		t.order = slices.DeleteFunc(t.order, func(o storage.CrashID) bool { return o == id })
	}
}

// gate holds receivers back while something that every crash needs does not
// answer.
type gate struct {
	mu      sync.Mutex
	closed  int           // workers that wait for an answer; guarded by mu
	changed chan struct{} // closed when closed becomes 0; guarded by mu
}

// shut closes the gate until the returned function is called.
func (g *gate) shut() func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == 0 {
		g.changed = make(chan struct{})
	}
	g.closed++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.closed--
		if g.closed == 0 {
			close(g.changed)
		}
	}
}

// wait returns when the gate is open; false when ctx ended first.
func (g *gate) wait(ctx context.Context) bool {
	for {
		g.mu.Lock()
		if g.closed == 0 {
			g.mu.Unlock()
			return ctx.Err() == nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
