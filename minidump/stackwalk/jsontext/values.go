package jsontext

import (
	"encoding/json"
	"strconv"
)

// Values makes Go values of compact JSON that is known to be right: objects are
// map[string]any, arrays []any, numbers json.Number. Texts lie in text.
func Values(text string) any {
	v := &values{text: text, sizes: map[string]int{}}
	return v.value("")
}

// values is a reader of JSON that checks nothing.
type values struct {
	text  string
	at    int
	sizes map[string]int // of the last object below a key
}

// maxKeys is how many keys an object is expected to have at most; the few that have
// more grow.
const maxKeys = 16

// value reads the value of a key, or of the list below it.
func (v *values) value(key string) any {
	switch v.text[v.at] {
	case '{':
		return v.object(key)
	case '[':
		return v.array(key)
	case '"':
		return v.string()
	case 'n':
		v.at += len("null")
		return nil
	case 't':
		v.at += len("true")
		return true
	case 'f':
		v.at += len("false")
		return false
	}
	from := v.at
	for v.at < len(v.text) && v.text[v.at] != ',' && v.text[v.at] != '}' && v.text[v.at] != ']' {
		v.at++
	}
	return json.Number(v.text[from:v.at])
}

func (v *values) object(key string) map[string]any {
	m := make(map[string]any, v.sizes[key])
	v.at++
	for v.text[v.at] != '}' {
		if v.text[v.at] == ',' {
			v.at++
		}
		k := v.string()
		v.at++ // the colon
		m[k] = v.value(k)
	}
	v.at++
	if n := min(len(m), maxKeys); n != v.sizes[key] {
		v.sizes[key] = n
	}
	return m
}

func (v *values) array(key string) []any {
	list := []any{}
	v.at++
	for v.text[v.at] != ']' {
		if v.text[v.at] == ',' {
			v.at++
		}
		list = append(list, v.value(key))
	}
	v.at++
	return list
}

func (v *values) string() string {
	from := v.at
	v.at++
	escaped := false
	for v.text[v.at] != '"' {
		if v.text[v.at] == '\\' {
			escaped = true
			v.at++
		}
		v.at++
	}
	v.at++
	if !escaped {
		return v.text[from+1 : v.at-1]
	}
	// strconv knows every escape of JSON but the slash, which is not written
	// escaped, and pairs of surrogates, which are not written at all.
	s, err := strconv.Unquote(v.text[from:v.at])
	if err != nil {
		_ = json.Unmarshal([]byte(v.text[from:v.at]), &s)
	}
	return s
}
