package analysis

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Forms that compilers emit and the corners of the encoding.
func TestDecodeForms(t *testing.T) {
	for _, c := range []struct {
		code, want string
		length     int
		size       int
	}{
		{"488b03", "mov rax, qword [rbx]", 3, 8},
		{"4a8b44e010", "mov rax, qword [rax + r12 * 8 + 0x10]", 5, 8},
		{"8b042542000080", "mov eax, dword [0x80000042]", 7, 4},
		{"8b05f0ffffff", "mov eax, dword [rip - 0x10]", 6, 4},
		{"67488b03", "mov rax, qword [ebx]", 4, 8},
		{"2e488b03", "mov rax, qword [rbx]", 4, 8},
		{"64488b042528000000", "mov rax, qword fs:[0x28]", 9, 8},
		{"a10102030405060708", "mov eax, dword [0x807060504030201]", 9, 4},
		{"67a101020304", "mov eax, dword [0x4030201]", 6, 4},
		{"48c7c0ffffffff", "mov rax, -0x1", 7, 8},
		{"88e0", "mov al, ah", 2, 1},
		{"4088e0", "mov al, spl", 3, 1},
		{"8ed8", "mov ds, ax", 2, 4},
		{"0f20c0", "mov rax, cr0", 3, 0},
		{"f348a5", "rep movs qword es:[rdi], qword ds:[rsi]", 3, 8},
		{"6548a5", "movs qword es:[rdi], qword gs:[rsi]", 3, 8},
		{"f3aa", "rep stos byte es:[rdi], al", 2, 1},
		{"f00fb10f", "lock cmpxchg dword [rdi], ecx", 4, 4},
		{"f2f00101", "xacquire lock add dword [rcx], eax", 4, 4},
		{"90", "nop", 1, 0},
		{"f390", "nop", 2, 0},
		{"0f1f00", "nop dword [rax]", 3, 4},
		{"e8fbffffff", "call $-0x5", 5, 8},
		{"7402", "jz $+0x2", 2, 0},
		{"4048894310", "mov qword [rbx + 0x10], rax", 5, 8}, // of two REX the second counts
		{"ff6018", "jmp qword [rax + 0x18]", 3, 8},
		{"0faeff", "sfence", 3, 0},
		{"660f6f00", "movdqa xmm0, xmmword [rax]", 4, 16},
		{"c5fc1005ffffff7f", "vmovups ymm0, ymmword [rip + 0x7fffffff]", 8, 32},
		{"c5fb5802", "vaddsd xmm0, xmm0, qword [rdx]", 4, 8},
		{"d900", "fld st(0), dword [rax]", 2, 4},
		{"c8100001", "enter 0x10, 0x1", 4, 8},
		{"62f17c481000", "vmovups zmm0, zmmword [rax]", 6, 64},
		{"62f17cc91000", "vmovups zmm0{k1}{z}, zmmword [rax]", 6, 64},
		{"62e17c49114801", "vmovups zmmword [rax + 0x40]{k1}, zmm17", 7, 64},
		{"62f1ed5858cb", "vaddpd zmm1{ru-sae}, zmm2, zmm3", 6, 0},
		{"62f1ed585808", "vaddpd zmm1, zmm2, qword [rax]{1to8}", 6, 8},
		{"62f16d4a76cb", "vpcmpeqd k1{k2}, zmm2, zmm3", 6, 0},
		{"62f27d48a04caa02", "vpscatterdd dword [rdx + zmm5 * 4 + 0x8], k0, zmm1", 8, 4},
		{"62f2fd08634801", "vpcompressw xmmword [rax + 0x2], xmm1", 7, 16},
		{"c4e2e9900caa", "vpgatherdq xmm1, qword [rdx + xmm5 * 4], xmm2", 6, 8},
		{"0f0f4811bf", "pavgusb mm1, qword [rax + 0x11]", 5, 8},
		{"0f2153", "mov rbx, dr2", 3, 0},
		{"f20f78e7bf5e", "insertq xmm4, xmm7, 0xbf, 0x5e", 6, 0},
		{"660f78c20102", "extrq xmm2, 0x1, 0x2", 6, 0},
		{"c7f804000000", "xbegin $+0x4", 6, 4},
	} {
		b, err := hex.DecodeString(c.code)
		if err != nil {
			t.Fatal(err)
		}
		i := decode(b, false)
		if i == nil {
			t.Errorf("%s: not decoded, want %q", c.code, c.want)
			continue
		}
		if i.text != c.want || i.length != c.length || i.memSize != c.size {
			t.Errorf("%s: got %q of %d bytes, memory %d; want %q of %d, %d", c.code, i.text, i.length, i.memSize, c.want, c.length, c.size)
		}
		for n := range len(b) {
			if decode(b[:n], false) != nil && !strings.HasPrefix(c.code, "6") {
				t.Errorf("%s: decoded from %d bytes", c.code, n)
			}
		}
	}
	// Not instructions: lock on a load, zeroing without a mask, mask 9, a cut prefix, debug register 8, a VEX operand field in use where
	// there is no operand, nothing but prefixes.
	for _, code := range []string{"f08b03", "62f17cc81000", "62717c48c2c800", "62f17c4a1008"[:6], "440f2100", "c5d56f8b5d371311", "666666666666666666666666666666", "", "0f0b00"[:2]} {
		b, _ := hex.DecodeString(code)
		if i := decode(b, false); i != nil {
			t.Errorf("%s: decoded as %q", code, i.text)
		}
	}
}

// What minidump-stackwalk does not decode is decoded by the best heuristics
// alone.
func TestDecodeBest(t *testing.T) {
	for code, want := range map[string][2]string{
		"62f27d49900caa":       {"", "vpgatherdd zmm1{k1}, dword [rdx + zmm5 * 4]"},
		"62f2fd49a20caa":       {"", "vscatterdpd qword [rdx + ymm5 * 4]{k1}, zmm1"},
		"62117c4a29c6":         {"vmovaps zmm14{k2}, zmm8", "vmovaps zmm30{k2}, zmm8"},
		"f390":                 {"nop", "pause"},
		"62f17c481000":         {"vmovups zmm0, zmmword [rax]", "vmovups zmm0, zmmword [rax]"},
		"62f2fd40934c6a020000": {"", ""}, // no mask: not allowed
	} {
		b, _ := hex.DecodeString(code)
		for n, best := range []bool{false, true} {
			got := ""
			if i := decode(b, best); i != nil {
				got = i.text
			}
			if got != want[n] {
				t.Errorf("%s, best %v: got %q, want %q", code, best, got, want[n])
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"488b03", "c4e2f9990a", "62f17c481000", "62f2fd49a20caa", "0f0f4811bf", "f2f00101", "64488b042528000000"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := decode(b, false); p != nil && decode(b, true) == nil {
			t.Errorf("% x: only decoded when not best: %q", b, p.text)
		}
		i := decode(b, true)
		if i == nil {
			return
		}
		if i.length < 1 || i.length > maxInstruction || i.length > len(b) || i.text == "" || strings.Contains(i.text, "{m") || strings.Contains(i.text, "{g") || strings.Contains(i.text, "!") {
			t.Errorf("% x: %q of %d bytes", b, i.text, i.length)
		}
		if again := decode(b[:i.length], true); again == nil || again.text != i.text {
			t.Errorf("% x: the instruction alone decodes to something else", b)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	code, _ := hex.DecodeString("4a8b44e0108b05f0ffffff")
	evex, _ := hex.DecodeString("62e17c49114801")
	decode(code, false)
	decode(evex, false)
	b.ReportAllocs()
	for b.Loop() {
		decode(code, false)
		decode(evex, false)
	}
}

// A REX prefix right behind another is no instruction, unless it begins with
// the two.
func TestDecodeManyREX(t *testing.T) {
	for _, code := range []string{"6448497870", "66484989c0", "48494089c0"} {
		b, err := hex.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		if in := decode(append(b, make([]byte, 8)...), false); in != nil {
			t.Errorf("%s is %s", code, in.text)
		}
	}
}
