package truth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"

	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/fetch"
)

// walker is one way to walk a dump, a column of the table.
type walker struct {
	name string
	// lines says that source lines count; without symbols there are none.
	lines bool
	// binaries says that it has the binaries in place of symbols.
	binaries bool
	walk     func(dump string) ([]byte, error)
}

// walkers are ours with its own symbols first, by which the score is judged.
func walkers(s *store, compiled, peer string) []walker {
	with := func(dir string) func(dump string) ([]byte, error) {
		return func(dump string) ([]byte, error) {
			return walk(dump, stackwalk.Options{}, fetch.New(fetch.Options{Paths: []string{dir}, Reading: symbols.Best, Compiled: filepath.Join(compiled, filepath.Base(dir))}))
		}
	}
	all := []walker{
		{name: "Mayday", lines: true, walk: with(s.own)},
		{name: "Mayday, dump_syms", lines: true, walk: with(s.others)},
		{name: "Mayday, stripped binaries", binaries: true, walk: func(dump string) ([]byte, error) {
			b := fetch.NewBinaries(fetch.BinaryOptions{Paths: []string{s.binaries}})
			text, err := walk(dump, stackwalk.Options{Binaries: b}, nil)
			return text, errors.Join(err, b.Close())
		}},
		{name: "Mayday, nothing", walk: func(dump string) ([]byte, error) { return walk(dump, stackwalk.Options{}, nil) }},
	}
	if peer != "" {
		all = append(all,
			walker{name: "peer, symbols of Mayday", lines: true, walk: func(dump string) ([]byte, error) { return output(peer, "--json", dump, s.own) }},
			walker{name: "peer, dump_syms", lines: true, walk: func(dump string) ([]byte, error) { return output(peer, "--json", dump, s.others) }},
			walker{name: "peer, nothing", walk: func(dump string) ([]byte, error) { return output(peer, "--json", dump) }})
	}
	return all
}

// walk processes a dump by the best heuristics.
func walk(path string, o stackwalk.Options, source stackwalk.SymbolSource) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dump, err := minidump.FromBytes(b)
	if err != nil {
		return nil, err
	}
	o.Heuristics = unwind.Best
	state, err := stackwalk.Walk(context.Background(), dump, source, o)
	if err != nil {
		return nil, err
	}
	return state.AppendJSON(nil), nil
}

func output(name string, args ...string) ([]byte, error) {
	text, err := exec.Command(name, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return text, nil
}

// dumped is a crash as a minidump.
type dumped struct {
	path  string
	names aliases
	truth map[uint32]stack
}

// convert makes a minidump of a core file beside it, and the symbols of its
// modules.
func convert(stacks []byte, corePath string, s *store) (d dumped, err error) {
	f, err := os.Open(corePath)
	if err != nil {
		return d, err
	}
	defer f.Close()
	c, err := readCore(f)
	if err != nil {
		return d, err
	}
	if d.truth, err = readGDB(stacks, c.executable); err != nil {
		return d, err
	}
	if err := c.saveVDSO(filepath.Dir(corePath)); err != nil {
		return d, err
	}
	dump := c.dump(buildID)
	d.names = aliases{}
	for _, m := range dump.Modules {
		more, err := s.add(m.Name)
		if err != nil {
			return d, err
		}
		maps.Copy(d.names, more)
	}
	d.path = filepath.Join(filepath.Dir(corePath), "dump.dmp")
	return d, os.WriteFile(d.path, dump.Bytes(), 0o600)
}
