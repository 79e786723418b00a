package symbolicate

import "mayday/symbols/lookup"

// Frames are looked up some at a time, each step for all of them: see
// lookup.View.Seek.

// batchSize is how many frames are looked up at a time.
const batchSize = 32

// workspace is memory of a session that the next one may use.
type workspace struct {
	written written // of the present answer
	batch   [batchSize]looked
	texts   []located
	touched byte // of no meaning: it keeps reads ahead from being left out
}

// looked is a frame that is looked up.
type looked struct {
	module *jobModule
	wanted bool   // the module has symbols
	offset uint64 // that is looked up
	place  lookup.Place
	found  bool
	hit    lookup.Hit
	texts  int // where its texts start
}

// located is a text of an answer, or that there is none.
type located struct {
	at lookup.Text
	ok bool
}

// resolve looks up frames of the present job, at most batchSize. Of those from
// callers on the offset is where a call returns to.
func (s *session) resolve(frames []Frame, callers int) {
	batch := s.batch[:len(frames)]
	for i, f := range frames {
		l := &batch[i]
		l.module, l.offset, l.found = &s.none, f.Offset, false
		if f.Module >= 0 {
			l.module = &s.job[f.Module]
		}
		o := l.module.open
		if l.wanted = o != nil && o.found() && !f.Unknown; !l.wanted {
			continue
		}
		if i >= callers && l.offset > 0 {
			l.offset--
		}
		l.place = o.view.Seek(l.offset)
	}
	for i := range batch {
		if l := &batch[i]; l.wanted {
			s.touched ^= l.module.open.view.Touch(l.place)
		}
	}
	for i := range batch {
		l := &batch[i]
		if !l.wanted {
			continue
		}
		l.found = l.module.open.view.ResolveAt(l.place, l.offset, &l.hit)
		if !l.found && l.module.open.handle.Damaged() {
			s.mend(batch)
			break
		}
	}
	s.frames += len(batch)
	for i := range batch {
		if batch[i].found {
			s.found++
		}
	}
}

// mend opens damaged modules anew and looks all frames up again: what was found
// is of the old files.
func (s *session) mend(batch []looked) {
	for i := range batch {
		l := &batch[i]
		if o := l.module.open; o != nil && o.found() && o.handle.Damaged() {
			s.reopen(l.module.Module, o)
			l.module.set(l.module.Module, o)
		}
	}
	s.sent() // the texts may lie elsewhere
	for i := range batch {
		l := &batch[i]
		l.found = l.wanted && l.module.open.found() && l.module.open.view.Resolve(l.offset, &l.hit)
	}
}

// locate finds the texts of the frames that were found, in the order in which
// they are written.
func (s *session) locate(batch []looked) {
	s.texts = s.texts[:0]
	for i := range batch {
		l := &batch[i]
		if !l.found {
			continue
		}
		v, h := &l.module.open.view, &l.hit
		l.texts = len(s.texts)
		s.texts = append(s.texts, located{lookup.Text(h.Name), true})
		n := len(h.Calls)
		if n == 0 {
			s.file(v, h.File, h.HasLine)
			continue
		}
		// The function is where the outermost call stands, the innermost one has
		// the line of the code.
		s.file(v, h.Calls[0].File, true)
		for k := n - 1; k >= 0; k-- {
			at, ok := v.Origin(h.Calls[k].Origin)
			s.texts = append(s.texts, located{at, ok})
			if k == n-1 {
				s.file(v, h.File, h.HasLine)
			} else {
				s.file(v, h.Calls[k+1].File, true)
			}
		}
	}
	for i := range batch {
		l := &batch[i]
		if !l.found {
			continue
		}
		o := l.module.open
		for k, n := 0, 2+2*len(l.hit.Calls); k < n; k++ {
			t := s.texts[l.texts+k]
			if !t.ok {
				continue
			}
			kind := kindOf(k)
			if w := s.written.of(t.at, kind); w.text != textID(t.at, kind) || w.module != o {
				s.touched ^= o.view.TouchText(t.at)
			}
		}
	}
}

// file notes the path of a file.
func (s *session) file(v *lookup.View, id uint32, have bool) {
	var t located
	if have {
		t.at, t.ok = v.File(id)
	}
	s.texts = append(s.texts, t)
}

// kindOf is what the k-th text of a frame is.
func kindOf(k int) int {
	switch {
	case k&1 == 1:
		return textFile
	case k == 0:
		return textFunction
	}
	return textOrigin
}
