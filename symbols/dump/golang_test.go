package dump

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/symbols/sample/goprogram"
)

// said is what a symbol file says of each place where something begins: the
// function, the calls inlined there from the outside in, each with the line of the
// call, and the line.
func said(t *testing.T, text string) (functions map[uint64]string, places map[uint64]string, stack []string) {
	t.Helper()
	number := func(s string, base int) uint64 {
		n, err := strconv.ParseUint(s, base, 64)
		if err != nil {
			t.Fatalf("a number in the symbol file: %v", err)
		}
		return n
	}
	type call struct {
		depth      int
		start, end uint64
		text       string
	}
	functions, places = map[uint64]string{}, map[uint64]string{}
	files, origins := map[string]string{}, map[string]string{}
	var calls []call
	name := ""
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch w[0] {
		case "FILE":
			files[w[1]] = strings.TrimPrefix(strings.Join(w[2:], " "), "./")
		case "INLINE_ORIGIN":
			origins[w[1]] = strings.Join(w[2:], " ")
		case "FUNC":
			name, calls = strings.Join(w[4:], " "), nil
			functions[number(w[1], 16)] = name
		case "INLINE":
			for i := 5; i < len(w); i += 2 {
				start := number(w[i], 16)
				calls = append(calls, call{int(number(w[1], 10)), start, start + number(w[i+1], 16), fmt.Sprintf("%s:%s > %s", files[w[3]], w[2], origins[w[4]])})
			}
		case "STACK":
			stack = append(stack, strings.TrimSpace(line))
		case "MODULE", "INFO", "PUBLIC":
		default:
			start := number(w[0], 16)
			for at := start; at < start+number(w[1], 16); at++ {
				var nest []call
				for _, c := range calls {
					if c.start <= at && at < c.end {
						nest = append(nest, c)
					}
				}
				slices.SortFunc(nest, func(a, b call) int { return a.depth - b.depth })
				all := name
				for i, c := range nest {
					if c.depth != i {
						t.Errorf("%s: depth %d where %d calls are", name, c.depth, i)
					}
					all += " > " + c.text
				}
				places[at] = all + " " + files[w[3]] + ":" + w[2]
			}
		}
	}
	return functions, places, stack
}

// A stripped program in Go has the same functions, inlined calls and lines as one
// with debug information.
func TestWriteStrippedGo(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			written := func(flags ...string) string {
				var out bytes.Buffer
				if err := Write(t.Context(), &out, input(goprogram.Build(t, "linux "+arch, append(flags, "-trimpath")...))); err != nil {
					t.Fatal(err)
				}
				return out.String()
			}
			functions, places, stack := said(t, written("-ldflags=-B none"))
			bareFunctions, barePlaces, bareStack := said(t, written("-ldflags=-B none -s -w"))
			missing := 0
			for at, name := range functions {
				if bareFunctions[at] != name && !strings.HasPrefix(name, "go:") {
					missing++
					t.Logf("%#x: %q, stripped %q", at, name, bareFunctions[at])
				}
			}
			if missing > len(functions)/1000 || len(bareFunctions) < 1500 {
				t.Errorf("%d of %d functions differ", missing, len(functions))
			}
			other := 0
			for _, at := range slices.Sorted(maps.Keys(places)) {
				if places[at] != barePlaces[at] {
					if other++; other < 40 {
						t.Logf("%#x:\n%s\nstripped\n%s", at, places[at], barePlaces[at])
					}
				}
			}
			if other > len(places)/1000 || len(places) < 100_000 {
				t.Errorf("%d of %d places differ", other, len(places))
			}
			if !slices.Equal(stack, bareStack) || len(stack) < 3000 {
				t.Errorf("%d rules, stripped %d", len(stack), len(bareStack))
			}
			t.Logf("%d functions, %d differ; %d places, %d differ; %d rules", len(functions), missing, len(places), other, len(stack))
		})
	}
}

// A program for macOS is named by its UUID, as it stands.
func TestWriteGoForMacOS(t *testing.T) {
	b := goprogram.Build(t, "darwin arm64", "-trimpath", "-ldflags=-s -w")
	f, err := macho.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, l := range f.Loads {
		if raw := l.Raw(); len(raw) >= 24 && raw[0] == 0x1b {
			id = fmt.Sprintf("%X0", raw[8:24])
		}
	}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, input(b)); err != nil {
		t.Fatal(err)
	}
	functions, places, stack := said(t, out.String())
	if want := "MODULE mac arm64 " + id + " shop\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got %.100q, want %q", out.String(), want)
	}
	if !slices.Contains(slices.Collect(maps.Values(functions)), "main.deferred.func1") || len(places) < 100_000 || len(stack) < 3000 {
		t.Errorf("%d functions, %d places, %d rules", len(functions), len(places), len(stack))
	}
	b[bytes.Index(b, []byte("__gopclntab"))] = 'x'
	if err := Write(t.Context(), io.Discard, input(b)); !fault.Is(err, fault.Unsupported) {
		t.Errorf("without the table: %v", err)
	}
}

// A program with debug information but without .debug_frame, as some tools leave
// it, has rules all the same.
func TestWriteGoWithoutFrames(t *testing.T) {
	b := goprogram.Build(t, "linux amd64", "-trimpath", "-ldflags=-compressdwarf=false")
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	frames := f.Section(".debug_frame")
	if frames == nil {
		t.Fatal("no .debug_frame to be removed")
	}
	clear(b[frames.Offset : frames.Offset+frames.FileSize])
	var out bytes.Buffer
	if err := Write(t.Context(), &out, input(b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" main.main\n", "\nSTACK CFI INIT ", "INLINE_ORIGIN "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// BenchmarkWriteGo writes the symbols of a large program from the table of its
// runtime: this test's own, or one that MAYDAY_GO_PROGRAM names.
func BenchmarkWriteGo(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	if other := os.Getenv("MAYDAY_GO_PROGRAM"); other != "" {
		path = other
	}
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(program)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(b.Context(), io.Discard, input(program)); err != nil {
			b.Fatal(err)
		}
	}
}
