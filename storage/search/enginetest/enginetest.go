// Package enginetest is the suite that every search engine must pass.
//
// It puts the same questions to an engine: those of Socorro's data set where
// that lies beside the repository, and made-up ones over made-up crashes, whose
// answers a plain model in memory gives. It tests answers, not speed.
package enginetest

import (
	"testing"
	"time"

	"mayday/storage/search"
	"mayday/storage/search/plan"
)

// Open makes an empty engine for a table of fields, which ends with the test.
// The engine's clock is now.
type Open func(t testing.TB, fields *plan.Fields, now func() time.Time) search.Engine

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Run("peer", func(t *testing.T) { peerAnswers(t, open) })
}
