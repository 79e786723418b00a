package store

import (
	"path"
	"strings"
	"unicode/utf8"

	"mayday/storage/catalog"
	"mayday/symbols"
	"mayday/symbols/fetch"
)

const (
	// maxKey and maxPart bound a key and its parts: file systems hold 255
	// bytes in a name.
	maxKey  = 600
	maxPart = 200
)

// Object is where the bucket keeps a key.
func Object(key string, try bool) string {
	if try {
		return fetch.TryPrefix + key
	}
	return fetch.Prefix + key
}

// GoodPart reports whether a name can be a part of a key: no control
// characters, nothing that addresses, shells or file systems read otherwise.
func GoodPart(name string) bool {
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

// Split takes <debug file>/<id>/<file> apart. The id comes back in
// capitals.
func Split(key string) (debugFile, id, file string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || len(key) > maxKey || !GoodPart(parts[0]) || !GoodPart(parts[2]) || !symbols.IsHex(parts[1]) || len(parts[1]) > symbols.MaxIDDigits {
		return "", "", "", false
	}
	return parts[0], strings.ToUpper(parts[1]), parts[2], true
}

// Clean is the key that a client's key is kept under.
func Clean(key string) (string, bool) {
	debugFile, id, file, ok := Split(key)
	return debugFile + "/" + id + "/" + file, ok
}

// Ignored reports whether a member is something that archives carry along.
func Ignored(name string) bool {
	return path.Base(name) == ".DS_Store" || !strings.Contains(name, "/") && strings.HasSuffix(name, "-symbols.txt")
}

// Packed reports whether the file of a key is kept gzipped.
func Packed(key string) bool { return strings.HasSuffix(key, ".sym") }

// Module is the module whose symbols a file holds.
func Module(f catalog.SymbolFile) symbols.ModuleID {
	debugFile, id, _, _ := Split(f.Key)
	return symbols.ModuleID{DebugFile: debugFile, DebugID: id, CodeFile: f.CodeFile, CodeID: f.CodeID}
}
