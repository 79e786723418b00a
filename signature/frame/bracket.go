package frame

import (
	"bytes"
	"sort"
)

// The last steps of a function name look at slices: a slice runs from an
// opening bracket at level 0 to the bracket that closes it, or to the end of
// the text. A closing bracket at level 0 is text.

// closing finds the end of the slice that opens at text[at]: the index after
// its closing bracket, or len(text).
func closing(text []byte, at int, opener, closer byte) int {
	level := 0
	for i := at; i < len(text); i++ {
		switch text[i] {
		case opener:
			level++
		case closer:
			level--
			if level == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// rewrite copies n.text, asking keep of each slice; one that is not kept
// becomes instead.
func (n *Normalizer) rewrite(opener, closer byte, instead string, keep func(before, slice []byte) bool) {
	text, out := n.text, n.next[:0]
	from := 0
	for {
		i := bytes.IndexByte(text[from:], opener)
		if i < 0 {
			break
		}
		i += from
		out = append(out, text[from:i]...)
		end := closing(text, i, opener, closer)
		if keep(text[:i], text[i:end]) {
			out = append(out, text[i:end]...)
		} else {
			out = append(out, instead...)
		}
		from = end
	}
	out = append(out, text[from:]...)
	n.text, n.next = out, text
}

var (
	operatorWord    = []byte("operator")
	asWord          = []byte(" as ")
	inWord          = []byte(" in ")
	nameOmitted     = []byte("<name omitted>")
	anonymous       = []byte("(anonymous namespace)")
	paramTraits     = []byte("IPC::ParamTraits")
	paramTraitsOpen = []byte("IPC::ParamTraits<")
)

// types makes template parameters <T>, but for names of operators, trait
// implementations and the like.
func (n *Normalizer) types(cpp bool) {
	switch {
	case !cpp:
		n.rewrite('<', '>', "<T>", func(_, slice []byte) bool { return bytes.Contains(slice, asWord) })
	case bytes.Contains(n.text, paramTraitsOpen):
		n.nestedTypes()
	default:
		n.rewrite('<', '>', "<T>", keepType)
	}
}

func keepType(before, slice []byte) bool {
	if bytes.HasSuffix(before, operatorWord) {
		return true
	}
	if len(slice) < len("< as ") || bytes.IndexByte(slice, ' ') < 0 {
		return false // as most are
	}
	return bytes.Contains(slice, asWord) || bytes.Contains(slice, inWord) || bytes.Equal(slice, nameOmitted)
}

// arguments drops argument lists. C++ keeps the anonymous namespace and
// operator().
func (n *Normalizer) arguments(cpp bool) {
	n.rewrite('(', ')', "", func(before, slice []byte) bool {
		return cpp && (bytes.Equal(slice, anonymous) || bytes.HasSuffix(before, operatorWord))
	})
}

func (n *Normalizer) dropSquare() {
	n.rewrite('[', ']', "", func(_, _ []byte) bool { return false })
}

// open is a stretch of text whose slices are being looked at, within the
// parameters of an IPC::ParamTraits.
type open struct {
	at, end int // what is left of the stretch
	start   int // where it began
	outer   int // where the text around it goes on
}

// nestedTypes is types for names with IPC::ParamTraits<…>, whose parameters
// are shown and looked at in the same way, to any depth. One pass with a stack
// of our own: done by recursion the depth would be the attacker's choice, and
// copying at each level would take quadratic time.
func (n *Normalizer) nestedTypes() {
	text, out := n.text, n.next[:0]
	n.matchAngles(text)
	todo := append(n.slices[:0], open{end: len(text)})
	for len(todo) > 0 {
		top := &todo[len(todo)-1]
		i := top.end
		if top.at < top.end {
			if k := bytes.IndexByte(text[top.at:top.end], '<'); k >= 0 {
				i = top.at + k
			}
			out = append(out, text[top.at:i]...)
		}
		if i >= top.end {
			if top.outer > 0 {
				out = append(out, '>')
			}
			todo = todo[:len(todo)-1]
			continue
		}
		end := n.closes[i]
		if end < 0 || end > top.end {
			end = top.end
		}
		before := text[top.start:i]
		switch {
		case n.keepNested(before, text[i:end], i, end):
			out = append(out, text[i:end]...)
			top.at = end
		case bytes.HasSuffix(before, paramTraits):
			out = append(out, '<')
			top.at = end
			inner := open{at: i + 1, end: end - 1, start: i + 1, outer: end}
			if inner.end < inner.at {
				inner.end = inner.at
			}
			todo = append(todo, inner)
		default:
			out = append(out, "<T>"...)
			top.at = end
		}
	}
	n.slices = todo[:0]
	n.text, n.next = out, text
}

// keepNested is keepType in logarithmic time: slices contain each other here,
// so that a search through each would be quadratic.
func (n *Normalizer) keepNested(before, slice []byte, start, end int) bool {
	if bytes.HasSuffix(before, operatorWord) || bytes.Equal(slice, nameOmitted) {
		return true
	}
	k := sort.SearchInts(n.spots, start)
	return k < len(n.spots) && n.spots[k]+len(asWord) <= end
}

// matchAngles fills closes with the index after the bracket that closes each
// opening one (-1: none), and spots with the places of " as " and " in ".
func (n *Normalizer) matchAngles(text []byte) {
	n.spots = n.spots[:0]
	if cap(n.closes) < len(text) {
		n.closes = make([]int, len(text))
	}
	closes := n.closes[:len(text)]
	opened := n.opened[:0]
	for i := range text {
		switch text[i] {
		case '<':
			closes[i] = -1
			opened = append(opened, i)
		case '>':
			if len(opened) > 0 {
				closes[opened[len(opened)-1]] = i + 1
				opened = opened[:len(opened)-1]
			}
		case ' ':
			if rest := text[i:]; bytes.HasPrefix(rest, asWord) || bytes.HasPrefix(rest, inWord) {
				n.spots = append(n.spots, i)
			}
		}
	}
	n.closes, n.opened = closes, opened[:0]
}
