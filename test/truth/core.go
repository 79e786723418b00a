package truth

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// machine says where the core files of a CPU keep what a minidump needs:
// offsets into struct elf_prstatus, registers in the order of struct
// user_regs_struct ("" for those left out), and into siginfo_t.
type machine struct {
	cpu           synth.CPU
	word          int
	thread        int
	registers     int
	names         []string
	signalAddress int
	ip, sp        string
	// redZone is what leaf functions use below the stack pointer.
	redZone uint64
	release string
}

// machineOf describes a CPU, nil for those that are not measured.
func machineOf(m elf.Machine) *machine {
	switch m {
	case elf.EM_X86_64:
		return &machine{cpu: synth.AMD64, word: 8, thread: 32, registers: 112, signalAddress: 16, ip: "rip", sp: "rsp", redZone: 128, release: "Linux 6.1.0 #1 SMP x86_64",
			names: []string{"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "", "rip", "cs", "eflags", "rsp"}}
	case elf.EM_386:
		return &machine{cpu: synth.X86, word: 4, thread: 24, registers: 72, signalAddress: 12, ip: "eip", sp: "esp", release: "Linux 6.1.0 #1 SMP i686",
			names: []string{"ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "", "eip", "cs", "eflags", "esp", "ss"}}
	}
	return nil
}

// core is what a minidump needs of a core file.
type core struct {
	*machine
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
	m := machineOf(f.Machine)
	if f.Type != elf.ET_CORE || m == nil {
		return nil, fmt.Errorf("%v for %v is no core file of a CPU that is measured", f.Type, f.Machine)
	}
	c := &core{machine: m}
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
			// The first is that of the thread that crashed.
			if len(d) >= 24 && c.signal == 0 {
				c.signal, c.code, c.address = o.Uint32(d), o.Uint32(d[8:]), c.uint(d[c.signalAddress:])
			}
		case noteFile:
			c.mappings(d)
		}
		b = b[end:]
	}
}

// uint reads a word of the machine.
func (m *machine) uint(b []byte) uint64 {
	if m.word == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// thread reads struct elf_prstatus.
func (c *core) thread(d []byte) {
	if len(d) < c.registers+c.word*len(c.names) {
		return
	}
	ctx := &synth.Context{CPU: c.cpu}
	for i, n := range c.names {
		if n != "" {
			ctx.Set(n, c.uint(d[c.registers+c.word*i:]))
		}
	}
	c.threads = append(c.threads, coreThread{binary.LittleEndian.Uint32(d[c.machine.thread:]), ctx})
}

// mappings reads NT_FILE: count, page size, then start, end, offset in pages
// of each, then the paths.
func (c *core) mappings(d []byte) {
	w := c.word
	if len(d) < 2*w {
		return
	}
	n, page := c.uint(d), c.uint(d[w:])
	if n > uint64(len(d)-2*w)/uint64(3*w) {
		return
	}
	paths := bytes.Split(d[2*w+3*w*int(n):], []byte{0})
	for i := range n {
		e := d[2*w+3*w*int(i):]
		if i < uint64(len(paths)) {
			c.files = append(c.files, mappedFile{c.uint(e), c.uint(e[w:]), c.uint(e[2*w:]) * page, string(paths[i])})
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

// executable says whether an address is mapped as code, as far as is known: core
// files leave out what is in files.
func (c *core) executable(address uint64) bool {
	if slices.ContainsFunc(c.files, func(f mappedFile) bool { return address >= f.start && address < f.end }) {
		return true
	}
	return slices.ContainsFunc(c.loads, func(p *elf.Prog) bool {
		return p.Flags&elf.PF_X != 0 && address >= p.Vaddr && address-p.Vaddr < p.Memsz
	})
}

// saveVDSO writes the library that the kernel maps into every process to a
// directory, under the name that Breakpad's writer has for it, and counts it
// among the mapped files: 32-bit programs make system calls and return from
// signals by way of it.
func (c *core) saveVDSO(dir string) error {
	for _, p := range c.loads {
		if p.Flags&elf.PF_X == 0 || slices.ContainsFunc(c.files, func(f mappedFile) bool { return p.Vaddr >= f.start && p.Vaddr < f.end }) {
			continue
		}
		b := c.memory(p.Vaddr, min(p.Filesz, maxVDSO))
		if !bytes.HasPrefix(b, []byte(elf.ELFMAG)) {
			continue
		}
		path := filepath.Join(dir, "linux-gate.so")
		c.files = append(c.files, mappedFile{p.Vaddr, p.Vaddr + p.Memsz, 0, path})
		return os.WriteFile(path, b, 0o600)
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
	// maxRegion bounds each region of writable memory in a dump: the stacks, the
	// alternate signal stacks and small heaps of the programs here.
	maxRegion = 16 << 20
	// maxVDSO is far more than the kernel's library has.
	maxVDSO = 1 << 20
	// aroundIP is the code kept on both sides of each instruction pointer.
	aroundIP = 128
)

// dump makes a minidump of the core as Breakpad's writer on Linux would, and
// with all writable memory: a thread in a handler on an alternate signal stack
// has two stacks.
func (c *core) dump(buildID func(path string) []byte) *synth.Dump {
	d := &synth.Dump{
		System:    &synth.System{CPU: c.cpu, OS: synth.LinuxOS, Processors: 1, CSD: c.release},
		Modules:   c.modules(buildID),
		Linux:     synth.Linux{Maps: c.maps()},
		Exception: &synth.Exception{Thread: c.threads[0].id, Code: c.signal, Flags: c.code, Address: c.address},
	}
	for _, p := range c.loads {
		if p.Flags&elf.PF_W != 0 && p.Filesz > 0 && p.Filesz <= maxRegion {
			if b := c.memory(p.Vaddr, p.Filesz); b != nil {
				d.Memory = append(d.Memory, synth.Memory{Start: p.Vaddr, Data: b})
			}
		}
	}
	for _, t := range c.threads {
		start := (t.context.Get(c.sp) - c.redZone) &^ 15
		d.Threads = append(d.Threads, synth.Thread{ID: t.id, Context: t.context, Stack: synth.Memory{Start: start, Data: c.memory(start, maxRegion)}})
		ip := t.context.Get(c.ip)
		if code := c.memory(ip-aroundIP, 2*aroundIP); code != nil {
			d.Memory = append(d.Memory, synth.Memory{Start: ip - aroundIP, Data: code})
		}
	}
	return d
}
