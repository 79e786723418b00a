package analysis

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayday/minidump"
	"mayday/minidump/reason"
	"mayday/minidump/synth"
)

// crashAt makes a dump of a process that crashed at the given code.
func crashAt(code []byte) []byte {
	c := &synth.Context{CPU: synth.AMD64}
	names := []string{"rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}
	for i, n := range names {
		c.Set(n, 0x7f0000010000+uint64(i)*0x10)
	}
	c.Set("rsp", 0x7ffc00001000)
	c.Set("rip", 0x401000)
	d := synth.Dump{
		System:    &synth.System{CPU: synth.AMD64, OS: synth.LinuxOS},
		Threads:   []synth.Thread{{ID: 1, Context: c, Stack: synth.Memory{Start: 0x7ffc00001000, Data: make([]byte, 64)}}},
		Exception: &synth.Exception{Thread: 1, Code: 11, Flags: 1, Address: 0x123},
		Memory:    []synth.Memory{{Start: 0x401000, Data: code}},
	}
	return d.Bytes()
}

// The text and the accesses of random instructions are those of
// minidump-stackwalk, where it is installed. Instructions that hardly ever
// crash may differ: MAYDAY_PEER_INSTRUCTIONS raises the number and lists them,
// MAYDAY_PEER_CODES names a file with instructions to try instead, in
// hexadecimal, one a line.
func TestPeerInstructions(t *testing.T) {
	peer, err := exec.LookPath("minidump-stackwalk")
	if err != nil {
		t.Skip("instructions are compared with those that minidump-stackwalk prints; it is not in PATH")
	}
	n, verbose := 150, false
	if v, err := strconv.Atoi(os.Getenv("MAYDAY_PEER_INSTRUCTIONS")); err == nil {
		n, verbose = v, true
	}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	name := filepath.Join(t.TempDir(), "crash.dmp")
	codes := make([][]byte, n)
	for i := range codes {
		codes[i] = randomCode(r)
	}
	if text, err := os.ReadFile(os.Getenv("MAYDAY_PEER_CODES")); err == nil {
		codes = codes[:0]
		for line := range strings.Lines(string(text)) {
			code, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, append(code, make([]byte, 16)...))
		}
		verbose = true
	}
	same := 0
	total := 0
	for _, code := range codes {
		b := crashAt(code)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(peer, "--json", "--no-interactive", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			CrashInfo struct {
				Instruction    *string
				MemoryAccesses []struct {
					Address    string
					Size       *int
					AccessType string `json:"access_type"`
				} `json:"memory_accesses"`
			} `json:"crash_info"`
		}
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatal(err)
		}
		if want.CrashInfo.Instruction == nil {
			continue
		}
		total++
		wantText := *want.CrashInfo.Instruction
		for _, a := range want.CrashInfo.MemoryAccesses {
			size := 0
			if a.Size != nil {
				size = *a.Size
			}
			wantText += fmt.Sprintf(" | %s %d %s", a.Address, size, a.AccessType)
		}
		d, err := minidump.FromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		address, _ := reason.Address(d)
		got := Analyze(Input{Dump: d, Mappings: d.NewMappings(), Address: address})
		gotText := got.Instruction
		for _, a := range got.Accesses {
			gotText += fmt.Sprintf(" | 0x%016x %d %s", a.Address, a.Size, a.Kind)
		}
		if gotText == wantText {
			same++
		} else if verbose {
			t.Logf("% x\n   got %s\n  want %s", code, gotText, wantText)
		}
	}
	t.Logf("%d of %d equal", same, total)
	if same*100 < total*95 {
		t.Errorf("%d of %d instructions equal, want 95 %%", same, total)
	}
}

// randomCode is an instruction of the kinds that compilers make, with random
// operands.
func randomCode(r *rand.Rand) []byte {
	var b []byte
	if r.IntN(6) == 0 { // EVEX, with fields that there may be nothing for at rest
		b = append(b, 0x62, byte(r.IntN(16))<<4|byte(1+r.IntN(3)), byte(r.IntN(2))<<7|0x7c|byte(r.IntN(4)), byte(r.IntN(16))<<4|8|byte(r.IntN(8)))
		for range 14 {
			b = append(b, byte(r.IntN(256)))
		}
		return b
	}
	switch r.IntN(8) {
	case 0:
		b = append(b, 0x66)
	case 1:
		b = append(b, byte([]int{0xf3, 0xf2}[r.IntN(2)]))
	case 2:
		if r.IntN(4) == 0 {
			b = append(b, byte([]int{0x64, 0x65, 0xf0, 0x2e}[r.IntN(4)]))
		}
	}
	if r.IntN(2) == 0 {
		b = append(b, 0x48|byte(r.IntN(8)))
	}
	if r.IntN(3) == 0 {
		b = append(b, 0x0f)
	}
	b = append(b, byte(r.IntN(256)))
	for range 14 {
		b = append(b, byte(r.IntN(256)))
	}
	return b
}
