package minidump

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayday/minidump/format"
	"mayday/minidump/synth"
)

// Covering finds what looking at every module finds.
func TestUnloadedCovering(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		d := full(false)
		d.Unloaded = nil
		for range n {
			d.Unloaded = append(d.Unloaded, synth.UnloadedModule{Base: r.Uint64N(400), Size: 1 + r.Uint32N(200), Name: "u"})
		}
		if n == 0 {
			d.Unloaded = []synth.UnloadedModule{}
		}
		dump, err := FromBytes(d.Bytes())
		if err != nil || dump.Unloaded.Len() != n {
			t.Fatal(err, dump.Unloaded.Len(), n)
		}
		for addr := range uint64(650) {
			var want []int
			for i := range dump.Unloaded.ByAddress() {
				if u := dump.Unloaded.At(i); u.Base <= addr && addr < u.Base+u.Size {
					want = append(want, i)
				}
			}
			if diff := cmp.Diff(want, slices.Collect(dump.Unloaded.Covering(addr))); diff != "" {
				t.Fatalf("%d modules, address %d (-want +got):\n%s", n, addr, diff)
			}
		}
	}
}

func TestMapsFiles(t *testing.T) {
	const line = "1000-2000 r-xp 0 0:0 0 /a\n"
	for text, want := range map[string]int{
		"":          0,
		line + line: 2,
		line + "Size: 4 kB\nVmFlags: rd\n" + line: 2, // smaps
		line + "Rss:\n":                    1,
		line + "Rss: x kB\n":               -1,
		"Size: 4 kB\n" + line:              -1,
		line + "\n":                        -1,
		line + line[:len(line)-1] + "\xff": -1,
	} {
		d := &synth.Dump{Linux: synth.Linux{Maps: text}}
		if text == "" {
			d.Raw = []synth.Raw{{Kind: uint32(format.StreamLinuxMaps)}}
		}
		got := -1
		if dump, err := FromBytes(d.Bytes()); err != nil {
			t.Fatal(err)
		} else if dump.MemoryMaps != nil {
			got = len(slices.Collect(dump.MemoryMaps.All()))
		}
		if got != want {
			t.Errorf("%q: %d mappings, want %d", text, got, want)
		}
	}
}

func TestValidText(t *testing.T) {
	for in, want := range map[string]string{
		"a€🦊":               "a€🦊",
		"\xff\xfea":         "\ufffd\ufffda",
		"\xe2\x82a":         "\ufffda",
		"\xe0\x80\x80":      "\ufffd\ufffd\ufffd",
		"\xed\xa0\x80":      "\ufffd\ufffd\ufffd", // half of a pair
		"\xf0\x9f\xa6":      "\ufffd",
		"\xf4\x90\x80\x80":  "\ufffd\ufffd\ufffd\ufffd", // beyond Unicode
		"\xc3\xc3\xa9":      "\ufffdé",
		"\xf1\x80\x80\xe1z": "\ufffd\ufffdz",
	} {
		if got := ValidText([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestMapsLines(t *testing.T) {
	for _, c := range []struct {
		line string
		ok   bool
		want mapsLine
	}{
		{"7f00-7f10 r-xp 00001000 08:02 42 /lib/a b.so", true, mapsLine{start: 0x7f00, end: 0x7f10, offset: 0x1000, inode: 42, permissions: []byte("r-xp"), path: []byte("/lib/a b.so")}},
		{"FFFFFFFFFF600000-ffffffffff601000 --xp 0 0:0 0       [vsyscall]", true, mapsLine{start: 0xffffffffff600000, end: 0xffffffffff601000, permissions: []byte("--xp"), path: []byte("[vsyscall]")}},
		{"1-2 rw-p 0 0:0 0 ", true, mapsLine{start: 1, end: 2, permissions: []byte("rw-p")}},
		{"1-2 rw-p 0 0:0 0", false, mapsLine{}},
		{"1-2 rw 0 0:0 0 ", true, mapsLine{start: 1, end: 2, permissions: []byte("rw")}},
		{"1-2-3 rw-p +1 0:0:x 0 ", true, mapsLine{start: 1, end: 2, offset: 1, permissions: []byte("rw-p")}},
		{"1-2 rw-p 0 -1:7fffffff 0 ", true, mapsLine{start: 1, end: 2, permissions: []byte("rw-p")}},
		{"1-2 rw-p 0 0:80000000 0 ", false, mapsLine{}},
		{"1-2 rw-p 0 0:0 0 [stack:12]", true, mapsLine{start: 1, end: 2, permissions: []byte("rw-p"), path: []byte("[stack:12]")}},
		{"1-2 rw-p 0 0:0 0 [stack:a]", false, mapsLine{}},
		{"1-2 rw-p 0 0:0 0 /SYSV0000aBcd (deleted)", true, mapsLine{start: 1, end: 2, permissions: []byte("rw-p"), path: []byte("/SYSV0000aBcd (deleted)")}},
		{"1-2 rw-p 0 0:0 0 /SYSV0000000g (deleted)", false, mapsLine{}},
		{"1+2 rw-p 0 0:0 0 ", false, mapsLine{}},
		{"1-2 rw-p 0 00 0 ", false, mapsLine{}},
		{"1-g rw-p 0 0:0 0 ", false, mapsLine{}},
		{"1-@ rw-p 0 0:0 0 ", false, mapsLine{}},
		{"-2 rw-p 0 0:0 0 ", false, mapsLine{}},
		{"1-2 rw-p 0 0:0 a ", false, mapsLine{}},
		{"1-2 rw-p 0 0:0 99999999999999999999 ", false, mapsLine{}},
		{"1-11111111111111111 rw-p 0 0:0 0 ", false, mapsLine{}},
		{"", false, mapsLine{}},
	} {
		got, ok := parseMapsLine([]byte(c.line))
		if ok != c.ok {
			t.Errorf("%q: %v", c.line, ok)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(mapsLine{})); ok && diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.line, diff)
		}
	}
}
