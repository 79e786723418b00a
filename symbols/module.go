package symbols

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ModuleID names a module as a crash or a symbol server names it. Debug file
// and debug id find the symbols; code file and code id name the binary, and
// find the symbols where the debug pair is not known.
type ModuleID struct {
	DebugFile string // xul.pdb, libxul.so, XUL
	DebugID   string // 32 hex digits and the age in hex
	CodeFile  string // xul.dll, libxul.so, XUL
	CodeID    string // time stamp and size (PE), build id (ELF), UUID (Mach-O)
}

// NoDebugID is the debug id of a module that has none: it is never looked up.
const NoDebugID = "000000000000000000000000000000000"

// MaxIDDigits is the longest debug or code id that is taken for one; a build
// id may hold 64 bytes.
const MaxIDDigits = 128

// Leaf is the last part of a path in either notation: what stands behind the
// last / or \.
func Leaf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' || path[i] == '\\' {
			return path[i+1:]
		}
	}
	return path
}

// IsHex reports whether s holds at least one digit and only hex digits.
func IsHex(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// NormalizeDebugID writes a debug id the way stores are keyed: without dashes
// and braces, in capitals. It reports false for what is no debug id: other
// characters, too few or too many digits, or the id of a module without one.
func NormalizeDebugID(id string) (string, bool) {
	id = strings.ToUpper(strings.NewReplacer("-", "", "{", "", "}", "").Replace(id))
	if !IsHex(id) || len(id) > 40 {
		return "", false
	}
	if strings.Trim(id, "0") == "" {
		return "", false
	}
	return id, true
}

// NormalizeCodeID writes a code id the way stores are keyed: hex digits in
// capitals. It reports false for what is no code id.
func NormalizeCodeID(id string) (string, bool) {
	id = strings.ToUpper(strings.ReplaceAll(id, "-", ""))
	if !IsHex(id) || len(id) > MaxIDDigits {
		return "", false
	}
	return id, true
}

// Normalize returns m with file names cut to their leaf and ids normalised;
// what is no id becomes "".
func (m ModuleID) Normalize() ModuleID {
	m.DebugFile, m.CodeFile = Leaf(m.DebugFile), Leaf(m.CodeFile)
	m.DebugID, _ = NormalizeDebugID(m.DebugID)
	m.CodeID, _ = NormalizeCodeID(m.CodeID)
	return m
}

// SymFile is the name of the symbol file of a debug file: .pdb, in any case,
// gives way to .sym; to other names it is added.
func SymFile(debugFile string) string {
	if n := len(debugFile) - 4; n >= 0 && strings.EqualFold(debugFile[n:], ".pdb") {
		return debugFile[:n] + ".sym"
	}
	return debugFile + ".sym"
}

// Path is where a store in Breakpad's layout keeps the .sym of m:
// xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym. Where the debug file is
// not known the code file stands for it. It reports false when m cannot be
// looked up: no name, or no debug id. A name that would leave the store (.., or
// with a NUL) is none.
func (m ModuleID) Path() (string, bool) {
	name := Leaf(m.DebugFile)
	if name == "" {
		name = Leaf(m.CodeFile)
	}
	id, ok := NormalizeDebugID(m.DebugID)
	if !ok || name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 {
		return "", false
	}
	return name + "/" + id + "/" + SymFile(name), true
}

// Paths are all the places where a store may keep the .sym of m, the usual one
// first: some writers cut off .pdb in small letters alone.
func (m ModuleID) Paths() []string {
	path, ok := m.Path()
	if !ok {
		return nil
	}
	name, rest, _ := strings.Cut(path, "/")
	if n := len(name) - 4; n >= 0 && strings.EqualFold(name[n:], ".pdb") && name[n:] != ".pdb" {
		id, _, _ := strings.Cut(rest, "/")
		return []string{path, name + "/" + id + "/" + name + ".sym"}
	}
	return []string{path}
}

// CodePath is where a symbol server answers with a redirect for a module of
// which only the code file and code id are known. It reports false when one of
// them is missing.
func (m ModuleID) CodePath() (string, bool) {
	name := Leaf(m.CodeFile)
	id, ok := NormalizeCodeID(m.CodeID)
	if !ok || name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 {
		return "", false
	}
	file := name + ".sym"
	if n := len(name) - 4; n >= 0 && strings.EqualFold(name[n:], ".dll") {
		file = name[:n] + ".sym"
	}
	return name + "/" + id + "/" + file, true
}

// GUID is a Microsoft GUID as its fields, the form that CodeView records hold.
type GUID struct {
	Data1 uint32
	Data2 uint16
	Data3 uint16
	Data4 [8]byte
}

// GUIDFromBytes reads the sixteen bytes of a GUID or of the front of a build id
// whose fields are in byte order o.
func GUIDFromBytes(b [16]byte, o binary.ByteOrder) GUID {
	g := GUID{Data1: o.Uint32(b[0:]), Data2: o.Uint16(b[4:]), Data3: o.Uint16(b[6:])}
	copy(g.Data4[:], b[8:])
	return g
}

// IsZero reports whether all digits are 0, which stands for no id.
func (g GUID) IsZero() bool { return g == GUID{} }

// String is the GUID as 32 hex digits in capitals.
func (g GUID) String() string {
	return fmt.Sprintf("%08X%04X%04X%X", g.Data1, g.Data2, g.Data3, g.Data4[:])
}

// DebugIDFromPDB is the debug id of a PE file whose CodeView record is of the
// PDB 7.0 form: the GUID and the age; an all-zero GUID gives NoDebugID.
func DebugIDFromPDB(g GUID, age uint32) string {
	if g.IsZero() {
		return NoDebugID
	}
	return fmt.Sprintf("%s%x", g, age)
}

// DebugIDFromPDB20 is the debug id of a PE file whose CodeView record is of the
// old PDB 2.0 form: the time stamp and the age.
func DebugIDFromPDB20(stamp, age uint32) string {
	return fmt.Sprintf("%08X%x", stamp, age)
}

// DebugIDFromBuildID is the debug id of an ELF file: the first sixteen bytes of
// the build id, padded with zeros, read as a GUID in the file's byte order, and
// the age 0. An empty or all-zero build id gives NoDebugID.
func DebugIDFromBuildID(buildID []byte, o binary.ByteOrder) string {
	var b [16]byte
	copy(b[:], buildID)
	g := GUIDFromBytes(b, o)
	if g.IsZero() {
		return NoDebugID
	}
	return g.String() + "0"
}

// CodePage is how much of an ELF file's code BuildIDFromCode looks at.
const CodePage = 4096

// BuildIDFromCode is what Breakpad takes for the build id of an ELF file without
// one, such as Go's linker made until 1.23: the first page of its .text section,
// folded by exclusive or into 16 bytes.
func BuildIDFromCode(code []byte) []byte {
	id := make([]byte, 16)
	for i, c := range code[:min(len(code), CodePage)] {
		id[i%len(id)] ^= c
	}
	return id
}

// DebugIDFromUUID is the debug id of a Mach-O file: its LC_UUID as written, and
// the age 0.
func DebugIDFromUUID(uuid [16]byte) string {
	if uuid == [16]byte{} {
		return NoDebugID
	}
	return fmt.Sprintf("%X0", uuid[:])
}

// CodeIDFromPE is the code id of a PE file: time stamp and size of the image.
func CodeIDFromPE(timeDateStamp, sizeOfImage uint32) string {
	return fmt.Sprintf("%08X%x", timeDateStamp, sizeOfImage)
}

// CodeIDFromBuildID is the code id of an ELF file: the whole build id.
func CodeIDFromBuildID(buildID []byte) string { return fmt.Sprintf("%x", buildID) }

// CodeIDFromUUID is the code id of a Mach-O file: the LC_UUID in lower case.
func CodeIDFromUUID(uuid [16]byte) string { return fmt.Sprintf("%x", uuid[:]) }
