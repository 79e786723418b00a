// Package python does what Python does with JSON values and text, as far as it
// shows in signatures: the upstream of the signature rules takes whatever stands
// in crash data as it comes, so the text of a list, the truth of a zero and the
// digits of other scripts are part of the format.
//
// It covers int(), bool(), str() and repr() of JSON values, white space, lower
// case and line ends; nothing else of the language.
package python

import (
	"encoding/json"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Crash data is JSON, and the upstream takes whatever value it finds the way
// Python does. These functions do so for values as package encoding/json
// makes them (with or without UseNumber) and for Go numbers.

// Truthy is Python's bool(v).
func Truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case []string:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	if n, ok := NumberOf(v); ok {
		return !n.Zero()
	}
	return true
}

// Number is a JSON Number as Python reads it: an integer of any size, or a
// float.
type Number struct {
	Whole string // decimal digits with an optional minus; empty for a float
	Float float64
}

// Zero reports whether n is 0 of either kind.
func (n Number) Zero() bool {
	if n.Whole != "" {
		return n.Whole == "0"
	}
	return n.Float == 0
}

// NumberOf reads a Number; booleans are none here.
func NumberOf(v any) (Number, bool) {
	switch v := v.(type) {
	case json.Number:
		return ParseNumber(string(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			// Without UseNumber the integers come as floats.
			return Number{Whole: strconv.FormatInt(int64(v), 10)}, true
		}
		return Number{Float: v}, true
	case float32:
		return NumberOf(float64(v))
	case int:
		return Number{Whole: strconv.Itoa(v)}, true
	case int64:
		return Number{Whole: strconv.FormatInt(v, 10)}, true
	case int32:
		return Number{Whole: strconv.FormatInt(int64(v), 10)}, true
	case uint32:
		return Number{Whole: strconv.FormatUint(uint64(v), 10)}, true
	case uint64:
		return Number{Whole: strconv.FormatUint(v, 10)}, true
	case uint:
		return Number{Whole: strconv.FormatUint(uint64(v), 10)}, true
	}
	return Number{}, false
}

// ParseNumber reads the text of a JSON number.
func ParseNumber(s string) (Number, bool) {
	switch s {
	case "NaN":
		return Number{Float: math.NaN()}, true
	case "Infinity":
		return Number{Float: math.Inf(1)}, true
	case "-Infinity":
		return Number{Float: math.Inf(-1)}, true
	}
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return Number{Whole: s}, s != ""
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return Number{}, false
	}
	return Number{Float: f}, true
}

// int64 cuts the Number to a whole one as int() does; too large ones become
// the largest of their sign.
func (n Number) Int64() int64 {
	if n.Whole == "" {
		switch {
		case math.IsNaN(n.Float):
			return 0
		case n.Float >= math.MaxInt64:
			return math.MaxInt64
		case n.Float <= math.MinInt64:
			return math.MinInt64
		}
		return int64(n.Float)
	}
	i, err := strconv.ParseInt(n.Whole, 10, 64)
	if err != nil && strings.HasPrefix(n.Whole, "-") {
		return math.MinInt64
	}
	if err != nil {
		return math.MaxInt64
	}
	return i
}

func (n Number) String() string {
	if n.Whole != "" {
		return n.Whole
	}
	return floatText(n.Float)
}

// floatText is Python's repr of a float.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		s := strconv.FormatFloat(f, 'e', -1, 64)
		return s
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Int is Python's int(v); ok is false where that raises.
func Int(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		return ParseInt(v)
	}
	num, ok := NumberOf(v)
	if !ok || num.Whole == "" && (math.IsNaN(num.Float) || math.IsInf(num.Float, 0)) {
		return 0, false
	}
	return num.Int64(), true
}

// ParseInt is Python's int(text): a sign, digits of any script, single
// underscores between them, white space around. Too large numbers become the
// largest of their sign.
func ParseInt(s string) (n int64, ok bool) {
	s = TrimSpace(s)
	negative := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		negative = s[0] == '-'
		s = s[1:]
	}
	digit := false
	for _, r := range s {
		if r == '_' {
			if !digit {
				return 0, false
			}
			digit = false
			continue
		}
		d := Digit(r)
		if d < 0 {
			return 0, false
		}
		digit = true
		if n > (math.MaxInt64-int64(d))/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + int64(d)
		}
	}
	if !digit {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

// maxReprDepth bounds how deep a value is written out; upstream would fail
// from Python's own limit on, which is near.
const maxReprDepth = 200

// Str is Python's Str(v).
func Str(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	writeRepr(&b, v, maxReprDepth)
	return b.String()
}

func writeRepr(b *strings.Builder, v any, depth int) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case string:
		b.WriteString(Repr(v))
	case []any:
		if depth == 0 {
			b.WriteString("[...]")
			return
		}
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, e, depth-1)
		}
		b.WriteByte(']')
	case map[string]any:
		writeMapRepr(b, v, depth)
	case *big.Int:
		b.WriteString(v.String())
	default:
		if n, ok := NumberOf(v); ok {
			b.WriteString(n.String())
		} else {
			b.WriteString("<value>")
		}
	}
}

// writeMapRepr writes the keys in order of their text: Go's maps do not keep
// the order of the document, and equal crashes must give equal signatures.
func writeMapRepr(b *strings.Builder, m map[string]any, depth int) {
	if depth == 0 {
		b.WriteString("{...}")
		return
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Repr(k))
		b.WriteString(": ")
		writeRepr(b, m[k], depth-1)
	}
	b.WriteByte('}')
}

// Repr is Python's repr of a string.
func Repr(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	out := make([]byte, 0, len(s)+2)
	out = append(out, q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || r == 0x7f:
			out = append(out, '\\', 'x', "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		default:
			out = appendReprRune(out, r)
		}
	}
	return string(append(out, q))
}

// appendReprRune escapes what Python does not print; only what is not ASCII
// comes here escaped, and signatures drop that anyway.
func appendReprRune(out []byte, r rune) []byte {
	if strconv.IsPrint(r) {
		return utf8.AppendRune(out, r)
	}
	hex := strconv.FormatInt(int64(r), 16)
	width, lead := 8, `\U`
	switch {
	case r <= 0xff:
		width, lead = 2, `\x`
	case r <= 0xffff:
		width, lead = 4, `\u`
	}
	out = append(out, lead...)
	for i := len(hex); i < width; i++ {
		out = append(out, '0')
	}
	return append(out, hex...)
}

// TypeName is Python's name for the type of a JSON value.
func TypeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any, []string:
		return "list"
	case map[string]any:
		return "dict"
	default:
		if n, ok := NumberOf(v); ok && n.Whole == "" {
			return "float"
		}
		return "int"
	}
}
