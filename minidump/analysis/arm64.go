package analysis

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
)

// arm64 decodes an arm64 instruction, finds the memory that a load or store
// touches, and where a branch to a register leads. Pairs and vectors are
// reported without their size.
func (s *scene) arm64(code []byte) {
	if len(code) < 4 {
		return
	}
	i, err := arm64asm.Decode(code[:4])
	if err != nil {
		return
	}
	s.result.Instruction = arm64asm.GNUSyntax(i)
	s.result.Accesses = []Access{}
	if i.Op == arm64asm.BR || i.Op == arm64asm.BLR || i.Op == arm64asm.RET {
		name := "lr"
		if i.Args[0] != nil {
			name = arm64Register(i.Args[0].String())
		}
		if v, ok := s.context.Named(name); ok {
			s.result.Jump = &Jump{Address: v}
		}
		return
	}
	word := binary.LittleEndian.Uint32(code)
	op := i.Op.String()
	for _, a := range i.Args {
		var base string
		var offset uint64
		readable := false
		switch m := a.(type) {
		case arm64asm.MemImmediate:
			base = m.Base.String()
			offset, readable = arm64Offset(m.String())
		case arm64asm.MemExtend: // a shifted or extended index is left out
			s.result.Accesses = nil
			return
		default:
			continue
		}
		v, known := s.context.Named(arm64Register(base))
		if !known || !readable {
			s.result.Accesses = nil
			return
		}
		access := Access{Address: v + offset, null: v == 0}
		switch {
		case strings.HasPrefix(op, "LD"):
			access.Kind = Read
		case strings.HasPrefix(op, "ST"):
			access.Kind = Write
		}
		// Loads and stores of one general register have 111 in bits 27 to 29, 0
		// in bit 26, and the logarithm of their size in bits 30 and 31.
		if word>>27&7 == 7 && word>>26&1 == 0 {
			access.Size = 1 << (word >> 30)
		}
		s.result.Accesses = append(s.result.Accesses, access)
	}
	for _, a := range s.result.Accesses {
		if a.null {
			s.result.Adjusted = &Adjusted{NullPointer: true, Address: a.Address}
			return
		}
	}
}

// arm64Register is a register's name in a context: x29 is fp, x30 lr.
func arm64Register(name string) string {
	switch name = strings.ToLower(name); name {
	case "x29":
		return "fp"
	case "x30":
		return "lr"
	}
	return name
}

// arm64Offset is what the operand adds to its base before the access; arm64asm
// tells it as text only: "[X0,#8]", "[X0,#8]!", "[X0],#8" (afterwards: 0).
func arm64Offset(text string) (uint64, bool) {
	inside, _, _ := strings.Cut(text, "]")
	_, number, ok := strings.Cut(inside, "#")
	if !ok {
		return 0, !strings.Contains(inside, ",")
	}
	v, err := strconv.ParseInt(number, 0, 64)
	return uint64(v), err == nil
}
