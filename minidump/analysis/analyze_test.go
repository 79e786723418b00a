package analysis

import (
	"testing"
)

func TestDecodeText(t *testing.T) {
	for _, c := range []struct {
		code string
		want string
	}{
		{"\xc7\x00\x05\x00\x00\x00", "mov dword [rax], 0x5"},
		{"\x48\x3d\x00\xf0\xff\xff", "cmp rax, -0x1000"},
		{"\x80\x39\x48", "cmp byte [rcx], 0x48"},
		{"\x48\x8b\x41\x48", "mov rax, qword [rcx + 0x48]"},
		{"\xf7\x7c\x24\xf8", "idiv dword [rsp - 0x8]"},
		{"\x64\x48\x8b\x04\x25\x28\x00\x00\x00", "mov rax, qword fs:[0x28]"},
		{"\x0f\x28\x40\x08", "movaps xmm0, xmmword [rax + 0x8]"},
		{"\xff\xd0", "call rax"},
		{"\xcc", "int 0x3"},
		{"\x0f\x0b", "ud2"},
		{"\xc6\x04\x25\x42\x00\x00\x80\x01", "mov byte [0x80000042], 0x1"},
	} {
		i := decode([]byte(c.code), false)
		if i == nil {
			t.Errorf("% x: not decoded, want %q", c.code, c.want)
			continue
		}
		if i.text != c.want {
			t.Errorf("% x: got %q, want %q", c.code, i.text, c.want)
		}
	}
	if i := decode([]byte("\x48\x8b"), false); i != nil {
		t.Errorf("a truncated instruction gives %q", i.text)
	}
}
