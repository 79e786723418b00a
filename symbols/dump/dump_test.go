package dump

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/symbols/unwindinfo/dwarf"
)

func TestChanged(t *testing.T) {
	for _, c := range [][3]string{
		{".cfa: $rsp 8 + .ra: .cfa -8 + ^", ".cfa: $rsp 16 + .ra: .cfa -8 + ^", ".cfa: $rsp 16 +"},
		{".cfa: $rsp 16 + .ra: .cfa -8 + ^", ".cfa: $rsp 16 + .ra: .cfa -8 + ^ $rbx: .cfa -16 + ^", "$rbx: .cfa -16 + ^"},
		{".cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: .cfa -16 + ^", ".cfa: $rsp 8 + .ra: .cfa -8 + ^", "$rbx: $rbx"},
		{".cfa: $rsp 8 + .ra: .undef", ".cfa: $rsp 8 + .ra: .undef", ""},
	} {
		if got := changed(dwarf.Split(c[0]), dwarf.Split(c[1])); got != c[2] {
			t.Errorf("%q to %q: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestDebugID(t *testing.T) {
	id := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	if got, want := guid(id, true), "0403020106050807090A0B0C0D0E0F100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := guid(id[:2], false), "010200000000000000000000000000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// source has a function in a namespace, one in a class, one that is inlined and
// one that optimisation splits.
const source = `#include <stdlib.h>
namespace shop {
volatile int sold;
static inline int price(int n) {
  return n * sold;
}
struct Till {
  int money;
  __attribute__((noinline)) int take(int n);
};
int Till::take(int n) {
  money += price(n);
  return money;
}
}
int main(int argc, char **) {
  shop::Till t{argc};
  auto twice = [&](int n) __attribute__((noinline)) { return t.take(n) * 2; };
  return twice(argc);
}
`

func input(b []byte) Input {
	return Input{Binary: bytes.NewReader(b), Size: int64(len(b)), Name: "shop"}
}

// compiled builds source.
func compiled(tb testing.TB, flags ...string) []byte {
	if _, err := exec.LookPath("g++"); err != nil {
		tb.Skip("g++ is not installed")
	}
	dir := tb.TempDir()
	in, out := filepath.Join(dir, "shop.cc"), filepath.Join(dir, "shop")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		tb.Fatal(err)
	}
	if text, err := exec.Command("g++", append(flags, "-o", out, in)...).CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestWrite(t *testing.T) {
	for _, flags := range [][]string{{"-g", "-O2"}, {"-g", "-gdwarf-4", "-O2"}, {"-g", "-gdwarf-2", "-gno-strict-dwarf", "-O2"}, {"-g", "-O2", "-gz"}} {
		var out bytes.Buffer
		if err := Write(t.Context(), &out, input(compiled(t, flags...))); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`(?m)^MODULE Linux \S+ [0-9A-F]{33} shop$`, `(?m)^INFO CODE_ID [0-9A-F]{40}$`, `(?m)^FILE \d+ /.*/shop\.cc$`, `(?m)^INLINE_ORIGIN \d+ shop::price$`,
			`(?m)^FUNC [0-9a-f]+ [0-9a-f]+ 0 shop::Till::take\nINLINE 0 12 \d+ \d+( [0-9a-f]+ [0-9a-f]+)+\n[0-9a-f]+ [0-9a-f]+ (5|12) \d+$`,
			`(?m)^FUNC [0-9a-f]+ [0-9a-f]+ 0 main$`, `(?m)^FUNC [0-9a-f]+ [0-9a-f]+ 0 main::.*operator\(\)$`,
			`(?m)^PUBLIC [0-9a-f]+ 0 _init$`, `(?m)^PUBLIC [0-9a-f]+ 0 <\.plt section in shop>$`,
			`(?m)^STACK CFI INIT [0-9a-f]+ [0-9a-f]+ \.cfa: \$rsp 8 \+ \.ra: \.cfa -8 \+ \^( |$)`, `(?m)^STACK CFI [0-9a-f]+ \.cfa: \$rsp \d+ \+`,
		} {
			if !regexp.MustCompile(want).Match(out.Bytes()) {
				t.Errorf("%v: no %s in\n%s", flags, want, out.Bytes())
			}
		}
	}
}

// A binary without debug information has the linker's names, a stripped one
// those it exports.
func TestWriteWithoutDebugInformation(t *testing.T) {
	var out bytes.Buffer
	if err := Write(t.Context(), &out, input(compiled(t, "-O2"))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), " 0 _ZN4shop4Till4takeEi\n") || strings.Contains(out.String(), "FUNC") {
		t.Errorf("symbols\n%s", out.String())
	}
}

func TestWriteRefusesOtherFiles(t *testing.T) {
	err := Write(t.Context(), &bytes.Buffer{}, input([]byte("MZ")))
	if !fault.Is(err, fault.Malformed) {
		t.Errorf("got %v", err)
	}
}

func FuzzWrite(f *testing.F) {
	header := &bytes.Buffer{}
	_ = binary.Write(header, binary.LittleEndian, elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: 3, Machine: 62, Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64})
	f.Add(header.Bytes())
	if _, err := exec.LookPath("g++"); err == nil {
		f.Add(compiled(f, "-g", "-O2", "-fPIC", "-nostdlib", "-shared"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Write(t.Context(), &bytes.Buffer{}, input(b))
	})
}

func BenchmarkWrite(b *testing.B) {
	program := compiled(b, "-g", "-O2", "-static")
	b.SetBytes(int64(len(program)))
	for b.Loop() {
		if err := Write(b.Context(), io.Discard, input(program)); err != nil {
			b.Fatal(err)
		}
	}
}
