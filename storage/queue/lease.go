package queue

import (
	"context"
	"time"

	"gocloud.dev/pubsub"

	"mayday/app/fault"
)

// errLost is why the context of Hold ends when the lease was lost.
var errLost = fault.New(fault.Conflict, "the lease was lost to another process")

// Attempts is how often m was delivered, this time included; 0 when the queue
// does not say and the receiver must count.
func (q *Queues) Attempts(m *pubsub.Message) int {
	var l *Lease
	if m.As(&l) {
		return l.attempts
	}
	if q.drivers != nil && q.drivers.Attempts != nil {
		return q.drivers.Attempts(m)
	}
	return 0
}

// Hold keeps m with its receiver until stop is called, by renewing the lease at
// a third of its time. The returned context ends, with a Conflict as its cause,
// when the lease was lost: somebody else works on the crash by then.
func (q *Queues) Hold(ctx context.Context, m *pubsub.Message) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(q.lease / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			// A queue that does not answer is no loss yet: the lease may
			// outlast it.
			if err := q.extend(ctx, m); fault.Is(err, fault.Conflict) {
				cancel(errLost)
				return
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-done
	}
}

func (q *Queues) extend(ctx context.Context, m *pubsub.Message) error {
	ctx, cancel := context.WithTimeout(ctx, q.lease/3)
	defer cancel()
	var l *Lease
	if m.As(&l) {
		return l.Extend(ctx, q.lease)
	}
	if q.drivers != nil && q.drivers.Extend != nil {
		return q.drivers.Extend(ctx, m, q.lease)
	}
	return nil
}

// GiveBack returns m to its queue: not before the pause is over, and without
// counting the try unless counted. m must not be acknowledged after it. A queue
// that cannot pause gets the message at once.
func (q *Queues) GiveBack(ctx context.Context, m *pubsub.Message, pause time.Duration, counted bool) error {
	var l *Lease
	var err error
	if m.As(&l) {
		err = l.GiveBack(ctx, pause, counted)
	}
	if m.Nackable() {
		m.Nack() // changes nothing when GiveBack did
	}
	return err
}
