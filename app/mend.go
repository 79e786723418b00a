package app

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// mendEvery is how often the index is asked for weeks that lost a file: often
// enough that nobody has to notice, seldom enough that a disk that breaks file
// after file does not keep the bucket busy.
const mendEvery = time.Minute

// mender completes weeks of the index that lost a segment, from the bucket.
type mender struct {
	broken func() []string // weeks
	mend   func(context.Context) error
	log    *zap.Logger
}

// Run looks now and then until ctx ends.
func (m mender) Run(ctx context.Context) error {
	for {
		if weeks := m.broken(); len(weeks) > 0 {
			m.log.Info("weeks of the search index lost a file; completing them from the bucket", zap.Strings("weeks", weeks))
			if err := m.mend(ctx); err != nil && ctx.Err() == nil {
				m.log.Error("complete the search index", zap.Error(err))
			} else if err == nil {
				m.log.Info("the search index is complete again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(mendEvery):
		}
	}
}

// mendIndex indexes what the index lacks.
func (d *deps) mendIndex(ctx context.Context) error {
	r, err := d.reindexer(ctx, reindexOptions{Missing: true, Parallel: 4})
	if err != nil {
		return err
	}
	_, err = r.Run(ctx)
	return err
}
