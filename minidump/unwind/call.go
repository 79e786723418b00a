package unwind

import (
	"encoding/binary"

	"mayday/minidump/format"
)

// callBytes is how many bytes before a return address are looked at for the
// call instruction.
func callBytes(cpu format.CPU) int {
	switch cpu {
	case format.X86, format.AMD64:
		return 7 // the longest indirect call, not counting prefixes
	case format.MIPS, format.MIPS64:
		return 8 // the call and its delay slot
	}
	return 4
}

// endsInCall reports whether code, the callBytes before a return address, ends
// in a call instruction of cpu. CPUs without a case here have every chance.
func endsInCall(cpu format.CPU, code []byte, order binary.ByteOrder) bool {
	switch cpu {
	case format.X86, format.AMD64:
		return endsInX86Call(code)
	case format.ARM64:
		op := order.Uint32(code)
		return op&0xfc00_0000 == 0x9400_0000 || // BL
			op&0xffff_fc1f == 0xd63f_0000 || // BLR
			op&0xfeff_f800 == 0xd63f_0800 // BLRAA, BLRAB and those with a zero modifier
	case format.ARM:
		return endsInARMCall(code, order)
	case format.MIPS, format.MIPS64:
		op := order.Uint32(code)
		return op>>26 == 3 || // JAL
			op&0xfc00_003f == 9 && op>>11&31 == 31 || // JALR with the link in ra
			op&0xfc1e_0000 == 0x0410_0000 // BLTZAL, BGEZAL, BAL
	case format.RISCV, format.RISCV64:
		op := order.Uint32(code)
		return op&0xfff == 0x0ef || // JAL ra
			op&0x7fff == 0x00e7 || // JALR ra
			op>>16&0xf07f == 0x9002 && op>>23 != 0 || // C.JALR
			cpu == format.RISCV && op>>16&0xe003 == 0x2001 // C.JAL
	case format.PPC, format.PPC64:
		op := order.Uint32(code)
		return op&0xfc00_0001 == 0x4800_0001 || // bl
			op&0xfc00_0001 == 0x4000_0001 || // bcl
			op&0xfc00_03ff == 0x4c00_0021 && op>>11&31 == 0 || // bclrl
			op&0xfc00_07ff == 0x4c00_0421 // bcctrl
	}
	return true
}

// endsInX86Call looks for E8 with a distance, and for FF /2 in each of its
// lengths.
//
//	FF D0+r                     call r            2 bytes
//	FF 10+r                     call [r]          2
//	FF 14 sib                   call [r+r*n]      3
//	FF 50+r disp8               call [r+d]        3
//	FF 54 sib disp8             call [r+r*n+d]    4
//	FF 15 disp32, FF 90+r disp32                  6
//	FF 94 sib disp32, FF 14 sib disp32            7
func endsInX86Call(code []byte) bool {
	back := func(n int) byte { return code[len(code)-n] }
	if back(5) == 0xe8 {
		return true
	}
	const mod, reg, rm = 0xc0, 0x38, 0x07
	for _, n := range [...]int{2, 3, 4, 6, 7} {
		if back(n) != 0xff {
			continue
		}
		m := back(n - 1)
		if m&reg != 2<<3 {
			continue
		}
		length := 2
		sib := m&mod != mod && m&rm == 4
		if sib {
			if n == 2 {
				continue // it would lie behind the return address
			}
			length++
		}
		switch m & mod {
		case 0x40:
			length++
		case 0x80:
			length += 4
		case 0x00:
			if m&rm == 5 || sib && back(n-2)&rm == 5 {
				length += 4
			}
		}
		if length == n {
			return true
		}
	}
	return false
}

// endsInARMCall accepts calls of both instruction sets: whether the return
// address has the Thumb bit got lost if it came out of another frame.
func endsInARMCall(code []byte, order binary.ByteOrder) bool {
	op := order.Uint32(code)
	if op&0x0f00_0000 == 0x0b00_0000 || // BL
		op&0xfe00_0000 == 0xfa00_0000 || // BLX to Thumb
		op&0x0fff_fff0 == 0x012f_ff30 { // BLX r
		return true
	}
	first, second := order.Uint16(code), order.Uint16(code[2:])
	return first&0xf800 == 0xf000 && second&0xc000 == 0xc000 && second&0x1000 != 0 || // BL
		first&0xf800 == 0xf000 && second&0xd001 == 0xc000 || // BLX to ARM
		second&0xff87 == 0x4780 // BLX r
}
