package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The entries of the lists are regular expressions of Python's re module. They
// are translated to Go's: the two agree on most of the syntax, but \d, \w, \s
// know all scripts in Python, $ also matches before a final newline, \Z is the
// very end, and a lone { is text. What Go cannot do in linear time
// (look-arounds, back-references, atomic groups) is refused.

// Parts of classes, as Go writes them.
const (
	goDigit = `\p{Nd}`
	goWord  = `\p{L}\p{N}_`
	goSpace = `\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`
)

// translate makes a Go regular expression of a Python one.
func translate(python string) (string, error) {
	if !utf8.ValidString(python) {
		return "", errors.New("not UTF-8")
	}
	t := translator{in: python}
	for t.at < len(t.in) {
		if err := t.step(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

type translator struct {
	in  string
	at  int
	out strings.Builder
}

func (t *translator) step() error {
	c := t.in[t.at]
	switch c {
	case '\\':
		return t.escape(false)
	case '[':
		return t.class()
	case '(':
		return t.group()
	case '$':
		t.out.WriteString(`(?:\n?\z)`)
	case '^':
		t.out.WriteString(`\A`)
	case '*', '+', '?':
		t.out.WriteByte(c)
		return t.afterRepeat(1)
	case '{':
		return t.braces()
	case '.', '|', ')':
		t.out.WriteByte(c)
	default:
		_, size := utf8.DecodeRuneInString(t.in[t.at:])
		t.out.WriteString(regexp.QuoteMeta(t.in[t.at : t.at+size]))
		t.at += size
		return nil
	}
	t.at++
	return nil
}

// afterRepeat skips a repetition operator of n bytes and looks at what follows.
func (t *translator) afterRepeat(n int) error {
	t.at += n
	if t.at >= len(t.in) {
		return nil
	}
	switch t.in[t.at] {
	case '?': // lazy: which match is found makes no difference here
		t.at++
	case '+':
		return errors.New("possessive quantifier is not supported")
	}
	return nil
}

var bracesForm = regexp.MustCompile(`^\{(\d*)(,?)(\d*)\}`)

// braces reads {m,n}; anything else in braces is text.
func (t *translator) braces() error {
	m := bracesForm.FindStringSubmatch(t.in[t.at:])
	if m == nil || m[0] == "{}" {
		t.out.WriteString(`\{`)
		t.at++
		return nil
	}
	low := m[1]
	if low == "" {
		low = "0"
	}
	t.out.WriteString("{" + low + m[2] + m[3] + "}")
	return t.afterRepeat(len(m[0]))
}

func (t *translator) group() error {
	rest := t.in[t.at:]
	if !strings.HasPrefix(rest, "(?") {
		if strings.HasPrefix(rest, "(*") {
			return errors.New("nothing to repeat")
		}
		t.out.WriteString("(?:")
		t.at++
		return nil
	}
	for _, g := range [...]struct{ mark, what string }{
		{"(?=", "look-ahead"}, {"(?!", "look-ahead"}, {"(?<=", "look-behind"}, {"(?<!", "look-behind"},
		{"(?P=", "back-reference"}, {"(?>", "atomic group"}, {"(?(", "conditional"},
	} {
		if strings.HasPrefix(rest, g.mark) {
			return errors.New(g.what + " is not supported")
		}
	}
	switch {
	case strings.HasPrefix(rest, "(?P<"):
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return errors.New("missing >, unterminated name")
		}
		// Names are of no use here, and Go refuses one that occurs twice.
		t.out.WriteString("(?:")
		t.at += end + 1
		return nil
	case strings.HasPrefix(rest, "(?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("missing ), unterminated comment")
		}
		t.at += end + 1
		return nil
	}
	return t.flags(rest)
}

// flags reads (?:, (?i:, (?s-i: and the like.
func (t *translator) flags(rest string) error {
	end := strings.IndexAny(rest, ":)")
	if end < 0 {
		return errors.New("missing ), unterminated group")
	}
	if rest[end] == ')' {
		return fmt.Errorf("flags %s for the whole expression are not allowed in a list, write %s:…)", rest[:end+1], rest[:end])
	}
	flags := ""
	for _, f := range rest[len("(?"):end] {
		switch f {
		case 'i', 's', '-':
			flags += string(f)
		case 'u': // the default
		default:
			return fmt.Errorf("flag %q is not supported", f)
		}
	}
	t.out.WriteString("(?" + strings.TrimSuffix(flags, "-") + ":")
	t.at += end + 1
	return nil
}

// escape reads a backslash and what follows it, within a class or outside.
func (t *translator) escape(inClass bool) error {
	if t.at+1 >= len(t.in) {
		return errors.New(`bad escape (end of pattern)`)
	}
	c := t.in[t.at+1]
	if c >= utf8.RuneSelf {
		t.at++
		_, size := utf8.DecodeRuneInString(t.in[t.at:])
		t.out.WriteString(t.in[t.at : t.at+size])
		t.at += size
		return nil
	}
	if set, ok := classEscape(c, inClass); ok {
		t.out.WriteString(set)
		t.at += 2
		return nil
	}
	switch {
	case c >= '0' && c <= '9':
		return t.octal(inClass)
	case c == 'x':
		return t.code(2)
	case c == 'u':
		return t.code(4)
	case c == 'U':
		return t.code(8)
	case strings.IndexByte("afnrtv", c) >= 0:
		t.out.WriteString(t.in[t.at : t.at+2])
	case inClass && c == 'b':
		t.out.WriteString(`\x08`)
	case !inClass && (c == 'A' || c == 'b' || c == 'B'):
		t.out.WriteString(t.in[t.at : t.at+2])
	case !inClass && (c == 'Z' || c == 'z'):
		t.out.WriteString(`\z`)
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return fmt.Errorf(`bad escape \%c`, c)
	default:
		t.out.WriteString(literalByte(c))
	}
	t.at += 2
	return nil
}

// literalByte writes an ASCII byte so that it means itself anywhere.
func literalByte(c byte) string {
	if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' {
		return string(c)
	}
	return fmt.Sprintf(`\x%02x`, c)
}

// classEscape is the set of \d, \w, \s and their opposites.
func classEscape(c byte, inClass bool) (string, bool) {
	var set string
	switch c | 0x20 {
	case 'd':
		set = goDigit
	case 'w':
		set = goWord
	case 's':
		set = goSpace
	default:
		return "", false
	}
	negated := c < 'a'
	switch {
	case !inClass && negated:
		return "[^" + set + "]", true
	case !inClass:
		return "[" + set + "]", true
	case negated:
		return complements()[c], true
	}
	return set, true
}

// complements holds \D, \W and \S as ranges: within a class Go can negate
// single properties only.
var complements = sync.OnceValue(func() map[byte]string {
	out := map[byte]string{}
	for c, set := range map[byte]string{'D': goDigit, 'W': goWord, 'S': goSpace} {
		re, err := syntax.Parse("[^"+set+"]", syntax.Perl)
		if err != nil {
			panic(err) // the three sets above are constants
		}
		var b strings.Builder
		for i := 0; i+1 < len(re.Rune); i += 2 {
			fmt.Fprintf(&b, `\x{%x}-\x{%x}`, re.Rune[i], re.Rune[i+1])
		}
		out[c] = b.String()
	}
	return out
})

// octal reads \0, \012 and \123; \1 to \99 refer back.
func (t *translator) octal(inClass bool) error {
	end := t.at + 1
	for end < len(t.in) && end < t.at+4 && t.in[end] >= '0' && t.in[end] <= '7' {
		end++
	}
	digits := t.in[t.at+1 : end]
	if !inClass && !strings.HasPrefix(digits, "0") && len(digits) < 3 {
		return errors.New("back-reference is not supported")
	}
	n, err := strconv.ParseUint(digits, 8, 16)
	if err != nil || n > 0o377 {
		return fmt.Errorf(`octal escape \%s is out of range`, digits)
	}
	fmt.Fprintf(&t.out, `\x{%x}`, n)
	t.at = end
	return nil
}

// code reads the hex digits of \x, \u and \U.
func (t *translator) code(digits int) error {
	from := t.at + 2
	if from+digits > len(t.in) {
		return fmt.Errorf("incomplete escape %s", t.in[t.at:])
	}
	n, err := strconv.ParseUint(t.in[from:from+digits], 16, 32)
	if err != nil || n > utf8.MaxRune {
		return fmt.Errorf("bad escape %s", t.in[t.at:from+digits])
	}
	fmt.Fprintf(&t.out, `\x{%x}`, n)
	t.at = from + digits
	return nil
}

// class reads [...]; a ] that comes first is text, as is each [.
func (t *translator) class() error {
	t.at++
	t.out.WriteByte('[')
	if strings.HasPrefix(t.in[t.at:], "^") {
		t.out.WriteByte('^')
		t.at++
	}
	for first := true; ; first = false {
		if t.at >= len(t.in) {
			return errors.New("unterminated character set")
		}
		c := t.in[t.at]
		switch {
		case c == ']' && !first:
			t.out.WriteByte(']')
			t.at++
			return nil
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		case c == '-' || c >= utf8.RuneSelf:
			t.out.WriteByte(c)
			t.at++
		default:
			t.out.WriteString(literalByte(c))
			t.at++
		}
	}
}
