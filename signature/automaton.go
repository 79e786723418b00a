package signature

// automaton finds any of several words anywhere in the first line of a text,
// in one pass (the method of Aho and Corasick, as a table). A word may have
// further words that must follow it.
type automaton struct {
	sequences [][]string
	class     [256]uint8 // column of a byte; 0: in no word; lineEnd: newline
	columns   int
	next      []uint16 // state*columns + column
	accept    [][]int  // by state: the sequences whose first word ends here
}

func (a *automaton) add(words []string) { a.sequences = append(a.sequences, words) }

// maxStates bounds the table: beyond it, words are looked for one by one.
const maxStates = 1 << 14

func (a *automaton) match(s string) bool {
	if len(a.accept) == 0 {
		return a.slow(s)
	}
	state := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '\n' {
			return false
		}
		state = int(a.next[state*a.columns+int(a.class[s[i]])])
		if a.accept[state] == nil {
			continue
		}
		for _, k := range a.accept[state] {
			if hasWords(s[i+1:], a.sequences[k][1:]) {
				return true
			}
		}
	}
	return false
}

func (a *automaton) slow(s string) bool {
	for _, words := range a.sequences {
		if hasWords(s, words) {
			return true
		}
	}
	return false
}

// build makes the table. The first words are put into a trie, then each state
// is given the steps of the longest suffix of it that is a state, too.
func (a *automaton) build() {
	total := 1
	for _, w := range a.sequences {
		total += len(w[0])
	}
	if len(a.sequences) == 0 || total > maxStates {
		return
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
