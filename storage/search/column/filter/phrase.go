package filter

import (
	"math/bits"
	"slices"

	"mayday/storage/search/column/segment"
	"mayday/storage/search/text"
)

// maxPhraseMemo bounds the remembered (state, part) pairs to some 20 MB.
const maxPhraseMemo = 1 << 18

// phrases finds the values of a text column that hold the phrase.
func (f *Filter) phrases(s *segment.Segment, c *segment.Column, p *text.Phrase, hit func(uint32)) error {
	if len(p.Words) == 0 {
		return nil
	}
	d := &c.Dict
	holds, err := placesOf(p, s, c)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(holds, func(one segment.Bitmap) bool { return !one.Any() }) {
		return nil // a word that is nowhere
	}
	if d.Sep != "" {
		composite(p, d, holds, hit)
		return nil
	}
	with := holds[0]
	for _, one := range holds[1:] {
		with.And(one)
	}
	with.Each(func(v int) {
		if len(p.Words) > 1 {
			if _, ok := p.Read(0, d.EntryString(uint32(v))); !ok {
				return
			}
		}
		hit(uint32(v))
	})
	return nil
}

// placesOf gives for each word of the phrase the entries that hold it.
func placesOf(p *text.Phrase, s *segment.Segment, c *segment.Column) ([]segment.Bitmap, error) {
	d := &c.Dict
	holds := make([]segment.Bitmap, len(p.Words))
	for i := range holds {
		holds[i] = segment.NewBitmap(d.Entries())
	}
	if x := s.Words.Load(); x != nil && x.Has(c.Meta.Name) {
		for i, w := range p.Words {
			find := x.Entries
			if p.Prefix && i == len(p.Words)-1 {
				find = x.EntriesPrefix
			}
			if err := find(c.Meta.Name, w, func(v uint32) { holds[i].Set(int(v)) }); err != nil {
				return nil, err
			}
		}
		return holds, nil
	}
	words := make([]segment.Word, len(p.Words))
	for i, w := range p.Words {
		words[i] = segment.Word{Text: w, Open: p.Prefix && i == len(p.Words)-1}
	}
	if d.Sep == "" { // one text has them all: the longest is the rarest, mostly
		words = []segment.Word{slices.MaxFunc(words, func(a, b segment.Word) int { return len(a.Text) - len(b.Text) })}
	}
	read := segment.NewBitmap(d.Entries())
	d.MayHold(words, func(v uint32) {
		if read.Has(int(v)) {
			return
		}
		read.Set(int(v))
		text.Words(d.EntryString(v), func(w string) bool {
			for at := p.Places(w); at != 0; at &= at - 1 {
				holds[bits.TrailingZeros64(at)].Set(int(v))
			}
			return true
		})
	})
	return holds, nil
}

// composite finds values made of parts; the phrase may lie across parts, as
// separators are no words. Only values that have the rarest word are read, and
// each part once for each state it is met in.
func composite(p *text.Phrase, d *segment.Dict, holds []segment.Bitmap, hit func(uint32)) {
	rarest := slices.MinFunc(holds, func(a, b segment.Bitmap) int { return a.Count() - b.Count() })
	if len(p.Words) == 1 {
		d.ValuesWith(rarest, hit)
		return
	}
	with := slices.Clone(holds[0])
	for _, one := range holds[1:] {
		with.Or(one)
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
	d.ValuesWith(rarest, func(v uint32) {
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
				r.state, r.found = p.Read(state, d.EntryString(part))
				if len(memo) < maxPhraseMemo {
					memo[at] = r
				}
			}
			if state = r.state; r.found {
				hit(v)
				return
			}
		}
	})
}

func hasWord(s string) (any bool) {
	text.Words(s, func(string) bool { any = true; return false })
	return any
}
