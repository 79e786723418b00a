package fetch

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
)

// Stores differ in how they write an age of ten and more.
func TestStorePaths(t *testing.T) {
	const guid = "44E4EC8C2F41492B9369D6B9A059577C"
	for id, want := range map[string][]string{
		guid + "2":  {"a.pdb/" + guid + "2/a.sym"},
		guid + "1a": {"a.pdb/" + guid + "1a/a.sym", "a.pdb/" + guid + "1A/a.sym"},
		guid:        {"a.pdb/" + guid + "/a.sym"},
		"5208F2452": {"a.pdb/5208F2452/a.sym"},
		"5208F245a": {"a.pdb/5208F245a/a.sym", "a.pdb/5208F245A/a.sym"},
		"5208F245":  {"a.pdb/5208F245/a.sym"},
		"":          nil,
	} {
		if diff := cmp.Diff(want, storePaths(symbols.ModuleID{DebugFile: "a.pdb", DebugID: id})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}
