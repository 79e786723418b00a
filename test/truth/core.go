// Package truth measures stacks against a live debugger. It builds programs of
// its own that crash in many ways, with the compilers that are installed, runs
// them under gdb, takes gdb's backtrace as the truth and gdb's core file as
// what happened, makes a minidump of the core, and walks that with symbols
// that dump_syms made. What counts are source lines: how many of gdb's the
// walk recovers, and how many it prints that gdb does not.
//
// Run it with MAYDAY_TRUTH=1. Without gdb, a compiler or dump_syms the parts
// that need them are left out.
package truth

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"mayday/minidump/synth"
)

// Kinds of ELF notes in core files (elf.h).
const (
	notePrStatus = 1
	noteSigInfo  = 0x53494749
	noteFile     = 0x46494c45
)

// core is what a minidump needs of a core file of an amd64 process.
type core struct {
	loads   []*elf.Prog
	threads []coreThread
	files   []mappedFile
	signal  uint32
	code    uint32
	address uint64
}

type coreThread struct {
	id      uint32
	context *synth.Context
}

type mappedFile struct {
	start, end, offset uint64
	path               string
}

// readCore reads a core file.
func readCore(r io.ReaderAt) (*core, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	if f.Type != elf.ET_CORE || f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("%v for %v is no core file of amd64", f.Type, f.Machine)
	}
	c := &core{}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			c.loads = append(c.loads, p)
		case elf.PT_NOTE:
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, err
			}
			c.notes(b)
		}
	}
	if len(c.threads) == 0 {
		return nil, fmt.Errorf("the core file has no threads")
	}
	return c, nil
}

// notes reads a note segment: name size, description size, kind, then both,
// each padded to 4 bytes.
func (c *core) notes(b []byte) {
	o := binary.LittleEndian
	for len(b) >= 12 {
		name, desc, kind := uint64(o.Uint32(b)), uint64(o.Uint32(b[4:])), o.Uint32(b[8:])
		start := 12 + (name+3)&^3
		end := start + (desc+3)&^3
		if end > uint64(len(b)) {
			return
		}
		d := b[start : start+desc]
		switch kind {
		case notePrStatus:
			c.thread(d)
		case noteSigInfo:
			if len(d) >= 24 {
				c.signal, c.code, c.address = o.Uint32(d), o.Uint32(d[8:]), o.Uint64(d[16:])
			}
		case noteFile:
			c.mappings(d)
		}
		b = b[end:]
	}
}

// thread reads struct elf_prstatus: the id is at 32, the registers at 112 in
// the order of struct user_regs_struct.
func (c *core) thread(d []byte) {
	const registers = 112
	names := []string{"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "", "rip", "cs", "eflags", "rsp"}
	if len(d) < registers+8*len(names) {
		return
	}
	ctx := &synth.Context{CPU: synth.AMD64}
	for i, n := range names {
		if n != "" {
			ctx.Set(n, binary.LittleEndian.Uint64(d[registers+8*i:]))
		}
	}
	c.threads = append(c.threads, coreThread{binary.LittleEndian.Uint32(d[32:]), ctx})
}

// mappings reads NT_FILE: count, page size, then start, end, offset in pages
// of each, then the paths.
func (c *core) mappings(d []byte) {
	if len(d) < 16 {
		return
	}
	o := binary.LittleEndian
	n, page := o.Uint64(d), o.Uint64(d[8:])
	if n > uint64(len(d))/24 {
		return
	}
	paths := bytes.Split(d[16+24*n:], []byte{0})
	for i := range n {
		e := d[16+24*i:]
		if i < uint64(len(paths)) {
			c.files = append(c.files, mappedFile{o.Uint64(e), o.Uint64(e[8:]), o.Uint64(e[16:]) * page, string(paths[i])})
		}
	}
}

// memory reads from start to the end of the segment that holds it, at most n
// bytes.
func (c *core) memory(start, n uint64) []byte {
	for _, p := range c.loads {
		if start < p.Vaddr || start-p.Vaddr >= p.Filesz {
			continue
		}
		b := make([]byte, min(n, p.Filesz-(start-p.Vaddr)))
		if _, err := p.ReadAt(b, int64(start-p.Vaddr)); err != nil {
			return nil
		}
		return b
	}
	return nil
}

// modules are the mapped ELF files with their build ids, which buildID reads.
func (c *core) modules(buildID func(path string) []byte) []synth.Module {
	var list []synth.Module
	at := map[string]int{}
	for _, f := range c.files {
		if i, ok := at[f.path]; ok {
			list[i].Size = uint32(f.end - list[i].Base)
			continue
		}
		id := buildID(f.path)
		if f.offset != 0 || id == nil {
			continue
		}
		at[f.path] = len(list)
		list = append(list, synth.Module{Base: f.start, Size: uint32(f.end - f.start), Name: f.path, CV: synth.ELF{BuildID: id}})
	}
	return list
}

// maps is /proc/…/maps as far as a core file tells.
func (c *core) maps() string {
	var s strings.Builder
	for _, p := range c.loads {
		flags := []byte("---p")
		for i, bit := range []elf.ProgFlag{elf.PF_R, elf.PF_W, elf.PF_X} {
			if p.Flags&bit != 0 {
				flags[i] = "rwx"[i]
			}
		}
		path := ""
		if i := slices.IndexFunc(c.files, func(f mappedFile) bool { return p.Vaddr >= f.start && p.Vaddr < f.end }); i >= 0 {
			path = c.files[i].path
		}
		fmt.Fprintf(&s, "%08x-%08x %s 00000000 00:00 0 %s\n", p.Vaddr, p.Vaddr+p.Memsz, flags, path)
	}
	return s.String()
}

const (
	// redZone is what leaf functions use below the stack pointer.
	redZone = 128
	// maxStack is enough for the programs here.
	maxStack = 16 << 20
	// aroundIP is the code kept on both sides of each instruction pointer.
	aroundIP = 128
)

// dump makes a minidump of the core as Breakpad's writer on Linux would.
func (c *core) dump(buildID func(path string) []byte) *synth.Dump {
	d := &synth.Dump{
		System:        &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS, Processors: 1, CSD: "Linux 6.1.0 #1 SMP x86_64"},
		Modules:       c.modules(buildID),
		StackInMemory: true,
		Linux:         synth.Linux{Maps: c.maps()},
		Exception:     &synth.Exception{Thread: c.threads[0].id, Code: c.signal, Flags: c.code, Address: c.address},
	}
	for _, t := range c.threads {
		start := (t.context.Get("rsp") - redZone) &^ 15
		d.Threads = append(d.Threads, synth.Thread{ID: t.id, Context: t.context, Stack: synth.Memory{Start: start, Data: c.memory(start, maxStack)}})
		ip := t.context.Get("rip")
		if code := c.memory(ip-aroundIP, 2*aroundIP); code != nil {
			d.Memory = append(d.Memory, synth.Memory{Start: ip - aroundIP, Data: code})
		}
	}
	return d
}
