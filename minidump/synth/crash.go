package synth

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Crash is a process at the moment of its crash. Dump turns it into what a
// crash reporter on its platform would have written.
type Crash struct {
	CPU       CPU
	OS        OS
	BigEndian bool
	Seed      uint64 // of everything that is not given
	Binaries  []*Binary
	Threads   []Stack
	Crashed   int // index of the thread that crashed; -1 for none
	Fault     Fault
	PID       uint32
	Time      uint32 // of the crash, seconds since 1970
	Uptime    uint32 // seconds
	System    *System
	Unloaded  []UnloadedModule
	// Annotations become Crashpad's simple annotations.
	Annotations []Pair
	// Release, on Linux, is the text of /etc/lsb-release.
	Release string
	// StackTop overrides where the first thread's stack ends.
	StackTop uint64
}

// Stack is a thread of a Crash.
type Stack struct {
	ID        uint32
	Name      string
	Calls     []Call     // innermost first
	Registers []Register // put over those the frames give
}

// Fault is what went wrong.
type Fault struct {
	Code, Flags uint32
	Address     uint64
	Information []uint64
	// Instruction is the code at the crashing address; nil writes no code.
	Instruction []byte
	Registers   []Register // of the crashed thread
}

// Frame is what an unwinder should find.
type Frame struct {
	Binary    *Binary
	Function  *Function // nil when no function covers the address
	Address   uint64    // inside the call: the return address less what the CPU's walkers take off
	File      string
	Line      int
	Technique string // "context", "cfi", "frame_pointer" or "scan"
}

// Expected are the frames of a thread as a walker with all symbols should find
// them. A frame pointer frame outside a Bare one cannot keep its technique:
// there it is "".
func (c *Crash) Expected(thread int) []Frame {
	calls := c.Threads[thread].Calls
	frames := make([]Frame, len(calls))
	technique, known := "context", true
	for i, call := range calls {
		offset := call.Offset
		if i > 0 {
			offset -= uint32(c.CPU.traits().back)
		}
		f := call.Binary.Lookup(offset)
		frames[i] = Frame{Binary: call.Binary, Function: f, Address: call.Binary.Base + uint64(offset), Technique: technique}
		if f == nil || call.Binary.NoSymbols {
			technique = ""
			continue
		}
		frames[i].File, frames[i].Line = f.SourceLine(offset)
		switch f.Frame {
		case FramePointer:
			technique = "frame_pointer"
			if !known {
				technique = ""
			}
		case Bare:
			technique, known = "scan", false
		default:
			technique = "cfi"
		}
	}
	return frames
}

// stackSpacing lies between the ends of two threads' stacks.
const stackSpacing = 0x200000

// addresses of the parts of a process that are not its binaries.
type space struct{ stackTop, heap, teb uint64 }

func (c *Crash) space() space {
	s := space{stackTop: 0x7ffc8f3a2000, heap: 0x55d0c4a00000}
	switch {
	case c.CPU.PointerSize() == 4:
		s = space{stackTop: 0x00d3f000, heap: 0x02a40000, teb: 0x7efdd000}
		if c.OS != Windows {
			s = space{stackTop: 0x6f8b2000, heap: 0x2a400000}
		}
	case c.OS == Windows:
		s = space{stackTop: 0x000000c1a5f00000, heap: 0x000001d4b7a00000, teb: 0x000000c1a4e00000}
	case c.OS == MacOS || c.OS == IOS:
		s = space{stackTop: 0x16fdff000, heap: 0x600002a00000}
	case c.CPU == ARM64 || c.CPU == ARM64Old:
		s = space{stackTop: 0x7fdc3a2000, heap: 0xb400007a4c000000}
		s.heap &^= 0xb4 << 56 // without the pointer's tag
	}
	if c.StackTop != 0 {
		s.stackTop = c.StackTop
	}
	return s
}

// Dump lays out the process's memory and describes the streams.
func (c *Crash) Dump() *Dump {
	var o byteOrder = binary.LittleEndian
	if c.BigEndian {
		o = binary.BigEndian
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x5eed))
	at := c.space()
	d := &Dump{BigEndian: c.BigEndian, Time: c.Time, StackInMemory: true, System: c.System, Unloaded: c.Unloaded}
	if d.System == nil {
		d.System = &System{CPU: c.CPU, OS: c.OS, Processors: 8}
	}
	for _, b := range c.Binaries {
		d.Modules = append(d.Modules, b.Module())
	}
	for i := range c.Threads {
		t := &c.Threads[i]
		stack, ctx := buildStack(c.CPU, o, t.Calls, at.stackTop-uint64(i)*stackSpacing, at.heap, rng)
		if i == c.Crashed {
			for _, r := range c.Fault.Registers {
				ctx.Set(r.Name, r.Value)
			}
		}
		for _, r := range t.Registers {
			ctx.Set(r.Name, r.Value)
		}
		thread := Thread{ID: t.ID, Stack: stack, Context: ctx}
		if at.teb != 0 {
			thread.TEB = at.teb - uint64(i)*0x2000
		}
		d.Threads = append(d.Threads, thread)
		if t.Name != "" {
			d.ThreadNames = append(d.ThreadNames, ThreadName{t.ID, t.Name})
		}
	}
	c.crashed(d)
	c.platform(d)
	if c.Annotations != nil {
		d.Crashpad = &Crashpad{Simple: c.Annotations}
		for i := range 16 {
			d.Crashpad.Report[i], d.Crashpad.Client[i] = byte(rng.Uint32()), byte(rng.Uint32())
		}
	}
	return d
}

// codeAround is how many bytes of code are kept on each side of the crashing
// instruction.
const codeAround = 128

// crashed adds the exception and the code at the instruction pointer.
func (c *Crash) crashed(d *Dump) {
	if c.Crashed < 0 || c.Crashed >= len(c.Threads) {
		return
	}
	t := &c.Threads[c.Crashed]
	d.Exception = &Exception{Thread: t.ID, Code: c.Fault.Code, Flags: c.Fault.Flags, Address: c.Fault.Address, Information: c.Fault.Information}
	if c.Fault.Instruction == nil || len(t.Calls) == 0 {
		return
	}
	code := make([]byte, 2*codeAround)
	fill := []byte{0x90} // nop
	switch c.CPU {
	case ARM64, ARM64Old:
		fill = []byte{0x1f, 0x20, 0x03, 0xd5}
	case ARM:
		fill = []byte{0x00, 0xf0, 0x20, 0xe3}
	case X86, AMD64:
	default:
		fill = []byte{0}
	}
	for i := range code {
		code[i] = fill[i%len(fill)]
	}
	copy(code[codeAround:], c.Fault.Instruction)
	d.Memory = append(d.Memory, Memory{Start: t.Calls[0].Address() - codeAround, Data: code})
}

// platform adds the streams that the platform's writers add.
func (c *Crash) platform(d *Dump) {
	create := c.Time - c.Uptime
	switch c.OS {
	case Windows:
		d.Misc = &Misc{Version: 4, Flags: MiscPID | MiscTimes, PID: c.PID, CreateTime: create, Build: "22621.1.amd64fre.ni_release.220506-1250"}
		d.MemoryInfo = c.memoryInfo(d)
	case MacOS, IOS:
		d.Misc = &Misc{Version: 3, Flags: MiscPID | MiscTimes, PID: c.PID, CreateTime: create}
	default:
		d.Misc = &Misc{Version: 3, Flags: MiscPID | MiscTimes, PID: c.PID, CreateTime: create}
		d.Linux.Maps = c.maps(d)
		d.Linux.Status = fmt.Sprintf("Name:\t%s\nState:\tR (running)\nTgid:\t%d\nPid:\t%d\nPPid:\t1\nThreads:\t%d\n", c.processName(), c.PID, c.PID, len(c.Threads))
		d.Linux.LSBRelease = c.Release
		d.Linux.CPUInfo = fmt.Sprintf("processor\t: 0\nmicrocode\t: 0x%x\n", 0xf0+c.Seed%8)
		d.Linux.CmdLine = "/" + c.processName() + "\x00"
	}
}

func (c *Crash) processName() string {
	if len(c.Binaries) == 0 {
		return "unknown"
	}
	return c.Binaries[0].Leaf()
}

// region is a mapped range of the process.
type region struct {
	start, end uint64
	access     string // as in /proc/…/maps
	name       string
}

const page = 0x1000

// regions are the mappings in address order: code and data of every binary,
// the stacks with their guard pages, a heap.
func (c *Crash) regions(d *Dump) []region {
	var all []region
	for _, b := range c.Binaries {
		end := b.Base + uint64(b.Size+page-1)&^(page-1)
		code := b.Base + uint64(b.Size)/4*3&^(page-1)
		if code > b.Base {
			all = append(all, region{b.Base, code, "r-xp", b.Path})
		}
		all = append(all, region{code, end, "rw-p", b.Path})
	}
	for i := range d.Threads {
		m := d.Threads[i].Stack
		start := m.Start &^ (page - 1)
		end := (m.Start + uint64(len(m.Data)) + page - 1) &^ (page - 1)
		name := "[stack]"
		if i > 0 {
			name = fmt.Sprintf("[stack:%d]", d.Threads[i].ID)
		}
		all = append(all, region{start - page, start, "---p", ""}, region{start, end, "rw-p", name})
	}
	heap := c.space().heap
	all = append(all, region{heap, heap + 0x100000, "rw-p", "[heap]"})
	slices.SortFunc(all, func(a, b region) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	return all
}

func (c *Crash) maps(d *Dump) string {
	var s strings.Builder
	for i, r := range c.regions(d) {
		fmt.Fprintf(&s, "%08x-%08x %s 00000000 08:01 %-10d %s\n", r.start, r.end, r.access, 0x1000+i, r.name)
	}
	return s.String()
}

func (c *Crash) memoryInfo(d *Dump) []MemoryInfo {
	regions := c.regions(d)
	all := make([]MemoryInfo, 0, len(regions))
	for _, r := range regions {
		m := MemoryInfo{Base: r.start, AllocationBase: r.start, Size: r.end - r.start, State: MemCommit, MemoryKind: MemPrivate}
		switch r.access {
		case "r-xp":
			m.Protect, m.MemoryKind = PageExecuteRead, MemImage
		case "rw-p":
			m.Protect = PageReadWrite
		default:
			m.Protect = PageNoAccess
		}
		m.AllocationProtect = m.Protect
		all = append(all, m)
	}
	return all
}
