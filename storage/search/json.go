package search

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// appendResult writes a result as encode does. A page of facets is thousands of
// small values, on which reflection takes longer than the search.
func appendResult(b []byte, r *Result) []byte {
	b = append(b, `{"hits":[`...)
	for i, h := range r.Hits {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHit(b, h)
	}
	b = append(b, `],"total":`...)
	b = strconv.AppendInt(b, r.Total, 10)
	b = append(b, `,"facets":`...)
	b = appendFacets(b, r.Facets)
	b = append(b, `,"errors":[`...)
	for i, e := range r.Errors {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"type":`...), e.Type)
		b = appendString(append(b, `,"index":`...), e.Index)
		b = append(b, '}')
	}
	b = append(b, ']')
	if len(r.Warnings) > 0 {
		b = append(b, `,"warnings":`...)
		b = appendStrings(b, r.Warnings)
	}
	if r.Cursor != "" {
		b = appendString(append(b, `,"cursor":`...), r.Cursor)
	}
	return append(b, '}')
}

// appendHit writes a hit with its columns in the order of their names.
func appendHit(b []byte, h Hit) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(h)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = appendValue(append(b, ':'), h[name])
	}
	return append(b, '}')
}

func appendFacets(b []byte, f Facets) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(f)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = appendFacet(append(b, ':'), f[name])
	}
	return append(b, '}')
}

// appendFacet writes one aggregation; levels are at most four.
func appendFacet(b []byte, f *Facet) []byte {
	if f.IsNumber {
		b = strconv.AppendInt(append(b, `{"value":`...), f.Cardinality, 10)
		return append(b, '}')
	}
	b = append(b, '[')
	for i := range f.Buckets {
		if i > 0 {
			b = append(b, ',')
		}
		k := &f.Buckets[i]
		b = appendValue(append(b, `{"term":`...), k.Term)
		b = strconv.AppendInt(append(b, `,"count":`...), k.Count, 10)
		if len(k.Facets) > 0 {
			b = appendFacets(append(b, `,"facets":`...), k.Facets)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case []string:
		return appendStrings(b, v)
	}
	text, err := json.Marshal(v)
	if err != nil { // only a type that cannot be JSON, a bug
		return append(b, "null"...)
	}
	return append(b, text...)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString writes a text; "</" is written so that it cannot end a script.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && (c != '/' || i == 0 || s[i-1] != '<') {
			i++
			continue
		}
		size := 1
		switch {
		case c == '"' || c == '\\' || c == '/':
			b = append(append(b, s[done:i]...), '\\', c)
		case c == '\n':
			b = append(append(b, s[done:i]...), '\\', 'n')
		case c == '\r':
			b = append(append(b, s[done:i]...), '\\', 'r')
		case c == '\t':
			b = append(append(b, s[done:i]...), '\\', 't')
		case c == '\b':
			b = append(append(b, s[done:i]...), '\\', 'b')
		case c == '\f':
			b = append(append(b, s[done:i]...), '\\', 'f')
		case c < ' ':
			b = append(append(b, s[done:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[done:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[done:i]...), '\\', 'u', '2', '0', '2', hex[r&15])
			default:
				i += size
				continue
			}
		}
		i += size
		done = i
	}
	return append(append(b, s[done:]...), '"')
}
