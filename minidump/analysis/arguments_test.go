package analysis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		name    string
		windows bool
		how     Convention
		want    []string
	}{
		{"open(char const*, int)", true, Cdecl, []string{"char const*", "int"}},
		{"Till::take(std::map<int, char>, void (*)(int, int))", true, WindowsThis, []string{"this", "std::map<int, char>", "void (*)(int, int)"}},
		{"Till::take(int) const", false, StackThis, []string{"this", "int"}},
		{"Till::empty()", true, WindowsThis, []string{"this"}},
		{"main", true, Cdecl, nil}, {"none()", true, Cdecl, nil}, {"none(void)", true, Cdecl, nil}, {"a(b>)", true, Cdecl, nil}, {"a(b<)", true, Cdecl, nil}, {"a)b(", true, Cdecl, nil},
	} {
		how, names, ok := Arguments(c.name, c.windows)
		if ok != (c.want != nil) {
			t.Errorf("%s: found %v", c.name, names)
			continue
		}
		if diff := cmp.Diff(c.want, names); ok && (diff != "" || how != c.how) {
			t.Errorf("%s: %s (-want +got):\n%s", c.name, how, diff)
		}
	}
}
