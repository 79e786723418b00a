package unwind

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"mayday/minidump/format"
)

func TestEndsInCall(t *testing.T) {
	for _, tt := range []struct {
		cpu  format.CPU
		code string // hexadecimal, the bytes right before the return address
		want bool
	}{
		{format.AMD64, "9090e8 12345678", true}, // call rel32
		{format.AMD64, "e890909090 9090", false},
		{format.AMD64, "9090909090 ffd0", true},    // call rax
		{format.AMD64, "90909090 41ffd3", true},    // call r11
		{format.AMD64, "9090909090 ff13", true},    // call [rbx]
		{format.AMD64, "90909090 ff5308", true},    // call [rbx+8]
		{format.AMD64, "90 ff9300010000", true},    // call [rbx+0x100]
		{format.AMD64, "90 ff1500010000", true},    // call [rip+0x100]
		{format.AMD64, "90909090 ff14c3", true},    // call [rbx+rax*8]
		{format.AMD64, "909090 ff54c308", true},    // call [rbx+rax*8+8]
		{format.AMD64, "ff94c300010000", true},     // call [rbx+rax*8+0x100]
		{format.AMD64, "ff14c500010000", true},     // call [rax*8+0x100]
		{format.AMD64, "9090909090 ffe0", false},   // jmp rax
		{format.AMD64, "9090909090 ff03", false},   // inc [rbx]
		{format.AMD64, "90909090 ff1308", false},   // call [rbx], then another byte
		{format.AMD64, "9090909090 ff14", false},   // call [sib], broken off
		{format.AMD64, "9090909090 ff54", false},   // call [sib+d], broken off
		{format.AMD64, "9090909090 ff94", false},   // the same with a wide d
		{format.AMD64, "90909090909090", false},    // nothing
		{format.X86, "9090 e800000000", true},      //
		{format.ARM64, "00000094", true},           // bl
		{format.ARM64, "20003fd6", true},           // blr x1
		{format.ARM64, "1f093fd6", true},           // blraaz x8
		{format.ARM64, "28093fd7", true},           // blraa x9, x8
		{format.ARM64, "20001fd6", false},          // br x1
		{format.ARM64, "00000014", false},          // b
		{format.ARM, "000000eb", true},             // bl
		{format.ARM, "33ff2fe1", true},             // blx r3
		{format.ARM, "000000fa", true},             // blx
		{format.ARM, "00f000f8", true},             // Thumb bl
		{format.ARM, "00f000e8", true},             // Thumb blx
		{format.ARM, "00bf9847", true},             // Thumb blx r3
		{format.ARM, "00bf1847", false},            // Thumb bx r3
		{format.ARM, "000000ea", false},            // b
		{format.MIPS, "0100000c 00000000", true},   // jal
		{format.MIPS, "09f82003 00000000", true},   // jalr t9
		{format.MIPS, "01001104 00000000", true},   // bal
		{format.MIPS, "0800e003 00000000", false},  // jr ra
		{format.MIPS64, "09f82003 00000000", true}, //
		{format.RISCV64, "ef000000", true},         // jal ra
		{format.RISCV64, "e7800500", true},         // jalr ra, a1
		{format.RISCV64, "01008295", true},         // c.jalr a1
		{format.RISCV64, "67800000", false},        // ret
		{format.RISCV64, "01008280", false},        // c.ret
		{format.RISCV, "01000120", true},           // c.jal, of 32 bits alone
		{format.RISCV64, "01000120", false},        //
		{format.PPC64, "01000048", true},           // bl
		{format.PPC64, "2104804e", true},           // bctrl
		{format.PPC64, "2100804e", true},           // blrl
		{format.PPC64, "2000804e", false},          // blr
		{format.PPC64, "00000048", false},          // b
		{format.SPARC, "00000000", true},           // not known
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(tt.code, " ", ""))
		if err != nil || len(code) != callBytes(tt.cpu) {
			t.Fatalf("%q: %d bytes, %v", tt.code, len(code), err)
		}
		if got := endsInCall(tt.cpu, code, binary.LittleEndian); got != tt.want {
			t.Errorf("%s %s: %v", tt.cpu, tt.code, got)
		}
	}
	if !endsInCall(format.PPC, []byte{0x48, 0, 0, 1}, binary.BigEndian) {
		t.Error("big-endian bl is no call")
	}
}
