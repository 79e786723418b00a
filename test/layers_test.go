// Package test holds the checks of the whole tree and the end-to-end tests.
package test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "mayday"

// A layer is a package tree and the trees its packages may import besides
// their own. ARCHITECTURE.md explains the order.
type layer struct {
	tree string
	may  []string
}

var (
	foundation = []string{"app/config", "app/metrics", "app/fault"}
	libraries  = []string{"minidump", "minidump/format", "minidump/reason", "minidump/cfi", "minidump/unwind", "minidump/analysis",
		"minidump/stackwalk", "minidump/rawtext", "minidump/synth", "symbols", "symbols/sym", "symbols/lookup", "symbols/sample", "symbols/quality", "symbols/cab", "symbols/dump",
		"symbols/executable", "symbols/gopclntab", "symbols/unwindinfo",
		"signature", "storage/schema"}
	stores   = []string{"storage", "storage/queue", "storage/filebucket", "storage/search", "storage/catalog", "symbols/cache", "symbols/fetch"}
	services = []string{"roles/collector", "roles/processor", "roles/indexer", "roles/awaited", "roles/jobs", "symbols/server", "symbols/symbolicate", "web"}
)

func trees(groups ...[]string) []string { return slices.Concat(groups...) }

// layers lists every tree, lowest first. A library's "may" is spelled out:
// format ← minidump ← {reason, cfi} ← unwind ← analysis ← stackwalk.
var layers = []layer{
	{"app/fault", nil},
	{"app/config", []string{"app/fault"}},
	{"app/metrics", []string{"app/fault"}},

	{"symbols", []string{"app/fault"}},
	{"symbols/sym", []string{"app/fault", "symbols"}},
	{"symbols/lookup", []string{"app/fault", "symbols", "symbols/sym"}},
	{"symbols/sample", []string{"symbols", "symbols/sym", "symbols/executable"}},
	{"symbols/quality", []string{"symbols"}},
	{"symbols/cab", []string{"app/fault"}},
	{"symbols/dump", []string{"app/fault", "symbols", "symbols/sym", "symbols/executable", "symbols/gopclntab", "symbols/unwindinfo"}},
	{"symbols/executable", []string{"app/fault", "symbols"}},
	{"symbols/gopclntab", []string{"app/fault", "symbols/executable"}},
	{"symbols/unwindinfo", []string{"app/fault", "symbols", "symbols/executable", "symbols/gopclntab"}},
	{"minidump/format", []string{"app/fault"}},
	{"minidump", []string{"app/fault", "minidump/format"}},
	{"minidump/reason", []string{"app/fault", "minidump/format", "minidump"}},
	{"minidump/cfi", []string{"app/fault"}},
	{"minidump/unwind", []string{"app/fault", "minidump/format", "minidump", "minidump/cfi", "symbols", "symbols/unwindinfo"}},
	{"minidump/analysis", []string{"app/fault", "minidump/format", "minidump", "minidump/cfi", "minidump/unwind", "symbols"}},
	{"minidump/stackwalk", []string{"app/fault", "minidump/format", "minidump", "minidump/reason", "minidump/cfi", "minidump/unwind", "minidump/analysis", "symbols", "symbols/lookup", "symbols/executable", "symbols/unwindinfo"}},
	{"minidump/rawtext", []string{"app/fault", "minidump/format", "minidump"}},
	{"minidump/synth", []string{"app/fault", "minidump/format"}},
	{"signature", []string{"app/fault"}},
	{"storage/schema", []string{"app/fault"}},

	{"storage", trees(foundation, libraries)},
	{"storage/queue", trees(foundation, libraries, []string{"storage"})},
	{"storage/filebucket", trees(foundation)},
	{"storage/search", trees(foundation, libraries, []string{"storage"})},
	{"storage/catalog", trees(foundation, libraries, []string{"storage"})},
	{"symbols/cache", trees(foundation, libraries)},
	{"symbols/fetch", trees(foundation, libraries, []string{"symbols/cache"})},

	{"roles/collector", trees(foundation, libraries, stores)},
	{"roles/processor", trees(foundation, libraries, stores)},
	{"roles/indexer", trees(foundation, libraries, stores)},
	{"roles/awaited", trees(foundation, libraries, stores)},
	{"roles/jobs", trees(foundation, libraries, stores)},
	{"roles/rolestest", trees(foundation, libraries, stores)},
	{"symbols/server", trees(foundation, libraries, stores)},
	{"symbols/symbolicate", trees(foundation, libraries, stores)},
	{"web", trees(foundation, libraries, stores, []string{"docs"})},
	{"docs", nil},

	{"roles", foundation},
	{"roles/webserver", trees(foundation, libraries, stores, services, []string{"roles"})},
	{"app", []string{"*"}},
	{"test", []string{"*"}},
	{"", []string{"app", "app/config"}}, // main.go
}

// It reads the files itself: the test cache notices a changed file, which it
// would not with 'go list'. Tests may import synth and the conformance suites.
func TestLayers(t *testing.T) {
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.Contains(p, "testdata") {
			return err
		}
		rel, _ := filepath.Rel("..", p)
		from, ok := layerOf(path.Dir(filepath.ToSlash(rel)))
		if !ok {
			t.Errorf("%s is in no layer; add its tree to layers", rel)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			if name != module && !strings.HasPrefix(name, module+"/") {
				continue
			}
			to, ok := layerOf(strings.TrimPrefix(strings.TrimPrefix(name, module), "/"))
			if strings.HasSuffix(p, "_test.go") && ok {
				continue // a test may reach for any fake or builder
			}
			if !ok || to.tree != from.tree && !slices.Contains(from.may, "*") && !slices.Contains(from.may, to.tree) {
				t.Errorf("%s may not import %s", rel, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// layerOf finds the longest tree that holds dir.
func layerOf(dir string) (best layer, ok bool) {
	if dir == "." {
		dir = ""
	}
	for _, l := range layers {
		if dir == l.tree || l.tree != "" && strings.HasPrefix(dir, l.tree+"/") {
			if !ok || len(l.tree) > len(best.tree) {
				best, ok = l, true
			}
		}
	}
	return best, ok
}
