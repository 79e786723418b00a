package search

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/storage/search/plan"
)

// Doc is one crash as the engines take it: Values[i] is the fixed value of the
// i-th field of the table, nil when absent. Values are string, int64, float64,
// bool or []string; a date is Date alone, with Values[date] the text as stored.
type Doc struct {
	ID     [16]byte // the crash id's 32 hex digits
	Date   int64    // date processed, microseconds since 1970
	Values []any
}

// badData stands for a value that is no string where one is due.
const badData = "BAD DATA"

// NewDoc picks the searchable values out of a processed crash and fixes them
// as Socorro does before indexing: what cannot be a number is dropped, strings
// are cut, anything but a clear yes is false. A crash without a valid uuid and
// date_processed is refused. The maps of processed may come from encoding/json
// with or without UseNumber.
func NewDoc(processed map[string]any, fields *plan.Fields) (Doc, error) {
	doc := Doc{Values: make([]any, len(fields.All()))}
	for i := range fields.All() {
		f := &fields.All()[i]
		raw := lookup(processed, f.Path)
		switch f.Name {
		case plan.IDField:
			id, ok := raw.(string)
			if !ok || !parseID(id, &doc.ID) {
				return Doc{}, badID(raw)
			}
			continue
		case plan.DateField:
			text, _ := raw.(string)
			t, ok := parseStored(text)
			if !ok {
				return Doc{}, badDate(f, raw)
			}
			doc.Date = t
			doc.Values[i] = text
			continue
		}
		if raw != nil {
			doc.Values[i] = fix(f, raw)
		}
	}
	return doc, nil
}

func badID(raw any) error {
	return fault.New(fault.Invalid, "processed crash has the bad uuid %.50v", raw)
}

func badDate(f *plan.Field, raw any) error {
	return fault.New(fault.Invalid, "processed crash has the bad %s %.50v", f.Path, raw)
}

// lookup follows a dotted path.
func lookup(doc map[string]any, path string) any {
	for {
		head, rest, more := strings.Cut(path, ".")
		v, ok := doc[head]
		if !ok || !more {
			return v
		}
		if doc, ok = v.(map[string]any); !ok {
			return nil
		}
		path = rest
	}
}

// ParseID reads a crash id's digits.
func ParseID(id string) (out [16]byte, ok bool) {
	ok = parseID(id, &out)
	return out, ok
}

// parseID reads 8-4-4-4-12 lower-case hex digits.
func parseID(id string, out *[16]byte) bool {
	if len(id) != 36 {
		return false
	}
	n := 0
	for i := 0; i < 36; i++ {
		c := id[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
			continue
		}
		var d byte
		switch {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c >= 'a' && c <= 'f':
			d = c - 'a' + 10
		default:
			return false
		}
		out[n/2] = out[n/2]<<4 | d
		n++
	}
	return true
}

// FormatID writes a crash id.
func FormatID(id [16]byte) string {
	const digits = "0123456789abcdef"
	var b [36]byte
	n := 0
	for i := range b {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			b[i] = '-'
			continue
		}
		b[i] = digits[id[n/2]>>(4*(1-n%2))&15]
		n++
	}
	return string(b[:])
}

var storedForms = []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02"}

func parseStored(s string) (int64, bool) {
	for _, form := range storedForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}

// CanonicalDate is the form in which dates are stored; only others need their
// text kept.
const CanonicalDate = "2006-01-02T15:04:05.000000-07:00"

// FormatDate writes an instant in CanonicalDate.
func FormatDate(micros int64) string { return time.UnixMicro(micros).UTC().Format(CanonicalDate) }

// fix brings a raw value to the field's storage; nil drops it.
func fix(f *plan.Field, raw any) any {
	switch f.Storage {
	case plan.Boolean:
		return fixBool(raw)
	case plan.Long:
		return boxed(fixInt(raw, math.MinInt64, math.MaxInt64))
	case plan.Integer:
		return boxed(fixInt(raw, math.MinInt32, math.MaxInt32))
	case plan.Double:
		if v, ok := fixFloat(raw); ok {
			return v
		}
		return nil
	case plan.Instant:
		if s, ok := raw.(string); ok {
			if t, ok := parseStored(s); ok {
				return t
			}
		}
		return nil
	}
	if f.Frames {
		frames, _ := raw.([]any)
		return framesText(frames, f.Parts)
	}
	switch v := raw.(type) {
	case []any:
		list := make([]string, 0, len(v))
		for _, one := range v {
			if one != nil {
				list = append(list, fixString(f, one))
			}
		}
		return list
	case []string:
		list := make([]string, 0, len(v))
		for _, one := range v {
			list = append(list, fixString(f, one))
		}
		return list
	}
	return fixString(f, raw)
}

// maxFrames is how many frames of a stack can be searched: what goes deeper is
// recursion.
const maxFrames = 200

// framesText writes the frames of a stack as lines: module, function and source
// file, inlined calls on lines of their own. Lines and revisions are left out:
// with them hardly two builds would share a value.
func framesText(frames []any, sep string) any {
	var lines []string
	for _, one := range frames[:min(len(frames), maxFrames)] {
		frame, ok := one.(map[string]any)
		if !ok {
			continue
		}
		module := textOf(frame["module"])
		inlines, _ := frame["inlines"].([]any)
		for _, in := range inlines {
			if call, ok := in.(map[string]any); ok {
				lines = append(lines, frameLine(module, textOf(call["function"]), textOf(call["file"])))
			}
		}
		lines = append(lines, frameLine(module, textOf(frame["function"]), textOf(frame["file"])))
	}
	if text := linesText(lines, sep); text != "" {
		return text
	}
	return nil
}

// call is a function that a frame stands in, or that was inlined there.
type call struct{ function, file string }

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

func linesText(lines []string, sep string) string {
	return cutBytes(strings.ToValidUTF8(strings.Join(lines, sep), "\uFFFD"), plan.MaxText)
}

func frameLine(module, function, file string) string {
	words := make([]string, 0, 3)
	for _, s := range []string{module, function, file} {
		if s != "" {
			words = append(words, strings.ReplaceAll(s, "\n", " "))
		}
	}
	if len(words) > 0 { // vcs:repository:path:revision
		if p := strings.Split(words[len(words)-1], ":"); len(p) == 4 {
			words[len(words)-1] = p[2]
		}
	}
	return strings.Join(words, " ")
}

func boxed(v int64, ok bool) any {
	if !ok {
		return nil
	}
	return v
}

func fixString(f *plan.Field, raw any) string {
	s, ok := raw.(string)
	if !ok {
		return badData
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if f.Storage == plan.Keyword {
		return cutRunes(s, plan.MaxKeyword)
	}
	return cutBytes(s, plan.MaxText)
}

func cutRunes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

func cutBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func fixBool(raw any) bool {
	switch v := raw.(type) {
	case bool:
		return v
	case string:
		return v == "1" || v == "true"
	case float64:
		return v == 1
	case int:
		return v == 1
	case int64:
		return v == 1
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 1
	}
	return false
}

func fixInt(raw any, least, most int64) (int64, bool) {
	var n int64
	switch v := raw.(type) {
	case int:
		n = int64(v)
	case int64:
		n = v
	case float64:
		if math.IsNaN(v) || v >= 1<<63 || v < -1<<63 {
			return 0, false
		}
		n = int64(v)
	case json.Number:
		i, err := v.Int64()
		if err != nil {
			f, err := v.Float64()
			if err != nil {
				return 0, false
			}
			return fixInt(f, least, most)
		}
		n = i
	case string:
		i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		if err != nil {
			return 0, false
		}
		n = i
	case bool:
		if v {
			n = 1
		}
	default:
		return 0, false
	}
	return n, n >= least && n <= most
}

func fixFloat(raw any) (float64, bool) {
	var f float64
	switch v := raw.(type) {
	case float64:
		f = v
	case int:
		f = float64(v)
	case int64:
		f = float64(v)
	case json.Number:
		x, err := v.Float64()
		if err != nil {
			return 0, false
		}
		f = x
	case string:
		x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return 0, false
		}
		f = x
	default:
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}
