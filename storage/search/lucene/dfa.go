// Package lucene matches Lucene's regular expressions and wildcards.
//
// The syntax is that of Lucene's RegExp class with every optional operator: a
// pattern covers the whole value (there are no anchors), "." is any character,
// and ~ (complement), & (both), <n-m> (numbers), @ (anything), # (nothing),
// "..." (as it stands), \d \w \s and their capitals are live. Go's package
// regexp reads many of these patterns with another meaning.
//
// A pattern is a tree of shared nodes; its automaton is built state by state
// while it runs, each state being a Brzozowski derivative of the tree. Matching
// is one table look-up a character. Trees, states and patterns are bounded: a
// pattern past the bounds is refused, at compile time or, with Err, after a
// match.
package lucene

import (
	"sort"
	"unicode/utf8"

	"mayday/app/fault"
)

// Bounds. maxStates is Elasticsearch's max_determinized_states, maxPattern its
// max_regex_length; maxNodes keeps the trees behind the states within 50 MB.
const (
	maxStates  = 10_000
	maxPattern = 1_000
	maxNodes   = 400_000
)

// State is a state of an automaton; Dead accepts nothing, whatever follows.
type State int32

// Dead is the state from which nothing matches.
const Dead State = 0

const unknown State = -1

// DFA is a compiled pattern. It grows while it matches, so it serves one
// goroutine at a time.
type DFA struct {
	tree    tree
	bounds  []rune // class i holds the runes from bounds[i] up to bounds[i+1]
	ascii   [utf8.RuneSelf]int32
	classes int
	table   []State // state × class
	nodes   []int32 // per state
	accept  []bool
	all     []bool // accepts everything from here on
	states  map[int32]State
	start   State
	err     error
}

// Regexp compiles a Lucene regular expression.
func Regexp(pattern string) (*DFA, error) {
	if n := utf8.RuneCountInString(pattern); n > maxPattern {
		return nil, fault.New(fault.Invalid, "regular expression of %d characters: at most %d", n, maxPattern)
	}
	p := parser{src: []rune(pattern), t: newTree()}
	root, err := p.parse()
	if err != nil {
		return nil, fault.Wrap(err, "regular expression %q", pattern)
	}
	return build(p.t, root)
}

// Wildcard compiles a pattern in which * is any text, ? any character and \
// takes the next character as it stands.
func Wildcard(pattern string) (*DFA, error) {
	if n := utf8.RuneCountInString(pattern); n > maxPattern {
		return nil, fault.New(fault.Invalid, "wildcard pattern of %d characters: at most %d", n, maxPattern)
	}
	t := newTree()
	root := eps
	runes := []rune(pattern)
	var list []int32
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case c == '*':
			list = append(list, t.all)
		case c == '?':
			list = append(list, t.any)
		default:
			if c == '\\' && i+1 < len(runes) {
				i++
			}
			list = append(list, t.char(runes[i]))
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		root = t.concat(list[i], root)
	}
	return build(t, root)
}

// Literal unescapes a wildcard pattern that has no live * or ?.
func Literal(pattern string) (string, bool) {
	out := make([]byte, 0, len(pattern))
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*' || c == '?':
			return "", false
		case c == '\\' && i+1 < len(pattern):
			i++
			out = append(out, pattern[i])
		default:
			out = append(out, c)
		}
	}
	return string(out), true
}

func build(t *tree, root int32) (*DFA, error) {
	d := &DFA{tree: *t, states: map[int32]State{}}
	d.alphabet()
	d.state(none) // Dead
	d.start = d.state(root)
	if d.err == nil {
		d.err = d.tree.err
	}
	return d, d.err
}

// alphabet cuts the code points into classes that no node tells apart.
func (d *DFA) alphabet() {
	set := map[rune]bool{0: true}
	for _, n := range d.tree.nodes {
		for i := 0; i+1 < len(n.ranges); i += 2 {
			set[n.ranges[i]] = true
			set[n.ranges[i+1]+1] = true
		}
	}
	for r := range set {
		if r <= utf8.MaxRune {
			d.bounds = append(d.bounds, r)
		}
	}
	sort.Slice(d.bounds, func(i, j int) bool { return d.bounds[i] < d.bounds[j] })
	d.classes = len(d.bounds)
	for c := range d.ascii {
		d.ascii[c] = int32(d.class(rune(c)))
	}
}

func (d *DFA) class(r rune) int {
	return sort.Search(len(d.bounds), func(i int) bool { return d.bounds[i] > r }) - 1
}

// state gives the state of a node, a new one if need be; Dead past the bounds.
func (d *DFA) state(node int32) State {
	if s, ok := d.states[node]; ok {
		return s
	}
	if len(d.nodes) >= maxStates || d.tree.err != nil {
		d.err = errComplex
		return Dead
	}
	s := State(len(d.nodes))
	d.states[node] = s
	d.nodes = append(d.nodes, node)
	d.accept = append(d.accept, d.tree.nodes[node].nullable)
	d.all = append(d.all, node == d.tree.all)
	for range d.classes {
		d.table = append(d.table, unknown)
	}
	return s
}

var errComplex = fault.New(fault.Invalid, "pattern is too complex: more than %d states", maxStates)

// Start is the state before the first character.
func (d *DFA) Start() State { return d.start }

// Accept says whether the text read so far matches.
func (d *DFA) Accept(s State) bool { return d.accept[s] }

// Err is not nil when the automaton outgrew its bounds; matches since then
// are not to be trusted.
func (d *DFA) Err() error { return d.err }

// Settled says whether no text to come can change what Accept says.
func (d *DFA) Settled(s State) bool { return s == Dead || d.all[s] }

// Step reads text from a state on. It must end at a character's end.
func (d *DFA) Step(s State, text []byte) State {
	if d.Settled(s) {
		return s
	}
	row := int(s) * d.classes
	for i := 0; i < len(text); {
		var class int
		if c := text[i]; c < utf8.RuneSelf {
			class = int(d.ascii[c])
			i++
		} else {
			r, size := utf8.DecodeRune(text[i:])
			class = d.class(r)
			i += size
		}
		next := d.table[row+class]
		if next == s {
			continue
		}
		if next == unknown {
			next = d.next(s, class)
		}
		if s = next; d.Settled(s) {
			return s
		}
		row = int(s) * d.classes
	}
	return s
}

func (d *DFA) next(s State, class int) State {
	next := d.state(d.tree.derive(d.nodes[s], d.bounds[class]))
	if d.tree.err != nil {
		d.err = errComplex
		return Dead
	}
	d.table[int(s)*d.classes+class] = next
	return next
}

// Match says whether the whole text matches.
func (d *DFA) Match(text []byte) bool { return d.accept[d.Step(d.start, text)] }
