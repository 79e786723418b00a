package fetch

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/executable"
)

// idOf is how a dump names a file on this machine.
func idOf(t *testing.T, path string) symbols.ModuleID {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	im, err := executable.Open(f, st.Size(), executable.UnknownMachine)
	if err != nil {
		t.Fatal(err)
	}
	return symbols.ModuleID{CodeFile: path, CodeID: im.CodeID(), DebugFile: path, DebugID: symbols.DebugIDFromBuildID(im.BuildID, im.Order)}
}

func TestSymbolsOfLocalFiles(t *testing.T) {
	for _, tool := range []string{"gcc", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s, which makes the program, is not installed", tool)
		}
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "p.c"), filepath.Join(dir, "program")
	put(t, source, []byte("int twice(int n) {\n  return 2 * n;\n}\nint main(int c, char **v) {\n  return twice(c);\n}\n"))
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Skipf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("gcc", "-g", "-Wl,--build-id", "-o", program, source)
	id := idOf(t, program)
	lines := func(want bool) {
		t.Helper()
		s := New(Options{Local: true, Reading: symbols.Best})
		defer s.Close()
		v, err := s.view(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for offset := uint64(0x1000); offset < 0x2000 && !found; offset++ {
			at, ok := v.Locate(offset)
			found = ok && at.Name == "twice" && at.Line == 2
		}
		if found != want {
			t.Errorf("line 2 of twice found: %v, want %v", found, want)
		}
	}
	lines(true)
	run("objcopy", "--only-keep-debug", program, program+".debug")
	run("objcopy", "--strip-all", program)
	lines(true)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	lines(true)
	if err := os.Remove(program + ".debug"); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Local: true}).Symbols(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
	// Another program at the path is not the module's.
	run("gcc", "-O2", "-Wl,--build-id", "-o", program, source)
	if _, err := New(Options{Local: true}).Symbols(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("of another program: %v", err)
	}
}
