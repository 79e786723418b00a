package truth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// gdbSettings make gdb show what there is, whatever the user configured: the
// frames below main, no more than the program's own signals.
var gdbSettings = []string{
	"set width 0", "set height 0", "set confirm off", "set debuginfod enabled off", "set startup-with-shell off",
	"set print finish off", "set print frame-arguments none", "set print entry-values no", "set backtrace past-main on",
	"handle SIGUSR1 nostop noprint pass", "handle SIGUSR2 nostop noprint pass", "handle SIGURG nostop noprint pass", "handle SIGQUIT nostop noprint pass",
}

// errDebugger says that gdb found a mistake of its own and gave up.
var errDebugger = errors.New("internal error of gdb")

// debug runs the program under gdb until it crashes and gives gdb's stacks, as
// backtrace.py writes them, and the path of a core file.
func debug(program string, r run) (stacks []byte, corePath string, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(program), "run")
	if err != nil {
		return nil, "", err
	}
	script, err := filepath.Abs(filepath.Join("testdata", "backtrace.py"))
	if err != nil {
		return nil, "", err
	}
	corePath = filepath.Join(dir, "core")
	out := filepath.Join(dir, "stacks.json")
	args := []string{"-nx", "-batch"}
	do := func(c string) { args = append(args, "-ex", c) }
	for _, c := range gdbSettings {
		do(c)
	}
	if r.env != "" {
		do("set environment " + strings.Replace(r.env, "=", " ", 1))
	}
	do("run")
	for range r.pass {
		do("continue")
	}
	do("generate-core-file " + corePath)
	do(fmt.Sprintf("python stacks_path = %q", out))
	do("source " + script)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "gdb", append(append(args, "--args", program), r.args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUST_BACKTRACE=0")
	text, err := cmd.CombinedOutput()
	if bytes.Contains(text, []byte("internal-error")) {
		return nil, "", errDebugger
	}
	if err != nil {
		return nil, "", fmt.Errorf("gdb: %w\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, "", fmt.Errorf("gdb wrote no stacks: %w\n%s", err, text)
	}
	return b, corePath, nil
}
