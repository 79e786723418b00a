package cache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/symbols"
	"mayday/symbols/lookup"
	"mayday/symbols/sample"
	"mayday/symbols/sym"
)

var readings = []symbols.Reading{symbols.Best, symbols.Parity, symbols.Symbolicate}

func sampleText(t testing.TB, funcs int) []byte {
	t.Helper()
	var text bytes.Buffer
	if err := sample.Write(&text, sample.Options{Name: "libbig.so", ID: testID, Funcs: funcs, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func read(t testing.TB, text []byte) *lookup.Table {
	t.Helper()
	table, err := lookup.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func compile(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x"+suffix)
	if _, err := Compile(path, bytes.NewReader(text), "tag"); err != nil {
		t.Fatal(err)
	}
	return path
}

// A compiled file answers what the table in memory does, and holds the text.
func TestFileIsTable(t *testing.T) {
	text := sampleText(t, 3000)
	table := read(t, text)
	f, err := OpenFile(compile(t, text))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Source() != "tag" {
		t.Errorf("source: got %q", f.Source())
	}
	if d := cmp.Diff(table.Verdict(), f.Table().Verdict()); d != "" {
		t.Errorf("verdict (-memory +file)\n%s", d)
	}
	if d := cmp.Diff(table.Module(), f.Table().Module()); d != "" {
		t.Errorf("module (-memory +file)\n%s", d)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		offset := uint64(r.IntN(900_000))
		for _, reading := range readings {
			want, wantOK := table.View(reading).Locate(offset)
			got, gotOK := f.View(reading).Locate(offset)
			if d := cmp.Diff(want, got); d != "" || wantOK != gotOK {
				t.Fatalf("%s, offset %#x: found %v and %v (-memory +file)\n%s", reading, offset, wantOK, gotOK, d)
			}
		}
		want, _ := table.View(symbols.Best).CFI(offset)
		got, _ := f.View(symbols.Best).CFI(offset)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("CFI at %#x (-memory +file)\n%s", offset, d)
		}
	}
	var again bytes.Buffer
	w := sym.NewWriter(&again)
	if err := f.Table().Records(w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := sorted(again.String()), sorted(string(text)); got != want {
		t.Errorf("the records of the compiled file are not those of the text: %d and %d bytes", len(got), len(want))
	}
}

// sorted puts the PUBLIC records, which stand among the FUNC records of a
// sample, behind the others.
func sorted(text string) string {
	var rest, public strings.Builder
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "PUBLIC") {
			public.WriteString(l)
		} else {
			rest.WriteString(l)
		}
	}
	return rest.String() + public.String()
}

// FuzzOpen opens hostile compiled files whose checksums are right, so that what
// lies behind them is reached.
func FuzzOpen(f *testing.F) {
	for _, funcs := range []int{0, 1, 30} {
		b, err := os.ReadFile(compile(f, sampleText(f, funcs)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(0x1010))
	}
	f.Fuzz(func(t *testing.T, b []byte, offset uint64) {
		file, err := Open(mend(b))
		if err != nil {
			return
		}
		for _, r := range readings {
			v := file.View(r)
			v.Locate(offset)
			v.Function(offset)
			v.CFI(offset)
			v.Win(offset)
		}
		_ = file.Table().Records(func(*sym.Record) error { return nil })
	})
}

// mend puts right checksums into a compiled file of one block.
func mend(b []byte) []byte {
	if len(b) < headerSize {
		return b
	}
	b = bytes.Clone(b)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], Version)
	at, size := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	if at <= uint64(len(b)) && size <= uint64(len(b))-at {
		dir := b[at : at+size]
		n, k := binary.Uvarint(dir)
		if k > 0 && n < uint64(len(dir)-k) {
			rest := dir[k+int(n):]
			if n, k := binary.Uvarint(rest); k > 0 && n > 0 && n <= at-min(at, headerSize) && n <= lookup.BlockSize && len(rest) >= k+4 {
				binary.LittleEndian.PutUint32(rest[k:], crc32.Checksum(b[headerSize:headerSize+n], castagnoli))
			}
		}
		binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(dir, castagnoli))
	}
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}
