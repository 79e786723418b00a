// Package pattern matches the start of texts against lists of regular
// expressions, written in the syntax of Python's re module.
//
// A list is a file with an entry a line (Read, Parse). Set joins the entries of
// a list and answers whether any of them matches, most often without a regular
// expression: what is plain text goes into a trie, what is looked for anywhere
// in the text into one automaton. Expressions that cannot be matched in linear
// time (look-arounds, back-references) are refused by file and line.
//
// Where it differs from Python: \b and \B know ASCII letters only, and the
// flags a, L, m and x are refused.
package pattern

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"mayday/signature/python"
)

// Limits of a list file. The largest list in use anywhere has some 300 entries
// in 8 KB; these leave room for a hundred times that.
const (
	maxListBytes   = 1 << 20
	maxListEntries = 20000
	maxEntryBytes  = 1000
)

// Entry is one line of a list that says something.
type Entry struct {
	Line int    // from 1
	Text string // the regular expression; a literal name for sentinels

	sequences []sequence     // what the entry comes to; or:
	re        *regexp.Regexp // the expression, anchored at the start
	lead      string         // what every match of re begins with
}

// Matches reports whether the entry alone matches the start of a frame.
func (e *Entry) Matches(frame string) bool {
	if e.re != nil {
		return e.re.MatchString(frame)
	}
	for i := range e.sequences {
		if e.sequences[i].matches(frame) {
			return true
		}
	}
	return false
}

// Read reads a list file, of a megabyte at most.
func Read(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxListBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxListBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", file, maxListBytes)
	}
	return data, nil
}

// Problem is what is wrong with a line of a list.
type Problem struct {
	Line int
	Text string
}

// Parse reads the entries of a list. Each line is trimmed; empty lines and
// lines that begin with # say nothing. Lines with a problem are left out.
func Parse(data []byte) (entries []Entry, problems []Problem) {
	for line := 1; len(data) > 0; line++ {
		raw, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if !utf8.Valid(raw) {
			problems = append(problems, Problem{line, "not UTF-8"})
			continue
		}
		text := python.TrimSpace(string(raw))
		if text == "" || text[0] == '#' {
			continue
		}
		if len(entries) == maxListEntries {
			problems = append(problems, Problem{line, fmt.Sprintf("more than %d entries", maxListEntries)})
			break
		}
		e, err := compileEntry(text, line)
		if err != nil {
			problems = append(problems, Problem{line, err.Error()})
			continue
		}
		entries = append(entries, e)
	}
	return entries, problems
}

// Filler stands in samples for what an expression leaves open. No name has it.
const Filler = "\x7f"

// Samples are texts that stand for all that an entry matches: what another
// entry says of all of them it says of all those texts. Nil when the entry is
// no sequence of words.
func (e *Entry) Samples() []string {
	var out []string
	for _, s := range e.sequences {
		text := strings.Join(s.words, Filler)
		if !s.anchored {
			text = Filler + text
		}
		out = append(out, text)
		if !s.end {
			out = append(out, text+Filler)
		}
	}
	return out
}

func compileEntry(text string, line int) (Entry, error) {
	e := Entry{Line: line, Text: text}
	if len(text) > maxEntryBytes {
		return e, fmt.Errorf("an entry of %d bytes, more than %d", len(text), maxEntryBytes)
	}
	pattern, err := translate(text)
	if err != nil {
		return e, fmt.Errorf("%q: %w", text, err)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return e, fmt.Errorf("%q: %s", text, se.Code)
		}
		return e, fmt.Errorf("%q: %w", text, err)
	}
	var ok bool
	if e.sequences, ok = sequencesOf(tree.Simplify()); ok {
		return e, nil
	}
	e.sequences = nil
	plain, err := regexp.Compile(pattern)
	if err != nil {
		return e, fmt.Errorf("%q: %w", text, err)
	}
	e.lead, _ = plain.LiteralPrefix()
	if e.re, err = regexp.Compile(`\A(?:` + pattern + `)`); err != nil {
		return e, fmt.Errorf("%q: %w", text, err)
	}
	return e, nil
}
