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

// cabinet packs files into one folder; method 1 is MSZIP, 3 LZX with a window
// in its second byte.
func cabinet(method uint16, names []string, contents [][]byte) []byte {
	all := bytes.Join(contents, nil)
	var packed [][]byte
	if method&15 == 3 {
		packed = packLZX(all, int(method>>8), []int{1, 2, 3}, 50_001, true)
	} else {
		var window []byte
		for rest := all; len(rest) > 0; {
			part := rest[:min(len(rest), 32<<10)]
			rest = rest[len(part):]
			if method == 1 {
				var b bytes.Buffer
				b.WriteString("CK")
				z, _ := flate.NewWriterDict(&b, 9, window)
				_, _ = z.Write(part)
				_ = z.Close()
				packed, window = append(packed, b.Bytes()), part
			} else {
				packed = append(packed, part)
			}
		}
	}
	return assemble(method, names, contents, packed)
}

// assemble makes a cabinet of packed blocks.
func assemble(method uint16, names []string, contents, packed [][]byte) []byte {
	le := binary.LittleEndian
	var files, data bytes.Buffer
	offset := 0
	for i, name := range names {
		f := make([]byte, 16)
		le.PutUint32(f, uint32(len(contents[i])))
		le.PutUint32(f[4:], uint32(offset))
		le.PutUint16(f[10:], 0x5a21) // a date, without which others do not unpack
		files.Write(append(append(f, name...), 0))
		offset += len(contents[i])
	}
	for i, b := range packed {
		h := make([]byte, 8)
		le.PutUint16(h[4:], uint16(len(b)))
		le.PutUint16(h[6:], uint16(min(32<<10, offset-i*32<<10)))
		data.Write(append(h, b...))
	}
	h := make([]byte, 36+8)
	copy(h, "MSCF")
	le.PutUint32(h[16:], 44)
	h[24], h[25] = 3, 1
	le.PutUint16(h[26:], 1)
	le.PutUint16(h[28:], uint16(len(names)))
	le.PutUint32(h[36:], uint32(44+files.Len()))
	le.PutUint16(h[40:], uint16(len(packed)))
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
	code := make([]byte, 300_000) // calls of a few functions
	for i := 0; i+9 < len(code); i += 5 + r.IntN(4) {
		code[i] = 0xe8
		binary.LittleEndian.PutUint32(code[i+1:], uint32(r.IntN(20)*4096-i))
	}
	return [][]byte{text.Bytes(), {}, []byte("short"), text.Bytes()[:33_000], code}
}

func TestRead(t *testing.T) {
	want := contents()
	names := []string{"libc.pdb", `a\b.dll`, "c", "d", "e"}
	for _, method := range []uint16{0, 1, 3 | 15<<8, 3 | 16<<8, 3 | 18<<8, 3 | 21<<8} {
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
		{"Quantum", func(b []byte) { b[42] = 2 }, fault.Unsupported},
		{"LZX without a window", func(b []byte) { b[42] = 3 }, fault.Malformed},
		{"LZX with a window of 4 MB", func(b []byte) { b[42], b[43] = 3, 22 }, fault.Malformed},
		{"MSZIP called LZX", func(b []byte) { b[42], b[43] = 3, 15 }, fault.Malformed},
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
	f.Add(cabinet(3|15<<8, []string{"a", "b"}, [][]byte{[]byte(strings.Repeat("xyz", 100)), []byte("y")}))
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

// Every kind of block and window, and blocks of odd sizes, unpack to what was
// packed.
func TestLZX(t *testing.T) {
	all := bytes.Join(contents(), nil)
	for _, c := range []struct {
		bits, block int
		kinds       []int
		calls       bool
	}{
		{15, 1 << 23, []int{1}, false}, {15, 32 << 10, []int{2}, true}, {16, 1001, []int{1, 3, 2}, true}, {17, 9999, []int{3, 3, 1}, true},
		{18, 65536, []int{3}, false}, {19, 100_001, []int{1, 2}, true}, {20, 40_001, []int{3, 1}, false}, {21, 1 << 20, []int{2}, false},
	} {
		want := all
		if c.block < 2000 { // each has trees, and a block of the cabinet takes so much
			want = all[:70_000]
		}
		b := assemble(uint16(3|c.bits<<8), []string{"a"}, [][]byte{want}, packLZX(want, c.bits, c.kinds, c.block, c.calls))
		r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Open(r.Files[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(m); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d bytes, want %d, %v", c, len(got), len(want), err)
		}
	}
}

// withChecksums gives the blocks of a cabinet checksums, which others want.
func withChecksums(b []byte) []byte {
	le := binary.LittleEndian
	at := le.Uint32(b[36:])
	for range le.Uint16(b[40:]) {
		size := uint32(le.Uint16(b[at+4:]))
		sum := uint32(0)
		for i, c := range b[at+8 : at+8+size] {
			shift := i % 4
			if tail := int(size % 4); i >= int(size)-tail {
				shift = tail - 1 - i%4
			}
			sum ^= uint32(c) << (8 * shift)
		}
		le.PutUint32(b[at:], sum^le.Uint32(b[at+4:]))
		at += 8 + size
	}
	return b
}

// Another program unpacks what the tests pack, so the two agree on the format.
func TestLZXAsOthers(t *testing.T) {
	tool, err := exec.LookPath("gcab")
	if err != nil {
		t.Skip("no gcab (of the package gcab), which unpacks LZX by a reader of its own")
	}
	want := bytes.Join(contents(), nil)
	for bits := uint16(15); bits <= 21; bits++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.cab")
		if err := os.WriteFile(path, withChecksums(cabinet(3|bits<<8, []string{"a"}, [][]byte{want})), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, "-x", "-C", dir, path).CombinedOutput(); err != nil {
			t.Fatalf("window 2^%d: %v %s", bits, err, out)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("window 2^%d: %d bytes, want %d, %v", bits, len(got), len(want), err)
		}
	}
}

// FuzzLZX unpacks anything as LZX, and packs and unpacks it.
func FuzzLZX(f *testing.F) {
	f.Add(packLZX([]byte("abcabcabcabc"), 15, []int{1}, 100, false)[0], byte(0), uint16(7))
	f.Add(packLZX(bytes.Repeat([]byte("abc\xe8d"), 100), 21, []int{2, 3}, 99, true)[0], byte(6), uint16(99))
	f.Fuzz(func(t *testing.T, data []byte, window byte, block uint16) {
		bits := 15 + int(window%7)
		unpack := func(b []byte) ([]byte, error) {
			r, err := cab.NewReader(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				return nil, err
			}
			m, err := r.Open(r.Files[0])
			if err != nil {
				return nil, err
			}
			return io.ReadAll(m)
		}
		if len(data) < 1<<15 {
			_, _ = unpack(assemble(uint16(3|bits<<8), []string{"a"}, [][]byte{make([]byte, 32<<10)}, [][]byte{data})) // whatever it is, it ends
		}
		if len(data) == 0 || len(data) > 2000 || block%4 != 0 { // packing takes a hundred times as long
			return
		}
		size := max(int(block), 1+len(data)/3)
		got, err := unpack(assemble(uint16(3|bits<<8), []string{"a"}, [][]byte{data}, packLZX(data, bits, []int{1, 2, 3}, size, block%8 == 0)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, want %d, %v", len(got), len(data), err)
		}
	})
}

func BenchmarkLZX(b *testing.B) {
	data := bytes.Join(contents(), nil)
	packed := cabinet(3|21<<8, []string{"a"}, [][]byte{data})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := cab.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			b.Fatal(err)
		}
		m, err := r.Open(r.Files[0])
		if err == nil {
			_, err = io.Copy(io.Discard, m)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
