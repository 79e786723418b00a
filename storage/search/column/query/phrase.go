package query

import (
	"strings"

	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// maxPhrase is the number of words of a phrase: one bit of a machine word each.
const maxPhrase = 64

// maxPhraseMemo bounds the remembered (state, part) pairs to some 20 MB.
const maxPhraseMemo = 1 << 18

// phrase finds words side by side in a text: after each word, bit k of the state
// says that the first k+1 words of the phrase end here.
type phrase struct {
	words  []string
	prefix bool // the last word need only begin so
	bits   map[string]uint64
}

func newPhrase(e *plan.Expr) (*phrase, error) {
	p := &phrase{words: text.Split(e.Text), prefix: e.Op == plan.WordPrefix, bits: map[string]uint64{}}
	if len(p.words) > maxPhrase {
		return nil, &plan.Error{Param: "q", Message: "Bad value for parameter q: a phrase of more than 64 words"}
	}
	for i, w := range p.words {
		if i < len(p.words)-1 || !p.prefix {
			p.bits[w] |= 1 << i
		}
	}
	return p, nil
}

// of gives the places in the phrase where a word may stand.
func (p *phrase) of(word string) uint64 {
	b := p.bits[word]
	if last := len(p.words) - 1; p.prefix && strings.HasPrefix(word, p.words[last]) {
		b |= 1 << last
	}
	return b
}

// read goes on over a text; found says whether the phrase ended in it.
func (p *phrase) read(state uint64, s string) (next uint64, found bool) {
	goal := uint64(1) << (len(p.words) - 1)
	text.Words(s, func(w string) bool {
		state = (state<<1 | 1) & p.of(w)
		found = found || state&goal != 0
		return !found
	})
	return state, found
}

// phrases finds the values of a text column that hold the phrase.
func (f *filter) phrases(s *segment.Segment, c *segment.Column, p *phrase, hit func(uint32)) error {
	if len(p.words) == 0 {
		return nil
	}
	d := &c.Dict
	with, err := p.candidates(s, c)
	if err != nil {
		return err
	}
	switch {
	case d.Sep != "":
		p.composite(d, with, hit)
	case len(p.words) == 1:
		with.Each(func(v int) { hit(uint32(v)) })
	default:
		with.Each(func(v int) {
			if _, ok := p.read(0, d.EntryString(uint32(v))); ok {
				hit(uint32(v))
			}
		})
	}
	return nil
}

// candidates are the entries that hold all words of the phrase, or, of a
// composite dictionary, any of them.
func (p *phrase) candidates(s *segment.Segment, c *segment.Column) (segment.Bitmap, error) {
	d := &c.Dict
	x := s.Words.Load()
	if x == nil || !x.Has(c.Meta.Name) {
		out := segment.NewBitmap(d.Entries())
		for v := range d.Entries() {
			text.Words(d.EntryString(uint32(v)), func(w string) bool {
				if p.of(w) == 0 {
					return true
				}
				out.Set(v)
				return false
			})
		}
		return out, nil
	}
	var out segment.Bitmap
	for i, w := range p.words {
		one := segment.NewBitmap(d.Entries())
		find := x.Entries
		if p.prefix && i == len(p.words)-1 {
			find = x.EntriesPrefix
		}
		if err := find(c.Meta.Name, w, func(v uint32) { one.Set(int(v)) }); err != nil {
			return nil, err
		}
		switch {
		case out == nil:
			out = one
		case d.Sep == "":
			out.And(one)
		default:
			out.Or(one)
		}
	}
	return out, nil
}

// composite finds values made of parts; the phrase may lie across parts, as
// separators are no words. Each part is read once for each state it is met in.
func (p *phrase) composite(d *segment.Dict, with segment.Bitmap, hit func(uint32)) {
	if len(p.words) == 1 {
		d.ValuesWith(with, hit)
		return
	}
	type step struct {
		state uint64
		part  uint32
	}
	type result struct {
		state uint64
		found bool
	}
	memo := map[step]result{}
	for v := range d.N {
		state := uint64(0)
		for _, part := range d.Parts[d.PartAt[v]:d.PartAt[v+1]] {
			if !with.Has(int(part)) {
				if state != 0 && hasWord(d.EntryString(part)) {
					state = 0
				}
				continue
			}
			at := step{state, part}
			r, ok := memo[at]
			if !ok {
				r.state, r.found = p.read(state, d.EntryString(part))
				if len(memo) < maxPhraseMemo {
					memo[at] = r
				}
			}
			if state = r.state; r.found {
				hit(uint32(v))
				break
			}
		}
	}
}

func hasWord(s string) (any bool) {
	text.Words(s, func(string) bool { any = true; return false })
	return any
}
