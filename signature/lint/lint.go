// Package lint looks for mistakes in signature lists: entries that never act,
// that another entry covers, that no frame looks like, metacharacters that were
// meant as text. It judges by what the matcher and the normaliser really do, not
// by the look of an entry.
package lint

import (
	"bytes"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"unicode"

	"mayday/signature"
	"mayday/signature/frame"
	"mayday/signature/pattern"
)

// Code names a kind of finding.
type Code string

// The findings, in the order of a summary.
const (
	Broken      Code = "broken"             // does not compile, or cannot be supported
	ByteOrder   Code = "bom"                // a byte order mark makes the first line another one
	LineEnds    Code = "crlf"               // lines end as on Windows
	EmptyList   Code = "empty-list"         // matches everything
	MatchesAll  Code = "matches-all"        // the entry matches everything
	InBoth      Code = "in-both"            // the same entry is in the irrelevant list
	Shadowed    Code = "shadowed"           // the irrelevant list matches all that it matches
	Unreachable Code = "unreachable"        // no normalised frame looks like that
	Covered     Code = "covered"            // another entry of the list matches all that it matches
	CoveredRE   Code = "covered-expression" // the same of an entry that is no plain text
	Duplicate   Code = "duplicate"          // the same entry again
	Meta        Code = "metacharacters"     // unescaped, and most likely meant as text
	Trailing    Code = "trailing"           // .* at the end does nothing
	NeverShows  Code = "never-shows"        // a sentinel that is itself irrelevant
	Order       Code = "order"              // not in alphabetical order
)

// Codes lists the kinds of findings in the order of a summary.
func Codes() []Code {
	return []Code{Broken, ByteOrder, LineEnds, EmptyList, MatchesAll, InBoth, Shadowed, Unreachable, Covered, CoveredRE, Duplicate, Meta, Trailing, NeverShows, Order}
}

// Advice reports whether findings of the code are a matter of taste, which
// leaves the lists in order.
func (c Code) Advice() bool { return c == Order || c == NeverShows }

// Finding is something that Check found.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Code, f.Text)
}

// Check looks for mistakes in the four lists at the top of fsys. An entry may
// be found at fault more than once: one that is in both lists is shadowed, too,
// and a duplicate is covered. The findings come by file and line.
func Check(fsys fs.FS) ([]Finding, error) {
	l := linter{lists: map[string][]pattern.Entry{}}
	for _, name := range signature.ListNames() {
		data, err := pattern.Read(fsys, name+".txt")
		if err != nil {
			return nil, err
		}
		l.read(name, data)
	}
	l.irrelevant = pattern.NewSet(l.lists[signature.IrrelevantList])
	if len(l.lists[signature.IrrelevantList]) == 0 {
		l.irrelevant = &pattern.Set{} // an empty list is one finding, not one for each entry
	}
	for _, name := range []string{signature.IrrelevantList, signature.PrefixList, signature.LineNumbersList} {
		l.expressions(name)
	}
	l.shadowed()
	l.sentinels()
	sort.SliceStable(l.found, func(i, j int) bool {
		a, b := l.found[i], l.found[j]
		return a.File < b.File || a.File == b.File && a.Line < b.Line
	})
	return l.found, nil
}

type linter struct {
	lists      map[string][]pattern.Entry
	irrelevant *pattern.Set
	found      []Finding
}

func (l *linter) add(list string, line int, code Code, format string, args ...any) {
	l.found = append(l.found, Finding{File: list + ".txt", Line: line, Code: code, Text: fmt.Sprintf(format, args...)})
}

// read looks at the file as such.
func (l *linter) read(name string, data []byte) {
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		l.add(name, 1, ByteOrder, "the file begins with a byte order mark, which becomes part of the first line")
	}
	if i := bytes.Index(data, []byte("\r\n")); i >= 0 {
		l.add(name, 1+bytes.Count(data[:i], []byte("\n")), LineEnds, "lines end in CR LF")
	}
	entries, problems := pattern.Parse(data)
	for _, p := range problems {
		l.add(name, p.Line, Broken, "%s", p.Text)
	}
	if len(entries) == 0 && len(problems) == 0 {
		l.add(name, 1, EmptyList, "a list without entries matches everything")
	}
	l.lists[name] = entries
	l.order(name, data, entries)
}

// order compares neighbours, without regard to case, escapes and what is
// neither letter nor digit in front. A comment or an empty line begins a new
// group.
func (l *linter) order(name string, data []byte, entries []pattern.Entry) {
	lines := bytes.Split(data, []byte("\n"))
	for i := 1; i < len(entries); i++ {
		a, b := entries[i-1], entries[i]
		apart := false
		for n := a.Line; n < b.Line-1; n++ {
			apart = apart || len(lines[n]) > 0
		}
		if apart || b.Line-a.Line > 1 {
			continue
		}
		if orderKey(a.Text) > orderKey(b.Text) {
			l.add(name, b.Line, Order, "%q stands after %q", b.Text, a.Text)
		}
	}
}

func orderKey(text string) string {
	text = strings.TrimPrefix(text, ".*")
	text = strings.ReplaceAll(text, `\`, "")
	text = strings.TrimLeftFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.ToLower(text)
}

// all reports whether match holds for all samples, of which there is one.
func all(samples []string, match func(string) bool) bool {
	for _, s := range samples {
		if !match(s) {
			return false
		}
	}
	return len(samples) > 0
}

// expressions looks at the entries of a list, alone and against each other.
func (l *linter) expressions(name string) {
	entries := l.lists[name]
	first := map[string]int{}
	for i := range entries {
		e := &entries[i]
		if strings.HasSuffix(e.Text, ".*") && !strings.HasSuffix(e.Text, `\.*`) {
			l.add(name, e.Line, Trailing, "the .* at the end of %q does nothing: only the start is matched", e.Text)
		}
		if what := suspicious(e.Text); what != "" {
			l.add(name, e.Line, Meta, "%q: %s", e.Text, what)
		}
		if e.Matches("") || all(e.Samples(), func(s string) bool { return s == "" || s == pattern.Filler }) {
			l.add(name, e.Line, MatchesAll, "%q matches everything", e.Text)
			continue
		}
		if name != signature.LineNumbersList && !reachable(e) {
			l.add(name, e.Line, Unreachable, "no normalised frame begins with %q", e.Text)
		}
		if line, ok := first[e.Text]; ok {
			l.add(name, e.Line, Duplicate, "%q stands in line %d, too", e.Text, line)
			l.add(name, e.Line, Covered, "line %d matches all that %q matches", line, e.Text)
			continue
		}
		first[e.Text] = e.Line
		if by := covering(entries, e); by != nil {
			code := Covered
			if !isText(e.Text) {
				code = CoveredRE
			}
			l.add(name, e.Line, code, "%q (line %d) matches all that %q matches", by.Text, by.Line, e.Text)
		}
	}
}

// covering finds an entry that matches all that e matches.
func covering(entries []pattern.Entry, e *pattern.Entry) *pattern.Entry {
	samples := e.Samples()
	for i := range entries {
		by := &entries[i]
		if by.Line == e.Line || by.Text == e.Text {
			continue
		}
		// Two that match the same are reported once, for the later.
		if all(samples, by.Matches) && (by.Line < e.Line || !all(by.Samples(), e.Matches)) {
			return by
		}
	}
	return nil
}

// isText reports whether an entry is text, escaped where that is needed.
func isText(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			if i++; i < len(text) && isWordByte(text[i]) {
				return false
			}
		} else if strings.IndexByte(".*+?^$()[]{}|", text[i]) >= 0 {
			return false
		}
	}
	return true
}

// suspicious says which metacharacter of an expression was most likely meant
// as text; empty when none.
func suspicious(text string) string {
	last := byte(0) // the byte before, when it means itself
	for i := 0; i < len(text); i++ {
		c, next := text[i], byte(0)
		if i+1 < len(text) {
			next = text[i+1]
		}
		switch {
		case c == '\\':
			i++
			c = 0
		case c == '(' && next == ')':
			return "() is an empty group; write \\(\\)"
		case c == '$' && next != 0 && next != ')' && next != '|':
			return "$ in the middle matches nothing; write \\$"
		case c == '.' && isWordByte(next) && isWordByte(last):
			return ". between letters matches any character; write \\."
		case (c == '*' || c == '+') && isWordByte(last) && last != '_' && !inClass(text[:i]): // _* is a habit
			return fmt.Sprintf("%c repeats only the letter before it; write \\%c", c, c)
		case c == '^' && i > 0 && text[i-1] != '[' && text[i-1] != '(' && text[i-1] != '|':
			return "^ in the middle matches nothing; write \\^"
		}
		last = c
	}
	return ""
}

// inClass reports whether the text breaks off within [...].
func inClass(text string) bool {
	return strings.LastIndexByte(text, '[') > strings.LastIndexByte(text, ']')
}

func isWordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// continuations are put behind a sample to see what the normaliser leaves.
var continuations = [...]string{"", "x", "::x", "x()", "()", "::x()", "x as x>::x", " x>"}

// reachable reports whether the normaliser can give a frame that the entry
// matches. Entries that are no sequence of words get the benefit of the doubt.
func reachable(e *pattern.Entry) bool {
	samples := e.Samples()
	if len(samples) == 0 {
		return true
	}
	var n frame.Normalizer
	for _, s := range samples {
		s = strings.ReplaceAll(s, pattern.Filler, "x")
		if looksLikeModule(s) || strings.HasPrefix(s, "(unloaded") {
			return true
		}
		for _, c := range continuations {
			if e.Matches(n.Cpp(s+c, "1")) || e.Matches(n.Rust(s+c, "1")) {
				return true
			}
		}
	}
	return false
}

// looksLikeModule reports whether a text with spaces may be the name of a
// module: it has an extension, or its words begin with capitals as the names
// of frameworks do.
func looksLikeModule(s string) bool {
	if strings.ContainsAny(s, ":<>(){}[]*&") {
		return false
	}
	for _, ext := range [...]string{".dll", ".so", ".dylib", ".exe", ".drv", ".sys", ".ocx", ".oat", ".odex", ".apk"} {
		if strings.Contains(s, ext) {
			return true
		}
	}
	for _, w := range strings.Fields(s) {
		if w[0] < 'A' || w[0] > 'Z' {
			return false
		}
	}
	return true
}

// shadowed looks for entries of the prefix list that the irrelevant list
// leaves nothing to.
func (l *linter) shadowed() {
	irrelevant := map[string]int{}
	for _, e := range l.lists[signature.IrrelevantList] {
		irrelevant[e.Text] = e.Line
	}
	for i := range l.lists[signature.PrefixList] {
		e := &l.lists[signature.PrefixList][i]
		line, both := irrelevant[e.Text]
		if both {
			l.add(signature.PrefixList, e.Line, InBoth, "%q is in the irrelevant list, too (line %d)", e.Text, line)
		}
		if both || all(e.Samples(), l.irrelevant.Match) {
			l.add(signature.PrefixList, e.Line, Shadowed, "%q never acts: the irrelevant list matches all that it matches%s", e.Text, l.by(e))
		}
	}
}

// by names the entry of the irrelevant list that shadows e, if it is one.
func (l *linter) by(e *pattern.Entry) string {
	list := l.lists[signature.IrrelevantList]
	for i := range list {
		if list[i].Text == e.Text || all(e.Samples(), list[i].Matches) {
			return fmt.Sprintf(" (%q, line %d)", list[i].Text, list[i].Line)
		}
	}
	return ""
}

func (l *linter) sentinels() {
	first := map[string]int{}
	for i := range l.lists[signature.SentinelList] {
		e := &l.lists[signature.SentinelList][i]
		if line, ok := first[e.Text]; ok {
			l.add(signature.SentinelList, e.Line, Duplicate, "%q stands in line %d, too", e.Text, line)
			continue
		}
		first[e.Text] = e.Line
		if l.irrelevant.Match(e.Text) {
			l.add(signature.SentinelList, e.Line, NeverShows, "%q cuts the stack but does not show: it is irrelevant", e.Text)
		}
	}
}
