package pattern

// automaton finds any of several words anywhere in the first line of a text,
// in one pass (the method of Aho and Corasick, as a table). A word may have
// further words that must follow it; if they do not follow its first place,
// they follow no other, so each such word is tried once.
type automaton struct {
	sequences [][]string
	loose     [][]string // sequences looked for one by one
	class     [256]uint8 // column of a byte; 0: in no word
	columns   int
	next      []uint16 // state*columns + column
	bits      []uint8  // by sequence of several words: its bit
	accept    [][]int  // by state: the sequences whose first word ends here
}

// Bounds of the table: what is beyond them is looked for one by one.
const (
	maxStates  = 1 << 14
	maxSeveral = 64 // sequences of several words: one bit each
)

func (a *automaton) add(words []string) {
	states, several := len(words[0])+1, 0
	for _, s := range a.sequences {
		states += len(s[0])
		if len(s) > 1 {
			several++
		}
	}
	if states > maxStates || several == maxSeveral && len(words) > 1 {
		a.loose = append(a.loose, words)
		return
	}
	a.sequences = append(a.sequences, words)
}

// empty reports whether nothing was added.
func (a *automaton) empty() bool { return len(a.sequences)+len(a.loose) == 0 }

func (a *automaton) match(s string) bool {
	for _, words := range a.loose {
		if hasWords(s, words) {
			return true
		}
	}
	if len(a.accept) == 0 {
		return false
	}
	state, tried := 0, uint64(0)
	for i := 0; i < len(s); i++ {
		if s[i] == '\n' {
			return false
		}
		state = int(a.next[state*a.columns+int(a.class[s[i]])])
		if a.accept[state] == nil {
			continue
		}
		for _, k := range a.accept[state] {
			bit := uint64(1) << a.bits[k]
			if len(a.sequences[k]) == 1 {
				return true
			}
			if tried&bit == 0 && hasWords(s[i+1:], a.sequences[k][1:]) {
				return true
			}
			tried |= bit
		}
	}
	return false
}

// build makes the table. The first words are put into a trie, then each state
// is given the steps of the longest suffix of it that is a state, too.
func (a *automaton) build() {
	if len(a.sequences) == 0 {
		return
	}
	a.bits = make([]uint8, len(a.sequences))
	several := uint8(0)
	for k, w := range a.sequences {
		if len(w) > 1 {
			a.bits[k] = several
			several++
		}
	}
	a.columns = 1
	for _, w := range a.sequences {
		for i := 0; i < len(w[0]); i++ {
			if c := w[0][i]; a.class[c] == 0 {
				a.class[c] = uint8(a.columns)
				a.columns++
			}
		}
	}
	a.newState()
	for k, w := range a.sequences {
		state := 0
		for i := 0; i < len(w[0]); i++ {
			at := state*a.columns + int(a.class[w[0][i]])
			if a.next[at] == 0 {
				s := a.newState() // may move the table
				a.next[at] = uint16(s)
			}
			state = int(a.next[at])
		}
		a.accept[state] = append(a.accept[state], k)
	}
	a.link()
}

func (a *automaton) newState() int {
	a.next = append(a.next, make([]uint16, a.columns)...)
	a.accept = append(a.accept, nil)
	return len(a.accept) - 1
}

func (a *automaton) link() {
	suffix := make([]int, len(a.accept))
	var queue []int
	for c := 0; c < a.columns; c++ {
		if s := int(a.next[c]); s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		a.accept[state] = append(a.accept[state], a.accept[suffix[state]]...)
		for c := 0; c < a.columns; c++ {
			shorter := a.next[suffix[state]*a.columns+c]
			at := state*a.columns + c
			if s := int(a.next[at]); s != 0 {
				suffix[s] = int(shorter)
				queue = append(queue, s)
			} else {
				a.next[at] = shorter
			}
		}
	}
}
