package jsontext

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestNormal(t *testing.T) {
	deep := func(n int) string {
		b := make([]byte, 0, 2*n)
		for range n {
			b = append(b, '[')
		}
		for range n {
			b = append(b, ']')
		}
		return string(b)
	}
	for in, want := range map[string]string{
		` {"b": 1.50, "a": [null, true]} ` + "\n": `{"a":[null,true],"b":1.50}`,
		`{"a":1,"a":2}`:        `{"a":2}`,
		`"\u00e9\ud83e\udd8a"`: `"é🦊"`,
		`"<\/>"`:               `"</>"`,
		deep(127):              deep(127),
		deep(128):              "",
		``:                     "",
		` `:                    "",
		`{} {}`:                "",
		`[1,2`:                 "",
		`"\ud800"`:             "", // half of a pair
		`"\ud800\u0041"`:       "",
		`"\udd8a"`:             "",
		`"\\ud800"`:            `"\\ud800"`,
		"\"\xff\"":             "",
		`1e400`:                "",
		`[{"a":-1e309}]`:       "",
		`1e-400`:               "1e-400",
	} {
		if got := string(Normal([]byte(in))); got != want {
			t.Errorf("%.40q: %.40q, want %.40q", in, got, want)
		}
	}
}

// FuzzNormal has what Normal writes be JSON that it leaves as it is.
func FuzzNormal(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.50,-0],"a":"\u00e9\ud83e\udd8a\\"}`, `"\ud800x"`, `[[[]]]`, `1e999`, ` null `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		once := Normal(b)
		if once == nil {
			return
		}
		if !json.Valid(once) || !utf8.Valid(once) {
			t.Fatalf("%q gives %q", b, once)
		}
		if again := Normal(once); !bytes.Equal(once, again) {
			t.Fatalf("%q, then %q", once, again)
		}
	})
}
