package bundle_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"mayday/app/fault"
	"mayday/symbols/sample"
	"mayday/symbols/server/bundle"
)

// macho is a Mach-O file whose UUID begins with a byte.
func macho(kind uint32, uuid byte) []byte { return sample.MachO(kind, [16]byte{uuid}) }

type member struct {
	name string
	data []byte
}

func zipped(list ...member) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range list {
		w, _ := z.Create(m.name)
		_, _ = w.Write(m.data)
	}
	_ = z.Close()
	return b.Bytes()
}

func tarred(list ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		_ = w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data)), Typeflag: tar.TypeReg})
		_, _ = w.Write(m.data)
	}
	_ = w.WriteHeader(&tar.Header{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
	_ = w.Close()
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func zstandard(data []byte) []byte {
	z, _ := zstd.NewWriter(nil)
	return z.EncodeAll(data, nil)
}

func xzed(data []byte) []byte {
	var b bytes.Buffer
	z, _ := xz.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// hungry has the first block of an xz file claim a window of 3 GB.
func hungry(b []byte) []byte {
	size := (int(b[12]) + 1) * 4
	h := b[12 : 12+size]
	h[bytes.Index(h, []byte{0x21, 1})+2] = 39
	binary.LittleEndian.PutUint32(h[size-4:], crc32.ChecksumIEEE(h[:size-4]))
	return b
}

// What xz itself packs is read too, with every kind of checksum.
func TestXZProgram(t *testing.T) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no program xz (of the package xz-utils) to pack with: files of our own packing are read by TestOpen all the same")
	}
	program := append(macho(2, 1), bytes.Repeat([]byte("text that packs well, "), 20_000)...)
	for _, args := range [][]string{{"-6"}, {"-9", "--check=crc32"}, {"-0", "--check=sha256", "--block-size=65536"}, {"--check=none"}} {
		c := exec.Command(tool, append(args, "-c")...)
		c.Stdin = bytes.NewReader(program)
		data, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		b, err := open(t, t.TempDir(), data, "Kite.xz", 1<<20)
		if err != nil {
			t.Errorf("xz %v: %v", args, err)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(b.Files[0], 0, b.Files[0].Size))
		if err != nil || !bytes.Equal(got, program) {
			t.Errorf("xz %v: %d bytes, want %d, %v", args, len(got), len(program), err)
		}
		b.Close()
	}
}

// cabinet stores one file in a Microsoft cabinet.
func cabinet(name string, data []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 44, 100+len(data))
	copy(b, "MSCF")
	le.PutUint32(b[16:], 44)
	b[24], b[25], b[26], b[28], b[40] = 3, 1, 1, 1, 1
	f := make([]byte, 16)
	le.PutUint32(f, uint32(len(data)))
	b = append(append(append(b, f...), name...), 0)
	le.PutUint32(b[36:], uint32(len(b)))
	d := make([]byte, 8)
	le.PutUint16(d[4:], uint16(len(data)))
	le.PutUint16(d[6:], uint16(len(data)))
	b = append(append(b, d...), data...)
	le.PutUint32(b[8:], uint32(len(b)))
	return b
}

// open opens a bundle over temporary files in a folder of the test.
func open(t testing.TB, dir string, data []byte, name string, most int64) (*bundle.Bundle, error) {
	t.Helper()
	return bundle.Open(context.Background(), bytes.NewReader(data), int64(len(data)), name, bundle.Options{
		Temporary: func() (*os.File, error) { return os.CreateTemp(dir, "x") }, Most: most, MaxFile: most})
}

func TestOpen(t *testing.T) {
	program, symbols := macho(2, 1), macho(10, 1)
	dsym := []member{{"Kite.app.dSYM/Contents/Info.plist", []byte("<?xml?>")}, {"Kite.app.dSYM/Contents/Resources/DWARF/Kite", symbols}}
	for _, c := range []struct {
		name, file string
		data       []byte
		want       []string
	}{
		{"by itself", "Kite", program, []string{"Kite macho"}},
		{"every architecture", "Kite", sample.Fat(program, macho(2, 2)), []string{"Kite macho", "Kite macho"}},
		{"gzip", "Kite.gz", gzipped(program), []string{"Kite macho"}},
		{"zstd", "Kite.zst", zstandard(program), []string{"Kite macho"}},
		{"xz", "Kite.xz", xzed(program), []string{"Kite macho"}},
		{"tar.xz", "d.tar.xz", xzed(tarred(dsym...)), []string{"Kite dsym"}},
		{"dSYM in a zip", "d.zip", zipped(dsym...), []string{"Kite dsym"}},
		{"dSYM in a tar", "d.tar", tarred(dsym...), []string{"Kite dsym"}},
		{"dSYM in a tar.gz", "d.tgz", gzipped(tarred(dsym...)), []string{"Kite dsym"}},
		{"tar.zst with others", "d.tar.zst", zstandard(tarred(append(dsym, member{"bin/Kite", program})...)), []string{"Kite dsym", "Kite macho"}},
		{"cabinet", "kite.ex_", cabinet("kite.exe", program), []string{"kite.exe macho"}},
		{"cabinet in a zip, whatever its name", "x", zipped(member{`a\b.dl_`, cabinet("b.dll", program)}), []string{"b.dll macho"}},
		{"gzip in a tar", "x.tar", tarred(member{"lib/kite.debug.gz", gzipped(symbols)}), []string{"kite.debug dsym"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b, err := open(t, dir, c.data, c.file, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range b.Files {
				got = append(got, f.Name+" "+f.What.Kind)
				text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
				if err != nil || len(text) != len(program) || f.What.Kind == "macho" && text[40] != f.What.DebugID[1]-'0' {
					t.Errorf("%s: %d bytes, %v", f.Path, len(text), err)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			b.Close()
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

// What cannot be taken is refused with a reason, and leaves no file.
func TestRefused(t *testing.T) {
	program := macho(2, 1)
	deep := program
	for range 7 {
		deep = gzipped(deep)
	}
	many := make([]member, 50_001)
	for i := range many {
		many[i] = member{fmt.Sprint(i), nil}
	}
	bomb := gzipped(append(bytes.Clone(program), make([]byte, 4<<20)...))
	claims := tarred(member{"a", program})
	copy(claims[124:], "77777777777\x00") // 8 GB
	sum := 0
	copy(claims[148:156], "        ")
	for _, c := range claims[:512] {
		sum += int(c)
	}
	copy(claims[148:], fmt.Sprintf("%06o\x00 ", sum))
	for _, c := range []struct {
		name string
		data []byte
		kind fault.Kind
		want string
	}{
		{"nothing", nil, fault.Malformed, "no debug file"},
		{"text", []byte("hello"), fault.Malformed, "neither ELF, Mach-O, PE nor PDB"},
		{"an ELF file that nothing names", append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 100)...), fault.Malformed, "no build id"},
		{"packed too often", deep, fault.TooLarge, "more than 5 times"},
		{"bomb", bomb, fault.TooLarge, "unpacks to more than"},
		{"bomb in a zip", zipped(member{"a.gz", bomb}), fault.TooLarge, "unpacks to more than"},
		{"bomb of zeroes", zipped(member{"a", append([]byte("MZ"), make([]byte, 4<<20)...)}), fault.TooLarge, "unpacks to more than"},
		{"many members", gzipped(tarred(many...)), fault.TooLarge, ""},
		{"a tar that claims 8 GB", claims, fault.Malformed, "claims 8589934591 bytes"},
		{"cut xz", xzed(program)[:40], fault.Malformed, "xz"},
		{"xz whose header is damaged", func() []byte { b := xzed(program); b[14]++; return b }(), fault.Malformed, "checksum of a block's header"},
		{"xz whose content is damaged", func() []byte { b := xzed(program); b[bytes.Index(b, []byte("YZ"))-40]++; return b }(), fault.Malformed, ""},
		{"xz that needs 4 GB", hungry(xzed(program)), fault.TooLarge, "needs 3221225472 bytes of memory"},
		{"xz bomb", xzed(append(bytes.Clone(program), make([]byte, 4<<20)...)), fault.TooLarge, "unpacks to more than"},
		{"cut gzip", gzipped(program)[:30], fault.Malformed, ""},
		{"cut zip", zipped(member{"a", program})[:60], fault.Malformed, ""},
		{"cut zstd", zstandard(program)[:20], fault.Malformed, ""},
		{"Quantum", func() []byte { b := cabinet("a", program); b[42] = 2; return b }(), fault.Unsupported, "Quantum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b, err := open(t, dir, c.data, "x", 1<<20)
			if err == nil {
				t.Fatalf("taken: %v", b.Files)
			}
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v (%v), want %v with %q", err, fault.Of(err), c.kind, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	program := macho(2, 1)
	for _, seed := range [][]byte{program, sample.Fat(program), gzipped(program), zstandard(program), xzed(program), zipped(member{"a", program}), tarred(member{"a", program}), cabinet("a", program), zstandard(tarred(member{"b", cabinet("a", program)}))} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := open(t, dir, data, "x", 1<<16)
		if err == nil {
			for _, file := range b.Files {
				if _, err := io.Copy(io.Discard, io.NewSectionReader(file, 0, file.Size)); err != nil {
					t.Errorf("%s: %v", file.Path, err)
				}
			}
			b.Close()
		} else if fault.Is(err, fault.Internal) {
			t.Errorf("%v has no kind", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	})
}
