package signature

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"mayday/app/fault"
	"mayday/signature/pattern"
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

// maxListErrors is how many are reported at once; the others are counted.
const maxListErrors = 20

// Entry is one line of a list that says something.
type Entry = pattern.Entry

// Lists are the four signature lists, ready for use. They do not change and
// may be used by any number of goroutines; after an edit, load new ones.
type Lists struct {
	source      string // how the debug log names them; empty for our own
	version     string
	entries     map[string][]Entry
	irrelevant  *pattern.Set
	prefix      *pattern.Set
	lineNumbers *pattern.Set
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
	l.irrelevant = pattern.NewSet(l.entries[IrrelevantList])
	l.prefix = pattern.NewSet(l.entries[PrefixList])
	l.lineNumbers = pattern.NewSet(l.entries[LineNumbersList])
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
	data, err := pattern.Read(fsys, file)
	if err != nil {
		return nil, err
	}
	entries, problems := pattern.Parse(data)
	if len(problems) == 0 {
		return entries, nil
	}
	var errs []error
	for i, p := range problems {
		if i == maxListErrors {
			errs = append(errs, fmt.Errorf("%s: %d more", file, len(problems)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d: %s", file, p.Line, p.Text))
	}
	return nil, errors.Join(errs...)
}
