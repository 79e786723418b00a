package text

import (
	"math/rand/v2"
	"strings"
	"testing"
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
		asked, value := some(4), some(12)
		p, ok := NewPhrase(asked, r.IntN(2) == 0)
		if !ok {
			t.Fatal(asked)
		}
		got := false
		state := uint64(0)
		for part := range strings.SplitSeq(value, " ") { // the state goes on from part to part
			if !got {
				state, got = p.Read(state, part)
			}
		}
		words, want := Split(value), false
		for i := 0; i+len(p.Words) <= len(words) && !want; i++ {
			want = true
			for k, w := range p.Words {
				want = want && (words[i+k] == w || p.Prefix && k == len(p.Words)-1 && strings.HasPrefix(words[i+k], w))
			}
		}
		if got != want {
			t.Fatalf("%q (prefix %v) in %q: %v, want %v", asked, p.Prefix, value, got, want)
		}
		if got {
			found++
		}
	}
	if found < 500 || found > 4500 {
		t.Errorf("%d of 5000 found: the test says little", found)
	}
	if _, ok := NewPhrase(strings.Repeat("a ", 65), false); ok {
		t.Error("a phrase of 65 words is taken")
	}
}
