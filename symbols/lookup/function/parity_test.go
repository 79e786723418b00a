package function

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of INLINE ranges with one depth and start the longest counts, and of those
// the one with the highest file, line and origin, in whatever order they come.
func TestParityOfInlinesWithOneStart(t *testing.T) {
	long := Span{Start: 0x10, Size: 0x20, Line: 1, File: 2, Origin: 3}
	for _, c := range []struct {
		name  string
		spans []Span
		p     uint64
		want  []Call
	}{
		{"empty last", []Span{long, {Start: 0x10, Line: 9, File: 9, Origin: 9}}, 0x18, []Call{{1, 2, 3}}},
		{"shorter last", []Span{long, {Start: 0x10, Size: 4, Line: 9, File: 9, Origin: 9}}, 0x10, []Call{{1, 2, 3}}},
		{"file", []Span{{Start: 0x10, Size: 0x20, Line: 1, File: 3, Origin: 1}, long}, 0x18, []Call{{1, 3, 1}}},
		{"line", []Span{{Start: 0x10, Size: 0x20, Line: 4, File: 2, Origin: 1}, long}, 0x18, []Call{{4, 2, 1}}},
		{"origin", []Span{{Start: 0x10, Size: 0x20, Line: 1, File: 2, Origin: 7}, long}, 0x18, []Call{{1, 2, 7}}},
		{"a later one that ended", []Span{long, {Start: 0x11, Size: 1, Line: 9, File: 9, Origin: 9}}, 0x18, nil},
	} {
		var h Hit
		layOutParity(&h, c.spans, nil, c.p)
		if diff := cmp.Diff(c.want, h.Calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
