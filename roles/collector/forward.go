package collector

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/collector/journal"
	"mayday/roles/collector/throttle"
	"mayday/storage"
	"mayday/storage/queue"
)

const (
	firstPause = time.Second
	maxPause   = time.Minute
	// idlePause is how often the folder is looked at with nothing to wake it.
	idlePause = 30 * time.Second
)

// forward takes crashes from the spool to bucket and queue, oldest first, until
// ctx ends. When either does not answer it waits, longer each time.
func (c *Collector) forward(ctx context.Context) error {
	pause := firstPause
	for {
		err := c.forwardAll(ctx)
		wait, wake := idlePause, c.spool.wake
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.log.Warn("spool waits", zap.Error(err), zap.Duration("pause", pause))
			wait, wake = pause, nil // what comes meanwhile would fail as well
			pause = min(2*pause, maxPause)
		default:
			pause = firstPause
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-wake:
		}
		t.Stop()
	}
}

// forwardAll takes every entry once. An error means that the others would fail
// as well; an entry that fails by itself is set aside.
func (c *Collector) forwardAll(ctx context.Context) error {
	if c.journal != nil {
		if err := c.journal.Replay(ctx, func(j journal.Crash) error { return c.again(ctx, j) }); err != nil {
			return err
		}
	}
	names, err := c.spool.entries()
	if err != nil {
		return err
	}
	for _, name := range names {
		err := c.forwardOne(ctx, name)
		if err == nil {
			metrics.CollectorForwarded.Inc("stored")
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if passing(err) {
			return err
		}
		c.log.Error("crash is set aside", zap.String("entry", name), zap.Error(err))
		metrics.CollectorForwarded.Inc("aside")
		if err := c.spool.setAside(name); err != nil {
			return err
		}
	}
	return nil
}

// forwardTimeout bounds one crash on its way to the bucket.
const forwardTimeout = 5 * time.Minute

func (c *Collector) forwardOne(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	crash, dumps, err := c.spool.load(name)
	if err != nil {
		return err
	}
	stored := strings.HasSuffix(name, idSuffix)
	if !stored {
		if err := c.crashes.SaveRaw(ctx, crash.id, crash.raw, dumps); err != nil {
			return err
		}
		c.downUntil.Store(0)
	}
	if crash.result != throttle.Defer {
		send, cancel := context.WithTimeout(ctx, c.cfg.SaveTimeout)
		err := c.queue.Send(send, queue.Standard, queue.Message{ID: crash.id})
		cancel()
		if err != nil && stored {
			return fault.As(fault.Unavailable, err, "queue")
		}
		if err != nil {
			if err := c.spool.putID(crash.id); err != nil {
				return err
			}
		}
	}
	return c.spool.drop(name)
}

// passing says that an error is of the bucket or the queue, not of the crash.
func passing(err error) bool {
	switch fault.Of(err) {
	case fault.Unavailable, fault.Timeout, fault.Canceled, fault.Throttled:
		return true
	}
	return false
}

// again stores a crash that was in the journal when the machine stopped, over
// what may be left of it.
func (c *Collector) again(ctx context.Context, j journal.Crash) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	var dumps []storage.Dump
	for _, f := range j.Files {
		dumps = append(dumps, storage.Dump{Name: f.Name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }})
	}
	err := c.crashes.SaveRawJSON(ctx, j.ID, j.Raw, dumps)
	if err == nil && j.ID.Digit() != storage.Deferred {
		err = c.queue.Send(ctx, queue.Standard, queue.Message{ID: j.ID})
	}
	if err != nil && !passing(err) {
		c.log.Error("crash of the journal cannot be stored", zap.Stringer("id", j.ID), zap.Error(err))
		return nil
	}
	if err == nil {
		metrics.CollectorForwarded.Inc("replayed")
	}
	return err
}

// settleEvery is how often the journal is looked at for segments to remove.
const settleEvery = time.Second

// settle removes what the journal no longer needs, until ctx ends.
func (c *Collector) settle(ctx context.Context) error {
	every(ctx, settleEvery, func() {
		if err := c.journal.Settle(false); err != nil {
			c.log.Warn("journal waits", zap.Error(err))
		}
	})
	return nil
}
