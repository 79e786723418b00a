package enginetest

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// lower is lower case letter by letter.
func lower(s string) string { return strings.Map(unicode.ToLower, s) }

// wordsOf cuts a text into words as Unicode's annex 29 says, for the scripts
// that the made-up texts are in. Ideographs and Hiragana are words alone.
func wordsOf(s string) []string {
	r := []rune(lower(s))
	kind := func(i int) byte {
		switch {
		case i < 0 || i >= len(r):
			return 0
		case unicode.In(r[i], unicode.Han, unicode.Hiragana):
			return 'i'
		case unicode.Is(unicode.Katakana, r[i]) || r[i] == 'ー':
			return 'k'
		case unicode.IsDigit(r[i]):
			return 'n'
		case unicode.IsLetter(r[i]):
			return 'l'
		case unicode.In(r[i], unicode.Pc):
			return '_'
		}
		return 0
	}
	joins := func(i int) bool { // no boundary between i-1 and i
		a, b := kind(i-1), kind(i)
		if i < len(r) && i > 0 && b == 0 && kind(i+1) == a && (a == 'l' && strings.ContainsRune(":.'’·", r[i]) || a == 'n' && strings.ContainsRune(".,;'’", r[i])) {
			return true
		}
		if i > 1 && a == 0 && b != 0 && kind(i-2) == b && (b == 'l' && strings.ContainsRune(":.'’·", r[i-1]) || b == 'n' && strings.ContainsRune(".,;'’", r[i-1])) {
			return true
		}
		switch {
		case a == 0 || b == 0 || a == 'i' || b == 'i':
			return false
		case a == 'k' || b == 'k':
			return a == b || a == '_' || b == '_'
		}
		return true
	}
	var out []string
	for i := 0; i < len(r); {
		j := i + 1
		for j < len(r) && joins(j) {
			j++
		}
		if slices.ContainsFunc(r[i:j], func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }) {
			out = append(out, string(r[i:j]))
		}
		i = j
	}
	return out
}

// wild matches * and ?, a backslash before what is meant as it stands.
func wild(pattern, s string) bool {
	type piece struct {
		c    rune
		kind byte
	}
	var pieces []piece
	escaped := false
	for _, c := range pattern {
		switch {
		case escaped:
			pieces, escaped = append(pieces, piece{c, '='}), false
		case c == '\\':
			escaped = true
		case c == '*', c == '?':
			pieces = append(pieces, piece{c, byte(c)})
		default:
			pieces = append(pieces, piece{c, '='})
		}
	}
	if escaped {
		pieces = append(pieces, piece{'\\', '='})
	}
	text := []rune(s)
	fits := make([]bool, len(text)+1) // the pieces so far match the text so far
	fits[0] = true
	for _, p := range pieces {
		next := make([]bool, len(text)+1)
		for i := range next {
			switch p.kind {
			case '*':
				next[i] = fits[i] || i > 0 && next[i-1]
			default:
				next[i] = i > 0 && fits[i-1] && (p.kind == '?' || text[i-1] == p.c)
			}
		}
		fits = next
	}
	return fits[len(text)]
}

// pattern is a regular expression of Lucene's sort, read and matched by
// recursion: a node tells where matches may end that begin at some places.
type pattern struct {
	sound bool
	ends  ends
}

// ends takes and gives a mark for each place of a text, its end included.
type ends func(s []rune, from []bool) []bool

func (p *pattern) match(s string) bool {
	r := []rune(s)
	from := make([]bool, len(r)+1)
	from[0] = true
	return p.ends(r, from)[len(r)]
}

func regexpOf(text string) *pattern {
	rd := &patternReader{rest: []rune(text), ok: true}
	e := ends(empty) // the empty expression is the empty string
	if text != "" {
		e = rd.union()
	}
	return &pattern{sound: rd.ok && len(rd.rest) == 0, ends: e}
}

func empty(_ []rune, from []bool) []bool { return from }

// each makes ends of what tells them for one beginning.
func each(of func(s []rune, i int, mark func(j int))) ends {
	return func(s []rune, from []bool) []bool {
		out := make([]bool, len(from))
		for i, ok := range from {
			if ok {
				of(s, i, func(j int) { out[j] = true })
			}
		}
		return out
	}
}

// alone is what an expression gives for one beginning.
func alone(e ends, s []rune, i int) []bool {
	from := make([]bool, len(s)+1)
	from[i] = true
	return e(s, from)
}

func both(a, b []bool) []bool {
	out := make([]bool, len(a))
	for i := range out {
		out[i] = a[i] || b[i]
	}
	return out
}

func chain(a, b ends) ends {
	return func(s []rune, from []bool) []bool {
		from = a(s, from)
		if !slices.Contains(from, true) {
			return from
		}
		return b(s, from)
	}
}

func one(fits func(rune) bool) ends {
	return each(func(s []rune, i int, mark func(int)) {
		if i < len(s) && fits(s[i]) {
			mark(i + 1)
		}
	})
}

type patternReader struct {
	rest []rune
	ok   bool
}

func (rd *patternReader) at(c string) bool {
	return len(rd.rest) > 0 && strings.ContainsRune(c, rd.rest[0])
}

func (rd *patternReader) take(c rune) bool {
	if len(rd.rest) > 0 && rd.rest[0] == c {
		rd.rest = rd.rest[1:]
		return true
	}
	return false
}

func (rd *patternReader) next() rune {
	if len(rd.rest) == 0 {
		rd.ok = false
		return 0
	}
	c := rd.rest[0]
	rd.rest = rd.rest[1:]
	return c
}

func (rd *patternReader) union() ends {
	a := rd.intersection()
	if rd.ok && rd.take('|') {
		b := rd.union()
		return func(s []rune, from []bool) []bool { return both(a(s, from), b(s, from)) }
	}
	return a
}

func (rd *patternReader) intersection() ends {
	a := rd.sequence()
	if rd.ok && rd.take('&') {
		b := rd.intersection()
		return each(func(s []rune, i int, mark func(int)) {
			in := alone(b, s, i)
			for j, ok := range alone(a, s, i) {
				if ok && in[j] {
					mark(j)
				}
			}
		})
	}
	return a
}

func (rd *patternReader) sequence() ends {
	a := rd.repeated()
	if rd.ok && len(rd.rest) > 0 && !rd.at(")|&") {
		return chain(a, rd.sequence())
	}
	return a
}

func (rd *patternReader) repeated() ends {
	a := rd.complement()
	for rd.ok && rd.at("?*+{") {
		least, most := 0, -1
		switch rd.next() {
		case '?':
			most = 1
		case '+':
			least = 1
		case '{':
			least = rd.digits()
			most = least
			if rd.take(',') {
				most = -1
				if !rd.at("}") {
					most = rd.digits()
				}
			}
			rd.ok = rd.ok && rd.take('}') && (most < 0 || least <= most)
		}
		a = times(a, least, most)
	}
	return a
}

func times(a ends, least, most int) ends {
	return func(s []rune, from []bool) []bool {
		out := make([]bool, len(from))
		for round := 0; most < 0 || round <= most; round++ {
			if round >= least {
				more := both(out, from)
				if round > least && slices.Equal(more, out) {
					break // nothing new
				}
				out = more
			}
			from = a(s, from)
		}
		return out
	}
}

func (rd *patternReader) digits() int {
	text := ""
	for rd.at("0123456789") {
		text += string(rd.next())
	}
	n, err := strconv.Atoi(text)
	rd.ok = rd.ok && err == nil
	return n
}

func (rd *patternReader) complement() ends {
	if !rd.take('~') {
		return rd.class()
	}
	a := rd.complement()
	return each(func(s []rune, i int, mark func(int)) {
		for j, ok := range alone(a, s, i) {
			if j >= i && !ok {
				mark(j)
			}
		}
	})
}

func (rd *patternReader) class() ends {
	if !rd.take('[') {
		return rd.simple()
	}
	not := rd.take('^')
	var spans [][2]rune
	for first := true; rd.ok && (first || !rd.at("]")); first = false {
		rd.take('\\')
		lo := rd.next()
		hi := lo
		if rd.take('-') {
			if rd.at("]") {
				spans = append(spans, [2]rune{'-', '-'})
			} else {
				rd.take('\\')
				hi = rd.next()
			}
		}
		rd.ok = rd.ok && lo <= hi
		spans = append(spans, [2]rune{lo, hi})
	}
	rd.ok = rd.ok && rd.take(']')
	return one(func(c rune) bool {
		return not != slices.ContainsFunc(spans, func(p [2]rune) bool { return p[0] <= c && c <= p[1] })
	})
}

func (rd *patternReader) simple() ends {
	if !rd.ok || len(rd.rest) == 0 {
		rd.ok = false
		return empty
	}
	switch c := rd.next(); c {
	case '.':
		return one(func(rune) bool { return true })
	case '#':
		return one(func(rune) bool { return false })
	case '@':
		return each(func(s []rune, i int, mark func(int)) {
			for j := i; j <= len(s); j++ {
				mark(j)
			}
		})
	case '(':
		if rd.take(')') {
			return empty
		}
		a := rd.union()
		rd.ok = rd.ok && rd.take(')')
		return a
	case '"':
		a := ends(empty)
		for rd.ok && !rd.at(`"`) {
			want := rd.next()
			a = chain(a, one(func(c rune) bool { return c == want }))
		}
		rd.ok = rd.ok && rd.take('"')
		return a
	case '<':
		return rd.numbers()
	case '\\':
		want := rd.next()
		return one(func(c rune) bool { return c == want })
	default:
		return one(func(have rune) bool { return have == c })
	}
}

// numbers are those of an interval, with the digits of both ends when these are
// as many.
func (rd *patternReader) numbers() ends {
	before := len(rd.rest)
	lo := rd.digits()
	width := before - len(rd.rest)
	rd.ok = rd.ok && rd.take('-')
	before = len(rd.rest)
	hi := rd.digits()
	if before-len(rd.rest) != width {
		width = 0
	}
	rd.ok = rd.ok && rd.take('>')
	lo, hi = min(lo, hi), max(lo, hi)
	return each(func(s []rune, i int, mark func(int)) {
		for j := i + 1; j <= len(s) && s[j-1] >= '0' && s[j-1] <= '9'; j++ {
			n, err := strconv.Atoi(string(s[i:j]))
			if err == nil && n >= lo && n <= hi && (width == 0 || j-i == width) {
				mark(j)
			}
		}
	})
}
