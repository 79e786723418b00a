package truth

import "fmt"

// tally counts what there is, what of it was found, and what was found that is
// not there.
type tally struct {
	truth, found, wrong int
}

func (t *tally) add(o tally) {
	t.truth += o.truth
	t.found += o.found
	t.wrong += o.wrong
}

// percent is the share found, 100 of nothing.
func (t tally) percent() float64 {
	if t.truth == 0 {
		return 100
	}
	return 100 * float64(t.found) / float64(t.truth)
}

func (t tally) String() string {
	if t.truth == 0 && t.wrong == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %% of %d, %d false", t.percent(), t.truth, t.wrong)
}

// score is one walk against gdb's stacks.
type score struct {
	own, libraries tally // source lines
	frames         tally // by their addresses
}

func (s *score) add(o score) {
	s.own.add(o.own)
	s.libraries.add(o.libraries)
	s.frames.add(o.frames)
}

func (s score) perfect() bool {
	for _, t := range []tally{s.own, s.libraries, s.frames} {
		if t.found != t.truth || t.wrong != 0 {
			return false
		}
	}
	return true
}

// compare aligns a walked thread with gdb's. names are those of all modules.
func compare(truth, got stack, names aliases) (s score) {
	half := func(p place) *tally {
		if p.library {
			return &s.libraries
		}
		return &s.own
	}
	for _, p := range truth.places {
		half(p).truth++
	}
	align(truth.places, got.places, names.same,
		func(i, _ int) { half(truth.places[i]).found++ },
		func(j int) { half(got.places[j]).wrong++ })
	s.frames.truth = len(truth.pcs)
	align(truth.pcs, got.pcs, samePC,
		func(_, _ int) { s.frames.found++ },
		func(int) { s.frames.wrong++ })
	return s
}

// samePC compares gdb's address of a frame with that of a walk: walkers print
// the address before the one that a call returns to.
func samePC(gdb, walk uint64) bool { return gdb == walk || gdb == walk+1 }

// align finds the longest common subsequence of two lists and says which
// entries are in both and which of got's are not.
func align[T any](truth, got []T, same func(a, b T) bool, both func(i, j int), extra func(j int)) {
	n, m := len(truth), len(got)
	longest := make([][]int, n+1)
	for i := range longest {
		longest[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if same(truth[i], got[j]) {
				longest[i][j] = max(longest[i][j], longest[i+1][j+1]+1)
			}
		}
	}
	for i, j := 0, 0; j < m; {
		switch {
		case i < n && same(truth[i], got[j]) && longest[i][j] == longest[i+1][j+1]+1:
			both(i, j)
			i, j = i+1, j+1
		case i < n && longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			extra(j)
			j++
		}
	}
}
