package unwindinfo

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/gopclntab"
	"mayday/symbols/unwindinfo/rule"
)

// stripped builds the test program of package gopclntab for a system and a
// processor, without symbols and debug information.
func stripped(t *testing.T, target string) *executable.Image {
	t.Helper()
	system, arch, _ := strings.Cut(target, "/")
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not installed")
	}
	source, err := os.ReadFile(filepath.Join("..", "gopclntab", "testdata", "main.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "shop")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "build", "-ldflags=-s -w", "-o", out, in)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off", "GOFLAGS=", "GOOS="+system, "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the go command cannot build for %s here: %v\n%s", target, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// Stripped programs in Go are unwound whatever their format: frames are as large as
// they are, and stacks end where they begin.
func TestStrippedGo(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling for other targets takes its time")
	}
	for target, sp := range map[string]string{"linux/amd64": "$rsp", "windows/amd64": "$rsp", "windows/arm64": "$sp", "darwin/amd64": "$rsp", "darwin/arm64": "$sp"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			im := stripped(t, target)
			table, err := gopclntab.Open(im)
			if err != nil {
				t.Fatal(err)
			}
			tab, seen := New(im), 0
			for i := range table.Len() {
				f, ok := table.Function(i)
				if !ok {
					continue
				}
				switch table.Name(&f) {
				case "main.large": // has 64 KB of local variables
					seen++
					q := rule.Query{Base: 0x7f00_0000_0000, Offset: (f.Start + f.End) / 2}
					set, ok := tab.Rules(q)
					words := strings.Fields(set.CFI.Init)
					if !ok || len(words) < 4 || words[1] != sp || len(words[2]) != 5 || words[2] < "65536" || words[2] > "65800" || set.CFI.Start != f.Start {
						t.Errorf("in the middle of %s: %+v", table.Name(&f), set)
					}
				case "runtime.goexit":
					seen++
					if set, ok := tab.Rules(rule.Query{Offset: f.Start + 1}); !ok || !strings.Contains(set.CFI.Init, ".ra: "+rule.Undefined) {
						t.Errorf("at the end: %+v", set)
					}
				}
			}
			if seen != 2 {
				t.Errorf("%d of 2 functions", seen)
			}
		})
	}
}
