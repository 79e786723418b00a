package load

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// mendEvery is how often the index is asked for weeks that lost a file: often
// enough that nobody has to notice, seldom enough that a disk that breaks file
// after file does not keep the bucket busy.
const mendEvery = time.Minute

// Mender completes weeks of the index that lost a segment, from the bucket.
type Mender struct {
	Broken func() []string // weeks
	Mend   func(context.Context) error
	Log    *zap.Logger
}

// Run looks now and then until ctx ends.
func (m Mender) Run(ctx context.Context) error {
	for {
		if weeks := m.Broken(); len(weeks) > 0 {
			m.Log.Info("weeks of the search index lost a file; completing them from the bucket", zap.Strings("weeks", weeks))
			if err := m.Mend(ctx); err != nil && ctx.Err() == nil {
				m.Log.Error("complete the search index", zap.Error(err))
			} else if err == nil {
				m.Log.Info("the search index is complete again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(mendEvery):
		}
	}
}
