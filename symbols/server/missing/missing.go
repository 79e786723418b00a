// Package missing counts symbol files that were asked for in vain, so that
// somebody can get them: a crash of an unknown build asks for hundreds at a
// time, and the same crash comes a thousand times. A question is counted once
// in 24 hours, and what was counted is written to the catalog in batches.
package missing

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayday/storage/catalog"
)

const (
	// memory is how long the same question is not counted again.
	memory = 24 * time.Hour
	// Life is how long a file that nobody asks for stays listed.
	Life = 30 * 24 * time.Hour
	// every is how often what was counted is written.
	every = 10 * time.Second
	// maxAsked bounds the questions remembered, maxWaiting those not written.
	maxAsked   = 200_000
	maxWaiting = 20_000
	// maxField drops longer names.
	maxField = 150
)

// List counts symbol files that were asked for in vain; it is safe for
// concurrent use.
type List struct {
	db  *catalog.DB
	now func() time.Time

	mu     sync.Mutex
	asked  map[question]time.Time // guarded by mu
	counts map[question]*catalog.MissingSymbol

	fixed []string // patterns of the configuration
}

type question struct{ debugFile, debugID, filename, codeFile, codeID string }

// New makes a list that is kept in db, without what the patterns ignore and
// the rules in the catalog match. Run must run.
func New(db *catalog.DB, ignore []string, now func() time.Time) *List {
	return &List{db: db, now: now, asked: map[question]time.Time{}, counts: map[question]*catalog.MissingSymbol{}, fixed: ignore}
}

// Record notes that a file was asked for and is not there.
func (m *List) Record(debugFile, debugID, filename, codeFile, codeID string) {
	q := question{debugFile, debugID, filename, strings.ToValidUTF8(codeFile, ""), strings.ToUpper(strings.ToValidUTF8(codeID, ""))}
	for _, f := range []string{q.debugFile, q.debugID, q.filename, q.codeFile, q.codeID} {
		if len(f) > maxField || strings.ContainsAny(f, "\x00\r\n") {
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if at, ok := m.asked[q]; ok && now.Sub(at) < memory {
		return
	}
	if len(m.counts) >= maxWaiting {
		return // written soon; until then more are not worth their memory
	}
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
	m.asked[q] = now
	r := m.counts[q]
	if r == nil {
		r = &catalog.MissingSymbol{DebugFile: q.debugFile, DebugID: q.debugID, Filename: q.filename, CodeFile: q.codeFile, CodeID: q.codeID}
		m.counts[q] = r
	}
	r.Count++
	r.Modified = now
}

// Found forgets questions about a module whose symbols came.
func (m *List) Found(debugFile, debugID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for q := range m.counts {
		if q.debugFile == debugFile && q.debugID == debugID {
			delete(m.counts, q)
		}
	}
	for q := range m.asked {
		if q.debugFile == debugFile && q.debugID == debugID {
			delete(m.asked, q)
		}
	}
}

// Flush writes what was counted, without what rules leave out.
func (m *List) Flush(ctx context.Context) error {
	ignores, err := m.db.MissingIgnores(ctx)
	if err != nil {
		return err
	}
	rules := append([]string(nil), m.fixed...)
	for _, i := range ignores {
		rules = append(rules, i.Pattern)
	}
	m.mu.Lock()
	list := make([]catalog.MissingSymbol, 0, len(m.counts))
	for _, r := range m.counts {
		if !ignored(rules, r.DebugFile) && !ignored(rules, r.CodeFile) {
			list = append(list, *r)
		}
	}
	clear(m.counts)
	m.mu.Unlock()
	return m.db.RecordMissing(ctx, list)
}

func ignored(rules []string, name string) bool {
	if name == "" {
		return false
	}
	name = strings.ToLower(name)
	return slices.ContainsFunc(rules, func(r string) bool { return matches(strings.ToLower(r), name) })
}

// matches compares a name with a pattern, where * stands for any characters
// and ? for one. It takes time by the product of the lengths at most.
func matches(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last * and how much of the name it stands for so far
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Run writes what is counted until ctx ends.
func (m *List) Run(ctx context.Context, log *zap.Logger) error {
	for _, pattern := range m.fixed { // of rules that are new, what was counted goes too
		if err := m.db.ForgetMissing(ctx, pattern); err != nil && ctx.Err() == nil {
			log.Warn("missing symbols", zap.Error(err))
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was counted last is worth a moment more.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := m.Flush(last); err != nil {
				log.Warn("missing symbols", zap.Error(err))
			}
			return nil
		case <-tick.C:
			if err := m.Flush(ctx); err != nil && ctx.Err() == nil {
				log.Warn("missing symbols", zap.Error(err))
			}
		}
	}
}
