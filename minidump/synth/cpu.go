package synth

// CPU is a processor a dump can be made for.
type CPU uint8

// The processors. ARM64Old is arm64 with the context record Breakpad wrote
// before Windows defined one.
const (
	X86 CPU = iota
	AMD64
	ARM
	ARM64
	ARM64Old
	MIPS
	MIPS64
	PPC
	PPC64
	SPARC
	RISCV64
	cpuCount
)

// CPUs lists every processor a dump can be made for.
func CPUs() []CPU {
	all := make([]CPU, cpuCount)
	for i := range all {
		all[i] = CPU(i)
	}
	return all
}

// cpuTraits is what the builder knows of one processor: the number that stands
// for it in SYSTEM_INFO, the context record, and the calling convention as far
// as stacks are concerned.
type cpuTraits struct {
	name         string
	architecture uint16
	pointer      int    // bytes of an address
	contextSize  int    // bytes of the context record
	flagsWidth   int    // bytes of context_flags, which is at flagsAt
	flagsAt      int    //
	flags        uint32 // the CPU's bit and "everything is valid"
	ip, sp, fp   string // register names
	link         string // register that holds the return address on entry, "" when calls push it
	back         uint64 // what an unwinder takes from a return address to be inside the call
	registers    map[string]register
}

// register says where a context record keeps a register.
type register struct {
	offset, width int
}

// traits is a table; nothing writes to it.
var traits = [cpuCount]cpuTraits{
	X86: {name: "x86", architecture: 0, pointer: 4, contextSize: 716, flagsWidth: 4, flags: 0x1003f,
		ip: "eip", sp: "esp", fp: "ebp", back: 1,
		registers: named(4, "gs", 140, "fs", 144, "es", 148, "ds", 152, "edi", 156, "esi", 160, "ebx", 164, "edx", 168, "ecx", 172,
			"eax", 176, "ebp", 180, "eip", 184, "cs", 188, "eflags", 192, "esp", 196, "ss", 200)},
	AMD64: {name: "amd64", architecture: 9, pointer: 8, contextSize: 1232, flagsWidth: 4, flagsAt: 48, flags: 0x10001f,
		ip: "rip", sp: "rsp", fp: "rbp", back: 1,
		registers: join(named(2, "cs", 56, "ds", 58, "es", 60, "fs", 62, "gs", 64, "ss", 66), named(4, "mxcsr", 52, "eflags", 68),
			named(8, "rax", 120, "rcx", 128, "rdx", 136, "rbx", 144, "rsp", 152, "rbp", 160, "rsi", 168, "rdi", 176, "rip", 248),
			numbered("r", 8, 15, 184, 8))},
	ARM: {name: "arm", architecture: 5, pointer: 4, contextSize: 368, flagsWidth: 4, flags: 0x40000006,
		ip: "pc", sp: "sp", fp: "r11", link: "lr", back: 2,
		registers: join(numbered("r", 0, 15, 4, 4), named(4, "fp", 48, "sp", 56, "lr", 60, "pc", 64, "cpsr", 68))},
	ARM64: {name: "arm64", architecture: 12, pointer: 8, contextSize: 912, flagsWidth: 4, flags: 0x400007,
		ip: "pc", sp: "sp", fp: "x29", link: "x30", back: 4,
		registers: join(numbered("x", 0, 30, 8, 8), named(8, "fp", 240, "lr", 248, "sp", 256, "pc", 264), named(4, "cpsr", 4))},
	ARM64Old: {name: "arm64", architecture: 0x8003, pointer: 8, contextSize: 796, flagsWidth: 8, flags: 0x80000006,
		ip: "pc", sp: "sp", fp: "x29", link: "x30", back: 4,
		registers: join(numbered("x", 0, 30, 8, 8), named(8, "fp", 240, "lr", 248, "sp", 256, "pc", 264), named(4, "cpsr", 272))},
	MIPS: {name: "mips", architecture: 1, pointer: 4, contextSize: 600, flagsWidth: 4, flags: 0x40007,
		ip: "pc", sp: "sp", fp: "fp", link: "ra", back: 8, registers: mipsRegisters()},
	MIPS64: {name: "mips64", architecture: 0x8004, pointer: 8, contextSize: 600, flagsWidth: 4, flags: 0x80007,
		ip: "pc", sp: "sp", fp: "fp", link: "ra", back: 8, registers: mipsRegisters()},
	PPC: {name: "ppc", architecture: 3, pointer: 4, contextSize: 1004, flagsWidth: 4, flags: 0x20000003,
		ip: "srr0", sp: "r1", fp: "r31", link: "lr", back: 4,
		registers: join(numbered("r", 0, 31, 12, 4), named(4, "srr0", 4, "srr1", 8, "cr", 140, "xer", 144, "lr", 148, "ctr", 152))},
	PPC64: {name: "ppc64", architecture: 0x8002, pointer: 8, contextSize: 1160, flagsWidth: 8, flags: 0x1000003,
		ip: "srr0", sp: "r1", fp: "r31", link: "lr", back: 4,
		registers: join(numbered("r", 0, 31, 24, 8), named(8, "srr0", 8, "srr1", 16, "cr", 280, "xer", 288, "lr", 296, "ctr", 304))},
	SPARC: {name: "sparc", architecture: 0x8001, pointer: 8, contextSize: 584, flagsWidth: 4, flags: 0x10000003,
		ip: "pc", sp: "g_r14", fp: "g_r30", link: "g_r15", back: 8,
		registers: join(numbered("g_r", 0, 31, 8, 8), named(8, "ccr", 264, "pc", 272, "npc", 280, "y", 288))},
	RISCV64: {name: "riscv64", architecture: 0x8006, pointer: 8, contextSize: 528, flagsWidth: 4, flags: 0x8000003,
		ip: "pc", sp: "sp", fp: "s0", link: "ra", back: 2,
		registers: join(named(8, "pc", 8, "ra", 16, "sp", 24, "gp", 32, "tp", 40, "t0", 48, "t1", 56, "t2", 64, "s0", 72, "s1", 80),
			numbered("a", 0, 7, 88, 8), numbered("s", 2, 11, 152, 8), numbered("t", 3, 6, 232, 8))},
}

// String is the name of the CPU as stack walkers print it.
func (c CPU) String() string { return c.traits().name }

func (c CPU) traits() *cpuTraits {
	if c >= cpuCount {
		c = AMD64
	}
	return &traits[c]
}

// PointerSize is the size of an address in bytes.
func (c CPU) PointerSize() int { return c.traits().pointer }

// IP names the instruction pointer.
func (c CPU) IP() string { return c.traits().ip }

// SP names the stack pointer.
func (c CPU) SP() string { return c.traits().sp }

// FP names the frame pointer.
func (c CPU) FP() string { return c.traits().fp }

func named(width int, pairs ...any) map[string]register {
	m := make(map[string]register, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = register{pairs[i+1].(int), width}
	}
	return m
}

func numbered(prefix string, first, last, offset, width int) map[string]register {
	m := make(map[string]register, last-first+1)
	for i := first; i <= last; i++ {
		m[prefix+itoa(i)] = register{offset + (i-first)*width, width}
	}
	return m
}

func join(maps ...map[string]register) map[string]register {
	all := map[string]register{}
	for _, m := range maps {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

func itoa(i int) string {
	if i >= 10 {
		return string([]byte{byte('0' + i/10%10), byte('0' + i%10)})
	}
	return string([]byte{byte('0' + i)})
}

// mipsRegisters are the o32 and n64 names: both number 16-23 s0-s7.
func mipsRegisters() map[string]register {
	return join(numbered("r", 0, 31, 8, 8), numbered("s", 0, 7, 8+16*8, 8), numbered("t", 0, 7, 8+8*8, 8), numbered("a", 0, 3, 8+4*8, 8),
		named(8, "zero", 8, "at", 16, "v0", 24, "v1", 32, "t8", 8+24*8, "t9", 8+25*8, "gp", 8+28*8, "sp", 8+29*8, "fp", 8+30*8, "s8", 8+30*8, "ra", 8+31*8,
			"mdhi", 264, "mdlo", 272, "pc", 312))
}

// Context is a thread's registers. A register that is not named is zero.
type Context struct {
	CPU       CPU
	Flags     uint32 // context_flags; 0 means the CPU's own, everything valid
	Registers []Register
}

// Register is one register's value.
type Register struct {
	Name  string
	Value uint64
}

// Set gives a register a value.
func (c *Context) Set(name string, v uint64) {
	for i := range c.Registers {
		if c.Registers[i].Name == name {
			c.Registers[i].Value = v
			return
		}
	}
	c.Registers = append(c.Registers, Register{name, v})
}

// Get is a register's value, 0 when it was not set.
func (c *Context) Get(name string) uint64 {
	for _, r := range c.Registers {
		if r.Name == name {
			return r.Value
		}
	}
	return 0
}

// Encode is the context record. Names the CPU does not have are left out.
func (c *Context) Encode(bigEndian bool) []byte {
	f := NewFile(bigEndian, 0)
	return c.encode(f.order)
}

func (c *Context) encode(o byteOrder) []byte {
	t := c.CPU.traits()
	b := make([]byte, t.contextSize)
	flags := c.Flags
	if flags == 0 {
		flags = t.flags
	}
	store(b[t.flagsAt:], o, t.flagsWidth, uint64(flags))
	for _, r := range c.Registers {
		if at, ok := t.registers[r.Name]; ok {
			store(b[at.offset:], o, at.width, r.Value)
		}
	}
	return b
}

func store(b []byte, o byteOrder, width int, v uint64) {
	switch width {
	case 2:
		o.PutUint16(b, uint16(v))
	case 4:
		o.PutUint32(b, uint32(v))
	default:
		o.PutUint64(b, v)
	}
}
