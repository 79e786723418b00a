package column

import (
	"context"
	"fmt"
	"os"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

const (
	// wordRows is the least number of rows that is worth a word index: merging
	// soon takes smaller segments away, and their dictionaries are searched at
	// 900 MB/s meanwhile.
	wordRows = 8192
	// wordBytes is the least size of a dictionary that is worth it.
	wordBytes = 4 << 10
)

// textSuffix names the word index of a segment; the checksum ties the two
// together.
func textSuffix(item manifestItem) string { return fmt.Sprintf(".%08x.text", item.Footer) }

// indexWords gives the larger segments their word index: the file that is
// there, or a new one.
func (s *Store) indexWords(ctx context.Context) { s.eachWordless(ctx, s.makeWords) }

// openWordIndexes opens the word indexes that are there.
func (s *Store) openWordIndexes(ctx context.Context) {
	s.eachWordless(ctx, func(l *live) error {
		if err := s.openWords(l); fault.Of(err) != fault.NotFound && fault.Of(err) != fault.Malformed {
			return err
		}
		return nil // indexWords makes it
	})
}

// eachWordless calls f for the larger segments without an open word index.
func (s *Store) eachWordless(ctx context.Context, f func(*live) error) {
	snap := s.pin()
	defer snap.release()
	for _, l := range snap.segs {
		if ctx.Err() != nil {
			return
		}
		if l.item.Rows < s.opts.wordRows || l.Words.Load() != nil {
			continue
		}
		if err := f(l); err != nil {
			s.opts.Log.Error("word index of a search segment; its texts are scanned meanwhile", zap.String("week", l.item.Week), zap.String("segment", l.item.Name), zap.Error(err))
		}
	}
}

// makeWords opens the word index of a segment, or builds it.
func (s *Store) makeWords(l *live) (err error) {
	defer recoverFault(&err)()
	if err = s.openWords(l); err == nil {
		return nil
	}
	path := s.path(l.item, textSuffix(l.item))
	if fault.Of(err) == fault.Malformed {
		s.opts.Log.Warn("word index is built again", zap.String("file", path), zap.Error(err))
	}
	fields := s.wordFields(l.Segment)
	if len(fields) == 0 {
		return nil
	}
	if err := text.Build(path+".tmp", fields); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return s.openWords(l)
}

// openWords opens the word index that is there.
func (s *Store) openWords(l *live) error {
	x, err := text.Open(s.path(l.item, textSuffix(l.item)))
	if err != nil {
		return err
	}
	s.write.Lock()                                    // guards Gone
	l.Gone = append(l.Gone, func() { _ = x.Close() }) // a failed unmap only keeps address space
	s.write.Unlock()
	l.Words.Store(x)
	return nil
}

// wordFields lists the text dictionaries of a segment that are large.
func (s *Store) wordFields(seg *segment.Segment) []text.Field {
	var out []text.Field
	for i := range s.fields {
		c := seg.Cols[i]
		if c == nil || s.fields[i].Storage != plan.Text || c.Dict.Size() < wordBytes {
			continue
		}
		out = append(out, text.Field{Name: s.fields[i].Name, N: c.Dict.Entries(), Value: func(i int) string { return c.Dict.EntryString(uint32(i)) }})
	}
	return out
}

// forgetWords drops a word index that may be why a query failed.
func (s *Store) forgetWords(seg *segment.Segment) {
	if seg.Words.Swap(nil) == nil {
		return
	}
	snap := s.pin()
	defer snap.release()
	for _, l := range snap.segs {
		if l.Segment == seg {
			s.opts.disk.remove(s.path(l.item, textSuffix(l.item)))
		}
	}
}
