package python

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The errors are CPython's.
func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
		err  string
	}{
		{` {"a": [1, -2.5e3, "x", null, true]} `, map[string]any{"a": []any{json.Number("1"), json.Number("-2.5e3"), "x", nil, true}}, ""},
		{`"\u00e9\ud83d\ude00\n\/"`, "é😀\n/", ""},
		{`NaN`, json.Number("NaN"), ""},
		{`[]`, []any{}, ""},
		{``, nil, "Expecting value: line 1 column 1 (char 0)"},
		{`{{{{`, nil, "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
		{"{\n\"é\" 1}", nil, "Expecting ':' delimiter: line 2 column 5 (char 6)"},
		{`{"a":}`, nil, "Expecting value: line 1 column 6 (char 5)"},
		{`{"a":1,}`, nil, "Expecting property name enclosed in double quotes: line 1 column 8 (char 7)"},
		{`{"a":1`, nil, "Expecting ',' delimiter: line 1 column 7 (char 6)"},
		{`[1,]`, nil, "Expecting value: line 1 column 4 (char 3)"},
		{`[1 2]`, nil, "Expecting ',' delimiter: line 1 column 4 (char 3)"},
		{`"abc`, nil, "Unterminated string starting at: line 1 column 1 (char 0)"},
		{"\"a\tb\"", nil, "Invalid control character at: line 1 column 3 (char 2)"},
		{`"a\q"`, nil, `Invalid \escape: line 1 column 3 (char 2)`},
		{`"\u12x4"`, nil, `Invalid \uXXXX escape: line 1 column 3 (char 2)`},
		{`"\u0041`, nil, `Invalid \uXXXX escape: line 1 column 3 (char 2)`},
		{`1 2`, nil, "Extra data: line 1 column 3 (char 2)"},
		{`01`, nil, "Extra data: line 1 column 2 (char 1)"},
		{`-`, nil, "Expecting value: line 1 column 1 (char 0)"},
		{"\ufeff1", nil, "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"},
		{strings.Repeat("[", maxJSONDepth+1), nil, errDepth.Error()},
	} {
		got, err := DecodeJSON(c.text)
		if text := ""; err != nil {
			if text = err.Error(); text != c.err {
				t.Errorf("%.40q: error %q, want %q", c.text, text, c.err)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); c.err != "" || d != "" {
			t.Errorf("%.40q: no error, want %q; (-want +got):\n%s", c.text, c.err, d)
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{`{"phase":"x","conditions":[{"name":"y"}]}`, `{{`, `"\ud800"`, `[1,`, "\"\x00\"", `1e5`, `-Infinity`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := DecodeJSON(text)
		Str(got)
		if json.Valid([]byte(text)) && err != nil && err.Error() != errDepth.Error() {
			t.Errorf("%q: %v", text, err)
		}
	})
}
