package symbols

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestPath(t *testing.T) {
	id := "44E4EC8C2F41492B9369D6B9A059577C2"
	for _, c := range []struct {
		name string
		m    ModuleID
		want string
		ok   bool
	}{
		{"pdb", ModuleID{DebugFile: `C:\b\Xul.PDB`, DebugID: id}, "Xul.PDB/" + id + "/Xul.sym", true},
		{"elf", ModuleID{DebugFile: "/usr/lib/libc.so.6", DebugID: "44e4ec8c2f41492b9369d6b9a059577c2"}, "libc.so.6/" + id + "/libc.so.6.sym", true},
		{"code file stands in", ModuleID{CodeFile: "/bin/a", DebugID: id}, "a/" + id + "/a.sym", true},
		{"no id", ModuleID{DebugFile: "a"}, "", false},
		{"zero id", ModuleID{DebugFile: "a", DebugID: NoDebugID}, "", false},
		{"no name", ModuleID{DebugID: id}, "", false},
		{"leaves the store", ModuleID{DebugFile: "..", DebugID: id}, "", false},
		{"not hex", ModuleID{DebugFile: "a", DebugID: "../../x"}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := c.m.Path(); got != c.want || ok != c.ok {
				t.Errorf("Path of %+v: got %q %v, want %q %v", c.m, got, ok, c.want, c.ok)
			}
		})
	}
}

func TestCodePath(t *testing.T) {
	got, ok := ModuleID{CodeFile: `C:\w\ntdll.DLL`, CodeID: "5cbf123a1f0000"}.CodePath()
	if want := "ntdll.DLL/5CBF123A1F0000/ntdll.sym"; got != want || !ok {
		t.Errorf("got %q %v, want %q", got, ok, want)
	}
	if got, ok := (ModuleID{CodeFile: "x.dll"}).CodePath(); ok {
		t.Errorf("without a code id: got %q", got)
	}
}

func TestIDs(t *testing.T) {
	b := [16]byte{0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10}
	for _, c := range []struct{ name, got, want string }{
		{"pdb", DebugIDFromPDB(GUIDFromBytes(b, binary.LittleEndian), 0x1a), "0403020106050807090A0B0C0D0E0F101a"},
		{"pdb without guid", DebugIDFromPDB(GUID{}, 1), NoDebugID},
		{"pdb 2.0", DebugIDFromPDB20(0x3aBc, 2), "00003ABC2"},
		{"elf", DebugIDFromBuildID(b[:], binary.LittleEndian), "0403020106050807090A0B0C0D0E0F100"},
		{"elf, big endian", DebugIDFromBuildID(b[:], binary.BigEndian), "0102030405060708090A0B0C0D0E0F100"},
		{"elf, short build id", DebugIDFromBuildID(b[:3], binary.LittleEndian), "000302010000000000000000000000000"},
		{"elf, none", DebugIDFromBuildID(nil, binary.LittleEndian), NoDebugID},
		{"mach-o", DebugIDFromUUID(b), "0102030405060708090A0B0C0D0E0F100"},
		{"pe code", CodeIDFromPE(0x5cbf123a, 0x1f0000), "5CBF123A1f0000"},
		{"elf code", CodeIDFromBuildID(b[:3]), "010203"},
		{"mach-o code", CodeIDFromUUID(b), "0102030405060708090a0b0c0d0e0f10"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	got := ModuleID{`C:\x\a.pdb`, "{44e4ec8c-2f41-492b-9369-d6b9a059577c}2", "/b/c.so", "zz"}.Normalize()
	want := ModuleID{"a.pdb", "44E4EC8C2F41492B9369D6B9A059577C2", "c.so", ""}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPaths(t *testing.T) {
	const id = "44E4EC8C2F41492B9369D6B9A059577C2"
	for name, want := range map[string][]string{
		"xul.pdb": {"xul.pdb/" + id + "/xul.sym"},
		"XUL.PDB": {"XUL.PDB/" + id + "/XUL.sym", "XUL.PDB/" + id + "/XUL.PDB.sym"},
		"libxul":  {"libxul/" + id + "/libxul.sym"},
		"":        nil,
	} {
		if got := (ModuleID{DebugFile: name, DebugID: id}).Paths(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
