package unwindinfo

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"mayday/minidump/cfi"
	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// machine is a processor of which only what frames are about is there. It runs
// made-up functions, so that before each instruction the truth about the
// caller is known.
type machine struct {
	registers map[string]uint64
	memory    map[uint64]uint64
	sp        string
	word      uint64
	returned  uint64 // what a return takes from the stack
}

// Register implements cfi.Machine.
func (m *machine) Register(name string) (uint64, bool) {
	v, ok := m.registers[name]
	return v, ok
}

// Load implements cfi.Machine.
func (m *machine) Load(address uint64) (uint64, bool) {
	v, ok := m.memory[address]
	return v, ok
}

func (m *machine) push(v uint64) {
	m.registers[m.sp] -= m.word
	m.memory[m.registers[m.sp]] = v
}

func (m *machine) pop() uint64 {
	v := m.memory[m.registers[m.sp]]
	m.registers[m.sp] += m.word
	return v
}

// step is an instruction: its bytes, and what it does.
type step struct {
	code []byte
	do   func(m *machine)
}

// code joins the bytes of a function.
func code(steps []step) []byte {
	var b []byte
	for _, s := range steps {
		b = append(b, s.code...)
	}
	return b
}

// table opens a made-up binary.
func table(t testing.TB, b *sample.Binary) *Table {
	t.Helper()
	file := b.Bytes()
	im, err := executable.Open(bytes.NewReader(file), int64(len(file)), b.Machine)
	if err != nil {
		t.Fatal(err)
	}
	if im.Machine != b.Machine || im.Base != b.Base {
		t.Fatalf("opened as for machine %d at %#x", im.Machine, im.Base)
	}
	return New(im)
}

// caller is what the rules at a place make of a machine.
func caller(t *testing.T, tab *Table, q rule.Query, m *machine) (registers map[string]uint64, ok bool) {
	t.Helper()
	s, ok := tab.Rules(q)
	if !ok {
		return nil, false
	}
	var rules cfi.Rules
	if !rules.Add(s.CFI.Init) {
		t.Errorf("bad rules %q", s.CFI.Init)
		return nil, false
	}
	var e cfi.Evaluator
	address, ok := e.Evaluate(rules.CFA, m, cfi.CFA{})
	known := cfi.CFA{Value: address, Known: true}
	ra, ok2 := e.Evaluate(rules.RA, m, known)
	if !ok || !ok2 {
		t.Errorf("%+v: %q does not work", q, s.CFI.Init)
		return nil, false
	}
	registers = maps.Clone(m.registers)
	registers[m.sp], registers["ra"] = address, ra
	for _, r := range rules.Others {
		v, ok := e.Evaluate(r.Expression, m, known)
		if !ok {
			t.Errorf("%+v: rule for %s in %q does not work", q, r.Register, s.CFI.Init)
		}
		registers[r.Register] = v
	}
	return registers, true
}

// runFunction runs a function that lies at offset and checks the rules before
// each instruction. Those at calls are checked for a frame that is not the
// innermost as well, within the call.
func runFunction(t *testing.T, tab *Table, offset uint64, m *machine, steps []step, preserved []string, isCall func(code []byte) bool) {
	t.Helper()
	want := maps.Clone(m.registers)
	want[m.sp] += m.returned
	at := offset
	for i, s := range steps {
		queries := []rule.Query{{Offset: at, Innermost: true}}
		if isCall(s.code) {
			queries = append(queries, rule.Query{Offset: at + uint64(len(s.code)) - 1})
		}
		for _, q := range queries {
			got, ok := caller(t, tab, q, m)
			if !ok {
				t.Fatalf("no rules before instruction %d at %#x", i, at)
			}
			for _, r := range append(preserved, "ra", m.sp) {
				if got[r] != want[r] {
					set, _ := tab.Rules(q)
					t.Errorf("instruction %d at %#x, innermost %v: %s is %#x, not %#x, by %q", i, at, q.Innermost, r, got[r], want[r], set.CFI.Init)
				}
			}
		}
		s.do(m)
		at += uint64(len(s.code))
	}
}

// newAMD64 is a thread at the first instruction of a function.
func newAMD64() *machine {
	m := &machine{registers: map[string]uint64{}, memory: map[uint64]uint64{}, sp: "rsp", word: 8, returned: 8}
	for i, n := range amd64Numbers {
		m.registers[strings.TrimPrefix(n, "$")] = 0x1111 * uint64(i+1)
	}
	m.registers["rsp"] = 0x7fff_0000
	m.memory[0x7fff_0000] = 0x40_1234
	m.registers["ra"] = 0x40_1234
	return m
}

// The instructions of amd64 that functions begin and end with.

func number(name string) byte {
	for i, n := range amd64Numbers {
		if n == "$"+name {
			return byte(i)
		}
	}
	panic(name)
}

func push(r string) step {
	n := number(r)
	c := []byte{0x50 | n&7}
	if n > 7 {
		c = append([]byte{0x41}, c...)
	}
	return step{c, func(m *machine) { m.push(m.registers[r]) }}
}

func pop(r string) step {
	n := number(r)
	c := []byte{0x58 | n&7}
	if n > 7 {
		c = append([]byte{0x41}, c...)
	}
	return step{c, func(m *machine) { m.registers[r] = m.pop() }}
}

func imm32(v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

func sub(n int) step {
	return step{append([]byte{0x48, 0x81, 0xec}, imm32(n)...), func(m *machine) { m.registers["rsp"] -= uint64(n) }}
}

func add(n int) step {
	if n < 128 {
		return step{[]byte{0x48, 0x83, 0xc4, byte(n)}, func(m *machine) { m.registers["rsp"] += uint64(n) }}
	}
	return step{append([]byte{0x48, 0x81, 0xc4}, imm32(n)...), func(m *machine) { m.registers["rsp"] += uint64(n) }}
}

// store is mov [rsp+n], r.
func store(r string, n int) step {
	x := number(r)
	c := append([]byte{0x48 | x>>3<<2, 0x89, 0x84 | x&7<<3, 0x24}, imm32(n)...)
	return step{c, func(m *machine) { m.memory[m.registers["rsp"]+uint64(n)] = m.registers[r] }}
}

// fetch is mov r, [rsp+n].
func fetch(r string, n int) step {
	x := number(r)
	c := append([]byte{0x48 | x>>3<<2, 0x8b, 0x84 | x&7<<3, 0x24}, imm32(n)...)
	return step{c, func(m *machine) { m.registers[r] = m.memory[m.registers["rsp"]+uint64(n)] }}
}

// leaBP is lea rbp, [rsp+n], leaSP lea rsp, [rbp+n].
func leaBP(n int) step {
	return step{[]byte{0x48, 0x8d, 0x6c, 0x24, byte(n)}, func(m *machine) { m.registers["rbp"] = m.registers["rsp"] + uint64(n) }}
}

func leaSP(n int) step {
	return step{[]byte{0x48, 0x8d, 0x65, byte(n)}, func(m *machine) { m.registers["rsp"] = m.registers["rbp"] + uint64(int64(int8(n))) }}
}

// shrink makes room of a size that nobody knows beforehand: sub rsp, rax.
func shrink(n int) step {
	return step{[]byte{0x48, 0x29, 0xc4}, func(m *machine) { m.registers["rsp"] -= uint64(n) }}
}

// spoil changes a register: mov r, imm32.
func spoil(r string) step {
	x := number(r)
	return step{append([]byte{0x48 | x>>3, 0xc7, 0xc0 | x&7}, imm32(0x5a5a)...), func(m *machine) { m.registers[r] = 0x5a5a }}
}

func callAMD64() step { return step{[]byte{0xe8, 0, 0, 0, 0}, func(*machine) {}} }

func ret() step { return step{[]byte{0xc3}, func(*machine) {}} }

// leave is a jump far out of the function, in the place of a return.
func leave() step { return step{[]byte{0xe9, 0, 0, 0x10, 0}, func(*machine) {}} }

func isCallAMD64(c []byte) bool { return c[0] == 0xe8 }
