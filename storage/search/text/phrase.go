package text

import "strings"

// MaxPhrase is the number of words of a phrase: one bit of a machine word each.
const MaxPhrase = 64

// Phrase finds words side by side in a text: after each word, bit k of the state
// says that the first k+1 words of the phrase end here.
type Phrase struct {
	Words  []string
	Prefix bool // the last word need only begin so
	bits   map[string]uint64
}

// NewPhrase makes the phrase of a text's words; false when there are too many.
func NewPhrase(s string, prefix bool) (*Phrase, bool) {
	p := &Phrase{Words: Split(s), Prefix: prefix, bits: map[string]uint64{}}
	if len(p.Words) > MaxPhrase {
		return nil, false
	}
	for i, w := range p.Words {
		if i < len(p.Words)-1 || !p.Prefix {
			p.bits[w] |= 1 << i
		}
	}
	return p, true
}

// Places gives the places in the phrase where a word may stand.
func (p *Phrase) Places(word string) uint64 {
	b := p.bits[word]
	if last := len(p.Words) - 1; p.Prefix && strings.HasPrefix(word, p.Words[last]) {
		b |= 1 << last
	}
	return b
}

// Read goes on over a text; found says whether the phrase ended in it.
func (p *Phrase) Read(state uint64, s string) (next uint64, found bool) {
	goal := uint64(1) << (len(p.Words) - 1)
	Words(s, func(w string) bool {
		state = (state<<1 | 1) & p.Places(w)
		found = found || state&goal != 0
		return !found
	})
	return state, found
}
