package sym

import (
	"bytes"
	"unicode/utf8"
)

// parse reads one line into s.rec and reports whether it is a record that can
// be used. It passes the verdicts on the line either way.
func (s *Scanner) parse(line []byte) bool {
	if s.line == 1 && bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		s.refuse()
		line = line[3:]
	}
	inFunc := s.open == openFunc
	c := cursor{b: line}
	if line[0] == ' ' || line[0] == '\t' {
		if c.b, c.loose = bytes.TrimLeft(line, " \t"), true; len(c.b) == 0 {
			s.refuse()
			return false
		}
	}
	kind, taken := s.record(&c)
	if !c.bad && !c.plain() {
		c.loose = true
	}
	if c.bad || c.loose {
		s.refuse()
	}
	if c.bad {
		s.skipped()
	}
	if !s.stack {
		s.judgeSymbolic(&c, kind, inFunc)
	}
	return taken && !c.bad
}

// record reads the line by its first word. It reports the kind the first word
// promises, and whether there is a record to hand out: a STACK WIN record of an
// unused type is fine and yet none.
func (s *Scanner) record(c *cursor) (Kind, bool) {
	switch {
	case c.word("STACK CFI INIT"):
		return KindCFIInit, s.cfiInit(c)
	case c.word("STACK CFI"):
		return KindCFI, s.cfi(c)
	case c.word("STACK WIN"):
		return KindWin, s.win(c)
	case c.word("FUNC"):
		return KindFunc, s.function(c)
	case c.word("INLINE"):
		return KindInline, s.inline(c)
	case c.word("PUBLIC"):
		return KindPublic, s.public(c)
	case c.word("FILE"):
		return KindFile, s.named(c, KindFile)
	case c.word("INLINE_ORIGIN"):
		return KindInlineOrigin, s.named(c, KindInlineOrigin)
	case c.word("INFO"):
		return KindInfo, s.info(c)
	case c.word("MODULE"):
		return KindModule, s.module(c)
	}
	return KindLine, s.lineRecord(c)
}

// judgeSymbolic finds what makes symbolic refuse a whole file: a record that
// does not belong inside a FUNC block, a FUNC, INLINE or line record that it
// cannot read, text that is no UTF-8.
func (s *Scanner) judgeSymbolic(c *cursor, kind Kind, inFunc bool) {
	switch {
	case kind == KindCFI || kind == KindCFIInit || kind == KindWin:
		s.stack = true
	case s.line == 1 && (kind != KindModule || c.bad):
		s.refuseSymbolic("the first line is no MODULE record")
	case c.bad && kind == KindFunc:
		s.refuseSymbolic("a FUNC record cannot be read")
	case inFunc && (c.bad || kind == KindFile || kind == KindModule || kind == KindInfo):
		s.refuseSymbolic("a line inside a FUNC block is no line record")
	case kind == KindInline && s.rec.OldInline:
		s.refuseSymbolic("an INLINE record has no call file")
	case kind == KindModule && !knownArch[string(s.rec.Arch)]:
		s.refuseSymbolic("the architecture is not known")
	case kind != KindInfo && !c.ascii && !utf8.Valid(c.b):
		s.refuseSymbolic("text is no UTF-8")
	}
}

// knownArch are the architectures that symbolic knows by name.
var knownArch = map[string]bool{
	"x86": true, "i386": true, "x86_64": true, "x86-64": true, "x86_64h": true, "amd64": true,
	"arm": true, "armv5": true, "armv6": true, "armv6m": true, "armv7": true, "armv7em": true, "armv7f": true, "armv7k": true, "armv7m": true, "armv7s": true,
	"arm64": true, "arm-64": true, "arm64e": true, "arm64v8": true, "arm64_32": true,
	"ppc": true, "ppc64": true, "mips": true, "mips64": true, "wasm32": true, "unknown": true,
}

func (s *Scanner) module(c *cursor) bool {
	r := &s.rec
	r.OS, r.Arch, r.ModuleID = c.field(), c.field(), c.hexText()
	r.Text = c.rest()
	if len(r.ModuleID) == 0 {
		c.bad = true
		return false
	}
	if s.line != 1 {
		c.loose = true
	}
	s.strict = openNone
	if s.head.Found {
		c.bad = true
		return false
	}
	h := &s.head
	h.Found, h.OS, h.Arch, h.ID, h.Name = true, string(r.OS), string(r.Arch), string(r.ModuleID), string(r.Text)
	r.Kind = KindModule
	return true
}

// info keeps what INFO says about the module; any text is allowed in it.
func (s *Scanner) info(c *cursor) bool {
	r := &s.rec
	s.strict = openNone
	r.Kind, r.Text = KindInfo, c.rest()
	c.unread = true
	key, value, _ := bytes.Cut(r.Text, []byte(" "))
	switch string(key) {
	case "CODE_ID":
		if s.head.CodeID == "" {
			id, name, _ := bytes.Cut(bytes.TrimLeft(value, " "), []byte(" "))
			s.head.CodeID, s.head.CodeFile = string(id), string(bytes.TrimSpace(name))
		}
	case "GENERATOR":
		if s.head.Generator == "" {
			s.head.Generator = string(value)
		}
	}
	// The one that stackwalkers add to what they keep.
	if url, ok := bytes.CutPrefix(c.b, []byte("INFO URL")); ok && len(url) > 0 && (url[0] == ' ' || url[0] == '\t') {
		c.unread = false
		s.head.URL = string(bytes.TrimLeft(url, " \t"))
	}
	return true
}

// named reads FILE and INLINE_ORIGIN. Inside a FUNC block they leave it open
// for the tolerant grammar, so that the lines after them are not lost; the
// strict one has INLINE_ORIGIN there.
func (s *Scanner) named(c *cursor, kind Kind) bool {
	r := &s.rec
	if kind == KindFile || s.strict != openFunc || c.b[min(c.i, len(c.b)-1)] != ' ' {
		s.strict = openNone
	}
	r.Kind, r.ID, r.Text = kind, c.dec32(), c.rest()
	return true
}

func (s *Scanner) function(c *cursor) bool {
	r := &s.rec
	r.Kind, r.Multiple = KindFunc, c.multiple()
	r.Address = c.hex64()
	r.Size = c.hex32of64()
	r.ParamSize = c.paramSize()
	r.Text = c.rest()
	s.open, s.strict = openFunc, openFunc
	if c.bad {
		s.open = openNone
	}
	return true
}

func (s *Scanner) public(c *cursor) bool {
	r := &s.rec
	r.Kind, r.Multiple = KindPublic, c.multiple()
	r.Address = c.hex64()
	r.ParamSize = c.paramSize()
	r.Text = c.rest()
	s.open, s.strict = openNone, openNone
	return true
}

func (s *Scanner) lineRecord(c *cursor) bool {
	r := &s.rec
	c.trim()
	r.Kind = KindLine
	r.Address = c.first64()
	r.Size = c.hex32of64()
	r.Line = c.lineNumber()
	r.File = c.reference()
	c.atEnd()
	if s.open != openFunc {
		c.bad = true
	}
	if s.strict != openFunc {
		c.loose = true
	}
	if c.bad {
		s.strict = openNone
	}
	return true
}

// inline reads INLINE depth line file origin (address size)+, and the old form
// without the file, which an odd number of fields gives away.
func (s *Scanner) inline(c *cursor) bool {
	r := &s.rec
	c.trim()
	r.Kind = KindInline
	if c.i < len(c.b) && c.b[c.i] != ' ' {
		c.loose = true
	}
	r.OldInline = c.fields()%2 == 1
	r.Depth = c.dec32()
	r.Line = c.lineNumber()
	r.File = NoFile
	if r.OldInline {
		c.loose = true
	} else {
		r.File = c.reference()
	}
	r.Origin = c.reference()
	s.ranges = s.ranges[:0]
	for len(s.ranges) == 0 || !c.done() {
		address, size := c.hex64(), c.hex32of64()
		if c.bad {
			break
		}
		s.ranges = append(s.ranges, Range{address, size})
	}
	r.Ranges = s.ranges
	if s.open != openFunc {
		c.bad = true
	}
	if s.strict != openFunc {
		c.loose = true
	}
	return true
}

func (s *Scanner) cfiInit(c *cursor) bool {
	r := &s.rec
	r.Kind = KindCFIInit
	r.Address = c.hex64()
	r.Size = c.hex32of64()
	r.Text = c.rest()
	s.open, s.strict = openCFI, openCFI
	if c.bad {
		s.open = openNone
	}
	return true
}

func (s *Scanner) cfi(c *cursor) bool {
	r := &s.rec
	r.Kind = KindCFI
	r.Address = c.hex64()
	r.Text = c.rest()
	if s.strict != openCFI {
		c.loose = true
	}
	if s.open != openCFI {
		c.bad = true
	}
	return true
}

// win reads STACK WIN. Types other than 0 and 4 are of no use, nor is a record
// whose type and has_program do not agree; neither is an error.
func (s *Scanner) win(c *cursor) bool {
	r := &s.rec
	s.open, s.strict = openNone, openNone
	r.Kind = KindWin
	kind := c.digit(16)
	r.Address = c.hex64()
	r.Size = uint64(c.hex32())
	for i := range r.Win.Sizes {
		r.Win.Sizes[i] = c.hex32()
	}
	has := c.digit(10)
	r.Text = c.rest()
	r.Win.Type, r.Win.HasProgram = uint8(kind), has == 1
	return kind == 4 && has == 1 || kind == 0 && has != 1
}
