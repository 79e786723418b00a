package search

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Reader makes documents of the JSON of processed crashes. A document is the one
// that NewDoc makes of the decoded text, and a text that encoding/json refuses is
// refused; but what no field wants is only checked, not decoded, which is most
// of a crash and nearly all of the time. It may be used by many goroutines.
type Reader struct {
	fields  []plan.Field // with one of no name for each value besides
	own     int          // how many are of the table
	root    *node
	wrapped *node // root, and a processed crash in a line of an import
	parsers sync.Pool
}

// node is a place in the processed crash that a field wants, or that lies above
// one.
type node struct {
	fields []int // whose value is here
	below  []int // these and all further down
	sub    map[string]*node
	crash  bool // the processed crash of a line
}

// NewReader prepares reading the fields of a table, and the values at other
// paths besides, as they stand.
func NewReader(fields *plan.Fields, besides ...string) *Reader {
	x := &Reader{fields: slices.Clone(fields.All()), own: len(fields.All()), root: &node{}}
	for _, path := range besides {
		x.fields = append(x.fields, plan.Field{Path: path})
	}
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

// Doc makes the document of a processed crash.
func (x *Reader) Doc(text []byte) (Doc, error) {
	doc, _, err := x.read(text, x.root)
	return doc, err
}

// DocBesides makes the document of a processed crash and gives the values
// besides: string, json.Number, bool, nil, or what is no single value.
func (x *Reader) DocBesides(text []byte) (Doc, []any, error) { return x.read(text, x.root) }

// Line makes the document of a line of an import: a processed crash, or an
// object that holds it as processed_crash.
func (x *Reader) Line(text []byte) (Doc, error) {
	doc, _, err := x.read(text, x.wrapped)
	return doc, err
}

func (x *Reader) read(text []byte, root *node) (doc Doc, besides []any, err error) {
	p, ok := x.parsers.Get().(*parser)
	if !ok {
		p = &parser{x: x}
	}
	defer x.parsers.Put(p)
	p.crash = nil
	p.in = *bytes.NewBuffer(text) // which the decoder reads in place
	p.Reset(&p.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	defer func() { p.in = bytes.Buffer{} }()
	values := make([]any, len(x.fields))
	switch p.PeekKind() {
	case '{':
		err = p.object(root, values)
	case 'n':
		err = fault.New(fault.Malformed, "null instead of an object")
	default:
		if _, err = p.ReadToken(); err == nil {
			err = fault.New(fault.Malformed, "no object")
		}
	}
	if err == nil {
		if _, more := p.ReadToken(); more != io.EOF {
			err = fault.New(fault.Malformed, "more follows the object at byte %d", p.InputOffset())
		}
	}
	if err != nil {
		return doc, nil, fault.As(fault.Malformed, err, "decode document of %d bytes", len(text))
	}
	if p.crash != nil {
		values = p.crash
	}
	doc, err = x.finish(values[:x.own:x.own])
	return doc, values[x.own:], err
}

// finish moves id and date to their places.
func (x *Reader) finish(values []any) (Doc, error) {
	doc := Doc{Values: values}
	for i := range values {
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
	jsontext.Decoder
	in    bytes.Buffer
	x     *Reader
	crash []any  // values of the processed crash inside, once there is one
	name  []byte // room for names with escapes
}

// object reads the object that comes: the values that fields want.
func (p *parser) object(n *node, values []any) error {
	return p.members(func(name []byte) error {
		next := n.sub[string(name)]
		switch {
		case next == nil:
			return p.SkipValue()
		case next.crash:
			p.crash = nil
			if p.PeekKind() != '{' {
				return p.SkipValue()
			}
			p.crash = make([]any, len(p.x.fields))
			return p.object(p.x.root, p.crash)
		}
		return p.value(next, values)
	})
}

// members calls f for each member of the object that comes, before its value.
func (p *parser) members(f func(name []byte) error) error {
	if _, err := p.ReadToken(); err != nil {
		return err
	}
	for p.PeekKind() == '"' {
		name, err := p.ReadValue()
		if err != nil {
			return err
		}
		plain := []byte(name[1 : len(name)-1])
		if bytes.IndexByte(plain, '\\') >= 0 {
			// Invalid UTF-8 is in no name that is wanted.
			p.name, _ = jsontext.AppendUnquote(p.name[:0], name)
			plain = p.name
		}
		if err := f(plain); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// elements calls f for each element of the list that comes.
func (p *parser) elements(f func() error) error {
	if _, err := p.ReadToken(); err != nil {
		return err
	}
	for {
		switch p.PeekKind() {
		case ']', 0: // 0: what is wrong is said by reading it
			_, err := p.ReadToken()
			return err
		}
		if err := f(); err != nil {
			return err
		}
	}
}

// value reads the value that fields of n want; of two with the same name the
// last counts.
func (p *parser) value(n *node, values []any) (err error) {
	for _, i := range n.below {
		values[i] = nil
	}
	var raw any
	switch kind := p.PeekKind(); {
	case kind == '{' && len(n.sub) > 0:
		raw, err = composite{}, p.object(n, values)
	case kind == '[' && p.frames(n):
		return p.stack(n, values)
	case kind == '[':
		raw, err = p.list()
	case kind == '0' && len(n.fields) == 1:
		return p.number(n.fields[0], values)
	default:
		raw, err = p.scalar()
	}
	if err == nil {
		p.set(n, values, raw)
	}
	return err
}

// set gives the fields of n their value.
func (p *parser) set(n *node, values []any, raw any) {
	if raw == nil {
		return
	}
	for _, i := range n.fields {
		switch f := &p.x.fields[i]; f.Name {
		case plan.IDField, plan.DateField, "":
			values[i] = raw // see finish
		default:
			values[i] = fix(f, raw)
		}
	}
}

// composite stands for an object, or a list where none is wanted: not nil, and
// of no type that a field takes.
type composite struct{}

// number reads a number for one field: nearly all are plain integers.
func (p *parser) number(i int, values []any) error {
	text, err := p.ReadValue()
	if err != nil {
		return err
	}
	f := &p.x.fields[i]
	if v, ok := plainInt(text); ok && f.Storage.IsInt() {
		if f.Storage == plan.Long || v >= math.MinInt32 && v <= math.MaxInt32 {
			values[i] = v
		}
		return nil
	}
	switch f.Name {
	case plan.IDField, plan.DateField, "":
		values[i] = json.Number(text)
	default:
		values[i] = fix(f, json.Number(text))
	}
	return nil
}

// plainInt reads an integer of at most 18 digits.
func plainInt(text []byte) (v int64, ok bool) {
	digits := bytes.TrimPrefix(text, []byte("-"))
	if len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c-'0' > 9 {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		v = -v
	}
	return v, true
}

// scalar reads a value; what is none comes as composite.
func (p *parser) scalar() (any, error) {
	switch kind := p.PeekKind(); kind {
	case '{', '[':
		return composite{}, p.SkipValue()
	default:
		token, err := p.ReadToken()
		if err != nil {
			return nil, err
		}
		switch kind {
		case '"':
			return token.String(), nil
		case '0':
			return json.Number(token.String()), nil
		case 't', 'f':
			return token.Bool(), nil
		}
		return nil, nil // null
	}
}

// list reads a list of scalars; what else is in it only counts.
func (p *parser) list() (any, error) {
	out := []any{}
	err := p.elements(func() error {
		v, err := p.scalar()
		out = append(out, v)
		return err
	})
	return out, err
}

// frames says whether a field wants the list here as the frames of a stack.
func (p *parser) frames(n *node) bool {
	for _, i := range n.fields {
		if p.x.fields[i].Frames {
			return true
		}
	}
	return false
}

// stack reads a list of frames. Other fields that want it see a list of as many
// values.
func (p *parser) stack(n *node, values []any) error {
	var lines []string
	list := []any{}
	err := p.elements(func() error {
		if len(list) >= maxFrames || p.PeekKind() != '{' {
			v, err := p.scalar()
			list = append(list, v)
			return err
		}
		list = append(list, composite{})
		module, one, inlines, err := p.frame()
		for _, in := range inlines {
			lines = append(lines, frameLine(module, in.function, in.file))
		}
		lines = append(lines, frameLine(module, one.function, one.file))
		return err
	})
	if err != nil {
		return err
	}
	p.set(n, values, list)
	for _, i := range n.fields {
		if p.x.fields[i].Frames {
			values[i] = nil
			if text := linesText(lines, p.x.fields[i].Parts); text != "" {
				values[i] = text
			}
		}
	}
	return nil
}

// frame reads one frame, with the calls inlined into it.
func (p *parser) frame() (module string, one call, inlines []call, err error) {
	err = p.members(func(name []byte) (err error) {
		switch string(name) {
		case "module":
			module, err = p.text()
		case "inlines":
			inlines = nil
			if p.PeekKind() != '[' {
				return p.SkipValue()
			}
			return p.elements(func() error {
				if p.PeekKind() != '{' {
					return p.SkipValue()
				}
				var in call
				err := p.members(func(name []byte) error { return p.call(name, &in) })
				inlines = append(inlines, in)
				return err
			})
		default:
			err = p.call(name, &one)
		}
		return err
	})
	return module, one, inlines, err
}

// call reads a member of a call.
func (p *parser) call(name []byte, c *call) (err error) {
	switch string(name) {
	case "function":
		c.function, err = p.text()
	case "file":
		c.file, err = p.text()
	default:
		err = p.SkipValue()
	}
	return err
}

// text reads a value, "" when it is no text.
func (p *parser) text() (string, error) {
	v, err := p.scalar()
	return textOf(v), err
}
