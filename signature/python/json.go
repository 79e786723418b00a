package python

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds how deep arrays and objects may nest. Python gives up
// near its recursion limit of 1000.
const maxJSONDepth = 500

// errDepth is what Python says of JSON that nests too deep.
var errDepth = errors.New("maximum recursion depth exceeded while decoding a JSON document")

// DecodeJSON is json.loads: it takes NaN and Infinity, refuses control
// characters in strings, and its errors are worded and placed as Python's.
// Numbers become json.Number, or float64 for the words.
func DecodeJSON(text string) (any, error) {
	if strings.HasPrefix(text, "\ufeff") {
		return nil, jsonError(text, "Unexpected UTF-8 BOM (decode using utf-8-sig)", 0)
	}
	d := jsonDecoder{s: text}
	d.space()
	v, err := d.value(maxJSONDepth)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.at < len(text) {
		return nil, jsonError(text, "Extra data", d.at)
	}
	return v, nil
}

// jsonError places a mistake the way JSONDecodeError does: in characters.
func jsonError(s, what string, at int) error {
	if at > len(s) {
		at = len(s)
	}
	before := s[:at]
	line := 1 + strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Errorf("%s: line %d column %d (char %d)", what, line, column, utf8.RuneCountInString(before))
}

type jsonDecoder struct {
	s  string
	at int
}

func (d *jsonDecoder) fail(what string, at int) error { return jsonError(d.s, what, at) }

func (d *jsonDecoder) space() {
	for d.at < len(d.s) && strings.IndexByte(" \t\n\r", d.s[d.at]) >= 0 {
		d.at++
	}
}

// peek is the next byte, 0 at the end.
func (d *jsonDecoder) peek() byte {
	if d.at < len(d.s) {
		return d.s[d.at]
	}
	return 0
}

// jsonWords are the values that are words.
var jsonWords = [...]struct {
	word  string
	value any
}{
	{"null", nil}, {"true", true}, {"false", false},
	{"NaN", json.Number("NaN")}, {"Infinity", json.Number("Infinity")}, {"-Infinity", json.Number("-Infinity")},
}

// value reads any value; depth is what is left of the limit.
func (d *jsonDecoder) value(depth int) (any, error) {
	if depth == 0 {
		return nil, errDepth
	}
	switch d.peek() {
	case '"':
		return d.text()
	case '{':
		return d.object(depth)
	case '[':
		return d.array(depth)
	}
	for _, w := range jsonWords {
		if strings.HasPrefix(d.s[d.at:], w.word) {
			d.at += len(w.word)
			return w.value, nil
		}
	}
	return d.number()
}

// number reads the longest number there is, as Python does: "1.x" is 1 and
// then extra data.
func (d *jsonDecoder) number() (any, error) {
	start, at := d.at, d.at
	digits := func(i int) int {
		for i < len(d.s) && d.s[i] >= '0' && d.s[i] <= '9' {
			i++
		}
		return i
	}
	if at < len(d.s) && d.s[at] == '-' {
		at++
	}
	end := digits(at)
	switch {
	case end == at:
		return nil, d.fail("Expecting value", start)
	case d.s[at] == '0':
		end = at + 1
	}
	if end < len(d.s) && d.s[end] == '.' {
		if e := digits(end + 1); e > end+1 {
			end = e
		}
	}
	if end < len(d.s) && (d.s[end] == 'e' || d.s[end] == 'E') {
		from := end + 1
		if from < len(d.s) && (d.s[from] == '+' || d.s[from] == '-') {
			from++
		}
		if e := digits(from); e > from {
			end = e
		}
	}
	d.at = end
	return json.Number(d.s[start:end]), nil
}

func (d *jsonDecoder) object(depth int) (any, error) {
	out := map[string]any{}
	d.at++
	d.space()
	if d.peek() == '}' {
		d.at++
		return out, nil
	}
	for {
		if d.peek() != '"' {
			return nil, d.fail("Expecting property name enclosed in double quotes", d.at)
		}
		key, err := d.text()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.peek() != ':' {
			return nil, d.fail("Expecting ':' delimiter", d.at)
		}
		d.at++
		d.space()
		if out[key], err = d.value(depth - 1); err != nil {
			return nil, err
		}
		d.space()
		switch d.peek() {
		case '}':
			d.at++
			return out, nil
		case ',':
			d.at++
			d.space()
		default:
			return nil, d.fail("Expecting ',' delimiter", d.at)
		}
	}
}

func (d *jsonDecoder) array(depth int) (any, error) {
	out := []any{}
	d.at++
	d.space()
	if d.peek() == ']' {
		d.at++
		return out, nil
	}
	for {
		v, err := d.value(depth - 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		d.space()
		switch d.peek() {
		case ']':
			d.at++
			return out, nil
		case ',':
			d.at++
			d.space()
		default:
			return nil, d.fail("Expecting ',' delimiter", d.at)
		}
	}
}

// text reads a string.
func (d *jsonDecoder) text() (string, error) {
	begin := d.at
	d.at++
	var out []byte
	for {
		from := d.at
		for d.at < len(d.s) && d.s[d.at] != '"' && d.s[d.at] != '\\' && d.s[d.at] >= ' ' {
			d.at++
		}
		out = append(out, d.s[from:d.at]...)
		switch {
		case d.at == len(d.s):
			return "", d.fail("Unterminated string starting at", begin)
		case d.s[d.at] < ' ':
			return "", d.fail("Invalid control character at", d.at)
		case d.s[d.at] == '"':
			d.at++
			return string(out), nil
		}
		var err error
		if out, err = d.escape(out, begin); err != nil {
			return "", err
		}
	}
}

var jsonEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads a backslash and what follows.
func (d *jsonDecoder) escape(out []byte, begin int) ([]byte, error) {
	slash := d.at
	if slash+1 == len(d.s) {
		return nil, d.fail("Unterminated string starting at", begin)
	}
	c := d.s[slash+1]
	d.at += 2
	if c != 'u' {
		b, ok := jsonEscapes[c]
		if !ok {
			return nil, d.fail(`Invalid \escape`, slash)
		}
		return append(out, b), nil
	}
	r, ok := d.hex4(d.at)
	if !ok {
		return nil, d.fail(`Invalid \uXXXX escape`, slash+1)
	}
	d.at += 4
	if utf16.IsSurrogate(r) && strings.HasPrefix(d.s[d.at:], `\u`) {
		if low, ok := d.hex4(d.at + 2); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				d.at += 6
				return utf8.AppendRune(out, pair), nil
			}
		}
	}
	return utf8.AppendRune(out, r), nil // a lone surrogate becomes U+FFFD
}

func (d *jsonDecoder) hex4(at int) (rune, bool) {
	if at+4 >= len(d.s) { // Python wants something behind the digits, too
		return 0, false
	}
	for i := at; i < at+4; i++ {
		if c := d.s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(d.s[at:at+4], 16, 32)
	return rune(n), err == nil
}
