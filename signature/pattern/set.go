package pattern

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Set says whether any entry of a list matches the start of a frame. Most
// entries are plain text, which a trie of prefixes answers; entries like
// ".*abort" go into one automaton that looks for all of them at once; the rest
// are regular expressions, tried only where the text they begin with is there.
type Set struct {
	// All is set for an empty list: the empty expression matches everything.
	All    bool
	starts trie
	within automaton
	rest   []*regexp.Regexp
}

// Match reports whether an entry matches at the start of s.
func (m *Set) Match(s string) bool {
	if m.All || m.starts.match(s) || m.within.match(s) {
		return true
	}
	for _, re := range m.rest {
		if re.MatchString(s) {
			return true
		}
	}
	return false
}

// MayMatch is false when nothing that starts with b matches.
func (m *Set) MayMatch(b byte) bool {
	return m.All || m.starts.root[b] != 0 || !m.within.empty() || len(m.rest) > 0
}

// NewSet joins the entries of a list.
func NewSet(entries []Entry) *Set {
	m := &Set{All: len(entries) == 0}
	for i := range entries {
		m.add(&entries[i])
	}
	m.within.build()
	return m
}

func (m *Set) add(e *Entry) {
	if e.re != nil && e.lead == "" {
		m.rest = append(m.rest, e.re)
		return
	}
	if e.re != nil {
		m.starts.insert(e.lead, check{re: e.re})
		return
	}
	for _, s := range e.sequences {
		switch {
		case len(s.words) == 0:
			m.All = true
		case !s.anchored:
			m.within.add(s.words)
		default:
			m.starts.insert(s.words[0], check{exact: s.end, words: s.words[1:]})
		}
	}
}

// sequence is an expression of the form word.*word.*word: the words in order,
// with no newline between them. Anchored means that the first word stands at
// the start, end that the last stands at the end.
type sequence struct {
	anchored bool
	end      bool
	words    []string
}

func (q *sequence) matches(s string) bool {
	if q.anchored && len(q.words) > 0 {
		if !strings.HasPrefix(s, q.words[0]) {
			return false
		}
		c := check{exact: q.end, words: q.words[1:]}
		return c.holds(s, len(q.words[0]))
	}
	return hasWords(s, q.words)
}

// maxSequences bounds how many alternatives an expression is spread into.
const maxSequences = 64

// piece is one step of an expression: a text, any number of characters, or the
// end of the text.
type piece struct {
	kind pieceKind
	text string
}

type pieceKind uint8

const (
	textPiece pieceKind = iota
	anyPiece
	beginPiece
	endPiece
)

// sequencesOf spreads an expression into sequences; ok is false when it is
// not of that form.
func sequencesOf(re *syntax.Regexp) ([]sequence, bool) {
	alts, ok := spread(re)
	if !ok {
		return nil, false
	}
	out := make([]sequence, 0, len(alts))
	for _, pieces := range alts {
		s, ok := sequenceOf(pieces)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

func sequenceOf(pieces []piece) (sequence, bool) {
	s := sequence{anchored: true}
	gap, newline := false, false
	for i, p := range pieces {
		if s.end {
			return s, false // something after the end
		}
		switch p.kind {
		case beginPiece:
			if i > 0 {
				return s, false
			}
		case anyPiece:
			gap = true
			if len(s.words) == 0 {
				s.anchored = false
			}
		case endPiece:
			s.end = true
		case textPiece:
			newline = newline || strings.Contains(p.text, "\n")
			if n := len(s.words); n > 0 && pieces[i-1].kind == textPiece {
				s.words[n-1] += p.text
			} else {
				s.words = append(s.words, p.text)
			}
		}
	}
	// Gaps end at a newline and the end must be the end: left to regexp.
	if gap && (s.end || newline) {
		return s, false
	}
	// Nothing but the end: a rarity left to regexp, too.
	return s, len(s.words) > 0 || !s.end
}

// spread lists the alternatives of an expression as pieces. Expressions are
// lines of a list, whose length is limited, and regexp/syntax limits how deep
// they nest.
func spread(re *syntax.Regexp) ([][]piece, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return [][]piece{{}}, true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return nil, false
		}
		return [][]piece{{{text: string(re.Rune)}}}, true
	case syntax.OpCharClass:
		return spreadClass(re)
	case syntax.OpBeginText:
		return [][]piece{{{kind: beginPiece}}}, true
	case syntax.OpEndText:
		return [][]piece{{{kind: endPiece}}}, true
	case syntax.OpStar:
		if re.Sub[0].Op == syntax.OpAnyCharNotNL {
			return [][]piece{{{kind: anyPiece}}}, true
		}
	case syntax.OpCapture:
		return spread(re.Sub[0])
	case syntax.OpQuest:
		alts, ok := spread(re.Sub[0])
		return append(alts, []piece{}), ok
	case syntax.OpAlternate:
		var out [][]piece
		for _, sub := range re.Sub {
			alts, ok := spread(sub)
			if !ok || len(out)+len(alts) > maxSequences {
				return nil, false
			}
			out = append(out, alts...)
		}
		return out, true
	case syntax.OpConcat:
		return spreadConcat(re)
	}
	return nil, false
}

func spreadClass(re *syntax.Regexp) ([][]piece, bool) {
	var out [][]piece
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if len(out) == maxSequences/4 {
				return nil, false
			}
			out = append(out, []piece{{text: string(r)}})
		}
	}
	return out, len(out) > 0
}

func spreadConcat(re *syntax.Regexp) ([][]piece, bool) {
	out := [][]piece{{}}
	for _, sub := range re.Sub {
		alts, ok := spread(sub)
		if !ok || len(out)*len(alts) > maxSequences {
			return nil, false
		}
		next := make([][]piece, 0, len(out)*len(alts))
		for _, a := range out {
			for _, b := range alts {
				next = append(next, append(a[:len(a):len(a)], b...))
			}
		}
		out = next
	}
	return out, true
}

// check is what must hold beyond a prefix: nothing, the end, further words in
// order, or an expression over the whole text.
type check struct {
	exact bool
	words []string
	re    *regexp.Regexp
}

func (c *check) holds(s string, at int) bool {
	switch {
	case c.re != nil:
		return c.re.MatchString(s)
	case c.exact:
		return at == len(s)
	}
	return hasWords(s[at:], c.words)
}

// hasWords reports whether the words follow each other within the first line
// of s.
func hasWords(s string, words []string) bool {
	if len(words) == 0 {
		return true
	}
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	for _, w := range words {
		i := strings.Index(s, w)
		if i < 0 {
			return false
		}
		s = s[i+len(w):]
	}
	return true
}

// trie finds which of many prefixes a text has.
type trie struct {
	root  [256]int32 // node by first byte; 0: none
	nodes []node     // node 0 is not used
}

type node struct {
	label  string // the bytes of this node
	final  bool   // a prefix ends here and asks for nothing more
	checks []check
	first  string // the first bytes of the nodes below, and their numbers
	below  []int32
}

func (t *trie) match(s string) bool {
	if s == "" {
		return false
	}
	at := 0
	for i := t.root[s[0]]; i != 0; {
		n := &t.nodes[i]
		if !strings.HasPrefix(s[at:], n.label) {
			return false
		}
		if n.final {
			return true
		}
		at += len(n.label)
		for k := range n.checks {
			if n.checks[k].holds(s, at) {
				return true
			}
		}
		if at == len(s) {
			return false
		}
		k := strings.IndexByte(n.first, s[at])
		if k < 0 {
			return false
		}
		i = n.below[k]
	}
	return false
}

func (t *trie) newNode(label string) int32 {
	if len(t.nodes) == 0 {
		t.nodes = append(t.nodes, node{})
	}
	t.nodes = append(t.nodes, node{label: label})
	return int32(len(t.nodes) - 1)
}

// insert adds a prefix that is not empty.
func (t *trie) insert(prefix string, c check) {
	i := t.root[prefix[0]]
	if i == 0 {
		i = t.newNode(prefix)
		t.root[prefix[0]] = i
		t.end(i, c)
		return
	}
	for {
		common := commonPrefix(t.nodes[i].label, prefix)
		if common < len(t.nodes[i].label) {
			t.split(i, common)
		}
		prefix = prefix[common:]
		if prefix == "" {
			t.end(i, c)
			return
		}
		k := strings.IndexByte(t.nodes[i].first, prefix[0])
		if k < 0 {
			j := t.newNode(prefix)
			t.nodes[i].first += prefix[:1]
			t.nodes[i].below = append(t.nodes[i].below, j)
			t.end(j, c)
			return
		}
		i = t.nodes[i].below[k]
	}
}

func (t *trie) end(i int32, c check) {
	if !c.exact && c.re == nil && len(c.words) == 0 {
		t.nodes[i].final = true
		return
	}
	t.nodes[i].checks = append(t.nodes[i].checks, c)
}

// split cuts a node's label after n bytes; the rest becomes a node below.
func (t *trie) split(i int32, n int) {
	j := t.newNode(t.nodes[i].label[n:])
	old := t.nodes[i]
	t.nodes[j].final, t.nodes[j].checks = old.final, old.checks
	t.nodes[j].first, t.nodes[j].below = old.first, old.below
	t.nodes[i] = node{label: old.label[:n], first: old.label[n : n+1], below: []int32{j}}
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
