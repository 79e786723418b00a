package fetch

import (
	"context"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/dump"
	"mayday/symbols/executable"
)

// debugRoot is where distributions put debug files, by the build id and by the
// path of the binary.
const debugRoot = "/usr/lib/debug"

// local makes symbols of a module from its binary and its debug file on this
// machine: at the path that the dump names, and where debuggers look for the debug
// files of it (GDB's manual, "Separate Debug Files"). Both are checked by their
// ids.
func (s *Source) local(ctx context.Context, id symbols.ModuleID) (io.ReadCloser, error) {
	notFound := fault.New(fault.NotFound, "%s is not on this machine", id.CodeFile)
	in := dump.Input{Name: symbols.Leaf(id.DebugFile)}
	path := id.CodeFile
	if filepath.IsAbs(path) {
		if _, f := openBinary(path, id, executable.UnknownMachine); f != nil {
			defer f.Close()
			if err := input(f, &in.Binary, &in.Size); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range debugFiles(path, id) {
		_, f := openBinary(name, id, executable.UnknownMachine)
		if f == nil {
			continue
		}
		defer f.Close()
		if err := input(f, &in.Debug, &in.DebugSize); err != nil {
			return nil, err
		}
		break
	}
	switch {
	case in.Binary == nil && in.Debug == nil:
		return nil, notFound
	case in.Binary == nil:
		in.Binary, in.Size, in.Debug, in.DebugSize = in.Debug, in.DebugSize, nil, 0
	}
	out, err := os.CreateTemp("", "mayday-symbols-*")
	if err != nil {
		return nil, fault.As(fault.Unavailable, err, "temporary file")
	}
	f := temporary{out}
	if err = dump.Write(ctx, f, in); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fault.Wrap(err, "symbols of %s", path)
	}
	return f, nil
}

// input is a file that was opened, and its size.
func input(f io.Closer, to *io.ReaderAt, size *int64) error {
	file, ok := f.(*os.File)
	if !ok {
		return fault.New(fault.Internal, "a binary that is no file")
	}
	st, err := file.Stat()
	if err != nil {
		return fault.As(fault.Unavailable, err, "binary")
	}
	*to, *size = file, st.Size()
	return nil
}

// debugFiles are the names that the debug file of a binary may have.
func debugFiles(path string, id symbols.ModuleID) []string {
	var names []string
	if build, err := hex.DecodeString(id.CodeID); err == nil && len(build) > 1 {
		names = append(names, filepath.Join(debugRoot, ".build-id", hex.EncodeToString(build[:1]), hex.EncodeToString(build[1:])+".debug"))
	}
	if filepath.IsAbs(path) {
		dir, leaf := filepath.Split(path)
		names = append(names, path+".debug", filepath.Join(dir, ".debug", leaf+".debug"), filepath.Join(debugRoot, path+".debug"))
	}
	return names
}
