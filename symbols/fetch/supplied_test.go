package fetch

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/cache"
	"mayday/symbols/executable"
)

// suppliedBy is a source of binaries that asks the places at addresses.
func suppliedBy(t *testing.T, dir string, most int64, addresses ...string) *Binaries {
	t.Helper()
	places, err := OpenPlaces(t.Context(), addresses, PlacesOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := NewBinaries(BinaryOptions{Supplied: &Supplied{From: places, Dir: dir, MaxBytes: most}})
	t.Cleanup(func() { b.Close(); places.Close() })
	return b
}

// missing checks that there is no binary.
func missing(t *testing.T, b *Binaries, id symbols.ModuleID) {
	t.Helper()
	if _, err := b.Binary(t.Context(), id, executable.AMD64); !fault.Is(err, fault.NotFound) {
		t.Errorf("%s: got %v, want not found", id.CodeFile, err)
	}
}

func TestBinariesFromSuppliers(t *testing.T) {
	made := binariesOf()
	lib := library
	lib.DebugFile = "libengine.so.2"
	elf := "/buildid/" + library.CodeID + "/executable"
	pe := "/engine.dll/5B8A1C3D9000/engine.dll"
	peLower := "/engine.dll/5B8A1C3d9000/engine.dll"
	for _, c := range []struct {
		name, kind string
		id         symbols.ModuleID
		files      map[string]string
	}{
		{"debuginfod", "debuginfod+", lib, map[string]string{elf: string(made["elf"])}},
		{"microsoft", "microsoft+", dynamic, map[string]string{pe: string(made["pe"]), peLower: string(made["pe"])}},
		{"cabinet", "microsoft+", dynamic, map[string]string{"/engine.dll/5B8A1C3D9000/engine.dl_": cabinet("engine.dll", string(made["pe"]))}},
		{"tecken", "", dynamic, map[string]string{pe: string(made["pe"])}},
		{"tecken, ELF", "", lib, map[string]string{"/libengine.so.2/" + strings.ToUpper(lib.CodeID) + "/libengine.so.2": string(made["elf"])}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, files(c.files))
			dir := filepath.Join(t.TempDir(), "binaries")
			checkBinary(t, suppliedBy(t, dir, 1<<20, c.kind+s.URL), c.id, executable.AMD64)
			asked := s.count("")
			// Another process finds it in the directory.
			checkBinary(t, suppliedBy(t, dir, 1<<20, c.kind+s.URL), c.id, executable.AMD64)
			if s.count("") != asked {
				t.Errorf("asked %d times, then %d more", asked, s.count("")-asked)
			}
		})
	}
}

func TestBinariesFromDirectory(t *testing.T) {
	store := t.TempDir()
	put(t, filepath.Join(store, "engine.dll", "5B8A1C3D9000", "engine.dll"), binariesOf()["pe"])
	checkBinary(t, suppliedBy(t, t.TempDir(), 1<<20, store), dynamic, executable.AMD64)
}

// What nobody has is remembered beyond the process, and asked for again later.
func TestBinariesThatNobodyHas(t *testing.T) {
	dir := t.TempDir()
	have := map[string]string{}
	lib := library
	lib.DebugFile = "libengine.so.2"
	s := serve(t, files(have))
	missing(t, suppliedBy(t, dir, 1<<20, "debuginfod+"+s.URL), lib)
	asked := s.count("")
	missing(t, suppliedBy(t, dir, 1<<20, "debuginfod+"+s.URL), lib)
	if asked == 0 || s.count("") != asked {
		t.Errorf("asked %d times, then %d more", asked, s.count("")-asked)
	}
	have["/buildid/"+library.CodeID+"/executable"] = string(binariesOf()["elf"])
	b := suppliedBy(t, dir, 1<<20, "debuginfod+"+s.URL)
	b.now = func() time.Time { return time.Now().Add(missFor + time.Minute) }
	checkBinary(t, b, lib, executable.AMD64)
}

// A server that fails does not fail the walk, and is left alone for a while by
// all processes.
func TestBinariesFromBrokenSupplier(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	dir := t.TempDir()
	for range 3 {
		missing(t, suppliedBy(t, dir, 1<<20, "microsoft+"+s.URL), dynamic)
	}
	if n := s.count(""); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// What is not the module's, or is too large, is not kept.
func TestBinariesThatAreOthers(t *testing.T) {
	made := binariesOf()
	path := "/engine.dll/5B8A1C3D9000/engine.dll"
	for name, c := range map[string]struct {
		file []byte
		most int64
	}{"another": {made["elf"], 1 << 20}, "page": {[]byte("<html>not here</html>"), 1 << 20}, "large": {made["pe"], 100}} {
		dir := t.TempDir()
		s := serve(t, files(map[string]string{path: string(c.file)}))
		missing(t, suppliedBy(t, dir, c.most, s.URL), dynamic)
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 1 || !strings.HasSuffix(left[0].Name(), absentFile) {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
}

func TestSuppliedBinariesAreBounded(t *testing.T) {
	made := binariesOf()
	lib := library
	lib.DebugFile = "libengine.so.2"
	s := serve(t, files(map[string]string{"/buildid/" + library.CodeID + "/executable": string(made["elf"]), "/engine.dll/5B8A1C3D9000/engine.dll": string(made["pe"])}))
	dir := t.TempDir()
	most := int64(max(len(made["elf"]), len(made["pe"])) + 100)
	b := suppliedBy(t, dir, most, "debuginfod+"+s.URL, s.URL)
	checkBinary(t, b, lib, executable.AMD64)
	checkBinary(t, b, dynamic, executable.AMD64)
	checkBinary(t, b, lib, executable.AMD64) // it is still open
	var total int64
	left, _ := os.ReadDir(dir)
	for _, e := range left {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	if total > most || total == 0 {
		t.Errorf("%d bytes are kept, want up to %d", total, most)
	}
}

func TestSuppliedBinariesThatAreNotWanted(t *testing.T) {
	s := serve(t, files(map[string]string{"/engine.dll/5B8A1C3D9000/engine.dll": string(binariesOf()["pe"])}))
	b := suppliedBy(t, t.TempDir(), 1<<20, s.URL)
	wanted := false
	b.o.Supplied.Wanted = func(context.Context, symbols.ModuleID) bool { return wanted }
	missing(t, b, dynamic)
	if s.count("") != 0 {
		t.Error("asked for what nobody wants")
	}
	wanted = true
	b.now = func() time.Time { return time.Now().Add(2 * absentBinaryFor) }
	checkBinary(t, b, dynamic, executable.AMD64)
}

// A binary is asked for where symbols do not help to unwind.
func TestWithoutUnwind(t *testing.T) {
	const id = "0123456789ABCDEF0123456789ABCDEF1"
	texts := map[string]string{
		"bare.pdb": "FUNC 1000 10 0 f\nPUBLIC 1010 0 p\n",
		"cfi.pdb":  "FUNC 1000 10 0 f\nSTACK CFI INIT 1000 10 .cfa: $rsp 8 +\n",
		"win.pdb":  "STACK WIN 4 1000 10 0 0 0 0 0 0 1 $eip 4 + ^ =\n",
		"down.pdb": "",
	}
	store := cache.New(cache.Options{Dir: t.TempDir(), Fetch: func(_ context.Context, m symbols.ModuleID) (io.ReadCloser, error) {
		text, ok := texts[m.DebugFile]
		switch {
		case !ok:
			return nil, fault.New(fault.NotFound, "none")
		case text == "":
			return nil, fault.New(fault.Unavailable, "down")
		}
		return io.NopCloser(strings.NewReader("MODULE windows x86_64 " + id + " " + m.DebugFile + "\n" + text)), nil
	}})
	t.Cleanup(func() { store.Close() })
	wanted := WithoutUnwind(store)
	for name, want := range map[string]bool{"bare.pdb": true, "cfi.pdb": false, "win.pdb": false, "gone.pdb": true, "down.pdb": false} {
		if got := wanted(t.Context(), symbols.ModuleID{DebugFile: name, DebugID: id}); got != want {
			t.Errorf("%s: wanted %v", name, got)
		}
	}
}
