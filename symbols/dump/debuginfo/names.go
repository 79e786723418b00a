package debuginfo

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// entity is what is known of a name: a function or a declaration of one.
type entity struct {
	at uint64
	// of is the declaration or the abstract function that has the name, 0 when it
	// is here.
	of    uint64
	name  textRef
	scope uint32 // of scopes, 0 at the top
}

// scope is a namespace, a type or a function around others. The first of the
// list, which stands for the top, has no name.
type scope struct {
	parent uint32
	name   textRef
}

// textRef is where a text lies: which table in the highest bits, and where in
// it. 0 is no text.
type textRef uint64

const (
	tableShift           = 60
	inStr        textRef = 1 << tableShift
	inLineStr    textRef = 2 << tableShift
	inArena      textRef = 3 << tableShift
	anonymous    textRef = 4 << tableShift // a namespace without a name
	tableOffsets         = 1<<tableShift - 1
)

// texts holds the texts that references are to.
type texts struct {
	str, lineStr []byte
	arena        []byte // of texts that lay among the entries
}

func indexZero(b []byte) int { return bytes.IndexByte(b, 0) }

// bytes is a text of at most limit bytes; what is longer is cut.
func (t *texts) bytes(ref textRef, limit int) []byte {
	var b []byte
	switch ref &^ tableOffsets {
	case inStr:
		b = t.str
	case inLineStr:
		b = t.lineStr
	case inArena:
		b = t.arena
	case anonymous:
		return []byte("(anonymous namespace)")
	}
	at := uint64(ref & tableOffsets)
	if at >= uint64(len(b)) {
		return nil
	}
	b = b[at:]
	b = b[:min(len(b), limit)]
	if i := indexZero(b); i >= 0 {
		b = b[:i]
	}
	return b
}

// entity finds what is at an entry.
func (i *Info) entity(at uint64) int {
	n, ok := slices.BinarySearchFunc(i.entities, at, func(e entity, at uint64) int { return cmp.Compare(e.at, at) })
	if !ok {
		return -1
	}
	return n
}

// Names is how many names of functions there are.
func (i *Info) Names() int { return len(i.entities) }

// Named is the number of the name that the function at an entry has, -1 when it
// has none. Copies of a function have its name.
func (i *Info) Named(entry uint64) int {
	for range maxOrigins {
		n := i.entity(entry)
		if n < 0 {
			break
		}
		if entry = i.entities[n].of; entry == 0 {
			return n
		}
	}
	return -1
}

// Name is a name with its scopes, by its number.
func (i *Info) Name(n int) string {
	const unnamed = "<unnamed>"
	if n < 0 {
		return unnamed
	}
	e := &i.entities[n]
	name := i.text.bytes(e.name, maxName)
	if len(name) == 0 {
		return unnamed
	}
	parts := [][]byte{name}
	size := len(name)
	for s := e.scope; s != 0 && len(parts) <= maxScopes; s = i.scopes[s].parent {
		part := i.text.bytes(i.scopes[s].name, maxName)
		if size += len(part) + 2; size > maxName {
			break
		}
		parts = append(parts, part)
	}
	slices.Reverse(parts)
	return Clean(string(bytes.Join(parts, []byte("::"))))
}

// Clean makes a text fit for a line of a symbol file: valid UTF-8 without
// control characters, which a line may not hold.
func Clean(s string) string {
	if !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' || c >= 0x7f }) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
