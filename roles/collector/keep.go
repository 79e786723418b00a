package collector

import (
	"context"
	"io"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/collector/journal"
	"mayday/roles/collector/throttle"
	"mayday/storage"
	"mayday/storage/queue"
)

// downFor is how long the bucket counts as down after a failed save: crashes go
// to the spool at once meanwhile, instead of each waiting for its own failure.
const downFor = 2 * time.Second

// keep stores a crash in the bucket and sends its id to the queue. What the
// bucket or the queue does not take goes to the spool.
func (c *Collector) keep(ctx context.Context, crash *crash, h *held) error {
	ctx, cancel := c.detached(ctx)
	defer cancel()
	raw, err := storage.EncodeDocument(crash.raw)
	if err != nil {
		return err
	}
	start := time.Now()
	var failure error
	if c.spool == nil || start.UnixNano() >= c.downUntil.Load() {
		failure = c.save(ctx, crash, raw, h)
		if failure == nil {
			metrics.CollectorSave.Observe(time.Since(start).Seconds(), "bucket")
			return c.publish(ctx, crash)
		}
		metrics.CollectorFailures.Inc("bucket")
	}
	if c.spool == nil {
		c.undo(ctx, crash)
		return failure
	}
	if failure != nil {
		c.downUntil.Store(time.Now().Add(downFor).UnixNano())
		c.log.Warn("crash goes to the spool", zap.Stringer("id", crash.id), zap.Error(failure))
	}
	start = time.Now()
	if err := c.spool.put(crash, h); err != nil {
		return err
	}
	metrics.CollectorSave.Observe(time.Since(start).Seconds(), "spool")
	return nil
}

// save writes a crash to the bucket and returns when it is durable there, or in
// the journal.
func (c *Collector) save(ctx context.Context, k *crash, raw []byte, h *held) error {
	if e := c.journaled(k, raw, h); e != nil {
		defer e.Written()
		err := c.unsynced.SaveRawJSON(ctx, k.id, raw, k.dumps(h))
		if broken := e.Wait(); broken == nil || err != nil {
			return err
		}
	}
	return c.crashes.SaveRawJSON(ctx, k.id, raw, k.dumps(h))
}

// publish sends the id of a stored crash. The crash is safe already: when the
// queue fails and so does the spool, the sweep finds it.
func (c *Collector) publish(ctx context.Context, crash *crash) error {
	if crash.result == throttle.Defer {
		return nil
	}
	start := time.Now()
	err := c.queue.Send(ctx, queue.Standard, queue.Message{ID: crash.id})
	if err == nil {
		metrics.CollectorPublish.Observe(time.Since(start).Seconds())
		return nil
	}
	metrics.CollectorFailures.Inc("queue")
	c.log.Warn("crash is not in the queue yet", zap.Stringer("id", crash.id), zap.Error(err))
	if c.spool != nil {
		if err := c.spool.putID(crash.id); err != nil {
			c.log.Warn("crash waits for the sweep", zap.Stringer("id", crash.id), zap.Error(err))
		}
	}
	return nil
}

// journaled hands a crash to the journal. It gives nil where there is none, or
// it does not take the crash: it is too large, or has files on disk.
func (c *Collector) journaled(k *crash, raw []byte, h *held) *journal.Entry {
	if c.journal == nil {
		return nil
	}
	files := make([]journal.File, len(k.files))
	for i, f := range k.files {
		if f.disk != nil {
			return nil
		}
		files[i] = journal.File{Name: f.key, Data: h.mem[f.at : f.at+f.size]}
	}
	return c.journal.Put(journal.Crash{ID: k.id, Raw: raw, Files: files})
}

// dumps are the crash's files as the store takes them.
func (k *crash) dumps(h *held) []storage.Dump {
	out := make([]storage.Dump, len(k.files))
	for i, f := range k.files {
		out[i] = storage.Dump{Name: f.key, Open: func() (io.ReadCloser, error) { return h.reader(f.section), nil }}
	}
	return out
}

// undo removes what a failed save left, unless the crash was there before: then
// the client chose the id, and the dumps belong to the crash.
func (c *Collector) undo(ctx context.Context, crash *crash) {
	ctx, cancel := c.detached(ctx)
	defer cancel()
	if has, err := c.crashes.HasRaw(ctx, crash.id); has || err != nil {
		return
	}
	for _, f := range crash.files {
		if err := c.crashes.DeleteDump(ctx, crash.id, f.key); err != nil && !fault.Is(err, fault.NotFound) {
			return // the bucket is down: nobody can do anything
		}
	}
}
