package convert

import (
	"strings"
	"testing"

	"mayday/app/fault"
)

func TestBehindModule(t *testing.T) {
	for _, c := range []struct {
		text, name, head string
		at               int64
	}{
		{"MODULE Linux x86_64 1F kite\nFUNC 10 10 0 f\n", "kite", "MODULE Linux x86_64 1F ", 28},
		{"MODULE Linux x86_64 1F a kite\n", "a kite", "MODULE Linux x86_64 1F ", 30},
		{"MODULE Linux x86_64 1F kite", "kite", "", 0},
		{"MODULE Linux x86_64 1F sloop\n", "kite", "", 0},
		{"FUNC 10 10 0 kite\n", "kite", "", 0},
		{"", "kite", "", 0},
	} {
		got, err := behindModule(strings.NewReader(c.text), c.name)
		if got != (remainder{c.head, c.at}) || (err == nil) != (c.at > 0) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

func TestBounded(t *testing.T) {
	var out strings.Builder
	b := &bounded{w: &out, left: 5}
	for _, text := range []string{"abc", "de"} {
		if n, err := b.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	if n, err := b.Write([]byte("f")); n != 0 || !fault.Is(err, fault.TooLarge) || !fault.Is(b.err, fault.TooLarge) || out.String() != "abcde" {
		t.Errorf("%d, %v, %q", n, err, out.String())
	}
}
