package gopclntab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/symbols/executable"
)

// targets are what programs are built for: the system, the processor and flags.
var targets = []string{"linux amd64", "linux amd64 -buildmode=pie", "linux 386", "linux arm", "linux arm64", "windows amd64", "windows arm64", "darwin arm64"}

// built builds the test program for a target, with its symbols and debug
// information. Standard packages come from the cache of the go command; the first
// time it compiles them for the target.
func built(tb testing.TB, target string) []byte {
	tb.Helper()
	words := strings.Fields(target)
	if testing.Short() && target != targets[0] {
		tb.Skip("compiling for another target takes its time")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		tb.Skip("the go command is not installed")
	}
	source, err := os.ReadFile(filepath.Join("testdata", "main.go.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	in, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "shop")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(tool, append(append([]string{"build", "-o", out}, words[2:]...), in)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off", "GOFLAGS=", "GOOS="+words[0], "GOARCH="+words[1])
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Skipf("the go command cannot build for %s here: %v\n%s", target, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// opened opens a file and its table.
func opened(tb testing.TB, b []byte) (*executable.Image, *Table) {
	tb.Helper()
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := Open(im)
	if err != nil {
		tb.Fatal(err)
	}
	return im, t
}
