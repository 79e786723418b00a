package store

import (
	"context"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
)

// idPrefix is where the bucket keeps what leads from an id to raw debug files.
const idPrefix = "ids/"

// Sources is the kind of an archive of source files.
const Sources = "sources"

// Raw reports whether a file is for debuggers: an ELF, Mach-O, PE or PDB file,
// or sources.
func Raw(f catalog.SymbolFile) bool { return f.Kind != "" && f.Kind != "sym" }

// pointers are the objects that lead to a raw debug file; .sym files and files
// of unknown kinds have none.
func pointers(f catalog.SymbolFile) []string {
	if !Raw(f) || f.Kind == Sources {
		return nil
	}
	_, _, file, _ := Split(f.Key)
	prefix := idPrefix
	if f.Try {
		prefix = "try/" + prefix
	}
	var out []string
	for _, id := range []string{f.CodeID, f.DebugID} {
		if symbols.IsHex(id) && (len(out) == 0 || f.CodeID != f.DebugID) {
			out = append(out, prefix+id+"/"+f.Kind+"/"+file)
		}
	}
	return out
}

// point makes the pointers to a file that was just kept.
func (s *Store) point(ctx context.Context, f *catalog.SymbolFile) error {
	for _, p := range pointers(*f) {
		if err := s.bucket.WriteAll(ctx, p, []byte(Object(f.Key, f.Try)), nil); err != nil {
			return fault.As(fault.Unavailable, err, "keep %s", f.Key)
		}
	}
	return nil
}
