package unwindinfo

import (
	"bytes"
	"encoding/binary"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// unwindCode is a code of UNWIND_INFO with its further slots.
type unwindCode struct {
	at, op, info byte
	more         []uint16
}

// unwindInfoBytes writes UNWIND_INFO; codes are given in the order their
// instructions run.
func unwindInfoBytes(flags, prologue, register, distance byte, codes []unwindCode, tail ...uint32) []byte {
	var slots []uint16
	for i := len(codes) - 1; i >= 0; i-- {
		c := codes[i]
		slots = append(append(slots, uint16(c.at)|uint16(c.op|c.info<<4)<<8), c.more...)
	}
	b := []byte{1 | flags<<3, prologue, byte(len(slots)), register | distance<<4}
	if len(slots)%2 != 0 {
		slots = append(slots, 0)
	}
	for _, s := range slots {
		b = binary.LittleEndian.AppendUint16(b, s)
	}
	for _, v := range tail {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

const textAt, xdataAt, pdataAt = 0x1000, 0x20000, 0x30000

// peBinary makes an image of functions; each entry of pdata is begin, end and
// info.
func peBinary(text, xdata []byte, pdata ...uint32) *sample.Binary {
	var p bytes.Buffer
	for _, v := range pdata {
		p.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return &sample.Binary{Format: executable.PE, Machine: executable.AMD64, Base: 0x1_4000_0000, TimeStamp: 0x1234, Size: 0x40000, Sections: []sample.Section{
		{Name: ".text", Offset: textAt, Data: text, Executable: true}, {Name: ".xdata", Offset: xdataAt, Data: xdata}, {Name: ".pdata", Offset: pdataAt, Data: p.Bytes(), Exceptions: true}}}
}

var windowsPreserved = []string{"rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15"}

// length is the length of the first n steps.
func length(steps []step, n int) byte { return byte(len(code(steps[:n]))) }

func TestX64Functions(t *testing.T) {
	pushed := []step{push("rbp"), push("rbx"), push("r14"), sub(0x148), store("rsi", 0x100), spoil("rbx"), spoil("rsi"), spoil("r14"), callAMD64(),
		fetch("rsi", 0x100), add(0x148), pop("r14"), pop("rbx"), pop("rbp"), ret()}
	framed := []step{push("rbp"), push("r15"), sub(0x68), leaBP(0x20), store("rdi", 0x40), spoil("r15"), spoil("rdi"), shrink(0x1230), callAMD64(),
		{[]byte{0x48, 0x8b, 0x7d, 0x20}, func(m *machine) { m.registers["rdi"] = m.memory[m.registers["rbp"]+0x20] }}, leaSP(0x48), pop("r15"), pop("rbp"), leave()}
	huge := []step{push("rdi"), sub(0x123458), spoil("rdi"), callAMD64(), add(0x123458), pop("rdi"), ret()}
	for _, c := range []struct {
		name  string
		steps []step
		info  []byte
	}{
		{"pushes and a store", pushed, unwindInfoBytes(0, length(pushed, 5), 0, 0, []unwindCode{{length(pushed, 1), opPushNonvolatile, 5, nil},
			{length(pushed, 2), opPushNonvolatile, 3, nil}, {length(pushed, 3), opPushNonvolatile, 14, nil}, {length(pushed, 4), opAllocateLarge, 0, []uint16{0x148 / 8}},
			{length(pushed, 5), opSaveNonvolatile, 6, []uint16{0x100 / 8}}})},
		{"frame pointer and alloca", framed, unwindInfoBytes(0, length(framed, 5), 5, 2, []unwindCode{{length(framed, 1), opPushNonvolatile, 5, nil},
			{length(framed, 2), opPushNonvolatile, 15, nil}, {length(framed, 3), opAllocateSmall, 0x68/8 - 1, nil}, {length(framed, 4), opSetFramePointer, 0, nil},
			{length(framed, 5), opSaveNonvolatileFar, 7, []uint16{0x40, 0}}})},
		{"large", huge, unwindInfoBytes(0, length(huge, 2), 0, 0, []unwindCode{{length(huge, 1), opPushNonvolatile, 7, nil}, {length(huge, 2), opAllocateLarge, 1, []uint16{0x3458, 0x12}}})},
		{"leaf", []step{spoil("rax"), spoil("rcx"), ret()}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := code(c.steps)
			entries := []uint32{textAt, textAt + uint32(len(text)), xdataAt}
			if c.info == nil { // another function has the only record
				entries = []uint32{0x8000, 0x8001, xdataAt}
				c.info = unwindInfoBytes(0, 0, 0, 0, nil)
			}
			runFunction(t, table(t, peBinary(text, c.info, entries...)), textAt, newAMD64(), c.steps, windowsPreserved, isCallAMD64)
		})
	}
}

// A part of a function that was moved away has the prologue of the other part.
func TestX64Chained(t *testing.T) {
	main := []step{push("rbx"), sub(0x20), spoil("rbx")}
	cold := []step{store("r12", 0x18), spoil("r12"), callAMD64(), fetch("r12", 0x18)}
	text := append(code(main), make([]byte, 0x100)...)
	text = append(text, code(cold)...)
	coldAt := uint32(textAt + len(code(main)) + 0x100)
	mainEnd := uint32(textAt + len(code(main)))
	info := unwindInfoBytes(0, length(main, 2), 0, 0, []unwindCode{{length(main, 1), opPushNonvolatile, 3, nil}, {length(main, 2), opAllocateSmall, 3, nil}})
	coldInfo := uint32(xdataAt + len(info))
	info = append(info, unwindInfoBytes(unwindChained, length(cold, 1), 0, 0, []unwindCode{{length(cold, 1), opSaveNonvolatile, 12, []uint16{3}}}, textAt, mainEnd, xdataAt)...)
	tab := table(t, peBinary(text, info, textAt, mainEnd, xdataAt, coldAt, coldAt+uint32(len(code(cold))), coldInfo))
	m := newAMD64()
	runFunction(t, tab, textAt, m, main, windowsPreserved, isCallAMD64)
	want := newAMD64().registers
	got := func(q rule.Query) map[string]uint64 {
		r, ok := caller(t, tab, q, m)
		if !ok {
			t.Fatalf("no rules at %+v", q)
		}
		return r
	}
	at := uint64(coldAt)
	for i, s := range cold {
		for _, name := range append(windowsPreserved, "ra") {
			if v := got(rule.Query{Offset: at, Innermost: true})[name]; v != want[name] {
				t.Errorf("before %d: %s is %#x", i, name, v)
			}
		}
		s.do(m)
		at += uint64(len(s.code))
	}
}

// The frame that a trap pushes says where the thread stood.
func TestX64MachineFrame(t *testing.T) {
	info := unwindInfoBytes(0, 0, 0, 0, []unwindCode{{0, opPushMachineFrame, 1, nil}, {0, opAllocateSmall, 3, nil}})
	tab := table(t, peBinary(make([]byte, 0x40), info, textAt, textAt+0x40, xdataAt))
	m := newAMD64()
	sp := m.registers["rsp"]
	m.memory[sp+0x28] = 0x55_5555   // above the locals and the error code: the instruction,
	m.memory[sp+0x40] = 0x7fff_4440 // and three words on the stack pointer
	got, ok := caller(t, tab, rule.Query{Offset: textAt + 0x20}, m)
	set, _ := tab.Rules(rule.Query{Offset: textAt + 0x20})
	if !ok || got["ra"] != 0x55_5555 || got["rsp"] != 0x7fff_4440 || !set.Interrupted {
		t.Errorf("got ip %#x, sp %#x by %+v", got["ra"], got["rsp"], set)
	}
}

// Codes that lead nowhere are no answer, and none of them makes a walk long.
func TestX64Nonsense(t *testing.T) {
	self := unwindInfoBytes(unwindChained, 0, 0, 0, nil, textAt, textAt+0x40, xdataAt)
	for name, info := range map[string][]byte{
		"chained to itself": self,
		"unknown code":      unwindInfoBytes(0, 0, 0, 0, []unwindCode{{0, 13, 0, nil}}),
		"code breaks off":   {1, 0, 1, 0, 0, opAllocateLarge | 1<<4, 0, 0},
		"version 3":         {3, 0, 0, 0},
	} {
		tab := table(t, peBinary(make([]byte, 0x40), info, textAt, textAt+0x40, xdataAt))
		if s, ok := tab.Rules(rule.Query{Offset: textAt + 0x20}); ok {
			t.Errorf("%s: %q", name, s.CFI.Init)
		}
	}
	tab := table(t, peBinary(make([]byte, 0x40), nil, textAt, textAt+0x40, 1|pdataAt)) // a record that stands for itself
	if s, ok := tab.Rules(rule.Query{Offset: textAt + 0x20}); ok {
		t.Errorf("indirect to itself: %q", s.CFI.Init)
	}
}
