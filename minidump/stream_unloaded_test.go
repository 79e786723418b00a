package minidump

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		{"1-2 rw- 0 0:0 0 ", false, mapsLine{}},
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
