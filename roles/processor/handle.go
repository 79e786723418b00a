package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/roles/processor/rules"
	"mayday/storage"
	"mayday/storage/queue"
)

// crashTimeout bounds the rules of one crash, the walks of all of its dumps
// included; each walk has its own, shorter limit.
const crashTimeout = 30 * time.Minute

// askTimeout bounds one request to a bucket or queue; one that takes longer
// counts as not answered.
const askTimeout = 5 * time.Minute

// insistPause is the longest wait between two requests to what does not answer.
// Few ask, and all new crashes wait for them.
const insistPause = 5 * time.Second

// exportTimeout bounds the telemetry export, which nobody waits for.
const exportTimeout = 10 * time.Second

// handle does everything about one message, once.
func (p *Processor) handle(work context.Context, d *delivery) {
	defer d.release()
	began := time.Now()
	m, err := queue.ParseMessage(d.message.Body)
	if err != nil {
		p.Log.Debug("message is no crash id", zap.String("queue", string(d.queue)), zap.Error(err))
		metrics.ProcessorCrashes.Inc(string(d.queue), "invalid")
		d.message.Ack()
		return
	}
	log := p.Log.With(zap.String("crash_id", string(m.ID)), zap.String("queue", string(d.queue)))
	if d.queue == queue.Standard && m.ID.Digit() == storage.Deferred {
		// It was set aside on arrival, to be processed when somebody asks.
		log.Debug("crash is deferred")
		metrics.ProcessorCrashes.Inc(string(d.queue), "deferred")
		d.message.Ack()
		return
	}
	unlock := p.locks.lock(d.ctx, m.ID)
	if unlock == nil {
		p.back(work, d, 0, false)
		return
	}
	defer unlock()
	attempts := p.Queues.Attempts(d.message)
	if attempts == 0 {
		attempts = p.tries.next(m.ID)
	}
	outcome := ""
	if attempts > p.Tries {
		// It was taken so often and nobody lived to tell why.
		outcome, err = "verdict", p.verdict(d.ctx, m.ID, d.queue, attempts-1, errors.New("each try ended with the program that made it"))
	} else {
		outcome, err = p.process(d.ctx, log, d.queue, m, attempts)
	}
	if err != nil {
		outcome, err = p.failed(work, log, d, m.ID, attempts, err)
	} else {
		d.message.Ack()
		p.tries.forget(m.ID)
	}
	metrics.ProcessorCrashes.Inc(string(d.queue), outcome)
	if err == nil && outcome == "processed" {
		log.Info("processed", zap.Duration("took", time.Since(began)))
	}
}

// failed decides by the kind of the error what becomes of the message.
func (p *Processor) failed(work context.Context, log *zap.Logger, d *delivery, id storage.CrashID, attempts int, cause error) (string, error) {
	switch {
	case work.Err() != nil:
		p.back(work, d, 0, false)
		return "given_back", cause
	case d.ctx.Err() != nil:
		log.Warn("lease lost", zap.Error(cause))
		return "lost", cause // the message is somebody else's
	}
	policy := fault.Of(cause).Policy()
	if attempts < p.Tries && policy.Verdict != fault.Ack {
		pause := min(p.Pause<<(2*min(attempts, 8)), maxPause)
		log.Warn("crash goes back to its queue", zap.Int("try", attempts), zap.String("kind", policy.Name), zap.Duration("pause", pause), zap.Error(cause))
		p.back(work, d, pause, policy.Verdict == fault.Retry)
		return "retried", cause
	}
	if err := p.verdict(d.ctx, id, d.queue, attempts, cause); err != nil {
		p.back(work, d, p.Pause, false)
		return "given_back", err
	}
	log.Error("crash is given up", zap.Int("tries", attempts), zap.String("kind", policy.Name), zap.Error(cause))
	d.message.Ack()
	p.tries.forget(id)
	return "verdict", nil
}

// back returns the message to its queue.
func (p *Processor) back(work context.Context, d *delivery, pause time.Duration, counted bool) {
	d.release()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), exportTimeout)
	defer cancel()
	if err := p.Queues.GiveBack(ctx, d.message, pause, counted); err != nil {
		p.Log.Debug("give message back", zap.Error(err)) // its lease runs out by itself
	}
}

func (p *Processor) verdict(ctx context.Context, id storage.CrashID, from queue.Name, tries int, cause error) error {
	v := storage.Verdict{Reason: cause.Error(), Tries: tries, Time: time.Now().UTC(), Queue: string(from)}
	if err := p.insist(ctx, "save verdict", func(ctx context.Context) error { return p.Sink.SaveVerdict(ctx, id, v) }); err != nil {
		return err
	}
	if err := p.Queues.Send(ctx, queue.Processed, queue.Message{ID: id, Ruleset: queue.VerdictRuleset}); err != nil {
		p.Log.Warn("verdict was not announced", zap.String("crash_id", string(id)), zap.Error(err)) // a job finds it
	}
	return nil
}

// insist does something again while what it needs does not answer. Meanwhile no
// new crash is taken: it would fare no better.
func (p *Processor) insist(ctx context.Context, what string, do func(context.Context) error) error {
	err := ask(ctx, do)
	if !fault.Is(err, fault.Unavailable) {
		return err
	}
	defer p.gate.shut()()
	for pause := p.Pause; fault.Is(err, fault.Unavailable); pause = min(2*pause, insistPause) {
		p.Log.Warn("waiting for what does not answer", zap.String("to", what), zap.Duration("pause", pause), zap.Error(err))
		if !sleep(ctx, pause) {
			return fault.Wrap(ctx.Err(), "%s", what)
		}
		err = ask(ctx, do)
	}
	return err
}

// ask makes one request under askTimeout.
func ask(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fault.As(fault.Unavailable, err, "no answer within %v", askTimeout)
	}
	return err
}

// One processes one stored crash now, without a message: what it makes is
// stored and announced as ever. The crash must be there.
func (p *Processor) One(ctx context.Context, m queue.Message) error {
	unlock := p.locks.lock(ctx, m.ID)
	if unlock == nil {
		return fault.Wrap(ctx.Err(), "process %s", m.ID)
	}
	defer unlock()
	outcome, err := p.process(ctx, p.Log.With(zap.String("crash_id", string(m.ID))), queue.Priority, m, 1)
	switch {
	case err != nil:
		return err
	case outcome == "gone":
		return fault.New(fault.NotFound, "no crash %s", m.ID)
	case outcome == "invalid":
		return fault.New(fault.Invalid, "ruleset %q is none of %s", m.Ruleset, strings.Join(Rulesets(), ", "))
	}
	return nil
}

// process makes and stores the processed crash. The outcome is for the metric.
func (p *Processor) process(ctx context.Context, log *zap.Logger, from queue.Name, m queue.Message, attempts int) (outcome string, err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("panic", zap.String("panic", fmt.Sprint(v)), zap.ByteString("stack", debug.Stack()))
			err = fault.New(fault.Internal, "panic while processing")
		}
	}()
	began := time.Now()
	if p.Arrived != nil && from == queue.Reprocessing {
		p.Arrived.Look(ctx, lookBefore)
	}
	job, cleanup, err := p.load(ctx, log, m)
	defer cleanup()
	if fault.Is(err, fault.NotFound) {
		log.Warn("crash is not in the bucket", zap.Error(err))
		return "gone", nil
	}
	if err != nil {
		return "", err
	}
	job.Careful, job.Patient = attempts > 1, attempts < p.Tries
	res, err := p.runRules(ctx, job)
	if fault.Is(err, fault.Invalid) {
		log.Warn("message names no ruleset", zap.Error(err))
		return "invalid", nil
	}
	if err != nil {
		return "", err
	}
	p.report(log, job, res, time.Since(began))
	if err := p.insist(ctx, "save processed crash", func(ctx context.Context) error { return p.Sink.SaveProcessed(ctx, m.ID, res.Processed) }); err != nil {
		return "", err
	}
	p.forgive(ctx, log, from, m.ID, attempts) // before the indexer looks whether there is one
	if err := p.insist(ctx, "announce processed crash", func(ctx context.Context) error {
		return p.Queues.Send(ctx, queue.Processed, queue.Message{ID: m.ID})
	}); err != nil {
		return "", err
	}
	p.export(ctx, log, m.ID, res.Processed)
	if job.Previous == nil && from == queue.Standard {
		if t, err := time.Parse(time.RFC3339Nano, storage.RawCrash(job.Raw).Text("submitted_timestamp")); err == nil {
			metrics.ProcessorIngestionSeconds.Observe(max(0, time.Since(t).Seconds()))
		}
	}
	return "processed", nil
}

func (p *Processor) runRules(ctx context.Context, job Job) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, crashTimeout)
	defer cancel()
	return p.Pipeline.Process(ctx, job)
}

// forgiver removes verdicts; *storage.Crashes is one.
type forgiver interface {
	DeleteVerdict(ctx context.Context, id storage.CrashID) error
}

// forgive removes the verdict of an earlier try, which only a crash that was
// asked for again can have.
func (p *Processor) forgive(ctx context.Context, log *zap.Logger, from queue.Name, id storage.CrashID, attempts int) {
	f, ok := p.Sink.(forgiver)
	if !ok || from == queue.Standard && attempts <= 1 {
		return
	}
	if err := f.DeleteVerdict(ctx, id); err != nil {
		log.Warn("delete verdict", zap.Error(err)) // the crash is processed all the same
	}
}

// report counts and logs how the rules fared.
func (p *Processor) report(log *zap.Logger, job Job, res *Result, took time.Duration) {
	ruleset := job.Ruleset
	if ruleset == "" {
		ruleset = DefaultRuleset
	}
	metrics.ProcessorSeconds.Observe(took.Seconds(), ruleset)
	for _, t := range res.Timings {
		metrics.ProcessorRuleSeconds.Observe(t.Took.Seconds(), t.Rule)
	}
	for _, f := range res.Failures {
		metrics.ProcessorRuleFailures.Inc(f.Rule)
		log.Error("rule failed", zap.String("rule", f.Rule), zap.String("kind", fault.Of(f.Err).String()), zap.Error(f.Err), zap.ByteString("stack", f.Stack))
	}
}

// export writes the public subset; what goes wrong is counted and forgotten.
func (p *Processor) export(ctx context.Context, log *zap.Logger, id storage.CrashID, processed map[string]any) {
	if p.Exporter == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	v := telemetryOf(p.Pipeline.Env.Schema, id, processed)
	if err := p.Exporter.Export(ctx, v.Key, v.Document); err != nil {
		metrics.ProcessorTelemetry.Inc("failed")
		log.Warn("telemetry export", zap.Error(err))
		return
	}
	metrics.ProcessorTelemetry.Inc("exported")
	if len(v.Dropped) > 0 {
		metrics.ProcessorTelemetryDropped.Add(float64(len(v.Dropped)))
	}
}

// load reads all of a crash. cleanup is never nil.
func (p *Processor) load(ctx context.Context, log *zap.Logger, m queue.Message) (job Job, cleanup func(), err error) {
	var files []*os.File
	cleanup = func() {
		for _, f := range files {
			removeTemp(f)
		}
	}
	job = Job{ID: string(m.ID), Ruleset: m.Ruleset}
	err = p.insist(ctx, "read raw crash", func(ctx context.Context) (err error) {
		raw, err := p.Source.Raw(ctx, m.ID)
		job.Raw = raw
		return err
	})
	if err != nil {
		return job, cleanup, err
	}
	err = p.insist(ctx, "read processed crash", func(ctx context.Context) error {
		previous, err := p.Sink.Processed(ctx, m.ID)
		if err == nil {
			job.Previous = previous
		}
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Malformed) || fault.Is(err, fault.TooLarge) {
			return nil // what cannot be read is made anew
		}
		return err
	})
	if err != nil || m.Ruleset == RegenerateSignature && job.Previous != nil {
		return job, cleanup, err
	}
	var names []string
	err = p.insist(ctx, "read dump names", func(ctx context.Context) (err error) {
		names, err = p.Source.DumpNames(ctx, m.ID)
		if fault.Is(err, fault.NotFound) {
			return nil // as old buckets are: no list, no dumps
		}
		return err
	})
	for _, name := range names {
		if err != nil {
			break
		}
		var d rules.Dump
		err = p.insist(ctx, "read dump", func(ctx context.Context) (err error) {
			var f *os.File
			d, f, err = p.fetch(ctx, m.ID, name)
			if f != nil {
				files = append(files, f)
			}
			return err
		})
		switch {
		case fault.Is(err, fault.NotFound):
			log.Warn("dump is not in the bucket", zap.String("dump", name))
			job.Missing = append(job.Missing, name)
			err = nil
		case err == nil:
			job.Dumps = append(job.Dumps, d)
		}
	}
	return job, cleanup, err
}

// heldDump is the largest dump that is held in memory; larger ones go to a
// temporary file.
const heldDump = 8 << 20

// fetch reads one dump. file is set when there is a temporary file, even with
// an error.
func (p *Processor) fetch(ctx context.Context, id storage.CrashID, name string) (d rules.Dump, file *os.File, err error) {
	r, err := p.Source.OpenDump(ctx, id, name)
	if err != nil {
		return d, nil, err
	}
	defer r.Close()
	d = rules.Dump{Name: name, Size: r.Size}
	metrics.ProcessorDumpBytes.Observe(float64(r.Size))
	if r.Size <= heldDump {
		data := make([]byte, r.Size)
		if _, err := io.ReadFull(r, data); err != nil {
			return d, nil, fault.As(fault.Unavailable, err, "read dump %s", name)
		}
		d.Reader = bytes.NewReader(data)
		return d, nil, nil
	}
	file, err = tempFile(p.TempDir, tempDump)
	if err != nil {
		return d, nil, fault.As(fault.Unavailable, err, "room for dump %s", name)
	}
	n, err := io.Copy(file, r)
	if err != nil || n != r.Size {
		return d, file, fault.As(fault.Unavailable, errors.Join(err, io.ErrUnexpectedEOF), "read dump %s: %d of %d bytes", name, n, r.Size)
	}
	d.Reader, d.File = file, file
	return d, file, nil
}
