package cab_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/symbols/cab"
)

// cabinet packs files into one folder; method 1 is MSZIP.
func cabinet(method uint16, names []string, contents [][]byte) []byte {
	le := binary.LittleEndian
	var files, data bytes.Buffer
	all := bytes.Join(contents, nil)
	offset := 0
	for i, name := range names {
		f := make([]byte, 16)
		le.PutUint32(f, uint32(len(contents[i])))
		le.PutUint32(f[4:], uint32(offset))
		files.Write(append(append(f, name...), 0))
		offset += len(contents[i])
	}
	blocks := 0
	var window []byte
	for rest := all; len(rest) > 0; blocks++ {
		part := rest[:min(len(rest), 32<<10)]
		rest = rest[len(part):]
		packed := part
		if method == 1 {
			var b bytes.Buffer
			b.WriteString("CK")
			z, _ := flate.NewWriterDict(&b, 9, window)
			_, _ = z.Write(part)
			_ = z.Close()
			packed, window = b.Bytes(), part
		}
		h := make([]byte, 8)
		le.PutUint16(h[4:], uint16(len(packed)))
		le.PutUint16(h[6:], uint16(len(part)))
		data.Write(append(h, packed...))
	}
	h := make([]byte, 36+8)
	copy(h, "MSCF")
	le.PutUint32(h[16:], 44)
	h[24], h[25] = 3, 1
	le.PutUint16(h[26:], 1)
	le.PutUint16(h[28:], uint16(len(names)))
	le.PutUint32(h[36:], uint32(44+files.Len()))
	le.PutUint16(h[40:], uint16(blocks))
	le.PutUint16(h[42:], method)
	out := append(append(h, files.Bytes()...), data.Bytes()...)
	le.PutUint32(out[8:], uint32(len(out)))
	return out
}

func contents() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < 200_000 {
		fmt.Fprintf(&text, "FUNC %x 10 0 function_%d\n", r.IntN(1<<20), r.IntN(100))
	}
	return [][]byte{text.Bytes(), {}, []byte("short"), text.Bytes()[:33_000]}
}

func TestRead(t *testing.T) {
	want := contents()
	names := []string{"libc.pdb", `a\b.dll`, "c", "d"}
	for method := range uint16(2) {
		b := cabinet(method, names, want)
		r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(r.Files) != len(names) {
			t.Fatalf("method %d: %v, %v", method, r, err)
		}
		for i, f := range r.Files {
			m, err := r.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(m)
			if err != nil || !bytes.Equal(got, want[i]) || f.Name != names[i] {
				t.Errorf("method %d, %q: %d bytes, want %d, %v", method, f.Name, len(got), len(want[i]), err)
			}
		}
	}
}

// What other programs pack is read too.
func TestReadOthers(t *testing.T) {
	tool, err := exec.LookPath("gcab")
	if err != nil {
		t.Skip("no gcab to make cabinets with")
	}
	path := filepath.Join(t.TempDir(), "x.cab")
	if out, err := exec.Command(tool, "-c", "-z", path, "cab.go", "cab_test.go").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(r.Files) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	for _, f := range r.Files {
		want, err := os.ReadFile(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(m); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d, %v", f.Name, len(got), len(want), err)
		}
	}
}

func TestRefused(t *testing.T) {
	good := cabinet(1, []string{"a"}, [][]byte{bytes.Repeat([]byte("x"), 70_000)})
	le := binary.LittleEndian
	for _, c := range []struct {
		name string
		edit func([]byte)
		want fault.Kind
	}{
		{"LZX", func(b []byte) { b[42] = 3 }, fault.Unsupported},
		{"in another cabinet", func(b []byte) { le.PutUint16(b[44+8:], 0xfffe) }, fault.Unsupported},
		{"claims 4 GB", func(b []byte) { le.PutUint32(b[44:], 1<<32-1) }, fault.Malformed},
		{"too few blocks", func(b []byte) { le.PutUint16(b[40:], 1) }, fault.Malformed},
		{"block beyond the end", func(b []byte) { le.PutUint32(b[36:], 1<<31) }, fault.Malformed},
		{"checksum", func(b []byte) { b[36+8+16+2] = 1 }, fault.Malformed},
		{"no MSZIP", func(b []byte) { b[36+8+16+2+8] = 'X' }, fault.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(good)
			c.edit(b)
			r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
			if err == nil {
				var m io.Reader
				if m, err = r.Open(r.Files[0]); err == nil {
					_, err = io.Copy(io.Discard, m)
				}
			}
			if !fault.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add(cabinet(1, []string{"a", "b"}, [][]byte{[]byte(strings.Repeat("x", 100)), []byte("y")}))
	f.Add(cabinet(0, []string{"a"}, [][]byte{[]byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, file := range r.Files[:min(len(r.Files), 4)] {
			m, err := r.Open(file)
			if err != nil {
				continue
			}
			if n, err := io.Copy(io.Discard, m); err == nil && n != file.Size {
				t.Errorf("%d bytes, claimed %d", n, file.Size)
			}
		}
	})
}
