package truth

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// build is one program built in one way.
type build struct {
	source string // in testdata
	tool   string
	flags  []string // before the source
	env    []string
	name   string // of the source and the flags
	group  string // the row of the table
	// stripped says that symbols are made of what is left of the program without its
	// own symbols and debug information.
	stripped bool
	runs     []run
}

// run is one way to start a program.
type run struct {
	args []string
	// pass is the number of faults that the program handles itself before the
	// one that counts.
	pass int
	env  string // NAME=value
}

// runsOf says how a source is run where that is not once, until the first
// fault.
var runsOf = map[string][]run{
	"altstack.c":          {{pass: 1}},
	"signals.c":           {{pass: 1}},
	"inside.c":            {{args: []string{"1"}}, {args: []string{"2"}}, {args: []string{"3"}}, {args: []string{"4"}}},
	"nowhere.c":           {{}, {args: []string{"thread"}}},
	"gopanic/main.go.txt": {{env: "GOTRACEBACK=crash"}},
}

// levels are what programs are optimised by.
var levels = []string{"-O0", "-O1", "-O2", "-O3", "-Os"}

// builds are all programs in all ways: at each level with and without frame
// pointers, and once optimised over the whole program.
func builds() ([]build, error) {
	var all []build
	add := func(pattern, tool, group string, env []string, flags ...string) error {
		sources, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(sources) == 0 {
			return fmt.Errorf("no source %s: %w", pattern, err)
		}
		for _, path := range sources {
			source := filepath.ToSlash(strings.TrimPrefix(path, "testdata"+string(filepath.Separator)))
			runs := runsOf[source]
			if runs == nil {
				runs = []run{{}}
			}
			all = append(all, build{source: source, tool: tool, flags: flags, env: env, group: group, name: strings.TrimSuffix(source, ".txt") + " " + strings.Join(flags, " "), runs: runs})
		}
		return nil
	}
	var errs []error
	compiled := func(suffix string, flags ...string) {
		errs = append(errs,
			add("*.c", "gcc", "gcc"+suffix, nil, append([]string{"-g", "-pthread"}, flags...)...),
			add("*.cc", "g++", "g++"+suffix, nil, append([]string{"-g", "-pthread", "-std=c++20"}, flags...)...))
	}
	for _, level := range levels {
		compiled("", level, "-fomit-frame-pointer")
		compiled("", level, "-fno-omit-frame-pointer")
		rust := []string{"-g", "-C", "opt-level=" + strings.ToLower(level[2:])}
		errs = append(errs,
			add("*.rs", "rustc", "rustc", nil, append(rust, "-C", "panic=abort", "-C", "force-frame-pointers=no")...),
			add("*.rs", "rustc", "rustc", nil, append(rust, "-C", "panic=unwind", "-C", "force-frame-pointers=yes")...))
	}
	compiled("", "-O2", "-flto")
	if runtime.GOARCH == "amd64" {
		compiled(" -m32", "-m32", "-O0")
		compiled(" -m32", "-m32", "-O2", "-fomit-frame-pointer")
	}
	errs = append(errs, add("*.rs", "rustc", "rustc", nil, "-g", "-C", "opt-level=3", "-C", "panic=abort", "-C", "lto=fat"))
	pure := []string{"CGO_ENABLED=0", "GO111MODULE=off"}
	for _, flags := range []string{"-gcflags=", "-gcflags=all=-N -l", "-ldflags=-B none"} {
		errs = append(errs, add("go*/main.go.txt", "go", "go", pure, "build", flags))
	}
	// The linker's flag, which sets a variable that there is not, gives them ids of
	// their own.
	for _, flags := range []string{"-gcflags=", "-gcflags=all=-N -l"} {
		before := len(all)
		errs = append(errs, add("go*/main.go.txt", "go", "go, stripped", pure, "build", flags, "-ldflags=-X main.kind=stripped"))
		for i := range all[before:] {
			all[before+i].stripped = true
		}
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// compile builds the program into dir. Programs have names of their own, so
// that their symbols are found in one directory.
func (b build) compile(dir string) (string, error) {
	out := filepath.Join(dir, "program")
	source, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(b.source)))
	if err != nil {
		return "", err
	}
	in := filepath.Join(dir, strings.TrimSuffix(filepath.Base(b.source), ".txt"))
	if err := os.WriteFile(in, source, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(b.tool, append(b.flags[:len(b.flags):len(b.flags)], "-o", out, in)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), b.env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", b.tool, err, text)
	}
	if b.stripped {
		if text, err := exec.Command("strip", "-o", out+strippedSuffix, out).CombinedOutput(); err != nil {
			return "", fmt.Errorf("strip: %w\n%s", err, text)
		}
	}
	return out, nil
}

// strippedSuffix ends the name of a program's copy that was stripped.
const strippedSuffix = ".stripped"

// missing says what a build lacks, "" when it can be done: the compiler, or the
// libraries for the other word size.
func (b build) missing() string {
	if _, err := exec.LookPath(b.tool); err != nil {
		return b.tool + " is not installed"
	}
	if _, err := exec.LookPath("strip"); err != nil && b.stripped {
		return "strip is not installed"
	}
	if !slices.Contains(b.flags, "-m32") {
		return ""
	}
	cmd := exec.Command(b.tool, "-m32", "-x", "c++", "-o", os.DevNull, "-")
	if b.tool == "gcc" {
		cmd = exec.Command(b.tool, "-m32", "-x", "c", "-o", os.DevNull, "-")
	}
	cmd.Stdin = strings.NewReader("#include <stdlib.h>\nint main() { return 0; }\n")
	if cmd.Run() != nil {
		return b.tool + " cannot build programs of 32 bits here"
	}
	return ""
}
