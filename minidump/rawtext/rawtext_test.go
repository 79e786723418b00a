package rawtext_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayday/minidump"
	"mayday/minidump/rawtext"
	"mayday/minidump/synth"
)

// made is a dump with a bit of everything.
func made() []byte {
	c := &synth.Context{CPU: synth.AMD64}
	c.Set("rip", 0x401000)
	c.Set("rsp", 0x7ffc00001000)
	d := synth.Dump{
		System:    &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS},
		Threads:   []synth.Thread{{ID: 77, Context: c, Stack: synth.Memory{Start: 0x7ffc00001000, Data: []byte("on the stack of the thread")}}},
		Exception: &synth.Exception{Thread: 77, Code: 11, Flags: 1, Address: 0x123},
		Memory:    []synth.Memory{{Start: 0x401000, Data: []byte("code of the program")}},
	}
	return d.Bytes()
}

func text(t testing.TB, b []byte, o rawtext.Options) string {
	t.Helper()
	d, err := minidump.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rawtext.Write(t.Context(), &out, bytes.NewReader(b), d, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWrite(t *testing.T) {
	got := text(t, made(), rawtext.Options{})
	for _, want := range []string{
		"MINIDUMP_HEADER\n", " = 0x504d444d\n", "ThreadList: 1 entries", " = 0x4d\n", "    rip           = 0x0000000000401000",
		"    00007ffc00001000  6f 6e 20 74 68 65 20 73  74 61 63 6b 20 6f 66 20 |on the stack of |", "|code of the prog|", "MINIDUMP_EXCEPTION_STREAM", "address",
		"MINIDUMP_SYSTEM_INFO", "(os)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	brief := text(t, made(), rawtext.Options{Brief: true})
	if strings.Contains(brief, "|on the stack") || !strings.Contains(brief, "0x0000000000401000") {
		t.Errorf("brief:\n%s", brief)
	}
}

// Records that share their bytes do not make the text grow without end, and no
// byte of a text reaches the terminal as a command.
func TestWriteIsBounded(t *testing.T) {
	d := synth.Dump{System: &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS}}
	c := &synth.Context{CPU: synth.AMD64}
	for i := range 500 {
		d.Threads = append(d.Threads, synth.Thread{ID: uint32(i), Context: c, Stack: synth.Memory{Start: 0x1000, Data: make([]byte, 16)}})
	}
	d.Memory = []synth.Memory{{Start: 0x10000, Data: bytes.Repeat([]byte("\x1b[2J"), 64<<10)}}
	b := d.Bytes()
	// All stacks become that memory.
	list := listOf(t, b)
	region := bytes.Index(b, []byte("\x1b[2J\x1b[2J"))
	for i := range 500 {
		at := list + 4 + i*48 + 32
		binary.LittleEndian.PutUint32(b[at:], 256<<10)
		binary.LittleEndian.PutUint32(b[at+4:], uint32(region))
	}
	got := text(t, b, rawtext.Options{})
	if len(got) > 16*len(b) {
		t.Errorf("%d bytes of text from %d of dump", len(got), len(b))
	}
	if !strings.Contains(got, "left out") || strings.Contains(got, "\x1b") {
		t.Error("nothing was left out, or an escape got through")
	}
}

// listOf is where the thread list begins.
func listOf(t *testing.T, b []byte) int {
	o := binary.LittleEndian
	for i := range int(o.Uint32(b[8:])) {
		e := b[int(o.Uint32(b[12:]))+12*i:]
		if o.Uint32(e) == 3 {
			return int(o.Uint32(e[8:]))
		}
	}
	t.Fatal("no thread list")
	return 0
}

func TestWriteEndsWithItsContext(t *testing.T) {
	b := made()
	b = append(b, make([]byte, 1<<20)...)
	d, err := minidump.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var lines int
	for range 50 {
		d.Streams = append(d.Streams, d.Streams...)
		if lines++; len(d.Streams) > 1<<12 {
			break
		}
	}
	if err := rawtext.Write(ctx, io.Discard, bytes.NewReader(b), d, rawtext.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Real dumps, whole and broken ones, are all printed.
func TestWriteRealDumps(t *testing.T) {
	names, _ := filepath.Glob("../../../shared/data/stackwalk/visible/*/*.dmp")
	if len(names) == 0 {
		t.Skip("no dumps beside the repository")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := minidump.FromBytes(b)
		if err != nil {
			continue // there is no directory to print
		}
		var out bytes.Buffer
		if err := rawtext.Write(t.Context(), &out, bytes.NewReader(b), d, rawtext.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasPrefix(out.String(), "MINIDUMP_HEADER") || out.Len() > 32*len(b)+1<<20 {
			t.Errorf("%s: %d bytes of text from %d", name, out.Len(), len(b))
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add(made())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := minidump.FromBytes(b)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := rawtext.Write(t.Context(), &out, bytes.NewReader(b), d, rawtext.Options{}); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsFunc(out.Bytes(), func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Error("control characters in the text")
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	dump := made()
	d, err := minidump.FromBytes(dump)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(dump)))
	for b.Loop() {
		if err := rawtext.Write(b.Context(), io.Discard, bytes.NewReader(dump), d, rawtext.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
