package opensearch

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/storage/search"
	"mayday/storage/search/plan"
	"mayday/storage/search/text"
)

// The names that a field has in the index. Values stand under the field's own
// name; what is made from them beside it.
const (
	fullSuffix   = ".full"    // Text: the whole value
	tokensSuffix = "__tokens" // Semicolon: the lower-cased tokens
	microsSuffix = "__us"     // Instant: microseconds since 1970; the name itself holds milliseconds
	textSuffix   = "__text"   // the date: its text, when that is not the canonical one
	// strayField marks crashes that are in another week than their id says.
	strayField = "__stray"
	// highField and lowField are the crash id as two numbers in its order: the
	// last keys of every sort order, where reading terms would take seconds.
	highField = "__high"
	lowField  = "__low"
	// blankField lists the semicolon fields that are there but hold no token.
	blankField = "__blank"
)

// column is one field of the table and its names in the index.
type column struct {
	field *plan.Field
	name  string // in the source
	exact string // whole values: terms, sorting, patterns
	kind  string // of exact, for indices that lack it
}

// columns names all fields of a table.
func columns(fields *plan.Fields) []column {
	out := make([]column, len(fields.All()))
	for i := range out {
		f := &fields.All()[i]
		// A dot would make objects, which could collide with other fields.
		c := column{field: f, name: strings.ReplaceAll(f.Name, ".", "__"), kind: "keyword"}
		c.exact = c.name
		switch f.Storage {
		case plan.Text:
			c.exact += fullSuffix
		case plan.Semicolon:
			c.exact += tokensSuffix
		case plan.Instant:
			c.exact += microsSuffix
			c.kind = "long"
		case plan.Long, plan.Integer:
			c.kind = "long"
		case plan.Double:
			c.kind = "double"
		case plan.Boolean:
			c.kind = "boolean"
		}
		if f.Name == plan.IDField {
			c.exact, c.kind = c.name, "keyword"
		}
		out[i] = c
	}
	return out
}

// mapping is what the indices are told of the fields.
func mapping(cols []column) map[string]any {
	keyword := map[string]any{"type": "keyword"}
	props := map[string]any{
		strayField: map[string]any{"type": "boolean"},
		highField:  map[string]any{"type": "long", "index": false},
		lowField:   map[string]any{"type": "long", "index": false},
		blankField: map[string]any{"type": "keyword", "doc_values": false},
	}
	for _, c := range cols {
		one := keyword
		switch c.field.Storage {
		case plan.Text:
			if c.field.Name != plan.IDField {
				one = map[string]any{"type": "text", "analyzer": "standard", "norms": false, "fields": map[string]any{"full": keyword}}
			}
		case plan.Semicolon:
			one = map[string]any{"type": "keyword", "index": false, "doc_values": false}
			props[c.exact] = keyword
		case plan.Instant:
			one = map[string]any{"type": "date", "format": "epoch_millis"}
			props[c.exact] = map[string]any{"type": "long"}
			props[c.name+textSuffix] = map[string]any{"type": "keyword", "index": false, "doc_values": false}
		case plan.Long, plan.Integer, plan.Double, plan.Boolean:
			one = map[string]any{"type": c.kind}
		}
		props[c.name] = one
	}
	return map[string]any{"dynamic": false, "properties": props}
}

// template is what weekly indices are made from.
func template(prefix string, cols []column) map[string]any {
	return map[string]any{
		"index_patterns": patterns(prefix),
		"priority":       200,
		"template": map[string]any{
			"settings": map[string]any{"index": map[string]any{
				// One shard a week: a week is what retention drops, and the
				// fewer shards the nearer terms counts are to exact.
				"number_of_shards":     1,
				"auto_expand_replicas": "0-1",
				"refresh_interval":     "30s", // Index and Delete refresh on their own
				"max_regex_length":     maxRegexp,
				// A value that does not fit an index whose fields had other
				// types counts as absent there.
				"mapping": map[string]any{"ignore_malformed": true, "total_fields": map[string]any{"limit": 4*len(cols) + 1000}},
				// Deleted values leave the disk when the day's merge asks for it.
				"merge": map[string]any{"policy": map[string]any{"expunge_deletes_allowed": 0}},
			}},
			"mappings": mapping(cols),
		},
	}
}

// maxRegexp is the longest regular expression that the cluster takes.
const maxRegexp = 64 << 10

// otherWeek is the name of the index for dates that no calendar of crashes has.
const otherWeek = "other"

// patterns match the weekly indices of a prefix: years from 2000 to 2999.
func patterns(prefix string) []string { return []string{prefix + "2*", prefix + otherWeek} }

// maxTerm is the longest term that Lucene takes, in bytes.
const maxTerm = 32_766

// encode writes the document of a crash.
func encode(b *bytes.Buffer, cols []column, d *search.Doc, stray bool) error {
	out := make(map[string]any, len(cols)+4)
	var blank []string
	for i, c := range cols {
		switch c.field.Name {
		case plan.IDField:
			out[c.name] = search.FormatID(d.ID)
			out[highField], out[lowField] = ordered(d.ID[:8]), ordered(d.ID[8:])
			continue
		case plan.DateField:
			out[c.name], out[c.exact] = millis(d.Date), d.Date
			if s, ok := d.Values[i].(string); ok && s != search.FormatDate(d.Date) {
				out[c.name+textSuffix] = s
			}
			continue
		}
		switch v := d.Values[i].(type) {
		case nil:
		case int64:
			out[c.exact] = v
			if c.field.Storage == plan.Instant {
				out[c.name] = millis(v)
			}
		case float64, bool:
			out[c.name] = v
		case string:
			out[c.name] = fit(v)
			if c.field.Storage == plan.Semicolon && !tokens(out, c, v) {
				blank = append(blank, c.name)
			}
		case []string:
			if len(v) == 0 {
				continue
			}
			if c.field.Storage == plan.Semicolon {
				joined := strings.Join(v, ";")
				out[c.name] = joined
				if !tokens(out, c, joined) {
					blank = append(blank, c.name)
				}
				continue
			}
			list := make([]string, len(v))
			for j, s := range v {
				list[j] = fit(s)
			}
			out[c.name] = list
		default:
			return fault.New(fault.Internal, "field %s has a value of type %T", c.field.Name, v)
		}
	}
	if stray {
		out[strayField] = true
	}
	if len(blank) > 0 {
		out[blankField] = blank
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// ordered is eight bytes as a number that sorts as they do.
func ordered(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }

// tokens adds the distinct tokens of a semicolon field; false when it has none.
func tokens(out map[string]any, c column, value string) bool {
	seen := map[string]bool{}
	var list []string
	for _, t := range text.Tokens(value) {
		if t = fit(t); !seen[t] {
			seen[t] = true
			list = append(list, t)
		}
	}
	if len(list) > 0 {
		out[c.exact] = list
	}
	return len(list) > 0
}

// fit cuts a value to what Lucene takes as a term; more would have the whole
// crash refused.
func fit(s string) string {
	if len(s) <= maxTerm {
		return s
	}
	n := maxTerm
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// millis rounds microseconds down.
func millis(micros int64) int64 {
	ms := micros / 1000
	if micros%1000 < 0 {
		ms--
	}
	return ms
}
