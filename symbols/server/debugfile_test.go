package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mayday/symbols/sample"
	"mayday/symbols/server"
)

// macho is a Mach-O file with a UUID of one letter.
func macho(kind uint32, uuid byte) []byte {
	return sample.MachO(kind, [16]byte(bytes.Repeat([]byte{uuid}, 16)))
}

// pe is a Windows program with the debug id of id1.
func pe() []byte {
	return sample.PE([16]byte([]byte("\x8c\xec\xe4\x44\x41\x2f\x2b\x49\x93\x69\xd6\xb9\xa0\x59\x57\x7c")), 2)
}

func tarGzipped(files ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i+1 < len(files); i += 2 {
		_ = w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}) // a buffer takes all
		_, _ = w.Write([]byte(files[i+1]))
	}
	_, _ = w.Close(), z.Close()
	return b.Bytes()
}

// keys are the objects of the bucket, without what a bucket keeps beside them.
func (w *world) keys() (out []string) {
	_ = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			rel, _ := filepath.Rel(w.dir, path)
			if !strings.HasSuffix(rel, ".attrs") && !strings.HasPrefix(rel, ".") {
				out = append(out, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	slices.Sort(out)
	return out
}

// A program and its dSYM, which has the same name and ids, are both kept, every
// architecture by itself; each is found by either id, also in the bucket alone.
func TestBundleOfDebugFiles(t *testing.T) {
	w := start(t, nil)
	program, other, dsym := macho(2, 'a'), macho(2, 'b'), macho(10, 'a')
	fat := sample.Fat(program, other)
	body, kind := form("file", "kite.tar.gz", tarGzipped("Kite.app/Contents/MacOS/Kite", string(fat), "Kite.dSYM/Contents/Resources/DWARF/Kite", string(dsym), "Kite.dSYM/Contents/Info.plist", "<plist/>"))
	a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind)
	if a.status != 201 || len(a.json(t)["files"].([]any)) != 3 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ida, idb := strings.Repeat("61", 16), strings.Repeat("62", 16)
	for path, want := range map[string][]byte{
		"/Kite/" + ida + "/Kite":        program,
		"/Kite/" + ida + "0/Kite":       program, // by its debug id
		"/Kite/" + idb + "/Kite":        other,
		"/Kite/" + ida + "/Kite.dwarf":  dsym,
		"/Kite/" + idb + "/Kite.dwarf":  nil,
		"/Sloop/" + ida + "/Sloop":      nil,
		"/Kite/" + ida + "/file.ptr":    nil,
		"/Kite/" + ida + "0/Kite.sym":   nil, // none was made
		"/buildid/" + ida + "/notes":    nil,
		"/buildid/../" + ida + "/notes": nil,
	} {
		got := w.do("GET", path, "", nil)
		if (got.status == 200) != (want != nil) || want != nil && !bytes.Equal(got.body, want) {
			t.Errorf("%s: %d, %d bytes", path, got.status, len(got.body))
		}
	}
	keys := strings.Join(w.keys(), "\n")
	for _, want := range []string{"v1/Kite/" + ida + "/Kite", "ids/" + ida + "/macho/Kite", "ids/" + ida + "0/macho/Kite", "ids/" + ida + "/dsym/Kite.dwarf"} {
		if !strings.Contains(keys, want) {
			t.Errorf("no object %s; there are\n%s", want, keys)
		}
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, "ids", ida, "macho", "Kite")); err != nil || string(text) != "v1/Kite/"+ida+"/Kite" {
		t.Errorf("the pointer holds %q, %v", text, err)
	}
	if len(w.arrived) != 0 {
		t.Errorf("symbols are said to have come: %v", w.arrived)
	}
	w.nothingSpooled()
}

// A Windows program is found as Microsoft's tools ask for it, and does not make
// its symbols less missing.
func TestMicrosoftDownload(t *testing.T) {
	w := start(t, nil)
	w.do("GET", "/kite.pdb/"+id1+"/kite.sym", "", nil)
	for name, data := range map[string][]byte{"kite.dll": pe(), "kite.zip": zipped("sub/kite.exe", string(pe()))} {
		body, kind := form("file", name, data)
		if a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for _, path := range []string{"/kite.dll/5AF1C0DE1a000/kite.dll", "/kite.dll/5af1c0de1a000/kite.dll", "/kite.exe/5AF1C0DE1A000/kite.exe", "/kite.dll/" + id1 + "/kite.dll"} {
		if got := w.do("GET", path, "", nil); got.status != 200 || !bytes.Equal(got.body, pe()) {
			t.Errorf("%s: %d, %d bytes", path, got.status, len(got.body))
		}
	}
	if got := w.do("GET", "/kite.dll/5AF1C0DE1A000/kite.dll", "", nil, "Range", "bytes=0-1"); got.status != 206 || string(got.body) != "MZ" {
		t.Errorf("a range: %d %q", got.status, got.body)
	}
	if n := w.do("GET", "/missingsymbols/", "", nil).json(t)["total_count"]; n != 1.0 {
		t.Errorf("%v are missing, want the one that was asked for", n)
	}
}

// What cannot be taken is refused in words, and nothing of it is kept.
func TestRefusedBundles(t *testing.T) {
	w := start(t, func(o *server.Options) { o.Config.MaxUpload = 1 << 20 })
	program := string(macho(2, 'a'))
	for _, c := range []struct {
		name   string
		data   []byte
		status int
		want   string
	}{
		{"text", []byte("hello"), 400, "no debug file"},
		{"nothing", nil, 400, "no debug file"},
		{"one id twice", zipped("a/Kite", program, "b/Kite", program), 400, "two files"},
		{"a name that cannot be kept", zipped("a/Ki[te", program), 400, "cannot be kept"},
		{"dots for a name", zipped("a/..", program), 400, "cannot be kept"},
		{"broken xz", []byte("\xfd7zXZ\x00......"), 400, "xz"},
		{"too large", bytes.Repeat([]byte("MZ"), 600<<10), 413, "more than 1048576 bytes"},
		{"cut tar.gz", tarGzipped("Kite", program)[:60], 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, kind := form("file", "x", c.data)
			a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind)
			if a.status != c.status || !strings.Contains(string(a.body), c.want) {
				t.Errorf("%d %s, want %d with %q", a.status, a.body, c.status, c.want)
			}
			if keys := w.keys(); len(keys) != 0 {
				t.Errorf("kept: %q", keys)
			}
			w.nothingSpooled()
		})
	}
	if a := w.do("POST", "/upload/debug/", "", strings.NewReader("")); a.status != 403 {
		t.Errorf("nobody: %d", a.status)
	}
}

// The sources of a program are served one by one, by the paths that its debug
// information names, wherever it was built.
func TestSources(t *testing.T) {
	w := start(t, nil)
	const id = "6162636465"
	archive := zipped("sail/src/main.c", "main of sail", "sail/lib/main.c", "main of lib", "sail/src/", "", "README", "read me")
	body, kind := form("file", "s.zip", archive, "sources", id)
	if a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for path, want := range map[string]string{
		"/build/worker/sail/src/main.c": "main of sail", "/sail/lib/main.c": "main of lib", "/elsewhere/README": "read me",
		"/x/../build/src%2Fmain.c": "main of sail", "/sail/src": "", "/sail/src/other.c": "", "/": "",
	} {
		for range 2 { // of the bucket, then of the local copy
			a := w.do("GET", "/buildid/"+id+"/source"+path, "", nil)
			if want == "" && a.status != 404 || want != "" && (a.status != 200 || string(a.body) != want) {
				t.Errorf("%s: %d %q, want %q", path, a.status, a.body, want)
			}
		}
	}
	if a := w.do("GET", "/buildid/6162636466/source/README", "", nil); a.status != 404 {
		t.Errorf("another program: %d", a.status)
	}
	for _, c := range []struct {
		data []byte
		id   string
	}{{[]byte("no zip"), id}, {archive, "../.."}, {archive, "xyz"}} {
		body, kind := form("file", "s.zip", c.data, "sources", c.id)
		if a := w.do("POST", "/upload/debug/", "upload_symbols", body, "Content-Type", kind); a.status != 400 {
			t.Errorf("%q: %d %s", c.id, a.status, a.body)
		}
	}
}
