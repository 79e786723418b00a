package python

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The upstream is Python; these are the parts of its text handling that show
// in signatures.

// IsSpace is what Python calls white space: Unicode's, and the four separator
// controls.
func IsSpace(r rune) bool {
	return r >= 0x1c && r <= 0x1f || unicode.IsSpace(r)
}

// TrimSpace cuts white space from both ends.
func TrimSpace(s string) string {
	if s == "" || isPlain(s[0]) && isPlain(s[len(s)-1]) {
		return s
	}
	return strings.TrimFunc(s, IsSpace)
}

// isPlain reports whether a byte is visible ASCII, so no white space nor part
// of any.
func isPlain(b byte) bool { return b > ' ' && b < 0x7f }

// Lower is Python's Str.lower: like strings.ToLower but for the dotted I and
// the sigma that ends a word.
func Lower(s string) string {
	ascii, upper := true, false
	for i := 0; i < len(s); i++ {
		ascii = ascii && s[i] < utf8.RuneSelf
		upper = upper || s[i] >= 'A' && s[i] <= 'Z'
	}
	if ascii {
		if !upper {
			return s
		}
		return strings.ToLower(s)
	}
	var out strings.Builder
	for i, r := range s {
		switch {
		case r == 'İ':
			out.WriteString("i\u0307")
		case r == 'Σ' && endsWord(s[:i], s[i+len("Σ"):]):
			out.WriteRune('ς')
		default:
			out.WriteRune(unicode.ToLower(r))
		}
	}
	return out.String()
}

// endsWord reports whether a capital sigma between before and after is the
// last letter of a word of more than one: the rule Final_Sigma of Unicode.
func endsWord(before, after string) bool {
	cased := false
	for before != "" {
		r, n := utf8.DecodeLastRuneInString(before)
		before = before[:len(before)-n]
		if !ignorable(r) {
			cased = isCased(r)
			break
		}
	}
	if !cased {
		return false
	}
	for _, r := range after {
		if !ignorable(r) {
			return !isCased(r)
		}
	}
	return true
}

func isCased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
}

func ignorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '^', '`', 0xa8, 0xad, 0xaf, 0xb4, 0xb7, 0xb8, 0x2019:
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// FirstLines cuts at what Python takes for the end of a line. It returns the
// first two lines, which is all that signatures read, and how many of them
// exist.
func FirstLines(s string) (lines [2]string, n int) {
	for n < len(lines) && s != "" {
		end, next := lineEnd(s)
		lines[n] = s[:end]
		n++
		s = s[next:]
	}
	return lines, n
}

// lineEnd finds the end of the first line and the start of the second.
func lineEnd(s string) (end, next int) {
	for i, r := range s {
		switch r {
		case '\r':
			if strings.HasPrefix(s[i+1:], "\n") {
				return i, i + 2
			}
			return i, i + 1
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e:
			return i, i + 1
		case 0x85, 0x2028, 0x2029:
			return i, i + utf8.RuneLen(r)
		}
	}
	return len(s), len(s)
}

// Digit is the value of a decimal digit of any script, or -1.
func Digit(r rune) int {
	if r >= '0' && r <= '9' {
		return int(r - '0')
	}
	if r < utf8.RuneSelf || !unicode.Is(unicode.Nd, r) {
		return -1
	}
	// The digits of a script are ten in a row, each range a whole Number of
	// such rows, so the distance to the start of the range tells the value.
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10
		}
	}
	return -1
}
