package app

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	symbolsID   = "0123456789ABCDEF0123456789ABCDEF0"
	symbolsText = "MODULE Linux x86_64 " + symbolsID + " a.so\nFILE 0 a.c\nFUNC 1000 40 0 f(int)\n1000 40 7 0\nSTACK CFI INIT 1000 40 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n"
)

// symbolsCommand runs a command as the program would.
func symbolsCommand(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(append([]string{"mayday"}, args...), nil, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// symbolsFile writes a symbol file to a store and returns the store's directory.
func symbolsFile(t *testing.T, id, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "a.so", id, "a.so.sym")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestSymbolsCheck(t *testing.T) {
	for _, c := range []struct {
		name, id, text string
		flags          []string
		code           int
		want           string // in the output
	}{
		{"sound", symbolsID, symbolsText, nil, 0, "ok: a.so"},
		{"empty", symbolsID, "", nil, 1, "empty"},
		{"wrong id", strings.Replace(symbolsID, "01", "FF", 1), symbolsText, nil, 1, "wrong-id"},
		{"cut off", symbolsID, symbolsText[:len(symbolsText)-5], nil, 1, "is the file cut off?"},
		{"bad lines", symbolsID, symbolsText + "what\n", nil, 1, "bad-lines: 1 lines are no records, line 6 first"},
		{"bad records", symbolsID, symbolsText + "FUNC here\n", nil, 1, "bad-records: 1 lines cannot be read: 6"},
		{"wrong name", symbolsID, strings.Replace(symbolsText, "a.so", "b.so", 1), nil, 1, "wrong-name"},
		{"NUL", symbolsID, symbolsText + "FUNC 3000 10 0 \x00\n", nil, 1, "nul"},
		{"no lines", symbolsID, strings.Replace(symbolsText, "1000 40 7 0\n", "", 1), nil, 1, "no-lines"},
		{"no unwind information", symbolsID, symbolsText[:strings.Index(symbolsText, "STACK")], nil, 1, "no-cfi"},
		{"no unwind information, allowed", symbolsID, symbolsText[:strings.Index(symbolsText, "STACK")], []string{"--allow", "no-cfi"}, 0, "ok"},
		{"no module", symbolsID, "FUNC 1000 40 0 f\n", nil, 1, "no-module"},
		{"unknown flag value", symbolsID, symbolsText, []string{"--allow", "all"}, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := symbolsFile(t, c.id, c.text)
			code, out, errs := symbolsCommand("", append(append([]string{"symbols", "check"}, c.flags...), dir)...)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("got exit code %d, want %d; %q in\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
	if code, _, errs := symbolsCommand("", "symbols", "check", t.TempDir()); code != 1 || !strings.Contains(errs, "no .sym file") {
		t.Errorf("an empty directory: got exit code %d, %s", code, errs)
	}
}

func TestSymbolsConvert(t *testing.T) {
	_, file := symbolsFile(t, symbolsID, symbolsText)
	compiled := filepath.Join(t.TempDir(), "a.symc")
	if code, _, errs := symbolsCommand("", "symbols", "convert", file, compiled); code != 0 {
		t.Fatalf("compile: exit code %d, %s", code, errs)
	}
	code, out, errs := symbolsCommand("", "symbols", "convert", compiled, "-")
	if code != 0 || out != symbolsText {
		t.Errorf("print: exit code %d, %s, got\n%s", code, errs, out)
	}
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("neither of the two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := symbolsCommand("", "symbols", "convert", junk, compiled); code != 1 || !strings.Contains(errs, "neither a symbol file") {
		t.Errorf("junk: exit code %d, %s", code, errs)
	}
}

func TestSymbolicate(t *testing.T) {
	dir, _ := symbolsFile(t, symbolsID, symbolsText)
	for _, c := range []struct {
		name, in string
		flags    []string
		want     string
	}{
		{"text", "#0 (/lib/a.so+0x1010)\n", nil, "#0 (f(int) (a.c:7, in a.so))\n"},
		{"text with an id that is not there", "#0 (/lib/a.so+0x1010)\n", []string{"--module", "a.so=ABCDEF0"}, "#0 (/lib/a.so+0x1010)\n"},
		{"request", `{"memoryMap":[["a.so","` + symbolsID + `"]],"stacks":[[[0,4112]]]}`, nil,
			`{"results":[{"stacks":[[{"frame":0,"module":"a.so","module_offset":"0x1010","function":"f(int)","function_offset":"0x10","file":"a.c","line":7}]],` +
				`"found_modules":{"a.so/` + symbolsID + `":true}}]}` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := symbolsCommand(c.in, append(append([]string{"symbolicate"}, c.flags...), "--symbols-path", dir)...)
			if code != 0 || out != c.want {
				t.Errorf("exit code %d, %s, got\n%s\nwant\n%s", code, errs, out, c.want)
			}
		})
	}
	if code, _, _ := symbolsCommand("{", "symbolicate", "--symbols-path", dir); code != 2 {
		t.Errorf("a broken request: got exit code %d, want 2", code)
	}
}

func TestSymbolsDump(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := elf.Open(program); err != nil {
		t.Skip("programs of this system are not ELF")
	} else {
		f.Close()
	}
	code, out, errs := symbolsCommand("", "symbols", "dump", "--name", "app.test", program)
	if code != 0 || !strings.HasPrefix(out, "MODULE Linux ") || !strings.Contains(out, " app.test\nINFO CODE_ID ") {
		t.Fatalf("exit %d, %s\n%.200s", code, errs, out)
	}
	store := t.TempDir()
	if code, _, errs := symbolsCommand("", "symbols", "dump", "--name", "app.test", "--store", store, program); code != 0 {
		t.Fatalf("exit %d, %s", code, errs)
	}
	text, err := os.ReadFile(filepath.Join(store, "app.test", strings.Fields(out)[3], "app.test.sym"))
	if err != nil || string(text) != out {
		t.Errorf("the store holds %d bytes, the output had %d: %v", len(text), len(out), err)
	}
	for _, args := range [][]string{{}, {"--name", "../x", program}, {filepath.Join(store, "none")}, {"--debug", store + "/none", program}, {store}} {
		if code, _, errs := symbolsCommand("", append([]string{"symbols", "dump"}, args...)...); code == 0 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}
