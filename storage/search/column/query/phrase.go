package query

import (
	"mayday/storage/search/column/segment"
	"mayday/storage/search/text"
)

// maxPhraseMemo bounds the remembered (state, part) pairs to some 20 MB.
const maxPhraseMemo = 1 << 18

// phrases finds the values of a text column that hold the phrase.
func (f *filter) phrases(s *segment.Segment, c *segment.Column, p *text.Phrase, hit func(uint32)) error {
	if len(p.Words) == 0 {
		return nil
	}
	d := &c.Dict
	with, err := candidates(p, s, c)
	if err != nil {
		return err
	}
	switch {
	case d.Sep != "":
		composite(p, d, with, hit)
	case len(p.Words) == 1:
		with.Each(func(v int) { hit(uint32(v)) })
	default:
		with.Each(func(v int) {
			if _, ok := p.Read(0, d.EntryString(uint32(v))); ok {
				hit(uint32(v))
			}
		})
	}
	return nil
}

// candidates are the entries that hold all words of the phrase, or, of a
// composite dictionary, any of them.
func candidates(p *text.Phrase, s *segment.Segment, c *segment.Column) (segment.Bitmap, error) {
	d := &c.Dict
	x := s.Words.Load()
	if x == nil || !x.Has(c.Meta.Name) {
		out := segment.NewBitmap(d.Entries())
		for v := range d.Entries() {
			text.Words(d.EntryString(uint32(v)), func(w string) bool {
				if p.Places(w) == 0 {
					return true
				}
				out.Set(v)
				return false
			})
		}
		return out, nil
	}
	var out segment.Bitmap
	for i, w := range p.Words {
		one := segment.NewBitmap(d.Entries())
		find := x.Entries
		if p.Prefix && i == len(p.Words)-1 {
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
func composite(p *text.Phrase, d *segment.Dict, with segment.Bitmap, hit func(uint32)) {
	if len(p.Words) == 1 {
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
				r.state, r.found = p.Read(state, d.EntryString(part))
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
