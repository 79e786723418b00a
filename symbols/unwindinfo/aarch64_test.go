package unwindinfo

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// newARM64 is a thread at the first instruction of a function.
func newARM64() *machine {
	m := &machine{registers: map[string]uint64{}, memory: map[uint64]uint64{}, sp: "sp", word: 8}
	for i := range 31 {
		m.registers[fmt.Sprintf("x%d", i)] = 0x1111 * uint64(i+1)
	}
	m.registers["sp"], m.registers["ra"], m.registers["x30"] = 0x7fff_0000, 0x1_0000_1234, 0x1_0000_1234
	return m
}

var arm64Preserved = []string{"x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29"}

func op(v uint32, do func(m *machine)) step {
	return step{binary.LittleEndian.AppendUint32(nil, v), do}
}

func reg(n int) string { return fmt.Sprintf("x%d", n) }

// storePair and loadPair are stp and ldp with sp: plain, or moving sp before or
// after.
func storePair(a, b, distance int, moves bool) step {
	word := uint32(0xa90003e0)
	if moves {
		word = 0xa98003e0
	}
	word |= uint32(a) | uint32(b)<<10 | uint32(distance/8)&0x7f<<15
	return op(word, func(m *machine) {
		at := m.registers["sp"] + uint64(distance)
		m.memory[at], m.memory[at+8] = m.registers[reg(a)], m.registers[reg(b)]
		if moves {
			m.registers["sp"] = at
		}
	})
}

func loadPair(a, b, distance int, moves bool) step {
	word := uint32(0xa94003e0)
	if moves {
		word = 0xa8c003e0
	}
	word |= uint32(a) | uint32(b)<<10 | uint32(distance/8)&0x7f<<15
	return op(word, func(m *machine) {
		at := m.registers["sp"]
		if !moves {
			at += uint64(distance)
		}
		m.registers[reg(a)], m.registers[reg(b)] = m.memory[at], m.memory[at+8]
		if moves {
			m.registers["sp"] += uint64(distance)
		}
	})
}

// storeOne and loadOne are str and ldr.
func storeOne(a, distance int, moves bool) step {
	return op(0xf90003e0|uint32(a), func(m *machine) {
		at := m.registers["sp"] + uint64(distance)
		m.memory[at] = m.registers[reg(a)]
		if moves {
			m.registers["sp"] = at
		}
	})
}

func loadOne(a, distance int, moves bool) step {
	return op(0xf94003e0|uint32(a), func(m *machine) {
		at := m.registers["sp"]
		if !moves {
			at += uint64(distance)
		}
		m.registers[reg(a)] = m.memory[at]
		if moves {
			m.registers["sp"] += uint64(distance)
		}
	})
}

// moveSP adds to sp.
func moveSP(n int) step {
	word := uint32(0x910003ff) | uint32(n)<<10
	if n < 0 {
		word = 0xd10003ff | uint32(-n)<<10
	}
	return op(word, func(m *machine) { m.registers["sp"] += uint64(int64(n)) })
}

func setFP(n int) step {
	return op(0x910003fd|uint32(n)<<10, func(m *machine) { m.registers["x29"] = m.registers["sp"] + uint64(n) })
}

// floats moves sp for a pair of floating point registers.
func floats(n int) step {
	return op(0x6d8003e0|uint32(n/8)&0x7f<<15, func(m *machine) { m.registers["sp"] += uint64(int64(n)) })
}

func unfloats(n int) step {
	return op(0x6cc003e0|uint32(n/8)&0x7f<<15, func(m *machine) { m.registers["sp"] += uint64(int64(n)) })
}

func none(word uint32) step { return op(word, func(*machine) {}) }

// spoilARM64 changes a register that was saved: movz.
func spoilARM64(n int) step {
	return op(0xd2800000|uint32(n), func(m *machine) { m.registers[reg(n)] = 0x5a5a })
}

func callARM64() step {
	return op(0x94000000, func(m *machine) { m.registers["x30"] = 0x1_0000_0004 })
}

func isCallARM64(c []byte) bool { return binary.LittleEndian.Uint32(c)>>26 == 0x25 }

func retARM64() step { return none(0xd65f03c0) }

// arm64Binary is an image with one function.
func arm64Binary(text, xdata []byte, word uint32) *sample.Binary {
	b := peBinary(text, xdata)
	b.Machine = executable.ARM64
	p := binary.LittleEndian.AppendUint32(nil, textAt)
	b.Sections[2].Data = binary.LittleEndian.AppendUint32(p, word)
	return b
}

// xdataBytes is .xdata of a function of size bytes with epilogues at the given
// offsets, each with an index into codes; none given means that a single
// epilogue at the end uses the codes from index on.
func xdataBytes(size int, codes []byte, index int, scopes ...[2]int) []byte {
	for len(codes)%4 != 0 {
		codes = append(codes, 0xe3)
	}
	word := uint32(size/4) | uint32(len(codes)/4)<<27
	if len(scopes) == 0 {
		word |= 1<<21 | uint32(index)<<22
	} else {
		word |= uint32(len(scopes)) << 22
	}
	b := binary.LittleEndian.AppendUint32(nil, word)
	for _, s := range scopes {
		b = binary.LittleEndian.AppendUint32(b, uint32(s[0]/4)|uint32(s[1])<<22)
	}
	return append(b, codes...)
}

func TestARM64Unpacked(t *testing.T) {
	// The frame that compilers make of a function with a frame pointer.
	steps := []step{none(0xd503237f), storePair(19, 20, -0x50, true), storePair(21, 22, 0x10, false), storePair(23, 24, 0x20, false), storeOne(25, 0x30, false),
		none(0x6d0003e0), storePair(29, 30, -0x20, true), setFP(0), moveSP(-0x60), spoilARM64(19), spoilARM64(22), spoilARM64(25), callARM64(),
		moveSP(0x60), loadPair(29, 30, 0x20, true), none(0x6d4003e0), loadOne(25, 0x30, false), loadPair(23, 24, 0x20, false), loadPair(21, 22, 0x10, false), loadPair(19, 20, 0x50, true), none(0xd50323ff), retARM64()}
	codes := []byte{0x06, // alloc_s 0x60
		0xe1,       // set_fp
		0x83,       // save_fplr_x 0x20
		0xd9, 0x08, // save_fregp
		0xd1, 0x86, // save_reg x25, 0x30
		0xe6,       // save_next: x23, x24
		0xe6,       // save_next: x21, x22
		0x2a,       // save_r19r20_x 0x50
		0xfc, 0xe4, // pac_sign_lr, end
	}
	epilogue := len(codes)
	codes = append(codes, 0x06, 0x83, 0xd9, 0x08, 0xd1, 0x86, 0xe6, 0xe6, 0x2a, 0xfc, 0xe4)
	text := code(steps)
	x := xdataBytes(len(text), codes, epilogue)
	runFunction(t, table(t, arm64Binary(text, x, xdataAt)), textAt, newARM64(), steps, arm64Preserved, isCallARM64)
	// The same with the epilogue listed, and code behind it.
	x = xdataBytes(len(text)+0x40, codes, 0, [2]int{13 * 4, epilogue})
	runFunction(t, table(t, arm64Binary(append(text, make([]byte, 0x40)...), x, xdataAt)), textAt, newARM64(), steps, arm64Preserved, isCallARM64)
}

func TestARM64UnpackedKinds(t *testing.T) {
	steps := []step{storePair(19, 30, -0x10, true), floats(-0x20), storeOne(28, -0x10, true), moveSP(-0xff0), spoilARM64(19), spoilARM64(28), callARM64(),
		moveSP(0xff0), loadOne(28, 0x10, true), unfloats(0x20), loadPair(19, 30, 0x10, true), retARM64()}
	codes := []byte{0xc0, 0xff, // alloc_m
		0xd4 | 1, 0x21, // save_reg_x x28, 0x10
		0xda, 0x03, // save_fregp_x 0x20
		0xe7, 0x33, 0x00, // save_any_reg: x19 and, with it,
		0xe4}
	// save_lrpair has no form that moves sp: what an assembler writes is an
	// allocation and a store.
	steps[0] = moveSP(-0x10)
	steps = append(steps[:1], append([]step{storePair(19, 30, 0, false)}, steps[1:]...)...)
	steps[len(steps)-2] = loadPair(19, 30, 0, false)
	steps = append(steps[:len(steps)-1], moveSP(0x10), retARM64())
	codes = append(codes[:6], 0xd6, 0x00, 0x01, 0xe4) // save_lrpair x19, alloc_s 0x10, end
	text := code(steps)
	runFunction(t, table(t, arm64Binary(text, xdataBytes(len(text), codes, 0), xdataAt)), textAt, newARM64(), steps, arm64Preserved, isCallARM64)
}

// packedSteps writes the function that a packed record stands for, after the
// tables of the format's description.
func packedSteps(floatCount, integers, link, locals int, home bool) (steps []step, frame int) {
	size := integers * 8
	if link == 1 {
		size += 8
	}
	if floatCount > 0 {
		size += floatCount*8 + 8
	}
	if home {
		size += 64
	}
	saved := (size + 15) &^ 15
	var out []step // the epilogue, from its end
	if link == 2 {
		steps = append(steps, none(0xd503237f))
		out = append(out, none(0xd50323ff))
	}
	first := true
	at := 0
	pair := func(a, b int) {
		if first {
			steps, out = append(steps, storePair(a, b, -saved, true)), append(out, loadPair(a, b, saved, true))
		} else {
			steps, out = append(steps, storePair(a, b, at, false)), append(out, loadPair(a, b, at, false))
		}
		first = false
		at += 16
	}
	one := func(a int) {
		if first {
			steps, out = append(steps, storeOne(a, -saved, true)), append(out, loadOne(a, saved, true))
		} else {
			steps, out = append(steps, storeOne(a, at, false)), append(out, loadOne(a, at, false))
		}
		first = false
		at += 8
	}
	for i := 0; i < integers; i += 2 {
		switch {
		case i+1 < integers:
			pair(19+i, 20+i)
		case link == 1:
			pair(19+i, 30)
		default:
			one(19 + i)
		}
	}
	if link == 1 && integers%2 == 0 {
		one(30)
	}
	for i := 0; floatCount > 0 && i <= floatCount; i += 2 {
		if first {
			steps, out = append(steps, floats(-saved)), append(out, unfloats(saved))
		} else {
			steps, out = append(steps, none(0x6d0003e0)), append(out, none(0x6d4003e0))
		}
		first = false
	}
	if home {
		for i := range 4 {
			if i == 0 && first {
				steps, out = append(steps, storePair(0, 1, -saved, true)), append(out, moveSP(saved))
				continue
			}
			steps = append(steps, none(0xa90003e0))
		}
	}
	switch {
	case link >= 2 && locals == 0:
		steps, out = append(steps, storePair(29, 30, 0, false)), append(out, loadPair(29, 30, 0, false))
	case link >= 2 && locals <= 512:
		steps, out = append(steps, storePair(29, 30, -locals, true)), append(out, loadPair(29, 30, locals, true))
	case link >= 2:
		steps, out = append(steps, moveSP(-locals), storePair(29, 30, 0, false)), append(out, moveSP(locals), loadPair(29, 30, 0, false))
	case locals > 0:
		steps, out = append(steps, moveSP(-locals)), append(out, moveSP(locals))
	}
	if link >= 2 {
		steps = append(steps, setFP(0))
	}
	for i := range integers {
		steps = append(steps, spoilARM64(19+i))
	}
	if link != 0 {
		steps = append(steps, callARM64())
	}
	for i := len(out) - 1; i >= 0; i-- {
		steps = append(steps, out[i])
	}
	return append(steps, retARM64()), saved + locals
}

func TestARM64Packed(t *testing.T) {
	for _, link := range []int{0, 1, 2, 3} {
		for integers := range 11 {
			for _, floatCount := range []int{0, 1, 3} {
				for _, home := range []bool{false, true} {
					for _, locals := range []int{0, 16, 496, 1024} {
						if link == 0 && integers+floatCount == 0 && !home && locals == 0 || link >= 2 && locals == 0 {
							continue // there is no room for a frame record
						}
						if link == 1 && integers == 1 {
							continue // not a pair that one instruction can push
						}
						steps, frame := packedSteps(floatCount, integers, link, locals, home)
						text := code(steps)
						word := uint32(1) | uint32(len(text)/4)<<2 | uint32(floatCount)<<13 | uint32(integers)<<16 | uint32(link)<<21 | uint32(frame/16)<<23
						if home {
							word |= 1 << 20
						}
						tab := table(t, arm64Binary(text, nil, word))
						runFunction(t, tab, textAt, newARM64(), steps, arm64Preserved, isCallARM64)
						if t.Failed() {
							t.Fatalf("link %d, %d integers, %d floats, home %v, %d bytes of locals", link, integers, floatCount, home, locals)
						}
					}
				}
			}
		}
	}
}

// What a trap leaves says where the thread stood.
func TestARM64Traps(t *testing.T) {
	for _, c := range []struct {
		name         string
		code         byte
		spAt, ipAt   uint64
		x19At, x29At uint64
	}{{"machine frame", 0xe9, 0, 8, 0, 0}, {"context", 0xea, contextSP, contextPC, contextRegisters + 19*8, contextRegisters + 29*8}} {
		text := make([]byte, 0x40)
		tab := table(t, arm64Binary(text, xdataBytes(len(text), []byte{0x02, c.code, 0xe4}, 0, [2]int{0x3c, 2}), xdataAt))
		m := newARM64()
		sp := m.registers["sp"] + 0x20
		for i := range uint64(0x110 / 8) {
			m.memory[sp+8*i] = i
		}
		m.memory[sp+c.spAt], m.memory[sp+c.ipAt] = 0x7fff_8000, 0x55_5555
		q := rule.Query{Offset: textAt + 0x20}
		got, ok := caller(t, tab, q, m)
		set, _ := tab.Rules(q)
		if !ok || !set.Interrupted || got["sp"] != 0x7fff_8000 || got["ra"] != 0x55_5555 || c.x19At != 0 && (got["x19"] != c.x19At/8 || got["x29"] != c.x29At/8) {
			t.Errorf("%s: got %x by %+v", c.name, got, set)
		}
	}
}

// Every sequence of bytes is decoded without going past its end.
func TestARM64CodesAreBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make([]byte, 1+r.IntN(6))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		_, n := decodeARM64Code(b)
		if n > len(b) {
			t.Fatalf("% x: length %d", b, n)
		}
		codes, _ := decodeARM64(b)
		newARM64Frame().undo(codes)
	}
}
