package pattern

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func set(t testing.TB, entries ...string) *Set {
	t.Helper()
	list, problems := Parse([]byte(strings.Join(entries, "\n")))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return NewSet(list)
}

// What Python's re.match says of one entry and one text.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		entry, text string
		want        bool
	}{
		{"abort", "abort", true},
		{"abort", "aborted", true},
		{"abort", "an abort", false},
		{"abort$", "abort", true},
		{"abort$", "abort\n", true},
		{"abort$", "abort\n\n", false},
		{"abort$", "aborted", false},
		{`abort\Z`, "abort", true},
		{`abort\Z`, "abort\n", false},
		{`^abort`, "abort", true},
		{".*free", "a free b", true},
		{".*free", "a\nfree", false},
		{".*free", "free", true},
		{"a.*b.*c", "a1b2c", true},
		{"a.*b.*c", "a1c2b", false},
		{"a.*b.*c", "ab\nc", false},
		{".*a.*b", "b then a then b", true},
		{".*a.*b", "b then a", false},
		{".*x$", "a x", true},
		{".*x$", "a x b", false},
		{"(Nt|Zw)?Wait(Ex)?", "ZwWaitEx", true},
		{"(Nt|Zw)?Wait(Ex)?", "WaitFor", true},
		{"(Nt|Zw)?Wait(Ex)?", "XxWait", false},
		{`lib\.so(\.\d+)?`, "lib.so.6", true},
		{`lib\.so`, "libxso", false},
		{`lib-\d+\.so`, "lib-2.so", true},
		{`lib-\d+\.so`, "lib-٣.so", true},
		{`lib-\d+\.so`, "lib-x.so", false},
		{`\w+::f`, "имя::f", true},
		{`a\sb`, "a\u2003b", true},
		{`a\sb`, "a\x1cb", true},
		{`[^\W\d_]+$`, "abc", true},
		{`[^\W\d_]+$`, "ab1", false},
		{`[]a]x`, "]x", true},
		{`[[a]x`, "[x", true},
		{"x{2,3}y", "xxxy", true},
		{"x{,2}y", "y", true},
		{"x{y", "x{y", true},
		{"{x}", "{x}", true},
		{"x{}", "x{}", true},
		{`\<name\>`, "<name>", true},
		{`\x41\u0042\101`, "ABA", true},
		{"(?P<n>al)pha", "alpha", true},
		{"(?i:ab)c", "ABc", true},
		{"(?i:ab)c", "ABC", false},
		{"a(?#note)b", "ab", true},
		{"абв", "абвг", true},
		{"a|b", "bx", true},
		{"a|", "zzz", true},
		{`\$VARIANT\$`, "$VARIANT$x", true},
		{`\n`, "\n", true},
		{`[\b]`, "\x08", true},
		{"a*?b", "aab", true},
		{"(?s:a.b)", "a\nb", true},
	} {
		if got := set(t, c.entry).Match(c.text); got != c.want {
			t.Errorf("%q matches %q: got %v, want %v", c.entry, c.text, got, c.want)
		}
		// Among others the answer stays the same.
		if got := set(t, "never1", c.entry, "never.*2", ".*never3", "neve[r]+4").Match(c.text); got != c.want {
			t.Errorf("%q among others matches %q: got %v, want %v", c.entry, c.text, got, c.want)
		}
	}
}

func TestEmptyMatchesAll(t *testing.T) {
	if s := set(t, "# nothing", ""); !s.Match("") || !s.Match("x") {
		t.Error("an empty list does not match")
	}
}

func TestRefused(t *testing.T) {
	for entry, want := range map[string]string{
		"a(?=b)":                             "look-ahead",
		"a(?!b)":                             "look-ahead",
		"(?<=a)b":                            "look-behind",
		"(?<!a)b":                            "look-behind",
		`(a)\1`:                              "back-reference",
		"(?P<n>a)(?P=n)":                     "back-reference",
		"(?>a)":                              "atomic",
		"a++":                                "possessive",
		"(?(1)a|b)":                          "conditional",
		"(?i)a":                              "(?i:",
		"(?x:a)":                             "flag",
		"a(":                                 "missing closing )",
		"a)":                                 "unexpected )",
		"*a":                                 "missing argument to repetition",
		"[a":                                 "unterminated",
		`\q`:                                 "bad escape",
		`a\`:                                 "bad escape",
		`\x4`:                                "escape",
		"a{2000}":                            "repeat count",
		strings.Repeat("a", maxEntryBytes+1): "bytes",
	} {
		_, problems := Parse([]byte("ok\n" + entry))
		if len(problems) != 1 || problems[0].Line != 2 || !strings.Contains(problems[0].Text, want) {
			t.Errorf("%q: got %v, want line 2 and %q", entry, problems, want)
		}
	}
}

func TestLimits(t *testing.T) {
	entries, problems := Parse([]byte(strings.Repeat("a\n", maxListEntries)))
	if len(entries) != maxListEntries || len(problems) != 0 {
		t.Errorf("at the limit: %d entries, %v", len(entries), problems)
	}
	entries, problems = Parse([]byte(strings.Repeat("a\n", maxListEntries+2)))
	if len(entries) != maxListEntries || len(problems) != 1 {
		t.Errorf("past the limit: %d entries, %v", len(entries), problems)
	}
}

// A set must answer what a joined regular expression would.
func TestSetIsTheJoinedExpression(t *testing.T) {
	entries := []string{"abort$", "free", "fr.*ee", ".*alloc", ".*a.*b.*c", "(x|y)?z", `lib-\d+\.so`, "ab(c|d)", "abx", "a[b-e]f", "xx$", ".*end$"}
	joined := regexp.MustCompile(`\A(?:abort(?:\n?\z)|free|fr.*ee|.*alloc|.*a.*b.*c|(?:x|y)?z|lib-\d+\.so|ab(?:c|d)|abx|a[b-e]f|xx(?:\n?\z)|.*end(?:\n?\z))`)
	s := set(t, entries...)
	words := []string{"a", "b", "c", "x", "z", "ab", "free", "fr", "ee", "alloc", "abort", "\n", "lib-", "1", ".so", "xx", "end", "f", "é"}
	for i := range words {
		for j := range words {
			for k := range words {
				text := words[i] + words[j] + words[k]
				if got, want := s.Match(text), joined.MatchString(text); got != want {
					t.Fatalf("%q: got %v, want %v", text, got, want)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a\n.*b\n", `\w+[^\W]\d{2,}$`, "(?i:a)|(b)?", "[]]\n[[a]", "\xff", "(((((", "a{1000}{1000}", `\Q\E`, "(?P<a>", "x{,}"} {
		f.Add([]byte(s), "abc")
	}
	f.Fuzz(func(t *testing.T, list []byte, text string) {
		if len(list) > 1<<12 || len(text) > 1<<12 {
			return // the limits have tests of their own
		}
		start := time.Now()
		entries, _ := Parse(list)
		s := NewSet(entries)
		any := len(entries) == 0
		for i := range entries {
			any = any || entries[i].Matches(text)
		}
		if got := s.Match(text); got != any {
			t.Errorf("the set says %v, its entries %v", got, any)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	s := set(b, "abort$", "free", "fr.*ee", ".*alloc", ".*calloc", ".*strdup", `lib-\d+\.so`, "Rtl", "Nt", "std::vector<T>", "core::")
	text := "Game::World::Simulation::StepAllBodiesOfIslandWithContacts<T>"
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s.Match(text)
	}
}
