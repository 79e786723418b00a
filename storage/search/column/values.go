package column

import (
	"bufio"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/storage/search/column/segment"
	"mayday/storage/search/column/values"
)

const (
	// valuesName is the file of the tables of values.
	valuesName = "VALUES"
	// keepEvery is how often the file is written at most: merging takes its
	// segments away now and then, and it holds a dozen bytes a crash.
	keepEvery = 10 * time.Minute
)

func (s *Store) valuesPath() string { return filepath.Join(s.opts.Dir, valuesName) }

// openValues has queries use the tables on the disk. Those that are not about
// the segments of now are removed: they are made again.
func (s *Store) openValues() {
	s.write.Lock() // no segment goes before the tables know
	defer s.write.Unlock()
	snap := s.pin()
	defer snap.release()
	data, release, err := mapFile(s.valuesPath())
	if err != nil {
		return // there is none
	}
	kept, err := values.Open(data, release, snap.segments())
	if err != nil {
		if fault.Of(err) != fault.NotFound {
			s.opts.Log.Warn("tables of values are made again", zap.String("file", s.valuesPath()), zap.Error(err))
		}
		release()
		s.opts.disk.remove(s.valuesPath())
		return
	}
	s.searcher.Values.Use(kept)
}

// keepValues writes the tables of values of the larger segments, when those on
// the disk are about others. Tables of segments that are gone do not stay.
func (s *Store) keepValues() {
	snap := s.pin()
	defer snap.release()
	var large []*segment.Segment
	for _, l := range snap.segs {
		if l.item.Rows >= s.opts.wordRows {
			large = append(large, l.Segment)
		}
	}
	if len(large) > 0 && !s.searcher.Values.IsKept(large) && s.opts.Now().Sub(s.valuesTried) >= keepEvery {
		s.valuesTried = s.opts.Now()
		wrote, err := s.writeValues(large)
		if err != nil {
			s.opts.Log.Error("write tables of values; they are made at the next start", zap.Error(err))
		}
		if wrote {
			s.openValues()
		}
	}
	if _, err := os.Stat(s.valuesPath()); err == nil && !s.searcher.Values.UsesKept() {
		s.opts.disk.remove(s.valuesPath()) // it has hashes of values that may have been deleted
	}
}

// writeValues puts a new file in the place of the old one.
func (s *Store) writeValues(parts []*segment.Segment) (wrote bool, err error) {
	defer recoverFault(&err)()
	tmp := s.valuesPath() + ".tmp"
	defer func() {
		if !wrote || err != nil {
			s.opts.disk.remove(tmp)
		}
	}()
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	wrote, err = s.searcher.Values.Keep(w, parts)
	if err == nil {
		err = w.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil || !wrote {
		return false, err
	}
	return true, os.Rename(tmp, s.valuesPath())
}
