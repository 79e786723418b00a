package text

import (
	"strings"
	"testing"

	"github.com/blevesearch/segment"
	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"js::gc::GCRuntime::collect", []string{"js", "gc", "gcruntime", "collect"}},
		{"a:b a::b c_d $x @y 1.2.3 x.1 1.x it's", []string{"a:b", "a", "b", "c_d", "x", "y", "1.2.3", "x", "1", "1", "x", "it's"}},
		{"xul.dll|foo(bar)<T>", []string{"xul.dll", "foo", "bar", "t"}},
		{"Straße ÉCOLE", []string{"straße", "école"}},
		{"日本語 テスト ひら", []string{"日", "本", "語", "テスト", "ひ", "ら"}},
		{"_ __ _a_ 1,2;3 1,a", []string{"_a_", "1,2;3", "1", "a"}},
		{"OOM | large | x", []string{"oom", "large", "x"}},
		{"", nil},
		{"||", nil},
		{"สวัสดี ok", []string{"สวัสดี", "ok"}},
		{strings.Repeat("x", 300), []string{strings.Repeat("x", 255), strings.Repeat("x", 45)}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Split(tt.in)); diff != "" {
			t.Errorf("Split(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestTokens(t *testing.T) {
	if diff := cmp.Diff([]string{"foo.dll/1", "zzz"}, Tokens(";Foo.dll/1;;ZZZ;")); diff != "" {
		t.Errorf("Tokens (-want +got):\n%s", diff)
	}
}

// FuzzWords holds the ASCII rules against the segmenter's tables.
func FuzzWords(f *testing.F) {
	f.Add("a:b a::b c_d 1.2.3 x.1 1.x it's 'a' _ a_1 1_a a.1,2;3")
	f.Add("a..b a.'b 1.,2 _._ a_.b a._b 1_,2 \x00\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2000 || !isASCII(s) {
			Words(s, func(w string) bool { return w != "" })
			return
		}
		parts, kinds, _, err := segment.SegmentWordsDirect([]byte(s), nil, nil)
		if err != nil {
			t.Skip("the segmenter gives up")
		}
		var want []string
		for i, p := range parts {
			if kinds[i] != segment.None && strings.Trim(string(p), "_") != "" {
				emit(string(p), func(w string) bool { want = append(want, w); return true })
			}
		}
		if diff := cmp.Diff(want, Split(s)); diff != "" {
			t.Errorf("Split(%q) (-tables +rules):\n%s", s, diff)
		}
	})
}

func BenchmarkWords(b *testing.B) {
	s := "mozilla::dom::WorkerPrivate::RunLoop | base::MessagePump<T>::Run(int) | xul.dll@0x1234"
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		Words(s, func(string) bool { return true })
	}
}
