package python

import (
	"encoding/json"
	"testing"
)

func value(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(`{"v":`+text+`}`), &v); err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)["v"]
}

// The right column is what CPython prints.
func TestStr(t *testing.T) {
	for text, want := range map[string]string{
		`null`: "None", `true`: "True", `false`: "False", `"a'b"`: "a'b", `3`: "3", `1.5`: "1.5",
		`["x",1]`: "['x', 1]", `["it's"]`: `["it's"]`, `["\"'"]`: `['"\'']`, `["\n\t\u0007"]`: `['\n\t\x07']`,
		`{"a":[null,{}]}`: "{'a': [None, {}]}", `["é\u200b"]`: `['é\u200b']`,
	} {
		if got := Str(value(t, text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for text, want := range map[json.Number]string{
		"7": "7", "-0": "0", "7.0": "7.0", "1e3": "1000.0", "1e16": "1e+16", "1e-5": "1e-05", "0.0001": "0.0001", "123456789012345678901234567890": "123456789012345678901234567890", "1e999": "inf",
	} {
		if got := Str(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestInt(t *testing.T) {
	for _, c := range []struct {
		v    any
		want int64
		ok   bool
	}{
		{nil, 0, false}, {true, 1, true}, {"", 0, false}, {" 1 ", 1, true}, {"+1", 1, true}, {"-1", -1, true}, {"1_0", 10, true},
		{"1__0", 0, false}, {"_1", 0, false}, {"1_", 0, false}, {"1.5", 0, false}, {1.9, 1, true}, {-1.9, -1, true},
		{"٣", 3, true}, {"９", 9, true}, {"𝟠", 8, true}, {"²", 0, false}, {json.Number("9" + "99999999999999999999"), 1<<63 - 1, true},
		{json.Number("1e400"), 0, false}, {[]any{}, 0, false}, {uint64(7), 7, true},
	} {
		if got, ok := Int(c.v); got != c.want || ok != c.ok {
			t.Errorf("%#v: got %d, %v, want %d, %v", c.v, got, ok, c.want, c.ok)
		}
	}
}

func TestTruthy(t *testing.T) {
	for text, want := range map[string]bool{`null`: false, `0`: false, `0.0`: false, `""`: false, `[]`: false, `{}`: false, `false`: false,
		`1`: true, `"0"`: true, `[0]`: true, `{"a":0}`: true, `0.1`: true, `true`: true} {
		if got := Truthy(value(t, text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestLower(t *testing.T) {
	for text, want := range map[string]string{"FOO.DLL": "foo.dll", "foo": "foo", "ÄÖ": "äö", "İ": "i\u0307", "ΑΣ": "ας", "ΑΣΑ": "ασα", "Σ": "σ", "ΑΣ.Α": "ασ.α"} {
		if got := Lower(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestFirstLines(t *testing.T) {
	for _, c := range []struct {
		text  string
		lines [2]string
		n     int
	}{
		{"", [2]string{}, 0}, {"a", [2]string{"a"}, 1}, {"a\n", [2]string{"a"}, 1}, {"a\r\nb\n", [2]string{"a", "b"}, 2}, {"a\n\nc", [2]string{"a", ""}, 2},
		{"a\u2028b\vc", [2]string{"a", "b"}, 2}, {"a\u0085b", [2]string{"a", "b"}, 2}, {"a\rb", [2]string{"a", "b"}, 2}, {"a\x1cb", [2]string{"a", "b"}, 2},
	} {
		lines, n := FirstLines(c.text)
		if lines != c.lines || n != c.n {
			t.Errorf("%q: got %q, %d", c.text, lines, n)
		}
	}
}
