package stackwalk

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mayday/app/fault"
	"mayday/minidump/synth"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/executable"
)

// crashSource is a program for Linux on amd64 that ends in a signal and writes
// down its registers, its memory map and its stack.
const crashSource = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
static volatile int deep = 3;
static void save(const char *name, const void *p, size_t n) {
  int f = open(name, O_CREAT | O_WRONLY, 0600);
  if (write(f, p, n) != (ssize_t)n) _exit(9);
  close(f);
}
static void handler(int s, siginfo_t *i, void *p) {
  ucontext_t *u = p;
  static char maps[1 << 16];
  int f = open("/proc/self/maps", O_RDONLY);
  long n = 0, got;
  while ((got = read(f, maps + n, sizeof maps - 1 - n)) > 0) n += got;
  save("maps", maps, n);
  save("registers", u->uc_mcontext.gregs, sizeof u->uc_mcontext.gregs);
  unsigned long sp = u->uc_mcontext.gregs[REG_RSP], lo = 0, hi = 0;
  for (char *l = maps; l && *l; l = strchr(l, '\n'), l = l ? l + 1 : 0)
    if (sscanf(l, "%lx-%lx", &lo, &hi) == 2 && sp >= lo && sp < hi) break;
  save("stack", (void *)(sp - 128), hi - sp + 128);
  _exit(0);
}
__attribute__((noinline)) int crash(int *p) { return *p + deep; }
__attribute__((noinline)) int aligned(int n) { char b[128] __attribute__((aligned(64))); memset(b, n, sizeof b); return crash((int *)(long)(n - 3)) + b[n]; }
__attribute__((noinline)) int dynamic(int n) { char *p = __builtin_alloca(n * 100); memset(p, 1, n * 100); return aligned(n) + p[n]; }
__attribute__((noinline)) int big(int n) { volatile char b[30000]; b[n] = 1; int r = dynamic(n); return r + b[n]; }
__attribute__((noinline)) int recurse(int n, int left) { volatile int x = n; return left ? recurse(x, left - 1) + x : big(x) + x; }
static int compare(const void *a, const void *b) { return recurse(deep, 2); }
__attribute__((noinline)) static void interrupting(int s) { volatile char b[200]; b[s] = 1; crash((int *)(long)(deep - 3)); b[0] = b[s]; }
__attribute__((noinline)) static int busy(int n) { volatile int x = n; raise(SIGUSR1); return x; }
int main(int argc, char **argv) {
  struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  static char alternate[1 << 16];
  stack_t s = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&s, 0);
  sigaction(SIGSEGV, &a, 0);
  if (argc > 1) {
    signal(SIGUSR1, interrupting);
    return busy(argc);
  }
  int v[] = {1, 2};
  qsort(v, 2, sizeof *v, compare);
  return v[0];
}
`

// localFiles are the files of this machine.
type localFiles struct{}

func (localFiles) Binary(_ context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, error) {
	f, err := os.Open(id.CodeFile)
	if err != nil {
		return nil, fault.As(fault.NotFound, err, "open")
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fault.As(fault.NotFound, err, "stat")
	}
	return executable.Open(f, st.Size(), machine)
}

// crashDump makes a dump of what the program in dir wrote down.
func crashDump(t *testing.T, dir string) *synth.Dump {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := read("registers")
	c := &synth.Context{CPU: synth.AMD64}
	for i, name := range strings.Fields("r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip") {
		c.Set(name, binary.LittleEndian.Uint64(raw[8*i:]))
	}
	d := &synth.Dump{System: &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS}, Linux: synth.Linux{Maps: string(read("maps"))},
		Threads: []synth.Thread{{ID: 1, Context: c, Stack: synth.Memory{Start: c.Get("rsp") - 128, Data: read("stack")}}}}
	for line := range strings.Lines(d.Linux.Maps) {
		f := strings.Fields(line)
		var from, to uint64
		if len(f) < 6 || !strings.HasPrefix(f[5], "/") {
			continue
		}
		fmt.Sscanf(f[0], "%x-%x", &from, &to)
		if n := len(d.Modules); n > 0 && d.Modules[n-1].Name == f[5] {
			d.Modules[n-1].Size = uint32(to - d.Modules[n-1].Base)
			continue
		}
		d.Modules = append(d.Modules, synth.Module{Base: from, Size: uint32(to - from), Name: f[5]})
	}
	return d
}

// A program of a compiler, whatever its options, is unwound by its own tables
// from the crash through the C library to where it began.
func TestCompiledProgram(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("gcc is needed to build the programs whose stacks are walked; it is not in PATH: %v", err)
	}
	source := filepath.Join(t.TempDir(), "p.c")
	if err := os.WriteFile(source, []byte(crashSource), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{"-O0", "-O1 -fomit-frame-pointer", "-O2", "-O2 -s", "-Os", "-O3 -fno-omit-frame-pointer", "-O2 -fno-asynchronous-unwind-tables -g", "-O2 -static"} {
		t.Run(flags, func(t *testing.T) {
			dir := t.TempDir()
			program := filepath.Join(dir, "p")
			if b, err := exec.Command(gcc, append(strings.Fields(flags), "-w", "-fno-optimize-sibling-calls", "-o", program, source)...).CombinedOutput(); err != nil {
				t.Skipf("this gcc builds no program with %s, so there is none to walk: %v\n%s", flags, err, b)
			}
			for _, c := range []struct {
				arguments []string
				want      []string
			}{
				{nil, []string{"crash", "aligned", "dynamic", "big", "recurse", "recurse", "recurse", "compare"}},
				{[]string{"signal"}, []string{"crash", "interrupting", "", "busy"}},
			} {
				where := t.TempDir()
				run := exec.Command(program, c.arguments...)
				run.Dir = where
				if err := run.Run(); err != nil {
					t.Skipf("the built program crashes and dumps itself, which it cannot do on this machine: %v", err)
				}
				checkProgram(t, program, crashDump(t, where), c.want, slices.Contains(strings.Fields(flags), "-s"))
			}
		})
	}
}

// checkProgram walks a dump of a program. Want are the functions of the program
// itself that the crash is in, innermost first.
func checkProgram(t *testing.T, program string, d *synth.Dump, want []string, stripped bool) {
	t.Helper()
	s, err := Walk(context.Background(), open(t, d.Bytes()), nil, Options{Binaries: localFiles{}, Heuristics: unwind.Best})
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	functions, err := file.Symbols()
	if err != nil && !stripped {
		t.Fatal(err)
	}
	base := uint64(0)
	if file.Type == elf.ET_EXEC {
		base = d.Modules[0].Base
	}
	var names []string
	for i, f := range s.Threads[0].Frames {
		if f.Trust != unwind.Context && f.Trust != unwind.CFI {
			t.Errorf("frame %d at %#x was found by %s", i, f.Instruction-s.Modules[f.Module].Base, f.Trust)
		}
		name := ""
		for _, x := range functions {
			if f.Module == 0 && elf.ST_TYPE(x.Info) == elf.STT_FUNC && f.Instruction-s.Modules[f.Module].Base+base >= x.Value && f.Instruction-s.Modules[f.Module].Base+base-x.Value < x.Size {
				name, _, _ = strings.Cut(x.Name, ".") // clones have a suffix
			}
		}
		names = append(names, name)
	}
	if len(functions) == 0 {
		if len(names) < len(want)+3 {
			t.Errorf("only %d frames", len(names))
		}
		return
	}
	// An empty name stands for what the C library does between.
	at := 0
	for _, name := range want {
		if name == "" {
			at += max(0, slices.IndexFunc(names[min(at, len(names)):], func(n string) bool { return n == "busy" }))
			continue
		}
		if at >= len(names) || names[at] != name {
			t.Fatalf("got %q, want %q first", names, want)
		}
		at++
	}
	if !slices.Contains(names, "main") || names[len(names)-1] != "_start" {
		t.Errorf("got %q, which does not end with main and _start", names)
	}
}
