package server

import (
	"path"
	"strings"
	"unicode/utf8"

	"mayday/app/fault"
	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/fetch"
	"mayday/symbols/server/archive"
)

const (
	// maxKey and maxPart bound a key and its parts: file systems hold 255
	// bytes in a name.
	maxKey  = 600
	maxPart = 200
)

// objectKey is where the bucket keeps a key.
func objectKey(key string, try bool) string {
	if try {
		return fetch.TryPrefix + key
	}
	return fetch.Prefix + key
}

// goodPart reports whether a name can be a part of a key: no control
// characters, nothing that addresses, shells or file systems read otherwise.
func goodPart(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxPart || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if r < 0x20 || r >= 0x7f && r <= 0xff || strings.ContainsRune("\\^`><{}[]#%\"'|/", r) {
			return false
		}
	}
	return true
}

// splitKey takes <debug file>/<id>/<file> apart. The id comes back in
// capitals.
func splitKey(key string) (debugFile, id, file string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || len(key) > maxKey || !goodPart(parts[0]) || !goodPart(parts[2]) || !symbols.IsHex(parts[1]) || len(parts[1]) > symbols.MaxIDDigits {
		return "", "", "", false
	}
	return parts[0], strings.ToUpper(parts[1]), parts[2], true
}

// cleanKey is the key that a client's key is kept under.
func cleanKey(key string) (string, bool) {
	debugFile, id, file, ok := splitKey(key)
	return debugFile + "/" + id + "/" + file, ok
}

// ignored reports whether a member is something that archives carry along.
func ignored(name string) bool {
	return path.Base(name) == ".DS_Store" || !strings.Contains(name, "/") && strings.HasSuffix(name, "-symbols.txt")
}

// packed reports whether the file of a key is kept gzipped.
func packed(key string) bool { return strings.HasSuffix(key, ".sym") }

// checkNames checks the members of an archive by their names, in the order
// that clients know, and gives those that are symbols and those to ignore.
func (s *Server) checkNames(members []*archive.Member) (take []*archive.Member, skip []string, err error) {
	sizes := map[string]int64{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if size, twice := sizes[m.Name]; twice && size != m.Size {
			return nil, nil, fault.New(fault.Invalid, "The file %s is in the archive twice, with %d and with %d bytes", archive.Quote(m.Name), size, m.Size)
		}
		sizes[m.Name] = m.Size
	}
	last := map[string]int{}
	for _, m := range members {
		if m.IsDir() {
			continue
		}
		if ignored(m.Name) {
			skip = append(skip, m.Name)
			continue
		}
		for _, snippet := range s.o.Config.DisallowedSnippets {
			if strings.Contains(m.Name, snippet) {
				return nil, nil, fault.New(fault.Invalid, "Content of archive file contains the snippet '%s' which is not allowed", snippet)
			}
		}
		key, ok := cleanKey(m.Name)
		if !ok {
			return nil, nil, fault.New(fault.Invalid, "Unrecognized file pattern. Should only be <module>/<hex>/<file> or <name>-symbols.txt and nothing else. (First unrecognized pattern was '%s')", strings.Trim(archive.Quote(m.Name), `"`))
		}
		if i, twice := last[key]; twice { // the later one counts
			take[i] = m
			continue
		}
		last[key] = len(take)
		take = append(take, m)
	}
	return take, skip, nil
}

// moduleOf is the module whose symbols a file holds.
func moduleOf(f catalog.SymbolFile) symbols.ModuleID {
	debugFile, id, _, _ := splitKey(f.Key)
	return symbols.ModuleID{DebugFile: debugFile, DebugID: id, CodeFile: f.CodeFile, CodeID: f.CodeID}
}
