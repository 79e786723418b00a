// Package regroup tells what a change of signatures does to the heaps of
// crashes: which signatures move where, which heaps fall apart and which grow
// together. It is fed the old and the new signature of each crash, in any order
// and from any number of goroutines, and reports once.
package regroup

import (
	"sort"
	"sync"
)

// maxSamples is how many crash ids are kept for each move: enough to look at,
// few enough that a million crashes take no more memory than their signatures.
const maxSamples = 5

// Changes collects old and new signatures. The zero value is ready.
type Changes struct {
	mu sync.Mutex
	// mu guards the rest.
	total int
	moves map[move]*Move
	// KeepIDs keeps the ids of all crashes that move, for Report.IDs. Set it
	// before the first Add.
	KeepIDs bool
	ids     []string
}

type move struct{ old, new string }

// Add counts a crash. An empty id is fine.
func (c *Changes) Add(id, old, new string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if c.moves == nil {
		c.moves = map[move]*Move{}
	}
	m := c.moves[move{old, new}]
	if m == nil {
		m = &Move{Old: old, New: new}
		c.moves[move{old, new}] = m
	}
	m.Count++
	if old == new {
		return
	}
	if id != "" && len(m.IDs) < maxSamples {
		m.IDs = append(m.IDs, id)
	}
	if id != "" && c.KeepIDs {
		c.ids = append(c.ids, id)
	}
}

// Move is a number of crashes that go from one signature to another.
type Move struct {
	Old   string   `json:"old"`
	New   string   `json:"new"`
	Count int      `json:"count"`
	IDs   []string `json:"ids,omitempty"` // a few of them
}

// Part is a number of crashes of one signature.
type Part struct {
	Signature string `json:"signature"`
	Count     int    `json:"count"`
}

// Group is a heap that falls apart or grows together, and the parts.
type Group struct {
	Signature string `json:"signature"`
	Count     int    `json:"count"`
	Parts     []Part `json:"parts"`
}

// Report is what Changes come to.
type Report struct {
	Crashes int `json:"crashes"` // looked at
	Changed int `json:"changed"` // with another signature
	Before  int `json:"groups_before"`
	After   int `json:"groups_after"`
	// Moves are the changes, largest first.
	Moves []Move `json:"moves"`
	// Split are the old signatures whose crashes get several new ones, Merged
	// the new signatures whose crashes had several old ones; largest first.
	Split  []Group `json:"split"`
	Merged []Group `json:"merged"`
	// IDs are the crashes that move, if they were kept.
	IDs []string `json:"ids,omitempty"`
}

// Report says what was added so far.
func (c *Changes) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{Crashes: c.total, Moves: []Move{}, IDs: append([]string(nil), c.ids...)}
	sort.Strings(r.IDs)
	before, after := map[string][]Part{}, map[string][]Part{}
	for k, m := range c.moves {
		before[k.old] = append(before[k.old], Part{k.new, m.Count})
		after[k.new] = append(after[k.new], Part{k.old, m.Count})
		if k.old != k.new {
			r.Changed += m.Count
			one := *m
			one.IDs = append([]string(nil), m.IDs...)
			sort.Strings(one.IDs)
			r.Moves = append(r.Moves, one)
		}
	}
	r.Before, r.After = len(before), len(after)
	sort.Slice(r.Moves, func(i, j int) bool {
		a, b := r.Moves[i], r.Moves[j]
		if a.Count != b.Count {
			return a.Count > b.Count
		}
		return a.Old < b.Old || a.Old == b.Old && a.New < b.New
	})
	r.Split, r.Merged = groups(before), groups(after)
	return r
}

// groups are the signatures with several parts, largest first.
func groups(by map[string][]Part) []Group {
	out := []Group{}
	for sig, parts := range by {
		if len(parts) < 2 {
			continue
		}
		g := Group{Signature: sig, Parts: parts}
		for _, p := range parts {
			g.Count += p.Count
		}
		sort.Slice(parts, func(i, j int) bool {
			return parts[i].Count > parts[j].Count || parts[i].Count == parts[j].Count && parts[i].Signature < parts[j].Signature
		})
		out = append(out, g)
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Count > out[j].Count || out[i].Count == out[j].Count && out[i].Signature < out[j].Signature
	})
	return out
}
