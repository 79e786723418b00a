// Package quality finds what is wrong with a Breakpad symbol file while its
// text streams by: no unwind information, no lines, another id than it is kept
// under, an end in the middle of a line. It counts records by how they begin
// and reads none of them, so it costs a fraction of unpacking the text; package
// symbols/lookup reads the records.
//
// A fault is something to tell whoever made the file. The file may be of use
// all the same.
package quality

import (
	"bytes"
	"fmt"
	"strings"

	"mayday/symbols"
)

// The codes of faults.
const (
	Empty       = "empty"
	NoModule    = "no-module"
	BadID       = "bad-id"
	WrongID     = "wrong-id"
	WrongName   = "wrong-name"
	NoFunctions = "no-functions"
	NoLines     = "no-lines"
	NoCFI       = "no-cfi"
	BadLines    = "bad-lines"
	NUL         = "nul"
	Truncated   = "truncated"
)

// Codes lists the codes.
func Codes() []string {
	return []string{Empty, NoModule, BadID, WrongID, WrongName, NoFunctions, NoLines, NoCFI, BadLines, NUL, Truncated}
}

// Fault is one thing that is wrong with a file.
type Fault struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// maxStart is how much of a line is looked at: MODULE lines hold the name of a
// file, all others are told by their first word.
const maxStart = 512

// Checker is written the text of a symbol file. The zero value is ready.
type Checker struct {
	start []byte // how the line that is not over begins, when a block ended in it
	open  bool   // a line is not over
	size  uint64
	lines uint64 // lines so far
	first string // line 1

	funcs, publics, rows, cfi, other uint64
	nul                              uint64 // where the first NUL is, counted from 1
	otherAt                          uint64 // the first line that is no record
}

// Write takes the next bytes of the text.
func (c *Checker) Write(p []byte) (int, error) {
	n := len(p)
	if c.nul == 0 {
		if i := bytes.IndexByte(p, 0); i >= 0 {
			c.nul = c.size + uint64(i) + 1
		}
	}
	c.size += uint64(n)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			c.open = true
			if room := maxStart - len(c.start); room > 0 {
				c.start = append(c.start, p[:min(room, len(p))]...)
			}
			break
		}
		line := p[:end]
		if c.open {
			if room := maxStart - len(c.start); room > 0 {
				c.start = append(c.start, line[:min(room, len(line))]...)
			}
			line = c.start
		}
		c.count(line)
		c.start, c.open = c.start[:0], false
		p = p[end+1:]
	}
	return n, nil
}

// count takes one line, or how it begins.
func (c *Checker) count(line []byte) {
	c.lines++
	if c.lines == 1 {
		c.first = strings.TrimRight(string(line[:min(len(line), maxStart)]), "\r")
		return
	}
	if len(line) == 0 || line[0] == '\r' {
		return
	}
	switch b := line[0]; {
	case b >= '0' && b <= '9' || b >= 'a' && b <= 'f':
		c.rows++
	case b == 'F' && bytes.HasPrefix(line, []byte("FUNC ")):
		c.funcs++
	case b == 'P' && bytes.HasPrefix(line, []byte("PUBLIC ")):
		c.publics++
	case b == 'S' && (bytes.HasPrefix(line, []byte("STACK CFI ")) || bytes.HasPrefix(line, []byte("STACK WIN "))):
		c.cfi++
	case b == 'F' && bytes.HasPrefix(line, []byte("FILE ")), b == 'I' && (bytes.HasPrefix(line, []byte("INLINE")) || bytes.HasPrefix(line, []byte("INFO "))):
	case b == 'S' && bytes.HasPrefix(line, []byte("STACK ")), b == 'M' && bytes.HasPrefix(line, []byte("MODULE ")):
	default:
		if c.other++; c.other == 1 {
			c.otherAt = c.lines
		}
	}
}

// Faults lists what is wrong with the text that was written, given the debug
// file and debug id that it is kept under; "" is not known. The Checker must
// not be written to afterwards.
func (c *Checker) Faults(debugFile, debugID string) []Fault {
	var out []Fault
	add := func(code, format string, args ...any) {
		out = append(out, Fault{code, fmt.Sprintf(format, args...)})
	}
	if c.size == 0 {
		return []Fault{{Empty, "the file is empty"}}
	}
	truncated := c.open
	if c.open {
		c.count(c.start)
		c.open = false
	}
	c.identity(debugFile, debugID, add)
	if c.funcs+c.publics == 0 {
		add(NoFunctions, "there is no FUNC and no PUBLIC record")
	}
	if c.funcs > 0 && c.rows == 0 {
		add(NoLines, "no function has lines")
	}
	if c.cfi == 0 {
		add(NoCFI, "there is no STACK record to unwind by")
	}
	if c.other > 0 {
		add(BadLines, "%d lines are no records, line %d first", c.other, c.otherAt)
	}
	if c.nul > 0 {
		add(NUL, "there is a NUL at byte %d", c.nul-1)
	}
	if truncated {
		add(Truncated, "line %d, the last, has no end: is the file cut off?", c.lines)
	}
	return out
}

// identity compares the MODULE record with what the file is kept under.
func (c *Checker) identity(debugFile, debugID string, add func(code, format string, args ...any)) {
	words := strings.SplitN(c.first, " ", 5)
	if words[0] != "MODULE" || len(words) < 5 {
		add(NoModule, "line 1 is no MODULE record")
		return
	}
	id, ok := symbols.NormalizeDebugID(words[3])
	switch {
	case !ok:
		add(BadID, "%.100q is no debug id", words[3])
	case id == symbols.NoDebugID:
		add(BadID, "the debug id is zero")
	case debugID != "" && !strings.EqualFold(id, debugID):
		add(WrongID, "MODULE says %s, the file is kept under %s", id, debugID)
	}
	if name := words[4]; debugFile != "" && name != debugFile {
		add(WrongName, "MODULE says %.100q, the file is kept under %q", name, debugFile)
	}
}
