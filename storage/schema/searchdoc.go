package schema

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the search index, past which a value is cut. They are those of the
// index that Super Search's clients grew up with.
const (
	maxKeywordRunes = 10_000 // characters of a keyword
	maxTextBytes    = 32_766 // bytes of a text: the longest term Lucene takes
)

// badData stands in the index for a keyword that is no text.
const badData = "BAD DATA"

// SearchDoc makes the document that the index holds of a processed crash: the
// search fields alone, under their keys, each made to fit how it is stored.
// What does not fit (a number out of range, a date that is none) is left out,
// so one odd field never keeps a crash from being found.
func (t *Table) SearchDoc(processed map[string]any) map[string]any {
	doc := make(map[string]any, len(t.search))
	for i := range t.search {
		f := &t.search[i]
		v, ok := f.value(processed)
		if !ok {
			continue
		}
		for _, key := range f.Keys {
			setPath(doc, key, v)
		}
	}
	id, _ := processed["uuid"].(string)
	return map[string]any{"crash_id": id, "processed_crash": doc}
}

// SearchValues gives the same values by the name of their search field: text
// and lists of text, int64, float64 and bool; dates stay text.
func (t *Table) SearchValues(processed map[string]any) map[string]any {
	values := make(map[string]any, len(t.search))
	for i := range t.search {
		if v, ok := t.search[i].value(processed); ok {
			values[t.search[i].Name] = v
		}
	}
	return values
}

// value finds the field's value in a processed crash and makes it fit.
func (f *SearchField) value(processed map[string]any) (any, bool) {
	v := getPath(processed, f.Source)
	if v == nil {
		return nil, false
	}
	switch f.Storage {
	case "keyword":
		return fixText(v, cutRunes), true
	case "text":
		return fixText(v, cutBytes), true
	case "boolean":
		return fixBool(v), true
	case "long":
		n, ok := toInt(v)
		return n, ok
	case "integer", "short":
		n, ok := toInt(v)
		return n, ok && n >= math.MinInt32 && n <= math.MaxInt32
	case "double":
		x, ok := toFloat(v)
		return x, ok && !math.IsNaN(x) && !math.IsInf(x, 0)
	case "date":
		s, _ := v.(string)
		_, ok := parseDate(s)
		return s, ok
	}
	return nil, false
}

// fixText cuts text and lists of text; anything else is bad data.
func fixText(v any, cut func(string) string) any {
	switch v := v.(type) {
	case string:
		return cut(v)
	case []any, []string:
		list := items(v)
		out := make([]string, len(list))
		for i, x := range list {
			s, ok := x.(string)
			if !ok {
				return badData
			}
			out[i] = cut(s)
		}
		return out
	}
	return badData
}

// fixBool is true for 1, "1", "true" and true only.
func fixBool(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v == "1" || v == "true"
	}
	n, ok := toFloat(v)
	return ok && n == 1
}

func cutRunes(s string) string {
	if len(s) <= maxKeywordRunes {
		return s
	}
	n := 0
	for i := range s {
		if n == maxKeywordRunes {
			return s[:i]
		}
		n++
	}
	return s
}

func cutBytes(s string) string {
	if len(s) <= maxTextBytes {
		return s
	}
	end := maxTextBytes
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// parseDate reads the forms in which dates are stored.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999"} {
		if d, err := time.Parse(layout, s); err == nil {
			return d, true
		}
	}
	return time.Time{}, false
}

// getPath follows a dotted path through objects; nil when it leads nowhere.
func getPath(doc map[string]any, path string) any {
	for {
		key, rest, more := strings.Cut(path, ".")
		v := doc[key]
		if !more {
			return v
		}
		doc, _ = v.(map[string]any)
		if doc == nil {
			return nil
		}
		path = rest
	}
}

// setPath sets a value under a dotted path, making the objects on the way.
func setPath(doc map[string]any, path string, v any) {
	for {
		key, rest, more := strings.Cut(path, ".")
		if !more {
			doc[key] = v
			return
		}
		next, ok := doc[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			doc[key] = next
		}
		doc, path = next, rest
	}
}
