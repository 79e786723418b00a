// Package text finds values by their words.
//
// Words are those of Lucene's standard analyzer, which Super Search was built
// on: the words of Unicode Standard Annex 29, lower-cased, at most 255
// characters each. An Index is an inverted index over the distinct values of
// one segment's dictionaries: it names values, not crashes, is built with the
// segment and never changes.
//
// It does not score, stem or fold accents.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/segment"
)

// maxWord is where Lucene cuts a word, in UTF-16 units.
const maxWord = 255

// Words calls yield with each word of s, lower-cased, in order, until it
// returns false.
func Words(s string, yield func(word string) bool) {
	if isASCII(s) {
		wordsASCII(s, yield)
		return
	}
	parts, kinds, _, err := segment.SegmentWordsDirect([]byte(s), nil, nil)
	if err != nil { // the segmenter knows no errors for bytes at hand
		return
	}
	at, rest := 0, 0 // where this part begins; where the run of parts that are no words began
	for i, part := range parts {
		if kinds[i] != segment.None {
			word := string(part)
			if !loose(s[rest:at], yield) || strings.Trim(word, "_") != "" && !emit(word, yield) {
				return
			}
			rest = at + len(part)
		}
		at += len(part)
	}
	loose(s[rest:at], yield)
}

// Split lists the words of s.
func Split(s string) []string {
	var out []string
	Words(s, func(w string) bool { out = append(out, w); return true })
	return out
}

// Tokens lists the words of a semicolon-separated value: lower-cased, empty
// ones dropped.
func Tokens(s string) []string {
	var out []string
	for _, t := range strings.Split(s, ";") {
		if t != "" {
			out = append(out, Lower(t))
		}
	}
	return out
}

// Lower lower-cases code point by code point, as Lucene does.
func Lower(s string) string { return strings.Map(unicode.ToLower, s) }

// emit lower-cases a word and cuts it as Lucene does.
func emit(word string, yield func(string) bool) bool {
	word = Lower(word)
	for len(word) > maxWord {
		n := 0
		cut := len(word)
		for i, r := range word {
			size := 1
			if r >= 1<<16 {
				size = 2
			}
			if n += size; n > maxWord {
				cut = i
				break
			}
		}
		if cut == len(word) {
			break
		}
		if !yield(word[:cut]) {
			return false
		}
		word = word[cut:]
	}
	return yield(word)
}

// loose gives the words that the segmenter's tables do not call words but
// Lucene does: runs of the South-East Asian scripts that are written without
// blanks, and emoji.
func loose(s string, yield func(string) bool) bool {
	start := -1
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		asian := unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
		if start >= 0 && !asian && !unicode.Is(unicode.Mn, r) {
			if !emit(s[start:i], yield) {
				return false
			}
			start = -1
		}
		if asian && start < 0 {
			start = i
		}
		if start < 0 && isEmoji(r) && !yield(s[i:i+size]) {
			return false
		}
		i += size
	}
	if start >= 0 {
		return emit(s[start:], yield)
	}
	return true
}

func isEmoji(r rune) bool {
	return r >= 0x1F300 && r <= 0x1FAFF || r >= 0x2600 && r <= 0x27BF && unicode.Is(unicode.So, r)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// The classes of ASCII characters in Annex 29; everything else ends a word.
const (
	other  byte = iota
	letter      // ALetter
	digit       // Numeric
	under       // ExtendNumLet
	midLetter
	midNum
	midBoth
)

var class = func() (t [128]byte) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = letter, letter
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	t['_'], t[':'], t[','], t[';'], t['.'], t['\''] = under, midLetter, midNum, midNum, midBoth, midBoth
	return t
}()

// wordsASCII is Annex 29 for ASCII, where it needs two characters of context.
// Signatures and frames are nearly always ASCII, and this is ten times as fast
// as the tables.
func wordsASCII(s string, yield func(string) bool) {
	for i := 0; i < len(s); {
		if k := class[s[i]]; k != letter && k != digit && k != under {
			i++
			continue
		}
		start, solid, upper := i, false, false
		for i < len(s) {
			k := class[s[i]]
			switch {
			case k == letter || k == digit:
				solid = true
				upper = upper || s[i] >= 'A' && s[i] <= 'Z'
			case k == under:
			case i > start && i+1 < len(s) && joins(class[s[i-1]], k, class[s[i+1]]):
			default:
				goto end
			}
			i++
		}
	end:
		if !solid {
			continue
		}
		word := s[start:i]
		if upper || len(word) > maxWord {
			if !emit(word, yield) {
				return
			}
		} else if !yield(word) {
			return
		}
	}
}

// joins says whether a mark between two characters keeps them in one word.
func joins(before, mark, after byte) bool {
	switch mark {
	case midLetter:
		return before == letter && after == letter
	case midNum:
		return before == digit && after == digit
	case midBoth:
		return before == after && (before == letter || before == digit)
	}
	return false
}
