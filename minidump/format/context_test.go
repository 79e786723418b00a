package format

import (
	"encoding/binary"
	"testing"

	"mayday/app/fault"
)

// record makes a context record of l in which register r holds its number
// times a pattern that differs in every byte.
func record(l contextLayout, order binary.ByteOrder) []byte {
	b := make([]byte, l.size)
	for r, reg := range registerTables[l.cpu].registers {
		if reg.width == 4 {
			order.PutUint32(b[reg.offset:], pattern(r, 4))
		} else {
			order.PutUint64(b[reg.offset:], uint64(pattern(r, 4))<<32|uint64(pattern(r, 8)))
		}
	}
	if l.flagsWidth == 4 {
		order.PutUint32(b[l.flagsOffset:], l.flag|7)
	} else {
		order.PutUint64(b[l.flagsOffset:], uint64(l.flag|7))
	}
	return b
}

func pattern(r, salt int) uint32 { return uint32(r+1) * 0x01030507 * uint32(salt) }

func TestDecodeContext(t *testing.T) {
	for _, l := range contextLayouts {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			c, err := DecodeContext(l.architecture, record(l, order), order)
			if err != nil {
				t.Errorf("%s %s: %v", l.cpu, order, err)
				continue
			}
			for r, reg := range registerTables[l.cpu].registers {
				want := uint64(pattern(r, 4))
				if reg.width == 8 {
					want = want<<32 | uint64(pattern(r, 8))
				}
				if got, ok := c.Named(reg.name); got != want || !ok {
					t.Errorf("%s %s: %s = %#x, %v; want %#x", l.cpu, order, reg.name, got, ok, want)
				}
			}
		}
	}
}

func TestDecodeContextRefuses(t *testing.T) {
	le := binary.LittleEndian
	for _, l := range contextLayouts {
		b := record(l, le)
		if _, err := DecodeContext(l.architecture, b[:len(b)-1], le); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s cut short: %v", l.cpu, err)
		}
		if _, err := DecodeContext(l.architecture, append(b, 1, 2, 3), le); err != nil {
			t.Errorf("%s with bytes after it: %v", l.cpu, err)
		}
		for _, flag := range []uint32{0, l.flag ^ 0x00110000} {
			le.PutUint32(b[l.flagsOffset:], flag)
			if _, err := DecodeContext(l.architecture, b, le); !fault.Is(err, fault.Malformed) {
				t.Errorf("%s with flags %#x: %v", l.cpu, flag, err)
			}
		}
	}
	if _, err := DecodeContext(0x1234, make([]byte, 2000), le); !fault.Is(err, fault.Unsupported) {
		t.Errorf("unknown architecture: %v", err)
	}
}

func TestRegisters(t *testing.T) {
	for _, tt := range []struct {
		cpu            CPU
		listed         int
		ip, sp, fp, lr string
	}{
		{X86, 10, "eip", "esp", "ebp", ""},
		{AMD64, 17, "rip", "rsp", "rbp", ""},
		{ARM, 16, "pc", "sp", "fp", "lr"},
		{ARM64, 33, "pc", "sp", "fp", "lr"},
		{PPC, 40, "srr0", "r1", "r31", "lr"},
		{PPC64, 39, "srr0", "r1", "r31", "lr"},
		{SPARC, 38, "pc", "g_r14", "g_r30", "g_r31"},
		{MIPS, 13, "pc", "sp", "fp", "ra"},
		{MIPS64, 13, "pc", "sp", "fp", "ra"},
		{RISCV, 32, "pc", "sp", "s0", "ra"},
		{RISCV64, 32, "pc", "sp", "s0", "ra"},
		{UnknownCPU, 0, "", "", "", ""},
		{cpuCount + 3, 0, "", "", "", ""},
	} {
		c := tt.cpu
		if c.RegisterCount() != tt.listed || c.RegisterName(c.IPRegister()) != tt.ip || c.RegisterName(c.SPRegister()) != tt.sp ||
			c.RegisterName(c.FPRegister()) != tt.fp || c.RegisterName(c.LRRegister()) != tt.lr {
			t.Errorf("%s: %d listed, %s %s %s %s; want %v", c, c.RegisterCount(), c.RegisterName(c.IPRegister()), c.RegisterName(c.SPRegister()),
				c.RegisterName(c.FPRegister()), c.RegisterName(c.LRRegister()), tt)
		}
	}
	for _, tt := range []struct {
		cpu         CPU
		alias, name string
	}{
		{ARM, "r11", "fp"}, {ARM, "r13", "sp"}, {ARM, "r14", "lr"}, {ARM, "r15", "pc"}, {ARM64, "x29", "fp"}, {ARM64, "x30", "lr"},
		{SPARC, "o6", "g_r14"}, {MIPS, "31", "ra"}, {RISCV64, "x8", "s0"}, {RISCV64, "fp", "s0"},
	} {
		r, ok := tt.cpu.Register(tt.alias)
		if !ok || tt.cpu.RegisterName(r) != tt.name {
			t.Errorf("%s %s is %q, want %q", tt.cpu, tt.alias, tt.cpu.RegisterName(r), tt.name)
		}
	}
}

func TestContextValidity(t *testing.T) {
	c := Context{CPU: AMD64}
	rax, _ := AMD64.Register("rax")
	if _, ok := c.Get(rax); ok || c.Known() != 0 {
		t.Error("a register of an empty context is known")
	}
	c.Set(rax, 0xabc)
	if v, ok := c.Named("rax"); v != 0xabc || !ok || c.Hex(rax) != "0x0000000000000abc" {
		t.Errorf("rax = %#x, %v, %s", v, ok, c.Hex(rax))
	}
	c.Forget(rax)
	if _, ok := c.Get(rax); ok {
		t.Error("rax is known after Forget")
	}
	c.Set(NoRegister, 1)
	c.Forget(NoRegister)
	if _, ok := c.Get(NoRegister); ok || (&Context{}).IP() != 0 || X86.RegisterName(MaxRegisters) != "" {
		t.Error("a register that no CPU has is known")
	}
	if got := (&Context{CPU: X86}).Hex(0); got != "0x00000000" {
		t.Errorf("x86 register prints as %s", got)
	}
	if got := (&Context{CPU: MIPS}).Hex(0); got != "0x0000000000000000" {
		t.Errorf("mips register prints as %s", got)
	}
}

func FuzzContext(f *testing.F) {
	for _, l := range contextLayouts {
		f.Add(l.architecture, record(l, binary.LittleEndian), false)
		f.Add(l.architecture, record(l, binary.BigEndian), true)
	}
	f.Fuzz(func(t *testing.T, architecture uint16, b []byte, big bool) {
		var order binary.ByteOrder = binary.LittleEndian
		if big {
			order = binary.BigEndian
		}
		c, err := DecodeContext(architecture, b, order)
		if (c == nil) != (err != nil) {
			t.Fatalf("context %v with error %v", c, err)
		}
		if c != nil && (c.CPU != CPUOf(architecture) || c.Known() != len(registerTables[c.CPU].registers)) {
			t.Fatalf("%s context has %d registers", c.CPU, c.Known())
		}
	})
}

func BenchmarkDecodeContext(b *testing.B) {
	l := *layoutOf(ArchitectureAMD64)
	raw := record(l, binary.LittleEndian)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := DecodeContext(l.architecture, raw, binary.LittleEndian); err != nil {
			b.Fatal(err)
		}
	}
}
