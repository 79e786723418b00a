package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func text(s string) string {
	var w Writer
	w.Text(s)
	return string(w.B)
}

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                       `""`,
		"plain text":             `"plain text"`,
		"eight ch":               `"eight ch"`,
		`a "quote" and \ more`:   `"a \"quote\" and \\ more"`,
		"\n\r\t\b\f\x01\x1f\x7f": `"\n\r\t\b\f\u0001\u001f` + "\x7f\"",
		"näme <&> \u2028":        "\"näme <&> \u2028\"",
		"bad \xff\xfe utf":       `"bad ` + "\ufffd\ufffd" + ` utf"`,
	} {
		if got := text(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// A long text is handed on in pieces that end between characters.
func TestTextIsStreamed(t *testing.T) {
	var out bytes.Buffer
	w := Writer{W: &out}
	s := strings.Repeat("näme \"[{,: €\\ \x01", 3*MaxPending/16)
	w.Text(s)
	if len(w.B) > 8*MaxPending || out.Len() == 0 {
		t.Errorf("%d bytes are held, %d were written", len(w.B), out.Len())
	}
	w.Flush(0, 0)
	if out.String() != text(s) {
		t.Error("pieces differ from the whole")
	}
}

// FuzzText has any text come back from encoding/json and from Values.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "abcdefgh", "a\"b\\c\x00d\x1fe\x7ff", "\xff€\xe2\x82", strings.Repeat("x", 40) + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := text(s)
		var got string
		if err := json.Unmarshal([]byte(b), &got); err != nil || !utf8.ValidString(b) {
			t.Fatalf("%q: %v", b, err)
		}
		want := string([]rune(s))
		if got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if v := Values(b); v != want {
			t.Fatalf("values: %q, want %q", v, want)
		}
	})
}

// FuzzValues has Values read compact JSON as encoding/json does.
func FuzzValues(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,"x",{}],"b":null,"c":[[],[true,false]],"":{"a":{"a":1}}}`, `[]`, `"\u00e9\ud83d\ude00\/\ud800"`, `0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var compact bytes.Buffer
		if !utf8.ValidString(s) || json.Compact(&compact, []byte(s)) != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(compact.Bytes()))
		d.UseNumber()
		var want any
		if d.Decode(&want) != nil {
			return
		}
		if diff := cmp.Diff(want, Values(compact.String())); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkText(b *testing.B) {
	const s = "void std::__1::vector<engine::dom::Node*, std::__1::allocator<engine::dom::Node*>>::push_back(engine::dom::Node* const&)"
	var w Writer
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		w.B = w.B[:0]
		w.Text(s)
	}
}
