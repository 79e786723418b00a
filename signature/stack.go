package signature

import (
	"strconv"
	"strings"
)

// stack makes the signature from the frames of the crashing thread.
func (s *state) stack() {
	frames := s.frameList()
	start := s.sentinel(frames)
	list := frames[start:]

	kept, stopped := s.kept[:0], false
	for _, f := range list {
		if f.text == "" {
			s.debugFrame(frameEmpty, f.text, 0)
			continue
		}
		if f.irrelevant(s.lists) {
			s.debugFrame(frameIrrelevant, f.text, 0)
			continue
		}
		// A library without symbols says nothing new by being there twice.
		if n := len(kept); n > 0 && kept[n-1].text == f.text && isModuleName(f.text) {
			continue
		}
		kept = append(kept, f)
		if stopped = !f.prefix(s.lists); stopped {
			s.debugFrame(frameStop, f.show(), 0)
			break
		}
		s.debugFrame(framePrefix, f.show(), 0)
	}
	placed(kept, stopped)
	switch {
	case len(kept) > 0:
		s.set(joinShown(kept))
	case len(list) > 0:
		s.note("CSignatureTool: no frame data for crashing thread (" + strconv.Itoa(s.thread) + ")")
		placed(list[:1], true)
		if list[0].text != "" {
			s.set(list[0].show())
		}
	default:
		s.note("CSignatureTool: no frame data for crashing thread (" + strconv.Itoa(s.thread) + ")")
		s.set(noFrameData)
	}
}

func joinShown(frames []named) string {
	size := len(frameSeparator) * (len(frames) - 1)
	for i := range frames {
		size += len(frames[i].show())
	}
	out := make([]byte, 0, size)
	for i := range frames {
		if i > 0 {
			out = append(out, frameSeparator...)
		}
		out = append(out, frames[i].show()...)
	}
	return string(out)
}

// isModuleName reports whether a normalised frame is nothing but a library or
// a placeholder, which is not repeated.
func isModuleName(f string) bool {
	if strings.HasPrefix(f, "(unloaded") {
		return false
	}
	return hasSuffixFold(f, ".dll") || hasSuffixFold(f, ".so") ||
		f == "XUL" || f == "<name omitted>" || strings.HasPrefix(f, "<unknown in")
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// sentinel finds the first frame that is a sentinel; 0 when none is.
func (s *state) sentinel(frames []named) int {
	for i := range frames {
		if frames[i].sentinel(s.lists) {
			s.debugFrame(frameSentinel, frames[i].text, i)
			return i
		}
	}
	return 0
}

// named is a normalised frame and, as far as it is known, what the lists say of
// it.
type named struct {
	text   string
	says   verdict
	better *better // of improved signatures; nil: nothing is better
}

// better is what improvements know of a frame. It is not changed once made.
type better struct {
	shown string // what signatures show instead of the text; empty: the text
	place string // the place in the module, of stacks without symbols
}

// show is what the frame looks like in a signature.
func (f *named) show() string {
	if f.better != nil && f.better.shown != "" {
		return f.better.shown
	}
	return f.text
}

// verdict holds what the lists say of a frame.
type verdict uint8

const (
	judged verdict = 1 << iota // the other bits are set
	irrelevantFrame
	prefixFrame
	sentinelFrame
)

// judge asks all lists, for a frame that will be seen again.
func (l *Lists) judge(text string) verdict {
	says := judged
	if l.irrelevant.Match(text) {
		says |= irrelevantFrame
	}
	if l.prefix.Match(text) {
		says |= prefixFrame
	}
	if _, ok := l.sentinels[text]; ok {
		says |= sentinelFrame
	}
	return says
}

func (f named) irrelevant(l *Lists) bool {
	if f.says != 0 {
		return f.says&irrelevantFrame != 0
	}
	return l.irrelevant.Match(f.text)
}

func (f named) prefix(l *Lists) bool {
	if f.says != 0 {
		return f.says&prefixFrame != 0
	}
	return l.prefix.Match(f.text)
}

func (f named) sentinel(l *Lists) bool {
	if f.says != 0 {
		return f.says&sentinelFrame != 0
	}
	_, ok := l.sentinels[f.text]
	return ok
}

// frameList normalises the frames of the crashing thread and sets what the
// result says of them.
func (s *state) frameList() []named {
	t := s.crashing()
	if t == nil || len(t.Frames) == 0 {
		return nil
	}
	norm := newNormalizer(s.lists, s.in.OS == windows)
	defer norm.Return()
	if s.improved {
		norm.improve = s.lists.improve
	}
	out := s.frames[:0]
	for i := range t.Frames {
		f := &t.Frames[i]
		for j := range f.Inlines {
			if len(out) == maxFrames {
				break
			}
			out = append(out, norm.inline(f, &f.Inlines[j]))
		}
		if len(out) == maxFrames {
			break
		}
		out = append(out, norm.frame(f))
	}
	if s.improved {
		s.improve(out)
	}
	names := make([]string, len(out))
	for i := range out {
		names[i] = out[i].text
	}
	s.res.NormalizedFrames = names
	s.res.ProtoSignature = strings.Join(names, frameSeparator)
	return out
}
