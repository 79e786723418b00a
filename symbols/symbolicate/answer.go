package symbolicate

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"mayday/symbols"
)

// The answers are written by hand: they are the bulk of the work of a request
// whose symbols are at hand.

// frameSize is about what a frame takes in an answer.
const frameSize = 500

// appendV5 writes the answer of version 5.
func (s *session) appendV5(b []byte, jobs []Job, debug *debugInfo) []byte {
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
		b = append(b, `{"stacks":[`...)
		for k, stack := range jobs[i].Stacks {
			if k > 0 {
				b = append(b, ',')
			}
			b = s.appendStack(b, &jobs[i], stack, Options{})
		}
		b = append(b, `],"found_modules":`...)
		b = s.appendFound(b, &jobs[i])
		b = append(b, '}')
	}
	b = append(b, ']')
	if debug != nil {
		b = append(b, `,"debug":`...)
		b = debug.append(b, time.Now())
	}
	return append(b, '}')
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
func (s *session) appendStack(b []byte, j *Job, stack []Frame, o Options) []byte {
	b = append(b, '[')
	for i, f := range stack {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFrame(b, i, f, s.look(j, f, o.Adjust && i > 0))
	}
	return append(b, ']')
}

func appendFrame(b []byte, i int, f Frame, a answer) []byte {
	b = append(b, `{"frame":`...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(b, `,"module":`...)
	b = appendString(b, a.module)
	b = append(b, `,"module_offset":"`...)
	b = append(b, f.offset()...)
	b = append(b, '"')
	if !a.found {
		return append(b, '}')
	}
	b = append(b, `,"function":`...)
	b = appendString(b, a.Name)
	b = append(b, `,"function_offset":"0x`...)
	b = strconv.AppendUint(b, f.Offset-a.Address, 16)
	b = append(b, '"')
	b = appendSource(b, a.File, a.Line, a.HasFile)
	for k, in := range a.Inlines {
		if k == 0 {
			b = append(b, `,"inlines":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendInline(b, in)
	}
	if len(a.Inlines) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendInline(b []byte, in symbols.Inline) []byte {
	b = append(b, `{"function":`...)
	b = appendString(b, in.Function)
	b = appendSource(b, in.File, in.Line, in.HasFile)
	return append(b, '}')
}

// appendSource writes file and line; the line only if it is known.
func appendSource(b []byte, file string, line uint32, have bool) []byte {
	if !have {
		return b
	}
	b = append(b, `,"file":`...)
	b = appendString(b, file)
	if line != 0 {
		b = append(b, `,"line":`...)
		b = strconv.AppendUint(b, uint64(line), 10)
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
