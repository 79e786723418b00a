package symbolicate

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"mayday/symbols"
	"mayday/symbols/lookup"
)

// The answers are written by hand: they are the bulk of the work of a request
// whose symbols are at hand.

// frameSize is about what a frame takes in an answer.
const frameSize = 500

// appendV5 writes the answer of version 5.
func (s *session) appendV5(b []byte, jobs []Job, debug *debugInfo) []byte {
	b = s.appendResults(b, jobs, Options{}, func(b []byte, j *Job) []byte {
		return s.appendFound(append(b, `"found_modules":`...), j)
	})
	if debug != nil {
		b = append(b, `,"debug":`...)
		b = debug.append(b, time.Now())
	}
	return append(b, '}')
}

// appendV6 writes the answer of version 6.
func (s *session) appendV6(b []byte, jobs []Job, o Options) []byte {
	b = s.appendResults(b, jobs, o, func(b []byte, j *Job) []byte {
		return s.appendModules(append(b, `"modules":`...), j)
	})
	return append(b, '}')
}

// appendResults writes the stacks of all jobs, and what modules adds of theirs.
func (s *session) appendResults(b []byte, jobs []Job, o Options, modules func([]byte, *Job) []byte) []byte {
	frames := 0
	for i := range jobs {
		for _, stack := range jobs[i].Stacks {
			frames += len(stack)
		}
	}
	b = slices.Grow(b, 1024+frames*frameSize)
	b = append(b, `{"results":[`...)
	for i := range jobs {
		if i > 0 {
			b = append(b, ',')
		}
		s.use(&jobs[i])
		b = append(b, `{"stacks":[`...)
		for k, stack := range jobs[i].Stacks {
			if k > 0 {
				b = append(b, ',')
			}
			b = s.appendStack(b, stack, o)
		}
		b = modules(append(b, "],"...), &jobs[i])
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendFound writes which modules of a job have symbols.
func (s *session) appendFound(b []byte, j *Job) []byte {
	b = append(b, '{')
	seen := make(map[Module]bool, len(j.Modules))
	for _, m := range j.Modules {
		if seen[m] {
			continue
		}
		if len(seen) > 0 {
			b = append(b, ',')
		}
		seen[m] = true
		b = appendString(b, m.key())
		b = append(b, ':')
		b = appendState(b, s.state(m))
	}
	return append(b, '}')
}

func appendState(b []byte, state *bool) []byte {
	if state == nil {
		return append(b, "null"...)
	}
	return strconv.AppendBool(b, *state)
}

// appendStack writes the frames of one stack.
func (s *session) appendStack(b []byte, stack []Frame, o Options) []byte {
	b = append(b, '[')
	for from := 0; from < len(stack); from += batchSize {
		part := stack[from:min(from+batchSize, len(stack))]
		callers := batchSize
		if o.Adjust {
			callers = max(0, 1-from)
		}
		s.resolve(part, callers)
		s.locate(s.batch[:len(part)])
		for i, f := range part {
			if from+i > 0 {
				b = append(b, ',')
			}
			b = s.appendFrame(b, from+i, f, &s.batch[i])
		}
	}
	return append(b, ']')
}

// appendFrame writes a frame that was looked up.
func (s *session) appendFrame(b []byte, i int, f Frame, l *looked) []byte {
	b = append(b, `{"frame":`...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(b, l.module.text...)
	if f.Unknown {
		return append(b, `-0x1"}`...)
	}
	b = append(b, "0x"...)
	b = appendHex(b, f.Offset)
	if !l.found {
		return append(b, `"}`...)
	}
	h, o, texts := &l.hit, l.module.open, s.texts[l.texts:]
	b = append(b, `","function":`...)
	b, _ = s.appendText(b, o, textFunction, texts[0].at)
	b = append(b, `,"function_offset":"0x`...)
	b = appendHex(b, f.Offset-h.Address)
	b = append(b, '"')
	n := len(h.Calls)
	if n == 0 {
		b = s.appendSource(b, o, texts[1], h.Line)
		return append(b, '}')
	}
	b = s.appendSource(b, o, texts[1], h.Calls[0].Line)
	b = append(b, `,"inlines":[`...)
	line := h.Line
	for k := n - 1; k >= 0; k-- {
		texts = texts[2:]
		b = append(b, `{"function":`...)
		if texts[0].ok {
			b, _ = s.appendText(b, o, textOrigin, texts[0].at)
		} else {
			b = append(b, `""`...)
		}
		b = s.appendSource(b, o, texts[1], line)
		line = h.Calls[k].Line
		b = append(b, "},"...)
	}
	b[len(b)-1] = ']'
	return append(b, '}')
}

// appendSource writes file and line, if they are known; the line only if it is
// not 0.
func (s *session) appendSource(b []byte, o *openModule, file located, line uint32) []byte {
	if !file.ok {
		return b
	}
	before := len(b)
	b = append(b, `,"file":`...)
	b, ok := s.appendText(b, o, textFile, file.at)
	if !ok {
		return b[:before]
	}
	if line != 0 {
		b = append(b, `,"line":`...)
		b = strconv.AppendUint(b, uint64(line), 10)
	}
	return b
}

// What a text is decides what becomes of it.
const (
	textFunction = iota // "" is <unknown>
	textOrigin          // the old form has a file number before the name
	textFile            // normalised; "" is none
)

// written are texts that stand in the answer already: most frames of a request
// have functions and files in common. A text is found by where its table keeps
// it; two may want one place.
type written [1024]writtenText

type writtenText struct {
	module   *openModule
	text     uint64 // textID
	from, to int    // in the answer; the same when it is none
}

// textID tells a text with its kind from others of a module.
func textID(at lookup.Text, kind int) uint64 { return uint64(at)<<2 | uint64(kind) }

// of is where a text is noted.
func (w *written) of(at lookup.Text, kind int) *writtenText {
	t := textID(at, kind)
	return &w[(t^t>>10^t>>20)%uint64(len(w))]
}

// appendText writes a text as a JSON string. It reports false for no text, when
// what it returns is of no use.
func (s *session) appendText(b []byte, o *openModule, kind int, at lookup.Text) ([]byte, bool) {
	text := textID(at, kind)
	w := s.written.of(at, kind)
	if w.text == text && w.module == o {
		return append(b, b[w.from:w.to]...), w.from != w.to
	}
	from := len(b)
	b = append(b, '"')
	b = o.view.AppendText(b, at)
	plain := plainJSON(b[from+1:]) && b[len(b)-1] != ' '
	switch {
	case kind == textFile:
		if p := unsafe.String(unsafe.SliceData(b[from+1:]), len(b)-from-1); plain && p != "" && symbols.NormalizePath(p) == p {
			break
		}
		plain = false
	case kind == textOrigin:
		plain = plain && !o.view.OldInlines()
	default:
		plain = plain && len(b) > from+1
	}
	ok := true
	if plain {
		b = append(b, '"')
	} else {
		b, ok = o.oddText(b[:from], kind, string(b[from+1:]))
	}
	w.module, w.text, w.from, w.to = o, text, from, len(b)
	return b, ok
}

// oddText writes a text that cannot stay as it is.
func (o *openModule) oddText(b []byte, kind int, text string) ([]byte, bool) {
	text = strings.TrimRightFunc(strings.ToValidUTF8(text, "\uFFFD"), unicode.IsSpace)
	switch {
	case kind == textFile:
		if text = symbols.NormalizePath(text); text == "" {
			return b, false
		}
	case kind == textOrigin && o.view.OldInlines():
		text = lookup.WithoutFile(text)
	case kind == textFunction && text == "":
		text = lookup.UnknownName
	}
	return appendString(b, text), true
}

// plainJSON reports whether the bytes are ASCII that stands for itself in a JSON
// string.
func plainJSON(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		quote, slash, del := x^ones*'"', x^ones*'\\', x^ones*0x7f
		if (x|(x-ones*' ')|(quote-ones)|(slash-ones)|(del-ones))&highs != 0 {
			return plainBytes(b)
		}
		b = b[8:]
	}
	return plainBytes(b)
}

func plainBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

// appendHex writes a number in hex digits.
func appendHex(b []byte, v uint64) []byte {
	n := (bits.Len64(v|1) + 3) / 4
	b = slices.Grow(b, 16)[:len(b)+n]
	for i := len(b) - 1; n > 0; i, n = i-1, n-1 {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
	return b
}

// appendV4 writes the answer of version 4: a text for each frame.
func (s *session) appendV4(b []byte, j *Job) []byte {
	b = append(b, `{"symbolicatedStacks":[`...)
	for i, stack := range j.Stacks {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for k, f := range stack {
			if k > 0 {
				b = append(b, ',')
			}
			a := s.look(j, f, false)
			name := f.offset()
			if a.found {
				name = a.Name
			}
			b = appendString(b, name+" (in "+a.module+")")
		}
		b = append(b, ']')
	}
	b = append(b, `],"knownModules":[`...)
	for i, m := range j.Modules {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendState(b, s.state(m))
	}
	return append(b, "]}"...)
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			default:
				b = append(b, `\u00`...)
				b = append(b, hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[from:i]...)
			b = append(b, `\ufffd`...)
			from = i + 1
		}
		i += n
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
