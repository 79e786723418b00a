package signature

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

// truthy is Python's bool(v).
func truthy(v any) bool {
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
	if n, ok := numberOf(v); ok {
		return !n.zero()
	}
	return true
}

// number is a JSON number as Python reads it: an integer of any size, or a
// float.
type number struct {
	whole string // decimal digits with an optional minus; empty for a float
	float float64
}

func (n number) zero() bool {
	if n.whole != "" {
		return n.whole == "0"
	}
	return n.float == 0
}

// numberOf reads a number; booleans are none here.
func numberOf(v any) (number, bool) {
	switch v := v.(type) {
	case json.Number:
		return parseNumber(string(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			// Without UseNumber the integers come as floats.
			return number{whole: strconv.FormatInt(int64(v), 10)}, true
		}
		return number{float: v}, true
	case float32:
		return numberOf(float64(v))
	case int:
		return number{whole: strconv.Itoa(v)}, true
	case int64:
		return number{whole: strconv.FormatInt(v, 10)}, true
	case int32:
		return number{whole: strconv.FormatInt(int64(v), 10)}, true
	case uint32:
		return number{whole: strconv.FormatUint(uint64(v), 10)}, true
	case uint64:
		return number{whole: strconv.FormatUint(v, 10)}, true
	case uint:
		return number{whole: strconv.FormatUint(uint64(v), 10)}, true
	}
	return number{}, false
}

func parseNumber(s string) (number, bool) {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return number{whole: s}, s != ""
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return number{}, false
	}
	return number{float: f}, true
}

// int64 cuts the number to a whole one as int() does; too large ones become
// the largest of their sign.
func (n number) int64() int64 {
	if n.whole == "" {
		switch {
		case math.IsNaN(n.float):
			return 0
		case n.float >= math.MaxInt64:
			return math.MaxInt64
		case n.float <= math.MinInt64:
			return math.MinInt64
		}
		return int64(n.float)
	}
	i, err := strconv.ParseInt(n.whole, 10, 64)
	if err != nil && strings.HasPrefix(n.whole, "-") {
		return math.MinInt64
	}
	if err != nil {
		return math.MaxInt64
	}
	return i
}

func (n number) String() string {
	if n.whole != "" {
		return n.whole
	}
	return floatText(n.float)
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

// toInt is Python's int(v); ok is false where that raises.
func toInt(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		return parseInt(v)
	}
	num, ok := numberOf(v)
	if !ok || num.whole == "" && (math.IsNaN(num.float) || math.IsInf(num.float, 0)) {
		return 0, false
	}
	return num.int64(), true
}

// parseInt is Python's int(text): a sign, digits of any script, single
// underscores between them, white space around. Too large numbers become the
// largest of their sign.
func parseInt(s string) (n int64, ok bool) {
	s = trimSpace(s)
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
		d := decimalDigit(r)
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
	if negative {
		n = -n
	}
	return n, digit
}

// maxReprDepth bounds how deep a value is written out; upstream would fail
// from Python's own limit on, which is near.
const maxReprDepth = 200

// str is Python's str(v).
func str(v any) string {
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
		b.WriteString(quote(v))
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
		if n, ok := numberOf(v); ok {
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
		b.WriteString(quote(k))
		b.WriteString(": ")
		writeRepr(b, m[k], depth-1)
	}
	b.WriteByte('}')
}

// quote is Python's repr of a string.
func quote(s string) string {
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
