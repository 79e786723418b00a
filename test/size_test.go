package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The hard limits of CONTRIBUTING.md. Wanted are 600 lines a file and 60 a
// function; past these a reader is lost.
const (
	maxFile     = 1000
	maxFunction = 120
	maxPackage  = 3000
)

// longFunctions may be longer: one switch over record kinds, or a table, that
// does nothing else.
var longFunctions = map[string]bool{}

// roofLines is the limit of package app: the roof holds one file per command that opens stores,
// which share nothing but their registry (docs/adr/0005-one-roof.md).
const roofLines = 5000

func goFiles(t *testing.T, visit func(path, rel string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(p, ".go") {
			rel, err := filepath.Rel("..", p)
			if err != nil {
				return err
			}
			visit(p, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSizes(t *testing.T) {
	packages := map[string]int{}
	goFiles(t, func(path, rel string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(text), "\n")
		if lines > maxFile {
			t.Errorf("%s has %d lines, more than %d", rel, lines, maxFile)
		}
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		packages[filepath.Dir(rel)] += lines
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line
			if n > maxFunction && !longFunctions[rel+" "+fn.Name.Name] {
				t.Errorf("%s: %s has %d lines, more than %d", rel, fn.Name.Name, n, maxFunction)
			}
		}
	})
	for dir, n := range packages {
		limit := maxPackage
		if dir == "app" {
			limit = roofLines
		}
		if n > limit {
			t.Errorf("package %s has %d lines, more than %d", dir, n, limit)
		}
	}
}

// Names of files and packages say what they hold.
func TestNames(t *testing.T) {
	goFiles(t, func(_, rel string) {
		for _, part := range strings.Split(strings.TrimSuffix(rel, ".go"), "/") {
			for _, empty := range []string{"util", "utils", "common", "helper", "helpers", "misc", "manager"} {
				if part == empty || strings.HasPrefix(part, empty+"_") {
					t.Errorf("%s: %q says nothing about what is inside", rel, empty)
				}
			}
		}
	})
}
