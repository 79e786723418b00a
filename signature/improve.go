package signature

import "mayday/signature/frame"

// Improvements say where signatures may differ from upstream's for the better.
// The zero value keeps upstream's.
type Improvements struct {
	// Names gives functions their names where upstream leaves a part of the
	// declaration: operator new instead of new, the function instead of its
	// const or ABI tag, the implementing type of a Rust method.
	Names bool
	// Unsymbolicated tells stacks without symbols apart by the place in the
	// module: module@offset for the topmost frame that counts.
	Unsymbolicated bool
}

func (i Improvements) any() bool { return i.Names || i.Unsymbolicated }

// improvedName is the better name of a function, empty when there is none.
func (n normalizer) improvedName(name, line string) string {
	text := frame.Improve(name)
	if text != "" && n.lists.lineNumbers.Match(text) {
		n.Lined = true
		text += ":" + line
	}
	return text
}

// improve prepares frames for a better signature: each keeps upstream's text,
// too, for lists are written for that; what either text is in the lists for
// holds.
func (s *state) improve(frames []named) {
	if !s.lists.improve.Unsymbolicated {
		return
	}
	t := s.crashing()
	for i := range t.Frames {
		f := &t.Frames[i]
		if f.Function != "" || len(f.Inlines) > 0 || f.File != "" && lineKnown(f.Line, f.lineTruth) {
			return // the stack has symbols
		}
	}
	// Without symbols there are no inlined frames, so the indices agree.
	for i := range frames {
		f := &t.Frames[i]
		if f.Module == "" || f.ModuleOffset == "" {
			continue
		}
		frames[i].better = &better{place: "@" + frame.Address(f.ModuleOffset)}
	}
}

// placed adds the place in the module to the frame that tells most: the one
// that stopped, or the topmost when none did.
func placed(kept []named, stopped bool) {
	if len(kept) == 0 {
		return
	}
	k := &kept[0]
	if stopped {
		k = &kept[len(kept)-1]
	}
	if k.better != nil && k.better.place != "" {
		k.better = &better{shown: k.text + k.better.place}
	}
}

// With returns lists that also apply the improvements. Results then carry both
// signatures.
func (l *Lists) With(i Improvements) *Lists {
	out := *l
	out.improve = i
	return &out
}
