package format

import (
	_ "embed" // registers.tsv
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"mayday/app/fault"
)

// MaxRegisters is the most registers any CPU has here (PowerPC has 40), so
// that a context needs no allocation of its own and validity fits in a word.
const MaxRegisters = 40

// Register is the number of a register within its CPU's table, in the order
// stackwalk output lists them; those that are not listed come last.
type Register uint8

// NoRegister stands for a role that a CPU has no register for.
const NoRegister Register = 0xff

// Context is the state of a thread's general registers. In a context read
// from a dump every register is valid; in one that was recovered by unwinding
// only those in Valid are, and the rest hold leftovers of the callee.
//
// It follows winnt.h CONTEXT for x86, amd64 and arm64, and Breakpad's
// minidump_cpu_*.h and Crashpad's minidump_context.h for the others. Floating
// point, vector, debug and segment registers are not decoded.
type Context struct {
	CPU    CPU
	Flags  uint64               // context_flags as read
	Valid  uint64               // bit r is set when register r is known
	Values [MaxRegisters]uint64 // by Register
}

// contextLayout says how one architecture's context record is recognised.
type contextLayout struct {
	architecture uint16
	cpu          CPU
	size         int    // bytes that must be there
	flagsOffset  int    // of context_flags
	flagsWidth   int    // 4 or 8
	flag         uint32 // the CPU's bit of context_flags
}

// contextLayouts lists every context record. The RISC-V ones end after the
// last general register: what follows differs between writers.
var contextLayouts = [...]contextLayout{
	{ArchitectureX86, X86, 716, 0, 4, 0x00010000},
	{ArchitectureWOW64, X86, 716, 0, 4, 0x00010000},
	{ArchitectureAMD64, AMD64, 1232, 48, 4, 0x00100000},
	{ArchitectureARM, ARM, 368, 0, 4, 0x40000000},
	{ArchitectureARM64, ARM64, 912, 0, 4, 0x00400000},
	{ArchitectureARM64Old, ARM64, 796, 0, 8, 0x80000000},
	{ArchitectureMIPS, MIPS, 600, 0, 4, 0x00040000},
	{ArchitectureMIPS64, MIPS64, 600, 0, 4, 0x00080000},
	{ArchitecturePPC, PPC, 1004, 0, 4, 0x20000000},
	{ArchitecturePPC64, PPC64, 1160, 0, 8, 0x01000000},
	{ArchitectureSPARC, SPARC, 584, 0, 4, 0x10000000},
	{ArchitectureRISCV, RISCV, 136, 0, 4, 0x00800000},
	{ArchitectureRISCV64, RISCV64, 264, 0, 4, 0x08000000},
}

// cpuFlags are the bits of context_flags that name a CPU, but for the RISC-V
// ones: Windows uses those bits for the state of an exception. The rest says
// which parts of the record are filled in, or means nothing.
const cpuFlags = 0xf15f_0000

func layoutOf(architecture uint16) *contextLayout {
	for i := range contextLayouts {
		if contextLayouts[i].architecture == architecture {
			return &contextLayouts[i]
		}
	}
	return nil
}

// DecodeContext reads the context record of a thread or an exception. The
// architecture is that of the dump's system info; the record must be whole
// and its flags must name the same CPU.
func DecodeContext(architecture uint16, b []byte, order binary.ByteOrder) (*Context, error) {
	l := layoutOf(architecture)
	if l == nil {
		return nil, fault.New(fault.Unsupported, "context: no record is known for processor architecture %#x", architecture)
	}
	if len(b) < l.size {
		return nil, fault.New(fault.Malformed, "context: %s needs %d bytes, %d are there", l.cpu, l.size, len(b))
	}
	c := &Context{CPU: l.cpu, Flags: load(b[l.flagsOffset:], l.flagsWidth, order)}
	if uint32(c.Flags)&(cpuFlags|l.flag) != l.flag {
		return nil, fault.New(fault.Malformed, "context: flags %#x are not those of %s", c.Flags, l.cpu)
	}
	for r, reg := range registerTables[l.cpu].registers {
		c.Values[r] = load(b[reg.offset:], reg.width, order)
		c.Valid |= 1 << r
	}
	return c, nil
}

func load(b []byte, width int, order binary.ByteOrder) uint64 {
	if width == 4 {
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// registerTable is what registers.tsv says of one CPU.
type registerTable struct {
	registers      []registerRow
	listed         int // the first so many are listed
	ip, sp, fp, lr Register
	names          map[string]Register // with aliases
}

type registerRow struct {
	name   string
	offset int
	width  int
}

//go:embed registers.tsv
var registersTSV string

var registerTables = parseRegisters(registersTSV)

// parseRegisters reads registers.tsv. A mistake there is a mistake in the
// program, so it panics.
func parseRegisters(text string) *[cpuCount]registerTable {
	var tables [cpuCount]registerTable
	for i := range tables {
		tables[i] = registerTable{ip: NoRegister, sp: NoRegister, fp: NoRegister, lr: NoRegister, names: map[string]Register{}}
	}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		t := &tables[cpuNamed(f[0])]
		r := Register(len(t.registers))
		offset, err := strconv.Atoi(f[2])
		width, err2 := strconv.Atoi(f[3])
		if err != nil || err2 != nil || width != 4 && width != 8 || r >= MaxRegisters {
			panic(fmt.Sprintf("registers.tsv: bad row %q", line))
		}
		t.registers = append(t.registers, registerRow{f[1], offset, width})
		t.names[f[1]] = r
		for alias := range strings.SplitSeq(f[5], ",") {
			if alias != "-" {
				t.names[alias] = r
			}
		}
		switch f[4] {
		case "ip":
			t.ip = r
		case "sp":
			t.sp = r
		case "fp":
			t.fp = r
		case "lr":
			t.lr = r
		}
		if f[6] == "yes" {
			t.listed = len(t.registers)
		}
	}
	return &tables
}

func cpuNamed(name string) CPU {
	for c := X86; c < cpuCount; c++ {
		if cpuNames[c] == name {
			return c
		}
	}
	panic(fmt.Sprintf("registers.tsv: unknown CPU %q", name))
}

func (c CPU) table() *registerTable {
	if c >= cpuCount {
		c = UnknownCPU
	}
	return &registerTables[c]
}

// Register finds a register by name, or by one of its other names (r11 is fp
// on arm, x30 is lr on arm64).
func (c CPU) Register(name string) (Register, bool) {
	r, ok := c.table().names[name]
	return r, ok
}

// RegisterCount is the number of registers that stackwalk output lists; they
// are numbered from 0.
func (c CPU) RegisterCount() int { return c.table().listed }

// RegisterName is the name of register r, "" if the CPU has no such register.
func (c CPU) RegisterName(r Register) string {
	if t := c.table(); int(r) < len(t.registers) {
		return t.registers[r].name
	}
	return ""
}

// RegisterWidth is the size of register r in bytes: the width to print it at.
// MIPS keeps 32-bit registers in 64-bit slots and prints them so.
func (c CPU) RegisterWidth(r Register) int {
	if t := c.table(); int(r) < len(t.registers) {
		return t.registers[r].width
	}
	return c.PointerSize()
}

// IPRegister, SPRegister, FPRegister and LRRegister give the registers that
// hold the instruction pointer, stack pointer, frame pointer and return
// address by convention, NoRegister where there is none.
func (c CPU) IPRegister() Register { return c.table().ip }

// SPRegister is the stack pointer; see IPRegister.
func (c CPU) SPRegister() Register { return c.table().sp }

// FPRegister is the frame pointer; see IPRegister.
func (c CPU) FPRegister() Register { return c.table().fp }

// LRRegister is the link register; see IPRegister.
func (c CPU) LRRegister() Register { return c.table().lr }

// Get returns the value of r and whether it is known.
func (c *Context) Get(r Register) (uint64, bool) {
	if r >= MaxRegisters || c.Valid>>r&1 == 0 {
		return 0, false
	}
	return c.Values[r], true
}

// Set gives r a value and makes it known. Numbers out of range are ignored.
func (c *Context) Set(r Register, v uint64) {
	if r < MaxRegisters {
		c.Values[r] = v
		c.Valid |= 1 << r
	}
}

// Forget makes r unknown.
func (c *Context) Forget(r Register) {
	if r < MaxRegisters {
		c.Valid &^= 1 << r
	}
}

// Named returns the value of the register with that name, or that other name,
// and whether it is known.
func (c *Context) Named(name string) (uint64, bool) {
	r, ok := c.CPU.Register(name)
	if !ok {
		return 0, false
	}
	return c.Get(r)
}

// IP is the instruction pointer; 0 when there is none.
func (c *Context) IP() uint64 { return c.value(c.CPU.IPRegister()) }

// SP is the stack pointer; 0 when there is none.
func (c *Context) SP() uint64 { return c.value(c.CPU.SPRegister()) }

func (c *Context) value(r Register) uint64 {
	if r >= MaxRegisters {
		return 0
	}
	return c.Values[r]
}

// Hex formats the value of r as stackwalk output does: lower case, padded to
// the size of the register.
func (c *Context) Hex(r Register) string {
	return fmt.Sprintf("0x%0*x", 2*c.CPU.RegisterWidth(r), c.value(r))
}

// Known is the number of registers that are known.
func (c *Context) Known() int { return bits.OnesCount64(c.Valid) }
