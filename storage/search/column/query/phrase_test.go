package query

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// TestPhraseFindsWordsSideBySide compares with a search by hand, in texts of
// few words, where they repeat.
func TestPhraseFindsWordsSideBySide(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(n int) string {
		var w []string
		for range 1 + r.IntN(n) {
			w = append(w, []string{"a", "ab", "b", "abc"}[r.IntN(4)])
		}
		return strings.Join(w, " ")
	}
	found := 0
	for range 5000 {
		e := &plan.Expr{Op: plan.Phrase, Text: some(4)}
		if r.IntN(2) == 0 {
			e.Op = plan.WordPrefix
		}
		value := some(12)
		p, err := newPhrase(e)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		state := uint64(0)
		for part := range strings.SplitSeq(value, " ") { // the state goes on from part to part
			if !got {
				state, got = p.read(state, part)
			}
		}
		words, want := text.Split(value), false
		for i := 0; i+len(p.words) <= len(words) && !want; i++ {
			want = true
			for k, w := range p.words {
				want = want && (words[i+k] == w || p.prefix && k == len(p.words)-1 && strings.HasPrefix(words[i+k], w))
			}
		}
		if got != want {
			t.Fatalf("%s %q in %q: %v, want %v", e.Op, e.Text, value, got, want)
		}
		if got {
			found++
		}
	}
	if found < 500 || found > 4500 {
		t.Errorf("%d of 5000 found: the test says little", found)
	}
	if _, err := newPhrase(&plan.Expr{Op: plan.Phrase, Text: strings.Repeat("a ", 65)}); err == nil {
		t.Error("a phrase of 65 words is taken")
	}
}
