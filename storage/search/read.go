package search

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Reader makes documents of the JSON of processed crashes. A document is the one
// that NewDoc makes of the decoded text, and a text that encoding/json refuses is
// refused; but what no field wants is only checked, not decoded, which is most
// of a crash and nearly all of the time. It may be used by many goroutines.
type Reader struct {
	fields  []plan.Field
	root    *node
	wrapped *node // root, and a processed crash in a line of an import
}

// node is a place in the processed crash that a field wants, or that lies above
// one.
type node struct {
	fields []int // whose value is here
	below  []int // these and all further down
	sub    map[string]*node
	crash  bool // the processed crash of a line
}

// NewReader prepares reading the fields of a table.
func NewReader(fields *plan.Fields) *Reader {
	x := &Reader{fields: fields.All(), root: &node{}}
	for i := range x.fields {
		n := x.root
		for key := range strings.SplitSeq(x.fields[i].Path, ".") {
			next := n.sub[key]
			if next == nil {
				next = &node{}
				if n.sub == nil {
					n.sub = map[string]*node{}
				}
				n.sub[key] = next
			}
			next.below = append(next.below, i)
			n = next
		}
		n.fields = append(n.fields, i)
	}
	x.wrapped = &node{sub: map[string]*node{"processed_crash": {crash: true}}}
	for key, n := range x.root.sub {
		if x.wrapped.sub[key] == nil {
			x.wrapped.sub[key] = n
		}
	}
	return x
}

// Doc makes the document of a processed crash. What the document holds may lie
// in text.
func (x *Reader) Doc(text string) (Doc, error) { return x.read(text, x.root) }

// Line makes the document of a line of an import: a processed crash, or an
// object that holds it as processed_crash.
func (x *Reader) Line(text string) (Doc, error) { return x.read(text, x.wrapped) }

// keepText is up to what size a text is kept whole when a document holds values
// of it; values of larger ones are copied, as a batch holds thousands.
const keepText = 16 << 10

func (x *Reader) read(text string, root *node) (doc Doc, err error) {
	p := parser{s: text, x: x, copies: len(text) > keepText}
	values := make([]any, len(x.fields))
	p.space()
	if p.peek() == 'n' { // DecodeDocument words it so as well
		return doc, fault.New(fault.Malformed, "decode document: null instead of an object")
	}
	if p.peek() != '{' {
		err = p.wrong("an object")
	} else {
		err = p.object(root, values, 1)
	}
	if p.space(); err == nil && p.at < len(text) {
		err = p.wrong("the end")
	}
	if err != nil {
		return doc, fault.Wrap(err, "decode document of %d bytes", len(text))
	}
	if p.crash != nil {
		values = p.crash
	}
	return x.finish(values)
}

// finish moves id and date to their places.
func (x *Reader) finish(values []any) (Doc, error) {
	doc := Doc{Values: values}
	for i := range x.fields {
		switch f := &x.fields[i]; f.Name {
		case plan.IDField:
			id, ok := values[i].(string)
			if !ok || !parseID(id, &doc.ID) {
				return Doc{}, badID(values[i])
			}
			values[i] = nil
		case plan.DateField:
			text, _ := values[i].(string)
			t, ok := parseStored(text)
			if !ok {
				return Doc{}, badDate(f, values[i])
			}
			doc.Date, values[i] = t, text
		}
	}
	return doc, nil
}

// parser reads one text.
type parser struct {
	s      string
	at     int
	x      *Reader
	copies bool
	crash  []any  // values of the processed crash inside, once there is one
	open   []byte // brackets that skip is in
}

// mostDepth bounds values in each other, as encoding/json does.
const mostDepth = 10_000

func (p *parser) wrong(want string) error {
	if p.at >= len(p.s) {
		return fault.New(fault.Malformed, "it ends where %s should be", want)
	}
	return fault.New(fault.Malformed, "byte %d is %q where %s should be", p.at, p.s[p.at], want)
}

func (p *parser) space() {
	for p.at < len(p.s) {
		switch p.s[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end; no value begins with 0.
func (p *parser) peek() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

// object reads the object that begins here: the values that fields want.
func (p *parser) object(n *node, values []any, depth int) error {
	return p.members(depth, func(key string) error {
		next := n.sub[key]
		switch {
		case next == nil:
			return p.skip(depth + 1)
		case next.crash:
			p.crash = nil
			if p.peek() != '{' {
				return p.skip(depth + 1)
			}
			p.crash = make([]any, len(p.x.fields))
			return p.object(p.x.root, p.crash, depth+1)
		}
		return p.value(next, values, depth+1)
	})
}

// members calls f for each member of the object that begins here, at its value.
func (p *parser) members(depth int, f func(key string) error) error {
	if depth > mostDepth {
		return fault.New(fault.Malformed, "more than %d values in each other", mostDepth)
	}
	p.at++
	if p.space(); p.peek() == '}' {
		p.at++
		return nil
	}
	for {
		key, err := p.key()
		if err == nil {
			err = f(key)
		}
		if err != nil {
			return err
		}
		p.space()
		switch p.peek() {
		case '}':
			p.at++
			return nil
		case ',':
			p.at++
			p.space()
		default:
			return p.wrong("a comma or brace")
		}
	}
}

// key reads a member's name up to its value.
func (p *parser) key() (string, error) {
	if p.peek() != '"' {
		return "", p.wrong("a name")
	}
	key, err := p.text()
	if err != nil {
		return "", err
	}
	if p.space(); p.peek() != ':' {
		return "", p.wrong("a colon")
	}
	p.at++
	p.space()
	return key, nil
}

// elements calls f for each element of the list that begins here.
func (p *parser) elements(depth int, f func() error) error {
	if depth > mostDepth {
		return fault.New(fault.Malformed, "more than %d values in each other", mostDepth)
	}
	p.at++
	if p.space(); p.peek() == ']' {
		p.at++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		p.space()
		switch p.peek() {
		case ']':
			p.at++
			return nil
		case ',':
			p.at++
			p.space()
		default:
			return p.wrong("a comma or bracket")
		}
	}
}

// value reads the value that fields of n want; of two with the same name the
// last counts.
func (p *parser) value(n *node, values []any, depth int) (err error) {
	for _, i := range n.below {
		values[i] = nil
	}
	var raw any
	switch p.peek() {
	case '{':
		raw = composite{}
		if len(n.sub) > 0 {
			err = p.object(n, values, depth)
		} else {
			err = p.skip(depth)
		}
	case '[':
		if err = p.stacks(n, values, depth); err == nil {
			raw, err = p.list(depth)
		}
	default:
		if p.number(n, values) {
			return nil
		}
		raw, err = p.scalar()
	}
	if err != nil || raw == nil {
		return err
	}
	for _, i := range n.fields {
		switch f := &p.x.fields[i]; f.Name {
		case plan.IDField, plan.DateField:
			values[i] = raw // see finish
		default:
			if !f.Frames { // those are read
				values[i] = fix(f, raw)
			}
		}
	}
	return nil
}

// composite stands for an object, or a list where none is wanted: not nil, and
// of no type that a field takes.
type composite struct{}

// number reads the commonest sort of value at once: an integer, or a flag, for
// one field of that type.
func (p *parser) number(n *node, values []any) bool {
	if len(n.fields) != 1 {
		return false
	}
	i := n.fields[0]
	switch f := &p.x.fields[i]; f.Storage {
	case plan.Long, plan.Integer:
		end := p.at
		if p.peek() == '-' {
			end++
		}
		first := end
		v := int64(0)
		for ; end < len(p.s) && end-first < 18 && p.s[end]-'0' <= 9; end++ {
			v = v*10 + int64(p.s[end]-'0')
		}
		if end == first || p.s[first] == '0' && end-first > 1 || end < len(p.s) && strings.IndexByte(",} ]\n\r\t", p.s[end]) < 0 {
			return false
		}
		if first > p.at {
			v = -v
		}
		if f.Storage == plan.Long || v >= math.MinInt32 && v <= math.MaxInt32 {
			values[i] = v
		}
		p.at = end
		return true
	case plan.Boolean:
		if strings.HasPrefix(p.s[p.at:], "true") {
			values[i] = true
			p.at += 4
			return true
		}
		if strings.HasPrefix(p.s[p.at:], "false") {
			values[i] = false
			p.at += 5
			return true
		}
	}
	return false
}

// scalar reads a text, number, true, false or null.
func (p *parser) scalar() (any, error) {
	switch c := p.peek(); {
	case c == '"':
		s, err := p.text()
		if p.copies {
			s = strings.Clone(s)
		}
		return s, err
	case c == '-' || c-'0' <= 9:
		from := p.at
		err := p.digits()
		return json.Number(p.s[from:p.at]), err
	}
	word, value := "null", any(nil)
	switch p.peek() {
	case 't':
		word, value = "true", true
	case 'f':
		word, value = "false", false
	}
	if !strings.HasPrefix(p.s[p.at:], word) {
		return nil, p.wrong("a value")
	}
	p.at += len(word)
	return value, nil
}

// list reads a list of scalars; what else is in it only counts.
func (p *parser) list(depth int) (any, error) {
	out := []any{}
	err := p.elements(depth, func() error {
		if c := p.peek(); c == '{' || c == '[' {
			out = append(out, composite{})
			return p.skip(depth + 1)
		}
		v, err := p.scalar()
		out = append(out, v)
		return err
	})
	return out, err
}

// stacks reads the list that begins here as frames for the fields that want
// such, and stays before it.
func (p *parser) stacks(n *node, values []any, depth int) error {
	from := p.at
	for _, i := range n.fields {
		if !p.x.fields[i].Frames {
			continue
		}
		text, err := p.stack(p.x.fields[i].Parts, depth)
		if err != nil {
			return err
		}
		if text != "" {
			values[i] = text
		}
		p.at = from
	}
	return nil
}

// stack reads a list of frames.
func (p *parser) stack(sep string, depth int) (string, error) {
	var lines []string
	count := 0
	err := p.elements(depth, func() error {
		if count++; count > maxFrames || p.peek() != '{' {
			return p.skip(depth + 1)
		}
		module, one, inlines, err := p.frame(depth + 1)
		for _, in := range inlines {
			lines = append(lines, frameLine(module, in.function, in.file))
		}
		lines = append(lines, frameLine(module, one.function, one.file))
		return err
	})
	return linesText(lines, sep), err
}

// frame reads one frame, with the calls inlined into it.
func (p *parser) frame(depth int) (module string, one call, inlines []call, err error) {
	err = p.members(depth, func(key string) (err error) {
		switch key {
		case "module":
			module, err = p.string(depth + 1)
		case "inlines":
			inlines = nil
			if p.peek() != '[' {
				return p.skip(depth + 1)
			}
			return p.elements(depth+1, func() error {
				if p.peek() != '{' {
					return p.skip(depth + 2)
				}
				var in call
				err := p.members(depth+2, func(key string) error { return p.call(key, &in, depth+3) })
				inlines = append(inlines, in)
				return err
			})
		default:
			err = p.call(key, &one, depth+1)
		}
		return err
	})
	return module, one, inlines, err
}

// call reads a member of a call.
func (p *parser) call(key string, c *call, depth int) (err error) {
	switch key {
	case "function":
		c.function, err = p.string(depth)
	case "file":
		c.file, err = p.string(depth)
	default:
		err = p.skip(depth)
	}
	return err
}

// string reads a value, "" when it is no text.
func (p *parser) string(depth int) (string, error) {
	if p.peek() == '"' {
		return p.text()
	}
	return "", p.skip(depth)
}

// skip checks the value that begins here. It keeps its own stack: texts decide
// how deep values are in each other.
func (p *parser) skip(depth int) error {
	p.open = p.open[:0]
	for {
		if err := p.begin(depth); err != nil {
			return err
		}
		for { // after a value, or an empty list or object
			if len(p.open) == 0 {
				return nil
			}
			inside := p.open[len(p.open)-1]
			if inside&empty != 0 { // its first value comes
				p.open[len(p.open)-1] = inside &^ empty
				break
			}
			p.space()
			c := p.peek()
			if c == ',' {
				p.at++
				if p.space(); inside == '}' {
					if err := p.name(); err != nil {
						return err
					}
				}
				break
			}
			if c != inside {
				return p.wrong("a comma or what ends the value")
			}
			p.at++
			p.open = p.open[:len(p.open)-1]
		}
	}
}

// empty marks an open list or object without a value so far.
const empty = 0x80

// begin reads a scalar, or opens a list or object and goes to its first value.
func (p *parser) begin(depth int) error {
	c := p.peek()
	switch {
	case c == '"':
		_, _, err := p.quoted()
		return err
	case c == '-' || c-'0' <= 9:
		return p.digits()
	case c != '{' && c != '[':
		_, err := p.scalar()
		return err
	}
	if depth+len(p.open) > mostDepth {
		return fault.New(fault.Malformed, "more than %d values in each other", mostDepth)
	}
	p.at++
	p.space()
	end := c + 2 // ] and } come two after [ and {
	if p.peek() == end {
		p.at++
		return nil
	}
	p.open = append(p.open, end|empty)
	if c == '{' {
		return p.name()
	}
	return nil
}

// name skips a member's name.
func (p *parser) name() error {
	if p.peek() != '"' {
		return p.wrong("a name")
	}
	if _, _, err := p.quoted(); err != nil {
		return err
	}
	if p.space(); p.peek() != ':' {
		return p.wrong("a colon")
	}
	p.at++
	p.space()
	return nil
}

// digits reads a number.
func (p *parser) digits() error {
	if p.peek() == '-' {
		p.at++
	}
	switch c := p.peek(); {
	case c == '0':
		p.at++
	case c-'1' <= 8:
		p.run()
	default:
		return p.wrong("a digit")
	}
	if p.peek() == '.' {
		p.at++
		if !p.run() {
			return p.wrong("a digit")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if !p.run() {
			return p.wrong("a digit")
		}
	}
	return nil
}

// run reads digits; false when there is none.
func (p *parser) run() bool {
	from := p.at
	for p.at < len(p.s) && p.s[p.at]-'0' <= 9 {
		p.at++
	}
	return p.at > from
}

// plainByte says of each byte whether it stands for itself in a text.
var plainByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf
	}
	return t
}()

// quoted reads a text in quotes. plain says that it stands as it is between
// them: without escapes, and ASCII.
func (p *parser) quoted() (inside string, plain bool, err error) {
	p.at++
	from := p.at
	plain = true
	for {
		for p.at < len(p.s) && plainByte[p.s[p.at]] {
			p.at++
		}
		switch c := p.peek(); {
		case c == '"':
			p.at++
			return p.s[from : p.at-1], plain, nil
		case c >= utf8.RuneSelf:
			plain = false
			p.at++
		case c == '\\':
			plain = false
			if err := p.escape(); err != nil {
				return "", false, err
			}
		default:
			return "", false, p.wrong("a character of a text")
		}
	}
}

// escape checks what follows a backslash.
func (p *parser) escape() error {
	p.at++
	if strings.IndexByte(`"\/bfnrtu`, p.peek()) < 0 || p.at >= len(p.s) {
		return p.wrong("an escape")
	}
	p.at++
	if p.s[p.at-1] != 'u' {
		return nil
	}
	if _, ok := fourHex(p.s[p.at:]); !ok {
		return p.wrong("four hexadecimal digits")
	}
	p.at += 4
	return nil
}

func fourHex(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	for i := range 4 {
		if c := s[i]; c-'0' > 9 && c|0x20-'a' > 5 {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(v), err == nil
}

// text reads a text and what it stands for.
func (p *parser) text() (string, error) {
	s, plain, err := p.quoted()
	if err != nil || plain {
		return s, err
	}
	return unescaped(s), nil
}

// unescaped is what a checked text stands for; bytes that are no UTF-8 and
// halves of pairs become U+FFFD each.
func unescaped(s string) string {
	if strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			r, n := utf8.DecodeRuneInString(s[i:])
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		c := s[i+1]
		i += 2
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := fourHex(s[i:]) // escape has seen it
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if strings.HasPrefix(s[i:], `\u`) {
					low, _ := fourHex(s[i+2:])
					pair = utf16.DecodeRune(r, low)
				}
				if r = pair; pair != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}
