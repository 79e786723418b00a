package archive_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/symbols/server/archive"
)

type entry struct {
	name   string
	data   []byte
	method uint16
}

func made(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: e.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(n int) []byte { return []byte(strings.Repeat("FUNC 1000 10 0 main\n", n)) }

// readAll reads every member; it returns the first error.
func readAll(b []byte) (map[string][]byte, error) {
	members, err := archive.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, m := range members {
		r := m.Open()
		data, err := io.ReadAll(io.LimitReader(r, 64<<20))
		if err != nil {
			return nil, err
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
		out[m.Name] = data
	}
	return out, nil
}

func TestRead(t *testing.T) {
	b := made(t, entry{"a/1/a.sym", text(5000), zip.Deflate}, entry{"b/2/b.sym", text(3), zip.Store}, entry{"dir/", nil, zip.Store}, entry{"empty", nil, zip.Deflate})
	got, err := readAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got["a/1/a.sym"], text(5000)) || !bytes.Equal(got["b/2/b.sym"], text(3)) || len(got) != 4 {
		t.Errorf("members differ: %d of them", len(got))
	}
}

func TestGzipIsTheMember(t *testing.T) {
	b := made(t, entry{"a", text(5000), zip.Deflate}, entry{"b", text(1), zip.Store})
	members, err := archive.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r, size, ok := members[0].Gzip()
	if !ok {
		t.Fatal("a deflated member is not given as gzip")
	}
	raw, err := io.ReadAll(r)
	if err != nil || int64(len(raw)) != size {
		t.Fatalf("%d bytes, %v, want %d", len(raw), err, size)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(got, text(5000)) {
		t.Errorf("gzip gives %d bytes, %v", len(got), err)
	}
	if _, _, ok := members[1].Gzip(); ok {
		t.Error("a stored member was given as gzip")
	}
}

// at finds the n-th signature.
func at(t testing.TB, b []byte, signature uint32, n int) int {
	t.Helper()
	var s [4]byte
	binary.LittleEndian.PutUint32(s[:], signature)
	pos := -1
	for range n {
		i := bytes.Index(b[pos+1:], s[:])
		if i < 0 {
			t.Fatalf("no signature %x", signature)
		}
		pos += 1 + i
	}
	return pos
}

func TestHostile(t *testing.T) {
	const directory, local, end = 0x02014b50, 0x04034b50, 0x06054b50
	random := make([]byte, 4000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	good := made(t, entry{"a/1/a.sym", random, zip.Deflate}, entry{"b/2/b.sym", text(100), zip.Deflate}, entry{"c/3/c.sym", text(10), zip.Store})
	le := binary.LittleEndian
	for _, c := range []struct {
		name string
		edit func(b []byte) []byte
		want string
	}{
		{"no zip", func([]byte) []byte { return []byte("this is not a zip at all, by far") }, "not a zip"},
		{"empty", func([]byte) []byte { return nil }, "not a zip"},
		{"cut in half", func(b []byte) []byte { return b[:len(b)/2] }, "not a zip"},
		{"changed byte", func(b []byte) []byte { b[1000] ^= 0xff; return b }, ""},
		{"wrong checksum", func(b []byte) []byte { b[at(t, b, directory, 2)+16] ^= 1; return b }, "Bad CRC-32"},
		{"claims 10 GB", func(b []byte) []byte { le.PutUint32(b[at(t, b, directory, 2)+24:], 0xfffffff0); return b }, "claims"},
		{"unpacks to more", func(b []byte) []byte { le.PutUint32(b[at(t, b, directory, 2)+24:], 10); return b }, "more than the 10 bytes"},
		{"members overlap", func(b []byte) []byte {
			le.PutUint32(b[at(t, b, directory, 2)+42:], uint32(at(t, b, local, 1)))
			return b
		}, "overlaps"},
		{"beyond the directory", func(b []byte) []byte {
			le.PutUint32(b[at(t, b, directory, 3)+20:], 1<<20)
			le.PutUint32(b[at(t, b, directory, 3)+24:], 1<<20)
			return b
		}, "overlap"},
		{"names differ", func(b []byte) []byte { b[at(t, b, local, 2)+30] = 'x'; return b }, "named"},
		{"encrypted", func(b []byte) []byte { b[at(t, b, directory, 1)+8] |= 1; return b }, "encrypted"},
		{"other method", func(b []byte) []byte { b[at(t, b, directory, 1)+10] = 12; return b }, "method 12"},
		{"count lies", func(b []byte) []byte { le.PutUint16(b[at(t, b, end, 1)+10:], 9); return b }, "claims 9"},
		{"directory too large", func(b []byte) []byte { le.PutUint32(b[at(t, b, end, 1)+12:], 1<<30); return b }, "does not fit"},
		{"directory behind the end", func(b []byte) []byte { le.PutUint32(b[at(t, b, end, 1)+16:], 1<<31); return b }, "does not fit"},
		{"part of several", func(b []byte) []byte { le.PutUint16(b[at(t, b, end, 1)+4:], 3); return b }, "part of several"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAll(c.edit(bytes.Clone(good)))
			if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one of kind malformed with %q", err, c.want)
			}
		})
	}
}

// A directory of more records than are taken is refused though its count says
// otherwise.
func TestTooManyMembers(t *testing.T) {
	for _, c := range []struct {
		members int
		ok      bool
	}{{archive.MaxMembers, true}, {archive.MaxMembers + 1, false}} {
		var entries []entry
		for range c.members {
			entries = append(entries, entry{"a", nil, zip.Store})
		}
		b := made(t, entries...)
		_, err := archive.Read(bytes.NewReader(b), int64(len(b)))
		if (err == nil) != c.ok {
			t.Errorf("%d members: %v", c.members, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(made(f, entry{"a/1/a.sym", text(50), zip.Deflate}, entry{"b", text(1), zip.Store}))
	f.Add(made(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := archive.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if k := fault.Of(err); k != fault.Malformed && k != fault.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		packed := int64(0)
		for _, m := range members {
			packed += m.Packed
			r := m.Open()
			n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			if n > m.Size {
				t.Fatalf("%q gave %d bytes, claimed %d", m.Name, n, m.Size)
			}
			if err == nil && n < 1<<20 && n != m.Size {
				t.Fatalf("%q ended well after %d bytes, claimed %d", m.Name, n, m.Size)
			}
			r.Close()
		}
		if packed > int64(len(b)) {
			t.Fatalf("members of %d bytes in %d: they overlap", packed, len(b))
		}
	})
}
