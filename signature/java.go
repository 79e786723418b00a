package signature

import (
	"strings"
	"unicode/utf8"

	"mayday/signature/python"
)

// javaStackTrace makes the signature of a Java stack trace: class, description
// and the method of its first two lines.
func javaStackTrace(s *state) {
	if s.in.JavaStackTraceMalformed {
		s.note("JavaSignatureTool: stack trace not in expected format")
		s.set(malformedTrace)
		return
	}
	lines, n := python.FirstLines(s.in.JavaStackTrace)
	first := python.TrimSpace(lines[0])
	class, description, ok := strings.Cut(first, ":")
	if ok {
		class, description = python.TrimSpace(class), python.TrimSpace(hideAddresses(description))
	} else {
		s.note("JavaSignatureTool: stack trace line 1 is not in the expected format")
	}
	method := ""
	if n < 2 {
		s.note("JavaSignatureTool: stack trace line 2 is missing")
	} else if method = dropJavaLine(python.TrimSpace(lines[1])); method == "" {
		s.note("JavaSignatureTool: stack trace line 2 is empty")
	}
	var sig string
	if strings.HasSuffix(description, "<addr>") {
		sig = joinFilled(": ", class, description, method)
	} else {
		sig = joinFilled(": ", class, joinFilled(" ", description, method))
	}
	if utf8.RuneCountInString(sig) > maxSignature {
		s.note("JavaSignatureTool: dropped Java exception description due to length")
		sig = class + ": " + method
	}
	s.set(sig)
}

// joinFilled joins the parts that are not empty.
func joinFilled(sep string, parts ...string) string {
	out := ""
	for _, p := range parts {
		switch {
		case p == "":
		case out == "":
			out = p
		default:
			out += sep + p
		}
	}
	return out
}

// hideAddresses makes each @ with eight python.Lower-case hex digits @<addr>.
func hideAddresses(s string) string {
	const digits = 8
	var out []byte
	from := 0
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		if len(s) < i+1+digits || !isLowerHex(s[i+1:i+1+digits]) {
			continue
		}
		out = append(append(out, s[from:i]...), "@<addr>"...)
		at = i + 1 + digits
		from = at
	}
	if from == 0 {
		return s
	}
	return string(append(out, s[from:]...))
}

func isLowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// dropJavaLine cuts the line number from "(File.java:12)" at the end.
func dropJavaLine(s string) string {
	body, ok := strings.CutSuffix(s, ")")
	if !ok {
		return s
	}
	end := len(body)
	for end > 0 {
		r, size := utf8.DecodeLastRuneInString(body[:end])
		if python.Digit(r) < 0 {
			break
		}
		end -= size
	}
	if end == len(body) || !strings.HasSuffix(body[:end], ".java:") {
		return s
	}
	return body[:end-1] + ")"
}

// javaException makes the signature of a Java exception: its class and the
// first frame.
func (s *state) javaException(e *JavaException) {
	if e.Malformed {
		s.note("JavaExceptionSignatureTool: value not in expected format")
		s.set(malformedException)
		return
	}
	class := joinFilled(".", e.Module, e.Type)
	if len(e.Frames) == 0 {
		s.set(class)
		return
	}
	f := e.Frames[0]
	at := joinFilled(".", f.Module, f.Function)
	switch {
	case at == "":
		at = "unknown"
	case f.File != "":
		at += "(" + f.File + ")"
	}
	s.set(class + ": at " + at)
}
