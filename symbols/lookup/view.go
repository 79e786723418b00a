package lookup

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"mayday/symbols"
)

// View answers lookups over a table under one reading. It is a small value
// and safe for use from several goroutines.
type View struct {
	t       *Table
	reading symbols.Reading
}

// UnknownName stands for an empty name in the symbolicate reading.
const UnknownName = "<unknown>"

// Corrupt reports whether the file breaks the rules of the reading: in parity
// a line that the strict grammar refuses, after which nothing is found; in the
// others that lines were skipped.
func (v View) Corrupt() bool {
	if v.reading == symbols.Parity {
		return v.t.verdict.Strict != 0
	}
	return v.t.verdict.Skipped != 0
}

// Verdict says which lines of the file broke the rules.
func (v View) Verdict() symbols.Verdict { return v.t.verdict }

// unusable reports whether the reading finds nothing in the file at all.
func (v View) unusable() bool { return v.reading == symbols.Parity && v.t.verdict.Strict != 0 }

// Module is what the head of the file says.
func (v View) Module() symbols.Module { return v.t.module }

// Resolve finds what covers offset, in ids; see Location for names. It reports
// false when nothing does.
func (v View) Resolve(offset uint64, h *Hit) bool {
	switch v.reading {
	case symbols.Symbolicate:
		return offset < 1<<32 && v.t.symbolic(h, offset, v.reading)
	case symbols.Parity:
		return !v.unusable() && v.t.walker(h, offset, true)
	}
	if v.t.symbolic(h, offset, v.reading) {
		return true
	}
	return v.behind(h, offset)
}

// behind finds a PUBLIC by the walker's rules for an offset that no function
// answers for. Inside a function whose records say nothing it is the function
// that counts.
func (v View) behind(h *Hit, offset uint64) bool {
	return v.t.walker(h, offset, false)
}

// Function finds the function that covers offset, or the PUBLIC that counts
// for it.
func (v View) Function(offset uint64) (symbols.Function, bool) {
	var h Hit
	if !v.head(offset, &h) {
		return symbols.Function{}, false
	}
	return v.function(&h, nil), true
}

func (v View) function(h *Hit, s *Scratch) symbols.Function {
	name := v.trim(v.t.name(ref(h.Name), s))
	if name == "" && v.reading == symbols.Symbolicate {
		name = UnknownName
	}
	return symbols.Function{Name: name, Address: h.Address, Size: h.Size, ParamSize: h.ParamSize, Public: h.Public, Multiple: h.Multiple}
}

// Locate finds what source says about offset.
func (v View) Locate(offset uint64) (symbols.Location, bool) {
	var h Hit
	if !v.Resolve(offset, &h) {
		return symbols.Location{}, false
	}
	return v.Location(&h), true
}

// Location puts names to the ids of a hit of this view.
func (v View) Location(h *Hit) symbols.Location { return v.location(h, nil) }

// LocationIn is Location with the memory of s: what it returns may be used
// until the next call with s, and while the table is open.
func (v View) LocationIn(h *Hit, s *Scratch) symbols.Location {
	s.b, s.inlines = s.b[:0], s.inlines[:0]
	l := v.location(h, s)
	if l.Inlines != nil {
		s.inlines = l.Inlines
	}
	return l
}

func (v View) location(h *Hit, s *Scratch) symbols.Location {
	l := symbols.Location{Function: v.function(h, s)}
	if len(h.Calls) == 0 {
		l.File, l.HasFile, l.Line, l.HasLine = v.source(h.File, h.Line, h.HasLine, s)
		if v.reading == symbols.Parity && h.HasLine && l.HasFile {
			l.HasLine = true // a line 0 is printed
		}
		return l
	}
	c := h.Calls[0]
	l.File, l.HasFile, l.Line, l.HasLine = v.source(c.File, c.Line, true, s)
	if v.reading == symbols.Parity {
		l.HasLine = l.HasFile
	}
	l.Inlines = s.room(len(h.Calls))
	for i := len(h.Calls) - 1; i >= 0; i-- {
		file, line, have := h.File, h.Line, h.HasLine
		if i+1 < len(h.Calls) {
			file, line, have = h.Calls[i+1].File, h.Calls[i+1].Line, true
		}
		var in symbols.Inline
		name, known := v.t.origin(h.Calls[i].Origin, s)
		if !known && v.reading == symbols.Parity {
			continue
		}
		in.Function = v.trim(name)
		in.File, in.HasFile, in.Line, in.HasLine = v.source(file, line, have, s)
		if v.reading == symbols.Parity && have { // its line is printed without a file too
			in.Line, in.HasLine = line, line != 0 || i+1 < len(h.Calls)
		}
		l.Inlines = append(l.Inlines, in)
	}
	return l
}

// trim cuts the blanks behind a text, which symbolic does not see.
func (v View) trim(text string) string {
	if v.reading != symbols.Symbolicate {
		return text
	}
	return strings.TrimRightFunc(text, unicode.IsSpace)
}

// source puts names to a file and line; the line counts only if the file is
// known and it is not 0.
func (v View) source(file, line uint32, have bool, s *Scratch) (string, bool, uint32, bool) {
	if !have {
		return "", false, 0, false
	}
	at, ok := v.t.files.get(&v.t.store, uint64(file))
	if !ok {
		return "", false, 0, false
	}
	name := v.trim(v.t.name(ref(at), s))
	if v.reading == symbols.Symbolicate {
		if name = symbols.NormalizePath(name); name == "" {
			return "", false, 0, false
		}
	}
	return name, true, line, line != 0
}

// origin is the name of an INLINE_ORIGIN record. In the old form a file number
// stands before it.
func (t *Table) origin(id uint32, s *Scratch) (string, bool) {
	at, ok := t.origins.get(&t.store, uint64(id))
	if !ok {
		return "", false
	}
	name := t.name(ref(at), s)
	if t.oldInlines {
		name = WithoutFile(name)
	}
	return name, true
}

// WithoutFile cuts the file number before the name of an origin.
func WithoutFile(name string) string {
	if n, rest, ok := strings.Cut(name, " "); ok && strings.Trim(n, "-0123456789") == "" {
		return rest
	}
	return name
}

// CFI finds the STACK CFI records that cover offset.
func (v View) CFI(offset uint64) (symbols.CFI, bool) {
	if v.unusable() {
		return symbols.CFI{}, false
	}
	return v.t.cfiAt(offset, v.reading == symbols.Parity)
}

// Win finds the STACK WIN records that cover offset.
func (v View) Win(offset uint64) (symbols.Win, bool) {
	if v.unusable() {
		return symbols.Win{}, false
	}
	w := symbols.Win{FPO: v.t.winAt(0, offset), FrameData: v.t.winAt(1, offset)}
	return w, w.FPO != nil || w.FrameData != nil
}

// HasWin reports whether the file has STACK WIN records of use.
func (v View) HasWin() bool {
	return !v.unusable() && v.t.win[0].count+v.t.win[1].count > 0
}

// HasUnwind reports whether the file says anything about how to leave functions.
func (v View) HasUnwind() bool { return v.HasWin() || !v.unusable() && v.t.cfi.count > 0 }

// cfiRow is a STACK CFI record of an open range.
type cfiRow struct {
	at   uint64
	rule string
}

// sortRows puts rows in the order of their addresses, which is that of the
// file but for odd writers.
func sortRows(rows []cfiRow, byText bool) {
	slices.SortStableFunc(rows, func(a, b cfiRow) int {
		c := cmp.Compare(a.at, b.at)
		if c == 0 && byText {
			c = cmp.Compare(a.rule, b.rule)
		}
		return c
	})
}
