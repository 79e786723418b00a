package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/app/config"
)

// config.example.yaml is made from the declarations; `make docs` renews it.
func TestDocsExampleIsFresh(t *testing.T) {
	var want bytes.Buffer
	if err := config.WriteExample(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("config.example.yaml is stale; run make docs")
	}
}

// Every package has a line in ARCHITECTURE.md, a package comment, and
// documented exported names.
func TestDocsCoverEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 200 {
		t.Errorf("ARCHITECTURE.md has %d lines, more than 200", n)
	}
	commented := map[string]bool{}
	goFiles(t, func(path, rel string) {
		dir := filepath.Dir(rel)
		if strings.HasSuffix(rel, "_test.go") && dir != "test" {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		commented[dir] = commented[dir] || f.Doc.Text() != ""
		undocumented(t, rel, f)
	})
	for dir, ok := range commented {
		if !ok {
			t.Errorf("package %s has no comment", dir)
		}
		if dir != "." && !bytes.Contains(text, []byte("`"+dir+"`")) {
			t.Errorf("ARCHITECTURE.md has no line for `%s`", dir)
		}
	}
}

// undocumented reports exported functions, methods and types without comment.
func undocumented(t *testing.T, rel string, f *ast.File) {
	t.Helper()
	if strings.HasSuffix(rel, "_test.go") {
		return
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc.Text() == "" && exportedReceiver(d) && !(d.Recv != nil && standard[d.Name.Name]) {
				t.Errorf("%s: %s has no comment", rel, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc.Text() == "" && ts.Doc.Text() == "" {
					t.Errorf("%s: type %s has no comment", rel, ts.Name.Name)
				}
			}
		}
	}
}

// standard are methods whose name says everything: they are those of interfaces
// of the standard library.
var standard = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Is": true, "As": true, "Read": true, "Write": true, "Close": true,
	"Len": true, "Less": true, "Swap": true, "MarshalJSON": true, "UnmarshalJSON": true, "UnmarshalYAML": true, "UnmarshalText": true, "MarshalText": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	x := d.Recv.List[0].Type
	if star, ok := x.(*ast.StarExpr); ok {
		x = star.X
	}
	if index, ok := x.(*ast.IndexExpr); ok {
		x = index.X
	}
	name, ok := x.(*ast.Ident)
	return !ok || name.IsExported()
}

// The repository speaks of the project alone.
func TestDocsNameNoMachine(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files").Output()
	if err != nil {
		t.Skip("not a git checkout: " + err.Error())
	}
	for _, name := range strings.Fields(string(out)) {
		if strings.HasSuffix(name, ".sum") || name == "test/docs_test.go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			continue // deleted in the work tree
		}
		for _, word := range []string{"/wo" + "rk/", "/ro" + "ot/main", "proxy.go" + "lang.org"} {
			if bytes.Contains(text, []byte(word)) {
				t.Errorf("%s names %s", name, word)
			}
		}
	}
}
