package signature

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"regexp/syntax"
	"sync"
	"unicode/utf8"

	"mayday/app/fault"
)

// The four lists, by file name without .txt.
const (
	IrrelevantList  = "irrelevant_signature_re"
	PrefixList      = "prefix_signature_re"
	SentinelList    = "signature_sentinels"
	LineNumbersList = "signatures_with_line_numbers_re"
)

// ListNames are the names of the four lists.
func ListNames() []string {
	return []string{IrrelevantList, PrefixList, SentinelList, LineNumbersList}
}

// Limits of a list file. The largest list in use anywhere has some 300 entries
// in 8 KB; these leave room for a hundred times that.
const (
	maxListBytes   = 1 << 20
	maxListEntries = 20000
	maxEntryBytes  = 1000
	maxListErrors  = 20 // reported at once; the others are counted
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

// Lists are the four signature lists, ready for use. They do not change and
// may be used by any number of goroutines; after an edit, load new ones.
type Lists struct {
	source      string // how the debug log names them; empty for our own
	version     string
	entries     map[string][]Entry
	irrelevant  *matcher
	prefix      *matcher
	lineNumbers *matcher
	sentinels   map[string]int // by name: the line
	improve     Improvements
	cache       *frameCache
	watchdog    *Lists // for the watchdog rule; nil: the same
}

// Version is a hash of the entries: it changes with what the lists do, not
// with comments or the place of the files.
func (l *Lists) Version() string { return l.version }

// Source is the place the lists come from; empty for the embedded ones.
func (l *Lists) Source() string { return l.source }

// Entries are the entries of the list of that name, in the order of the file.
func (l *Lists) Entries(list string) []Entry { return l.entries[list] }

// WithWatchdog returns the same lists with others for the second round of the
// watchdog rule. Upstream makes that round with the lists it was built with,
// whatever lists it was told to use; comparisons need the same.
func (l *Lists) WithWatchdog(other *Lists) *Lists {
	out := *l
	out.watchdog = other
	return &out
}

//go:embed lists/*.txt
var embedded embed.FS

// Default parses the lists that come with the program. They know the run-time
// libraries and systems of native programs, but no product.
func Default() *Lists {
	sub, err := fs.Sub(embedded, "lists")
	if err == nil {
		var l *Lists
		if l, err = Load(sub, ""); err == nil {
			return l
		}
	}
	panic(err) // the files are part of the program and tested
}

// defaults are parsed once for callers without lists of their own.
var defaults = sync.OnceValue(Default)

// Load reads the four lists from the top of fsys, which the caller opens.
// source names the place in messages and in the debug log. All four files must
// be there; each line is trimmed, empty lines and lines that start with # are
// dropped. An empty list matches everything, as the empty expression does.
// The error names file and line of what is wrong, 20 at most.
func Load(fsys fs.FS, source string) (*Lists, error) {
	l := &Lists{source: source, entries: map[string][]Entry{}}
	var errs []error
	for _, name := range ListNames() {
		entries, err := loadList(fsys, name+".txt")
		l.entries[name] = entries
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, fault.As(fault.Invalid, errors.Join(errs...), "signature lists")
	}
	l.irrelevant = newMatcher(l.entries[IrrelevantList])
	l.prefix = newMatcher(l.entries[PrefixList])
	l.lineNumbers = newMatcher(l.entries[LineNumbersList])
	l.sentinels = map[string]int{}
	for _, e := range l.entries[SentinelList] {
		if _, ok := l.sentinels[e.Text]; !ok {
			l.sentinels[e.Text] = e.Line
		}
	}
	l.version = l.hash()
	return l, nil
}

// hash is the first 12 hex digits of a SHA-256 over the entries.
func (l *Lists) hash() string {
	h := sha256.New()
	for _, name := range ListNames() {
		fmt.Fprintf(h, "%s %d\n", name, len(l.entries[name]))
		for _, e := range l.entries[name] {
			fmt.Fprintf(h, "%s\n", e.Text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func loadList(fsys fs.FS, file string) ([]Entry, error) {
	data, err := readList(fsys, file)
	if err != nil {
		return nil, err
	}
	entries, problems := parseList(data)
	if len(problems) == 0 {
		return entries, nil
	}
	var errs []error
	for i, p := range problems {
		if i == maxListErrors {
			errs = append(errs, fmt.Errorf("%s: %d more", file, len(problems)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d: %s", file, p.line, p.text))
	}
	return nil, errors.Join(errs...)
}

func readList(fsys fs.FS, file string) ([]byte, error) {
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

// lineError is what is wrong with a line of a list.
type lineError struct {
	line int
	text string
}

// parseList reads the entries of a list and compiles them.
func parseList(data []byte) (entries []Entry, problems []lineError) {
	for line := 1; len(data) > 0; line++ {
		raw, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if !utf8.Valid(raw) {
			problems = append(problems, lineError{line, "not UTF-8"})
			continue
		}
		text := trimSpace(string(raw))
		if text == "" || text[0] == '#' {
			continue
		}
		if len(entries) == maxListEntries {
			problems = append(problems, lineError{line, fmt.Sprintf("more than %d entries", maxListEntries)})
			break
		}
		e, err := compileEntry(text, line)
		if err != nil {
			problems = append(problems, lineError{line, err.Error()})
			continue
		}
		entries = append(entries, e)
	}
	return entries, problems
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
