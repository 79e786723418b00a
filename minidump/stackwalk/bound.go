package stackwalk

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A document is kept for good and handled as Go values, which take some times
// the memory of their JSON: what a dump makes it hold is bounded. Real dumps
// are far from every bound but that of DocumentFrames.
const (
	// DocumentFrames is how many frames of one stack a document has. Of longer
	// stacks it has the innermost ones and the outermost ones, and in between a
	// frame with the only key "truncated" that stands for the rest.
	DocumentFrames = 500
	// DocumentHead is how many of them stand before that frame.
	DocumentHead = DocumentFrames / 2
	// documentText is the longest text; names of C++ functions have some
	// kilobytes at most.
	documentText = 16 << 10
	// documentLeaf is the longest name of a file under a frame: no system has
	// names of more than 255 characters.
	documentLeaf = 1 << 10
	// documentWord is what texts are cut to where there is no more room.
	documentWord = 64
	// documentPart is the JSON of a part that documentParts does not name.
	documentPart = 256 << 10
)

// documentParts is how many bytes of JSON the large parts of a document have.
// Threads without their frames may take a quarter more.
var documentParts = map[string]int{
	"crashing_thread":      2 << 20,
	"crashpad":             1 << 20,
	"crashpad_annotations": 1 << 20,
	"handles":              1 << 20, // of 100 bytes each
	"modules":              4 << 20, // of 350 bytes each; programs have hundreds
	"threads":              4 << 20, // 8,000 frames of usualFrame; large dumps have more, see threadRoom
	"unloaded_modules":     1 << 20, // of 200 bytes each; Windows keeps 64
}

// threadRoom is how many bytes the threads of a dump of so many bytes have.
func threadRoom(size uint64) int {
	return documentParts["threads"] + int(min(size/4, uint64(documentParts["threads"])))
}

// usualHit is what an unloaded module under a frame counts for at least, with a
// name of a path.
const usualHit = 150

// documentList is how many entries a list has.
const documentList = 8 << 10

// documentRoom is what a document may still hold; nil bounds nothing.
type documentRoom struct {
	threads int // bytes of them
	part    string
	inner   int      // how long the JSON may become with entries of lists in lists
	outer   int      // and with others
	short   int      // bytes that count although they are not there
	cut     []string // the parts that something is missing of
}

// begin starts a part of the document behind at bytes of JSON.
func (r *documentRoom) begin(part string, at int) {
	if r == nil {
		return
	}
	size, ok := documentParts[part]
	switch {
	case part == "threads":
		size = r.threads
	case !ok:
		size = documentPart
	}
	at += r.short
	r.part, r.inner, r.outer = part, at+size, at+size+size/4
}

// missing notes that not all of the part is there.
func (r *documentRoom) missing() {
	if n := len(r.cut); n == 0 || r.cut[n-1] != r.part {
		r.cut = append(r.cut, r.part)
	}
}

// note adds what is missing to why stacks were cut short.
func (r *documentRoom) note(truncated string) string {
	if r == nil || len(r.cut) == 0 {
		return truncated
	}
	if truncated != "" {
		truncated += "; "
	}
	return truncated + "left out of the document: parts of " + strings.Join(r.cut, ", ")
}

// used is how many bytes of JSON there are, with those that count besides.
func (e *encoder) used() int { return len(e.B) + e.room.short }

// charge has the object that begins at from count for so many bytes at least:
// what Go values take does not depend on how short their texts are.
func (e *encoder) charge(from, least int) {
	if n := len(e.B) - from; e.room != nil && n < least {
		e.room.short += least - n
	}
}

// full reports whether there is no room for entry i of a list.
func (e *encoder) full(i int) bool {
	r := e.room
	if r == nil || i < documentList && e.used() < r.outer {
		return false
	}
	r.missing()
	return true
}

// fullInside is full for lists within lists.
func (e *encoder) fullInside(i int) bool {
	r := e.room
	if r == nil || i < documentList && e.used() < r.inner {
		return false
	}
	r.missing()
	return true
}

// fit cuts a text to what there is room for, and to limit bytes.
func (e *encoder) fit(s string, limit int) string {
	r := e.room
	if r == nil || len(s) <= documentWord {
		return s
	}
	if e.used() >= r.outer {
		limit = documentWord
	}
	if len(s) <= limit {
		return s
	}
	r.missing()
	n := limit - len("…")
	for i := 1; i < utf8.UTFMax && !utf8.RuneStart(s[n]); i++ {
		n--
	}
	return s[:n] + "…"
}

// gone writes the frame that stands for n others.
func (e *encoder) gone(n int) {
	e.Raw(`{"truncated":{"msg":"`)
	e.Raw(thousands(n))
	e.Raw(` frames truncated"}}`)
}

// thousands writes n with a comma every three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
