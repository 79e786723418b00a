package rules

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// at follows keys (text) and indices (int) into decoded JSON; nil when the way
// ends early.
func at(v any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s < 0 || s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// textAt is the text at a path; "" when there is none.
func textAt(v any, path ...any) string {
	s, _ := at(v, path...).(string)
	return s
}

// listAt is the list at a path; nil when there is none.
func listAt(v any, path ...any) []any {
	l, _ := at(v, path...).([]any)
	return l
}

// indexAt is the whole number at a path, as a JSON number.
func indexAt(v any, path ...any) (int, bool) {
	n, ok := number(at(v, path...))
	if !ok || n != math.Trunc(n) || math.Abs(n) > 1<<31 {
		return 0, false
	}
	return int(n), true
}

// number reads any kind of number that decoded JSON may hold.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}

// parseInt reads an annotation as an integer the way clients have come to rely
// on: spaces around it, a sign and single underscores between digits are fine.
// big is true for a number that is one but does not fit.
func parseInt(v any) (n int64, fits, big bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true, false
		}
		return 0, true, false
	case json.Number:
		return parseInt(v.String())
	case float64:
		return int64(v), v >= math.MinInt64 && v < math.MaxInt64, false
	case int:
		return int64(v), true, false
	case int64:
		return v, true, false
	case string:
		s := strings.TrimFunc(v, unicode.IsSpace)
		digits := strings.TrimLeft(s, "+-")
		if len(s)-len(digits) > 1 || digits == "" || digits[0] == '_' || digits[len(digits)-1] == '_' || strings.Contains(digits, "__") {
			return 0, false, false
		}
		digits = strings.ReplaceAll(digits, "_", "")
		if strings.TrimLeft(digits, "0123456789") != "" {
			return 0, false, false
		}
		if s[0] == '-' {
			digits = "-" + digits
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		return n, err == nil, err != nil
	}
	return 0, false, false
}

// maxBigDigits bounds the integers that are kept although they fit no 64 bits;
// no counter or size has more.
const maxBigDigits = 40

// bigInt keeps an integer past 64 bits as a JSON number.
func bigInt(v any) (json.Number, bool) {
	s, _ := v.(string)
	s = strings.ReplaceAll(strings.TrimFunc(s, unicode.IsSpace), "_", "")
	if len(s) > maxBigDigits {
		return "", false
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return "", false
	}
	return json.Number(n.String()), true
}

// decodeJSON reads one JSON value and nothing after it; numbers stay exact.
func decodeJSON(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	rest := strings.TrimSpace(text[min(int(d.InputOffset()), len(text)):])
	return v, rest == ""
}

// encodeJSON writes v with sorted keys and a space after colons and commas, as
// Socorro's documents have always had it in text fields.
func encodeJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return spaced(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// spaced puts a space after each colon and comma that is not in a text.
func spaced(text []byte) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	inText := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		b.WriteByte(c)
		switch {
		case inText && c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '"':
			inText = !inText
		case !inText && (c == ':' || c == ','):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// truthy is what a client's yes looks like.
func truthy(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v == "1" || v == "true"
	}
	n, ok := number(v)
	return ok && n == 1
}

// annotation is the text of an annotation; ok is false when it is absent. A
// number or boolean sent as JSON counts as its text.
func (c *Crash) annotation(name string) (text string, ok bool) {
	v, ok := c.Raw[name]
	if !ok || v == nil {
		return "", false
	}
	return asText(v), true
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
