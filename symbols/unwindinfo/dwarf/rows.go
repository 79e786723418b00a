package dwarf

import (
	"iter"
	"strings"

	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo/rule"
)

// Row is what the table says of code from Offset on, up to the next row.
type Row struct {
	Offset uint64
	// Rules are all rules in force, as those of a STACK CFI INIT record.
	Rules string
}

// maxProbed bounds how much code of a table is looked at byte by byte. Rows
// whose rules depend on the instruction pointer are those of .plt, of 16 bytes for
// each function that is called; other rows with expressions are few.
const maxProbed = 16 << 20

// The limits on what a table may say of one piece of code, where tens of rows are
// many, and on the work that its bytes may ask for: entries are to be run with
// the instructions that they share, and each row has a rule for each register.
const (
	maxRowText  = 1 << 20
	workPerByte = 16
	leastWork   = 32 << 20
	probeWork   = 16 // of a row with an expression, and bytes that work with one copies per unit
)

// All yields the rows of each entry, with the code that it describes. What
// cannot be put as rules ends an entry early.
func (f *Frames) All() iter.Seq2[executable.Range, []Row] {
	return func(yield func(executable.Range, []Row) bool) {
		f.once.Do(f.scan)
		left := effort{probes: maxProbed, work: leastWork + workPerByte*int(min(f.size, maxFrameTable))}
		for _, e := range f.index {
			d, ok := f.fde(e.offset, nil)
			if !ok || d.end <= d.start || d.start < f.image.Base {
				continue
			}
			rows := f.rows(&d, &left)
			if left.work < 0 {
				return
			}
			if len(rows) > 0 && !yield(executable.Range{Offset: d.start - f.image.Base, Size: d.end - d.start}, rows) {
				return
			}
		}
	}
}

// effort is what may still be done for a table: rows looked at byte by byte, and
// work in all.
type effort struct{ probes, work int }

// rows runs the instructions of an entry and collects the rows.
func (f *Frames) rows(d *fde, left *effort) (rows []Row) {
	m := newProgram(f.image, &d.cie, rule.Query{Innermost: true})
	last, broken, size := d.start, false, 0
	left.work -= len(d.cie.program) + len(d.program)
	add := func(start, end uint64) {
		if start < last || end < start {
			broken = true // it went around the end of the address space
			return
		}
		last = end
		for at := start; at < end && at < d.end && !broken; at++ {
			m.query.Offset, m.placed = at-f.image.Base, false
			text, ok := m.text(d.signal)
			// Each operation of an expression copies what came out so far.
			cost := 1 + len(m.state.columns) + len(text)/probeWork + len(m.state.expression)*len(text)/probeWork
			for _, c := range m.state.columns {
				cost += len(c.expression) * len(text) / probeWork
			}
			if left.work -= cost; !ok || left.work < 0 {
				broken = true
				return
			}
			if n := len(rows); n == 0 || rows[n-1].Rules != text {
				if size += len(text); size > maxRowText {
					broken = true
					return
				}
				rows = append(rows, Row{m.query.Offset, text})
			}
			if m.state.expression == nil || !m.placed {
				return // the same for all of the row
			}
			left.work -= probeWork
			if left.probes--; left.probes <= 0 {
				return
			}
		}
	}
	if !m.run(d.cie.program, ^uint64(0), d.start) {
		return nil
	}
	m.initial = m.state.clone()
	m.passed = add
	if m.run(d.program, ^uint64(0), d.start) && !broken {
		add(last, d.end)
	}
	return rows
}

// Split takes the rules of a record apart: the register and its expression, in
// turn.
func Split(rules string) []string {
	all := make([]string, 0, 8) // two rules and the frame pointer's, mostly
	value := -1                 // where the expression begins, -1 before the first
	for at := 0; at < len(rules); {
		end := len(rules)
		if i := strings.IndexByte(rules[at:], ' '); i >= 0 {
			end = at + i
		}
		if word := rules[at:end]; strings.HasSuffix(word, ":") {
			if value >= 0 {
				all = append(all, strings.TrimSpace(rules[value:at]))
			}
			all, value = append(all, word[:len(word)-1]), end
		}
		at = end + 1
	}
	if value >= 0 {
		all = append(all, strings.TrimSpace(rules[min(value, len(rules)):]))
	}
	return all
}
