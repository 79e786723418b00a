// Package goprogram builds a program in Go for tests of what reads such programs.
// It needs the go command and skips a test where that is not to be had.
package goprogram

import (
	"bytes"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/symbols/executable"
)

//go:embed main.go.txt
var source []byte

// Build builds the program for a target, with its symbols and debug information
// if no flags say otherwise. A target is the system, the processor and flags of
// go build; more flags may be given, with blanks in them. Standard packages come
// from the cache of the go command; the first time it compiles them for the
// target, so that tests that are to be short build for "linux amd64" alone.
func Build(tb testing.TB, target string, flags ...string) []byte {
	tb.Helper()
	words := strings.Fields(target)
	if testing.Short() && target != "linux amd64" {
		tb.Skip("compiling for another target takes its time")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		tb.Skip("the go command is not installed")
	}
	dir := tb.TempDir()
	in, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "shop")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		tb.Fatal(err)
	}
	args := append([]string{"build", "-o", out}, words[2:]...)
	cmd := exec.Command(tool, append(append(args, flags...), in)...)
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

// Open opens a file that Build made.
func Open(tb testing.TB, b []byte) *executable.Image {
	tb.Helper()
	im, err := executable.Open(bytes.NewReader(b), int64(len(b)), executable.UnknownMachine)
	if err != nil {
		tb.Fatal(err)
	}
	return im
}
