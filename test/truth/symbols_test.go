package truth

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mayday/symbols/dump"
)

// buildID reads the build id of an ELF file. One without, as Go's linker makes
// on request, gets what Breakpad and dump_syms take in its place: the first
// page of its code, folded by exclusive or into 16 bytes.
func buildID(path string) []byte {
	f, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOTE {
			continue
		}
		b, err := s.Data()
		if err != nil {
			continue
		}
		if i := bytes.Index(b, []byte("\x03\x00\x00\x00GNU\x00")); i >= 8 {
			return b[i+8 : min(len(b), i+8+int(b[i-4]))]
		}
	}
	text := f.Section(".text")
	if text == nil {
		return nil
	}
	b, err := text.Data()
	if err != nil {
		return nil
	}
	id := make([]byte, 16)
	for i, c := range b[:min(len(b), 4096)] {
		id[i%16] ^= c
	}
	return id
}

// debugID is a build id as symbol files spell it: the first 16 bytes as a
// little-endian GUID, and an age of 0.
func debugID(build []byte) string {
	var g [16]byte
	copy(g[:], build)
	return fmt.Sprintf("%02X%02X%02X%02X%02X%02X%02X%02X%X0", g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8:])
}

// store makes the symbols of modules, those of each once, in two directories in
// Breakpad's layout: own are made by package dump, others by dump_syms. The
// modules themselves, stripped, lie in binaries by their build ids.
type store struct {
	own, others string
	binaries    string
	tool        string
	mu          sync.Mutex
	done        map[string]func() (aliases, error) // guarded by mu
}

// add makes the symbols of a module and tells the names of its functions. One
// that cannot have any is no error: the walk does without.
func (s *store) add(path string) (aliases, error) {
	s.mu.Lock()
	once := s.done[path]
	if once == nil {
		once = sync.OnceValues(func() (aliases, error) { return readAliases(path, debugFile(path)), s.dump(path) })
		s.done[path] = once
	}
	s.mu.Unlock()
	return once()
}

func (s *store) dump(path string) error {
	if err := s.strip(path); err != nil {
		return err
	}
	source, bare := path, false
	if _, err := os.Stat(path + strippedSuffix); err == nil {
		source, bare = path+strippedSuffix, true
	}
	text, err := exec.Command(s.tool, "--inlines", source).Output()
	if err != nil && !bare {
		return nil //nolint:nilerr // as add says
	}
	stack := stackRecords(text)
	debug := debugFile(path)
	if more, err := exec.Command(s.tool, "--inlines", debug).Output(); debug != "" && err == nil {
		// A debug file has no unwind records, the library has nothing else.
		text = slices.Concat(otherRecords(more), stack)
	}
	if len(text) > 0 { // not all tools make something of a program without symbols
		if err := s.put(s.others, path, text); err != nil {
			return err
		}
	}
	own, err := dumpOwn(source, debug, filepath.Base(path))
	if err != nil {
		return err
	}
	return s.put(s.own, path, own)
}

// strip stores what is left of a module when it is shipped.
func (s *store) strip(path string) error {
	id := fmt.Sprintf("%x", buildID(path))
	if len(id) < 3 || !hasCode(path) {
		return nil
	}
	dir := filepath.Join(s.binaries, ".build-id", id[:2])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	out := filepath.Join(dir, id[2:])
	if exec.Command("strip", "-o", out, path).Run() == nil {
		return nil
	}
	b, err := os.ReadFile(path) // without binutils, or what they cannot read
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o600)
}

// hasCode says whether a file is more than debug information, which has the
// build id of the library it belongs to: programs that print their own stacks
// map it.
func hasCode(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	text := f.Section(".text")
	return text != nil && text.Type != elf.SHT_NOBITS
}

// dumpOwn makes symbols of a module with package dump.
func dumpOwn(path, debug, name string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in := dump.Input{Binary: f, Size: info.Size(), Name: name}
	if d, err := os.Open(debug); err == nil {
		defer d.Close()
		info, err := d.Stat()
		if err != nil {
			return nil, err
		}
		in.Debug, in.DebugSize = d, info.Size()
	}
	var out bytes.Buffer
	err = dump.Write(context.Background(), &out, in)
	return out.Bytes(), err
}

// put stores a symbol file, after a look at whether it is the module's.
func (s *store) put(root, path string, text []byte) error {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(string(first)) // MODULE os cpu id name
	if len(words) < 5 {
		return fmt.Errorf("%s: its symbols begin with %q", path, first)
	}
	if id := debugID(buildID(path)); words[3] != id {
		return fmt.Errorf("%s: its symbols say %s, the module is %s", path, words[3], id)
	}
	leaf := filepath.Base(path)
	dir := filepath.Join(root, leaf, words[3])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, leaf+".sym"), text, 0o600)
}

// stackRecords are the lines of a symbol file about unwinding, otherRecords the
// others.
func stackRecords(text []byte) []byte { return linesWith(text, true) }
func otherRecords(text []byte) []byte { return linesWith(text, false) }

func linesWith(text []byte, stack bool) (out []byte) {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("STACK ")) == stack {
			out = append(out, line...)
		}
	}
	return out
}

// debugFile is where gdb looks for the separate debug file of a module.
func debugFile(path string) string {
	id := fmt.Sprintf("%x", buildID(path))
	if len(id) < 3 {
		return ""
	}
	return filepath.Join("/usr/lib/debug/.build-id", id[:2], id[2:]+".debug")
}

// readAliases reads the names of functions from the symbol tables of files, as
// far as there are any.
func readAliases(paths ...string) aliases {
	at := map[uint64][]string{}
	for _, path := range paths {
		f, err := elf.Open(path)
		if err != nil {
			continue
		}
		static, _ := f.Symbols() // none is no error
		dynamic, _ := f.DynamicSymbols()
		for _, s := range slices.Concat(static, dynamic) {
			if kind := elf.ST_TYPE(s.Info); s.Section != elf.SHN_UNDEF && (kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC || kind == elf.STT_NOTYPE) {
				at[s.Value] = append(at[s.Value], s.Name)
			}
		}
		f.Close()
	}
	names := aliases{}
	for _, same := range at {
		if len(same) > 1 {
			for _, name := range same {
				names[name] = append(names[name], same...)
			}
		}
	}
	return names
}

// tool finds a program by the variable that names it or by its usual name.
func tool(variable, name string) string {
	if t := os.Getenv(variable); t != "" {
		return t
	}
	t, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return t
}
