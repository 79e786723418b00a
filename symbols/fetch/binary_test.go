package fetch

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
)

var (
	library   = symbols.ModuleID{CodeFile: "/usr/lib/libengine.so.2", CodeID: "abcdef0102030405060708090a0b0c0d0e0f1011"}
	dynamic   = symbols.ModuleID{CodeFile: `C:\Program Files\App\engine.dll`, CodeID: "5B8A1C3D9000"}
	framework = symbols.ModuleID{CodeFile: "/Applications/App.app/Engine", DebugFile: "Engine", DebugID: "303132333435363738396162636465660"}
)

// binariesOf makes the files of the three modules.
func binariesOf() map[string][]byte {
	code := []sample.Section{{Name: ".text", Offset: 0x1000, Data: []byte("instructions"), Executable: true}}
	elf := sample.Binary{Format: executable.ELF, Machine: executable.AMD64, Sections: code,
		ID: []byte{0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}}
	pe := sample.Binary{Format: executable.PE, Machine: executable.AMD64, TimeStamp: 0x5b8a1c3d, Size: 0x9000, Sections: code}
	macho := sample.Binary{Format: executable.MachO, Machine: executable.ARM64, Base: 1 << 32, ID: []byte("0123456789abcdef"), Sections: code}
	return map[string][]byte{"elf": elf.Bytes(), "pe": pe.Bytes(), "macho": macho.Bytes()}
}

func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func checkBinary(t *testing.T, b *Binaries, id symbols.ModuleID, m executable.Machine) {
	t.Helper()
	im, err := b.Binary(context.Background(), id, m)
	if err != nil {
		t.Errorf("%s: %v", id.CodeFile, err)
		return
	}
	if got := string(im.Bytes(0x1000, 12)); got != "instructions" {
		t.Errorf("%s: %q", id.CodeFile, got)
	}
}

func TestBinariesInPaths(t *testing.T) {
	files := binariesOf()
	for _, c := range []struct {
		place string
		file  string
		id    symbols.ModuleID
		m     executable.Machine
	}{
		{"engine.dll/5B8A1C3D9000/engine.dll", "pe", dynamic, executable.AMD64},
		{"engine.dll/5b8a1c3d9000/engine.dll", "pe", dynamic, executable.AMD64},
		{".build-id/ab/cdef0102030405060708090a0b0c0d0e0f1011", "elf", library, executable.AMD64},
		{"usr/lib/libengine.so.2", "elf", library, executable.AMD64},
		{"libengine.so.2", "elf", library, executable.AMD64},
		{"Engine", "macho", framework, executable.ARM64},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, filepath.FromSlash(c.place)), files[c.file])
		b := NewBinaries(BinaryOptions{Paths: []string{filepath.Join(dir, "absent"), dir}})
		checkBinary(t, b, c.id, c.m)
		// It may be given itself as well.
		single := NewBinaries(BinaryOptions{Paths: []string{filepath.Join(dir, filepath.FromSlash(c.place))}})
		checkBinary(t, single, c.id, c.m)
		other := c.id
		other.CodeID, other.DebugID = "1234", "AABBCCDD11223344556677889900AABB0"
		if _, err := b.Binary(context.Background(), other, c.m); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s serves another id: %v", c.place, err)
		}
		for _, s := range []*Binaries{b, single} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The name of a module, which is whatever a dump says, leads nowhere else.
func TestBinariesStayInTheirPaths(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "outside"), binariesOf()["elf"])
	inner := filepath.Join(dir, "symbols")
	put(t, filepath.Join(inner, "x"), []byte("x"))
	b := NewBinaries(BinaryOptions{Paths: []string{inner}})
	for _, name := range []string{"../outside", "/../outside", `..\outside`, "..", ".", "", "a\x00b"} {
		id := library
		id.CodeFile = name
		if _, err := b.Binary(context.Background(), id, executable.AMD64); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestBinariesInBucket(t *testing.T) {
	files := binariesOf()
	ctx := context.Background()
	write := func(bucket *blob.Bucket, key string, b []byte) {
		t.Helper()
		if err := bucket.WriteAll(ctx, key, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, fill := range map[string]func(*blob.Bucket){
		"by name": func(b *blob.Bucket) {
			write(b, "v1/engine.dll/5B8A1C3D9000/engine.dll", files["pe"])
			write(b, "try/v1/libengine.so.2/ABCDEF0102030405060708090A0B0C0D0E0F1011/libengine.so.2", files["elf"])
			write(b, "ids/"+framework.DebugID+"/macho/Engine", []byte("v1/Engine/X/Engine"))
			write(b, "v1/Engine/X/Engine", files["macho"])
		},
		"by id": func(b *blob.Bucket) {
			write(b, "ids/5B8A1C3D9000/pdb/engine.pdb", []byte("v1/engine.pdb/1/engine.pdb"))
			write(b, "ids/5B8A1C3D9000/pe/gone.dll", []byte("v1/gone"))
			write(b, "ids/5B8A1C3D9000/pe/other.dll", []byte("v1/other"))
			write(b, "v1/other", files["pe"])
			write(b, "ids/ABCDEF0102030405060708090A0B0C0D0E0F1011/executable/e", []byte("v1/e"))
			write(b, "v1/e", files["elf"])
			write(b, "ids/"+framework.DebugID+"/macho/m", []byte("v1/m"))
			write(b, "v1/m", files["macho"])
		},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := memblob.OpenBucket(nil)
			defer bucket.Close()
			fill(bucket)
			b := NewBinaries(BinaryOptions{Bucket: bucket})
			defer b.Close()
			checkBinary(t, b, dynamic, executable.AMD64)
			checkBinary(t, b, library, executable.AMD64)
			checkBinary(t, b, framework, executable.ARM64)
			checkBinary(t, b, dynamic, executable.AMD64) // again
		})
	}
}

// What is not there is remembered for a while, and found when it comes.
func TestBinariesComeLater(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	now := time.Unix(1000, 0)
	b := NewBinaries(BinaryOptions{Bucket: bucket})
	b.now = func() time.Time { return now }
	ask := func() error {
		_, err := b.Binary(context.Background(), dynamic, executable.AMD64)
		return err
	}
	if err := ask(); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	if err := bucket.WriteAll(context.Background(), "v1/engine.dll/5B8A1C3D9000/engine.dll", binariesOf()["pe"], nil); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !fault.Is(err, fault.NotFound) {
		t.Errorf("asked again at once: %v", err)
	}
	now = now.Add(absentBinaryFor)
	if err := ask(); err != nil {
		t.Errorf("a while later: %v", err)
	}
}

// Few files stay open, however many are asked for.
func TestBinariesAreBounded(t *testing.T) {
	dir := t.TempDir()
	b := NewBinaries(BinaryOptions{Paths: []string{dir}})
	defer b.Close()
	for i := range 3 * maxImages {
		f := sample.Binary{Format: executable.PE, Machine: executable.AMD64, TimeStamp: uint32(i), Size: 0x1000}
		id := symbols.ModuleID{CodeFile: "m.dll", CodeID: symbols.CodeIDFromPE(uint32(i), 0x1000)}
		put(t, filepath.Join(dir, "m.dll", id.CodeID, "m.dll"), f.Bytes())
		if _, err := b.Binary(context.Background(), id, executable.AMD64); err != nil {
			t.Fatal(err)
		}
		if len(b.open) > maxImages {
			t.Fatalf("%d files are open", len(b.open))
		}
	}
}

func TestObjectReader(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	data := make([]byte, 2*pieceSize+100)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	if err := bucket.WriteAll(context.Background(), "k", data, nil); err != nil {
		t.Fatal(err)
	}
	r := &objectReader{bucket: bucket, key: "k", size: int64(len(data))}
	for _, c := range [][2]int{{0, 10}, {pieceSize - 5, 10}, {5, 2 * pieceSize}, {len(data) - 10, 10}} {
		got := make([]byte, c[1])
		if n, err := r.ReadAt(got, int64(c[0])); n != c[1] || err != nil || !bytes.Equal(got, data[c[0]:c[0]+c[1]]) {
			t.Errorf("%d bytes at %d: %d, %v", c[1], c[0], n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 20), int64(len(data)-10)); n != 10 || err == nil {
		t.Errorf("past the end: %d, %v", n, err)
	}
}
