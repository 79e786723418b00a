package dwarf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols/unwindinfo/rule"
)

// The rows are what a question at each place answers.
func TestAllAgreesWithRules(t *testing.T) {
	path := compile(t, "int f(int n) { int a[n]; a[n-1] = n; _Alignas(64) int b[16]; b[n&3] = a[n-1]; return n ? f(b[1]) : 0; } int main(int c, char **v) { return f(c); }", "-O2")
	im := open(t, path)
	f := New(im, ".eh_frame", ".eh_frame_hdr")
	checked := 0
	for code, rows := range f.All() {
		for at := code.Offset; at < code.Offset+code.Size; at++ {
			for len(rows) > 1 && rows[1].Offset <= at {
				rows = rows[1:]
			}
			want, ok := f.Rules(rule.Query{Offset: at, Innermost: true})
			if !ok || want.CFI.Init != rows[0].Rules {
				t.Fatalf("at %#x: %q, asked alone %q, %v", at, rows[0].Rules, want.CFI.Init, ok)
			}
			checked++
		}
	}
	if checked < 100 {
		t.Errorf("%d bytes of code described", checked)
	}
}

func TestSplit(t *testing.T) {
	got := Split(".cfa: $rsp 8 + .ra: .cfa 8 - ^ $rbx: $rbx")
	if diff := cmp.Diff([]string{".cfa", "$rsp 8 +", ".ra", ".cfa 8 - ^", "$rbx", "$rbx"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Split("nonsense " + strings.Repeat(" ", 3)); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
