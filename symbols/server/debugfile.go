package server

import (
	"context"
	"io"
	"strings"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/server/archive"
	"mayday/symbols/server/binary"
	"mayday/symbols/server/bundle"
	"mayday/symbols/server/convert"
	"mayday/symbols/server/download"
	"mayday/symbols/server/spool"
	"mayday/symbols/server/store"
)

// maxBundle bounds what a bundle of debug files may unpack to on the disk of
// the spool.
const maxBundle = 64 << 30

// openBundle finds the raw debug files in what was received. Symbols are made of
// them later (package convert).
func (s *Server) openBundle(ctx context.Context, u catalog.SymbolUpload, in *spool.Incoming) (_ *batch, err error) {
	select {
	case s.bundles <- struct{}{}:
		defer func() { <-s.bundles }()
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), "upload")
	}
	found, err := bundle.Open(ctx, in.File, in.Size, in.Filename, bundle.Options{Temporary: s.spool.Temporary, Most: min(most(in.Size), maxBundle), MaxFile: maxMember})
	if err != nil {
		return nil, archive.Refused(err)
	}
	u.Ignored = found.Ignored
	b := &batch{s: s, Batch: store.Batch{Upload: u}, shut: []func(){found.Close}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	keys := map[string]bool{}
	for _, f := range found.Files {
		file, err := s.rawFile(f)
		if err != nil {
			return nil, err
		}
		if keys[file.Key] {
			return nil, fault.New(fault.Invalid, "%s holds two files %s", archive.Quote(in.Filename), archive.Quote(file.Key))
		}
		keys[file.Key] = true
		r, size := f.ReaderAt, f.Size
		b.Items = append(b.Items, &store.Item{File: file, Open: func() io.ReadCloser { return io.NopCloser(io.NewSectionReader(r, 0, size)) }})
	}
	files := []map[string]any{}
	for i, f := range found.Files {
		files = append(files, map[string]any{"key": b.Items[i].File.Key, "kind": f.What.Kind, "debug_id": nullable(f.What.DebugID), "code_id": nullable(f.What.CodeID)})
	}
	b.extra = map[string]any{"files": files}
	for k, v := range files[0] { // the one file of most uploads
		b.extra[k] = v
	}
	return b, nil
}

// rawFile is the record of a raw debug file.
func (s *Server) rawFile(f bundle.File) (catalog.SymbolFile, error) {
	key, ok := store.Clean(f.What.Key(f.Name))
	if !ok {
		return catalog.SymbolFile{}, fault.New(fault.Invalid, "%s with id %q cannot be kept", archive.Quote(f.Path), f.What.StoreID)
	}
	out := catalog.SymbolFile{Key: key, Kind: f.What.Kind, DebugFile: f.Name, DebugID: strings.ToUpper(f.What.DebugID), CodeID: strings.ToUpper(f.What.CodeID),
		Convert: s.o.Convert != nil && convert.Convertible(f.What.Kind)}
	if f.What.Kind != binary.PDB {
		out.CodeFile = f.Name
	}
	if f.What.Name != "" && store.GoodPart(f.What.Name) {
		out.CodeFile = f.What.Name
	}
	return out, nil
}

// recognize finds out whether a file that came under a key of a client's choice
// is the raw debug file that belongs there, and takes it for that.
func (s *Server) recognize(r io.ReaderAt, size int64, f *catalog.SymbolFile) {
	parts, err := binary.Identify(r, size)
	if err != nil || len(parts) != 1 {
		return
	}
	name, _, _, _ := store.Split(f.Key)
	raw, err := s.rawFile(bundle.File{Name: name, Path: name, What: parts[0]})
	if err != nil || raw.Key != f.Key {
		return
	}
	f.Kind, f.DebugFile, f.DebugID, f.CodeFile, f.CodeID, f.Convert = raw.Kind, raw.DebugFile, raw.DebugID, raw.CodeFile, raw.CodeID, raw.Convert
}

// formKey is the key of a Breakpad symbol file that a form names.
func formKey(debugFile, debugID string) (string, error) {
	id := symbols.ModuleID{DebugFile: debugFile, DebugID: debugID}.Normalize()
	path, ok := id.Path()
	if key, good := store.Clean(path); ok && good {
		return key, nil
	}
	return "", fault.New(fault.Invalid, "debug file %s with debug id %s cannot be kept", archive.Quote(debugFile), archive.Quote(debugID))
}

// openSources looks into a zip of the source files of a program. They are kept
// as they came, under the build id that the form names.
func (s *Server) openSources(u catalog.SymbolUpload, in *spool.Incoming, buildID string) (*batch, error) {
	key, ok := store.Clean(download.SourcesName + "/" + buildID + "/" + download.SourcesFile)
	if !ok {
		return nil, fault.New(fault.Invalid, "%s is no build id", archive.Quote(buildID))
	}
	members, err := archive.Read(in.File, in.Size)
	if err != nil {
		return nil, archive.Refused(err)
	}
	b := &batch{s: s, Batch: store.Batch{Upload: u}, extra: map[string]any{"key": key, "files_count": len(members)}}
	_, id, _, _ := store.Split(key)
	b.Items = []*store.Item{{File: catalog.SymbolFile{Key: key, Kind: store.Sources, DebugFile: download.SourcesName, CodeID: id},
		Open: func() io.ReadCloser { return io.NopCloser(io.NewSectionReader(in.File, 0, in.Size)) }}}
	return b, nil
}
