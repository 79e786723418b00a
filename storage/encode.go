package storage

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"mayday/app/fault"
)

// maxDepth bounds values in each other, as encoding/json does when it decodes.
const maxDepth = 10_000

// EncodeDocument writes a document as the bucket holds it: one JSON object
// with sorted keys, pure ASCII. It is what encoding/json writes, but for the
// characters outside ASCII, and without its reflection: each crash is encoded
// twice on its way.
func EncodeDocument(doc map[string]any) ([]byte, error) {
	if doc == nil {
		return nil, fault.New(fault.Invalid, "encode document: there is none")
	}
	e := encoder{out: make([]byte, 0, 4<<10)}
	if err := e.object(doc, 0); err != nil {
		return nil, fault.As(fault.Invalid, err, "encode document")
	}
	return e.out, nil
}

// encoder appends JSON to out. keys is room for the sorted keys of the objects
// that are being written, one after the other.
type encoder struct {
	out  []byte
	keys []string
}

func (e *encoder) object(m map[string]any, depth int) error {
	if depth > maxDepth {
		return fault.New(fault.Invalid, "more than %d values in each other", maxDepth)
	}
	first := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	keys := e.keys[first:]
	slices.Sort(keys)
	if len(e.out) > cap(e.out)/8*7 {
		e.out = slices.Grow(e.out, cap(e.out)) // by a quarter at a time, large documents leave too much behind
	}
	e.out = append(e.out, '{')
	for i, k := range keys {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		e.text(k)
		e.out = append(e.out, ':')
		if err := e.value(m[k], depth+1); err != nil {
			return err
		}
	}
	e.keys = e.keys[:first]
	e.out = append(e.out, '}')
	return nil
}

func (e *encoder) value(v any, depth int) error {
	switch x := v.(type) {
	case nil:
		e.out = append(e.out, "null"...)
	case string:
		e.text(x)
	case bool:
		e.out = strconv.AppendBool(e.out, x)
	case int:
		e.out = strconv.AppendInt(e.out, int64(x), 10)
	case int64:
		e.out = strconv.AppendInt(e.out, x, 10)
	case uint64:
		e.out = strconv.AppendUint(e.out, x, 10)
	case json.Number:
		if !plainInteger(string(x)) {
			return e.other(v)
		}
		e.out = append(e.out, x...)
	case map[string]any:
		if x == nil {
			e.out = append(e.out, "null"...)
			return nil
		}
		return e.object(x, depth)
	case []any:
		return e.list(x, depth)
	case []string:
		if x == nil {
			e.out = append(e.out, "null"...)
			return nil
		}
		e.out = append(e.out, '[')
		for i, s := range x {
			if i > 0 {
				e.out = append(e.out, ',')
			}
			e.text(s)
		}
		e.out = append(e.out, ']')
	default:
		return e.other(v)
	}
	return nil
}

func (e *encoder) list(x []any, depth int) error {
	if x == nil {
		e.out = append(e.out, "null"...)
		return nil
	}
	if depth > maxDepth {
		return fault.New(fault.Invalid, "more than %d values in each other", maxDepth)
	}
	e.out = append(e.out, '[')
	for i, v := range x {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if err := e.value(v, depth+1); err != nil {
			return err
		}
	}
	e.out = append(e.out, ']')
	return nil
}

// other leaves structs, fractions and whatever else to encoding/json.
func (e *encoder) other(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if text[0] == '{' || text[0] == '[' || text[0] == '"' {
		// Its objects are not sorted the same way and its texts escape HTML:
		// decode and write again.
		doc, err := DecodeDocument(append(append([]byte(`{"v":`), text...), '}'))
		if err != nil {
			return err
		}
		return e.value(doc["v"], 0)
	}
	e.out = append(e.out, text...)
	return nil
}

// plainInteger reports whether s is an integer as JSON writes it.
func plainInteger(s string) bool {
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	if s == "" || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// text writes a string, what is outside ASCII as \uXXXX.
func (e *encoder) text(s string) {
	out := append(e.out, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		out = append(out, s[start:i]...)
		if c < utf8.RuneSelf {
			out = appendControl(out, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			out = appendEscape(appendEscape(out, r1), r2)
		} else {
			out = appendEscape(out, r)
		}
		i += n
		start = i
	}
	out = append(out, s[start:]...)
	e.out = append(out, '"')
}

func appendControl(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return appendEscape(b, rune(c))
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
