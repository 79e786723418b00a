package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/app/metrics"
	"mayday/storage/queue"
	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// meterEvery is how often the gauges of queues and index are read.
const meterEvery = 10 * time.Second

// meter keeps the gauges of what only the web role sees as a whole.
type meter struct {
	queues *queue.Queues
	engine engine
	log    *zap.Logger
}

// Run reads the gauges until ctx ends.
func (m meter) Run(ctx context.Context) error {
	t := time.NewTicker(meterEvery)
	defer t.Stop()
	for {
		m.read(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (m meter) read(ctx context.Context) {
	metrics.IndexCrashes.Set(float64(m.engine.Count()))
	metrics.IndexBroken.Set(float64(len(m.engine.Broken())))
	depths, err := m.queues.Depths(ctx)
	if err != nil {
		if !fault.Is(err, fault.Unsupported) && ctx.Err() == nil {
			m.log.Warn("queues do not say how much they hold", zap.Error(err))
		}
		return
	}
	for _, d := range depths {
		metrics.QueueWaiting.Set(float64(d.Waiting), string(d.Name))
		metrics.QueueTaken.Set(float64(d.Taken), string(d.Name))
		metrics.QueueOldest.Set(d.Oldest.Seconds(), string(d.Name))
	}
}

// timedEngine measures the queries of pages and APIs.
type timedEngine struct{ search.Engine }

// Search is the engine's Search, measured.
func (e timedEngine) Search(ctx context.Context, p *plan.Plan) (*search.Result, error) {
	start := time.Now()
	r, err := e.Engine.Search(ctx, p)
	result := "done"
	switch {
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.TooLarge), fault.Is(err, fault.Canceled):
		result = "refused"
	case err != nil:
		result = "failed"
	}
	metrics.SearchSeconds.Observe(time.Since(start).Seconds(), result)
	return r, err
}

// Explain is the engine's, where it has one.
func (e timedEngine) Explain(p *plan.Plan) (any, []string, error) {
	if x, ok := e.Engine.(search.Explainer); ok {
		return x.Explain(p)
	}
	return nil, nil, nil
}
