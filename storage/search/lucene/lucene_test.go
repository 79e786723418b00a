package lucene

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"mayday/app/fault"
)

func TestRegexp(t *testing.T) {
	tests := []struct {
		pattern   string
		yes, no   []string
		wantError bool
	}{
		{pattern: "OOM.*", yes: []string{"OOM", "OOM | small"}, no: []string{"xOOM", "oom"}},
		{pattern: "mozilla::.*::(RunLoop|Dispatch)", yes: []string{"mozilla::a::RunLoop"}, no: []string{"mozilla::RunLoop", "mozilla::a::RunLoops"}},
		{pattern: `f.."(bar)"`, yes: []string{"foo(bar)"}, no: []string{"foobar"}},
		{pattern: `"a|b" & ~(c)`, no: []string{"a|b", "a", "c"}},
		{pattern: `"a|b"&~(c)`, yes: []string{"a|b"}, no: []string{"a", "c"}},
		{pattern: "0x0{16}", yes: []string{"0x0000000000000000"}, no: []string{"0x000000000000000", "0x00000000000000000"}},
		{pattern: "~(foo.*)", yes: []string{"", "fo", "bar"}, no: []string{"foo", "foobar"}},
		{pattern: "~foo", yes: []string{"oo", "xoo"}, no: []string{"f", "foo"}},
		{pattern: "v<7-12>", yes: []string{"v7", "v12", "v012", "v10"}, no: []string{"v6", "v13", "v", "v712"}},
		{pattern: "<10-25>", yes: []string{"10", "19", "25"}, no: []string{"9", "26", "010"}},
		{pattern: "foo@bar", yes: []string{"foobar", "foo--bar"}, no: []string{"foo@ba"}},
		{pattern: "a.c&.b.", yes: []string{"abc"}, no: []string{"acc", "abd"}},
		{pattern: "a#?b", yes: []string{"ab"}, no: []string{"a#b"}},
		{pattern: "#", no: []string{"", "#"}},
		{pattern: "", yes: []string{""}, no: []string{"a"}},
		{pattern: "|.", yes: []string{"|a"}, no: []string{"", "a", "|"}}, // where a value must begin, Lucene takes any character for itself
		{pattern: "a|", wantError: true},
		{pattern: "()", yes: []string{""}, no: []string{"()"}},
		{pattern: `[^a-c\]]+`, yes: []string{"xyz", "é日"}, no: []string{"xay", "]", ""}},
		{pattern: `[]a]+`, yes: []string{"]a"}, no: []string{"b"}},
		{pattern: `\d+\.\w{2,3}`, yes: []string{"12.ab", "1.abc"}, no: []string{"a.ab", "1.a", "1.abcd"}},
		{pattern: "a.b", yes: []string{"a\nb", "a日b"}, no: []string{"ab"}},
		{pattern: "(a{2}){3}", yes: []string{"aaaaaa"}, no: []string{"aaaaa", "aaaaaaa"}},
		{pattern: "(a?){3}", yes: []string{"", "a", "aaa"}, no: []string{"aaaa"}},
		{pattern: "^a$", yes: []string{"^a$"}, no: []string{"a"}},
		{pattern: "(", wantError: true},
		{pattern: "a)", wantError: true},
		{pattern: "*a", yes: []string{"*a"}, no: []string{"a"}},
		{pattern: "[a", wantError: true},
		{pattern: "[z-a]", wantError: true},
		{pattern: "a{3,1}", wantError: true},
		{pattern: "a{x}", wantError: true},
		{pattern: "a{999999999999}", wantError: true},
		{pattern: `"a`, wantError: true},
		{pattern: "<a-b>", wantError: true},
		{pattern: "|", yes: []string{"|"}, no: []string{""}},
		{pattern: "a|", wantError: true},
		{pattern: strings.Repeat("a", maxPattern+1), wantError: true},
		{pattern: strings.Repeat("(", maxDepth+1) + strings.Repeat(")", maxDepth+1), wantError: true},
	}
	for _, tt := range tests {
		d, err := Regexp(tt.pattern)
		if (err != nil) != tt.wantError {
			t.Errorf("Regexp(%q) error = %v, want an error: %v", tt.pattern, err, tt.wantError)
			continue
		}
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("Regexp(%q) error %v is not invalid", tt.pattern, err)
			}
			continue
		}
		for _, s := range tt.yes {
			if !d.Match([]byte(s)) {
				t.Errorf("%q does not match %q", tt.pattern, s)
			}
			if !strings.Contains(s, d.Required()) {
				t.Errorf("%q requires %q, which %q lacks", tt.pattern, d.Required(), s)
			}
		}
		for _, s := range tt.no {
			if d.Match([]byte(s)) {
				t.Errorf("%q matches %q", tt.pattern, s)
			}
		}
		if d.Err() != nil {
			t.Errorf("%q: %v", tt.pattern, d.Err())
		}
	}
}

func TestTooComplex(t *testing.T) {
	for _, pattern := range []string{
		"(a|b)*a(a|b){20}",
		"((a{1,900}){1,900}){1,900}",
		"~(.*a.{12})&~(.*b.{13})&.*c.{14}",
	} {
		d, err := Regexp(pattern)
		if err != nil {
			continue // refused at once
		}
		x := uint32(1)
		var text []byte
		for range 200_000 {
			x = x*1664525 + 1013904223
			text = append(text, "abc"[x>>16%3])
			x ^= x >> 13
		}
		d.Match(text)
		if len(d.nodes) > maxStates || len(d.tree.nodes) > maxNodes {
			t.Errorf("%q grew to %d states and %d nodes", pattern, len(d.nodes), len(d.tree.nodes))
		}
	}
	d, err := Regexp("(a|b)*a(a|b){20}")
	if err != nil {
		t.Fatal(err)
	}
	x := uint32(7)
	var text []byte
	for range 300_000 {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		text = append(text, "ab"[x>>9&1])
	}
	if d.Match(text); !fault.Is(d.Err(), fault.Invalid) {
		t.Errorf("a pattern of 2^20 states ended with %v", d.Err())
	}
}

func TestWildcard(t *testing.T) {
	tests := []struct {
		pattern string
		yes, no []string
	}{
		{"java.lang.*Bitmap*", []string{"java.lang.x.Bitmap", "java.lang.Bitmaps"}, []string{"xjava.lang.Bitmap"}},
		{"a?c", []string{"abc", "a日c"}, []string{"ac", "abbc"}},
		{`a\*c\?\\`, []string{`a*c?\`}, []string{`abc?\`}},
		{`k\s`, []string{"ks"}, []string{`k\s`}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"*", []string{"", "x\ny"}, nil},
	}
	for _, tt := range tests {
		d, err := Wildcard(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tt.yes {
			if !d.Match([]byte(s)) {
				t.Errorf("wildcard %q does not match %q", tt.pattern, s)
			}
		}
		for _, s := range tt.no {
			if d.Match([]byte(s)) {
				t.Errorf("wildcard %q matches %q", tt.pattern, s)
			}
		}
	}
	if lit, ok := Literal(`a\*b\\`); !ok || lit != `a*b\` {
		t.Errorf("Literal = %q, %v", lit, ok)
	}
}

// plain are patterns that mean the same to Go.
var plain = regexp.MustCompile(`^[abc.?*+|()]*$`)

func FuzzRegexp(f *testing.F) {
	for _, s := range []string{"(a|b)*c", "a.*b", "~(ab)&.*", "<1-20>a", "[a-c]{2,5}", `"ab"@c`, "a(b(c)?)+", "~~a#", "(((a?)+)*)+b"} {
		f.Add(s, "abcab")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(text) > 300 || len(pattern) > 200 || !utf8.ValidString(text) || !utf8.ValidString(pattern) {
			return
		}
		d, err := Regexp(pattern)
		if err != nil {
			return
		}
		got := d.Match([]byte(text))
		if d.Err() != nil {
			return
		}
		if got && !strings.Contains(text, d.Required()) {
			t.Errorf("%q requires %q but matches %q", pattern, d.Required(), text)
		}
		if !plain.MatchString(pattern) || len(pattern) > 40 {
			return
		}
		re, err := regexp.Compile(`(?s)\A(?:` + pattern + `)\z`)
		if err != nil || strings.Contains(pattern, "?") && regexp.MustCompile(`[?*+]\?`).MatchString(pattern) || regexp.MustCompile(`(^|[(|])[?*+|]`).MatchString(pattern) {
			return // lazy or empty in Go, a literal in Lucene
		}
		if want := re.MatchString(text); got != want {
			t.Errorf("%q on %q: %v, Go says %v", pattern, text, got, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	d, err := Regexp(".*Worker.*::(RunLoop|Dispatch).*")
	if err != nil {
		b.Fatal(err)
	}
	text := []byte("mozilla::dom::WorkerPrivate::Foo | base::MessagePump<T>::Run(int) | mozilla::dom::Worker::RunLoop | xul.dll@0x1234")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		d.Match(text)
	}
}
