package cfi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stackWords is the stack of the tests: word a holds 0x40_0000 + a, from 0x1000
// up to 0x2000.
func stackWords(address uint64) (uint32, bool) {
	if address < 0x1000 || address > 0x2000-4 {
		return 0, false
	}
	return 0x40_0000 + uint32(address), true
}

func waiting() *X86 {
	return &X86{EIP: 0x5000, ESP: 0x1000, EBP: 0x1100, EBX: 0x77, KnownESP: true, KnownEBP: true, KnownEBX: true,
		GrandCallee: true, GrandCalleeParams: 8, Load: stackWords}
}

func registers(pairs ...uint32) (w WinRegisters) {
	for i := 0; i < len(pairs); i += 2 {
		w.set(int(pairs[i]), pairs[i+1])
	}
	return w
}

func TestProgram(t *testing.T) {
	for _, tt := range []struct {
		name, program string
		want          WinRegisters
		ok            bool
	}{
		{"standard prologue", "$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =",
			registers(EIP, 0x40_1104, ESP, 0x1108, EBP, 0x40_1100, EBX, 0x77), true},
		{"search", "$T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + =",
			// esp + locals 0x20 + saved 4 + grand callee's params 8
			registers(EIP, 0x40_102c, ESP, 0x1030, EBP, 0x1100, EBX, 0x77), true},
		{"search start", "$esp .raSearchStart =", registers(ESP, 0x102c, EBP, 0x1100, EBX, 0x77), true},
		{"aligned frame searches from ebp", "$T1 .raSearch = $T0 $T1 4 - 8 @ = $eip $T1 ^ =",
			registers(EIP, 0x40_1104, ESP, 0x1000, EBP, 0x1100, EBX, 0x77), true},
		{"constants", "$esi .cbParams = $edi .cbSavedRegs .cbLocals + .cbCalleeParams + =",
			registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77, ESI, 12, EDI, 0x2c), true},
		{"glued assignment", "$eip 5 =$esp 9 =", registers(EIP, 5, ESP, 9, EBP, 0x1100, EBX, 0x77), true},
		{"undef takes away", "$ebp .undef = $ebx .undef =", registers(ESP, 0x1000), true},
		{"any name will do", ".foo 7 = $foo .foo = $esi .foo $foo * =", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77, ESI, 49), true},
		{"wraps", "$esi 0 1 - = $edi 65536 65536 * =", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77, ESI, 0xffff_ffff, EDI, 0), true},
		{"divides", "$esi 17 5 / = $edi 17 5 % =", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77, ESI, 3, EDI, 2), true},
		{"left over values do not matter", "1 2 3", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77), true},
		{"empty", "", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77), true},
		{"negative number", "$esi -4 =", registers(ESP, 0x1000, EBP, 0x1100, EBX, 0x77, ESI, 0xffff_fffc), true},

		{"reads a name without value", "$eip $T3 =", WinRegisters{}, false},
		{"reads an assigned name no more", "$T3 1 = $T3 .undef = $eip $T3 =", WinRegisters{}, false},
		{"number too large", "2147483648", WinRegisters{}, false},
		{"hexadecimal", "0x10", WinRegisters{}, false},
		{"a word that is no name", "foo", WinRegisters{}, false},
		{"a word that is no name, glued", "$T0 1 =foo", WinRegisters{}, false},
		{"assigns to a number", "4 5 =", WinRegisters{}, false},
		{"assigns to the sum", "$esi 4 + 5 =", WinRegisters{}, false},
		{"assigns nothing", "$eip =", WinRegisters{}, false},
		{"assigns out of nowhere", "=", WinRegisters{}, false},
		{"glued assignment out of nowhere", "=$eip", WinRegisters{}, false},
		{"adds undef", "$eip .undef 4 + =", WinRegisters{}, false},
		{"adds one", "4 +", WinRegisters{}, false},
		{"loads nothing", "^", WinRegisters{}, false},
		{"loads outside the stack", "$eip 0 ^ =", WinRegisters{}, false},
		{"divides by zero", "$eip 1 0 / =", WinRegisters{}, false},
		{"aligns to three", "$eip 9 3 @ =", WinRegisters{}, false},
	} {
		var e WinEvaluator
		// Twice: nothing may be left over from the first time.
		for range 2 {
			got, ok := e.Program(&WinRecord{ParamSize: 12, SavedRegsSize: 4, LocalsSize: 0x20, Program: tt.program}, waiting())
			if ok != tt.ok {
				t.Errorf("%s: ok = %v", tt.name, ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	}
}

func TestProgramNeedsRegisters(t *testing.T) {
	var e WinEvaluator
	record := &WinRecord{Program: "$eip 1 ="}
	for name, change := range map[string]func(*X86){
		"esp": func(c *X86) { c.KnownESP = false },
		"ebp": func(c *X86) { c.KnownEBP = false },
	} {
		c := waiting()
		change(c)
		if _, ok := e.Program(record, c); ok {
			t.Errorf("runs without %s", name)
		}
	}
	c := waiting()
	c.KnownEBX = false
	got, ok := e.Program(record, c)
	if diff := cmp.Diff(registers(EIP, 1, ESP, 0x1000, EBP, 0x1100), got); !ok || diff != "" {
		t.Errorf("without ebx: %v (-want +got):\n%s", ok, diff)
	}
}

func TestFPO(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record WinRecord
		change func(*X86)
		want   WinRegisters
		ok     bool
	}{
		{"keeps ebp", WinRecord{SavedRegsSize: 4, LocalsSize: 0x20}, nil,
			registers(EIP, 0x40_102c, ESP, 0x1030, EBP, 0x1100, EBX, 0x77), true},
		{"saves ebp", WinRecord{ParamSize: 0x400, SavedRegsSize: 12, LocalsSize: 0x20, AllocatesBasePointer: true}, nil,
			// at esp + the grand callee's params 8 + saved 12 - 8
			registers(EIP, 0x40_1034, ESP, 0x1038, EBP, 0x40_100c), true},
		{"without ebx", WinRecord{}, func(c *X86) { c.KnownEBX = false }, registers(EIP, 0x40_1008, ESP, 0x100c, EBP, 0x1100), true},
		{"stands at the return address", WinRecord{}, func(c *X86) {
			c.GrandCallee, c.GrandCalleeParams, c.EIP = false, 0, 0x40_1000
		}, registers(EIP, 0x40_1004, ESP, 0x1008, EBP, 0x1100, EBX, 0x77), true},
		{"has called, so the same address is recursion", WinRecord{}, func(c *X86) { c.EIP = 0x40_1008 },
			registers(EIP, 0x40_1008, ESP, 0x100c, EBP, 0x1100, EBX, 0x77), true},
		{"no esp", WinRecord{}, func(c *X86) { c.KnownESP = false }, WinRegisters{}, false},
		{"return address outside", WinRecord{LocalsSize: 0x1000}, nil, WinRegisters{}, false},
		{"second word outside", WinRecord{}, func(c *X86) {
			c.GrandCallee, c.GrandCalleeParams, c.ESP, c.EIP = false, 0, 0x1ffc, 0x40_1ffc
		}, WinRegisters{}, false},
		{"saved ebp below the stack", WinRecord{AllocatesBasePointer: true}, func(c *X86) { c.GrandCalleeParams = 0 }, WinRegisters{}, false},
	} {
		c := waiting()
		if tt.change != nil {
			tt.change(c)
		}
		got, ok := FPO(&tt.record, c)
		if ok != tt.ok {
			t.Errorf("%s: ok = %v", tt.name, ok)
		}
		if diff := cmp.Diff(tt.want, got); ok && diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	c := waiting()
	c.KnownEBP = false
	if _, ok := FPO(&WinRecord{}, c); ok {
		t.Error("keeps an ebp that is not known")
	}
	c = waiting()
	c.ESP, c.GrandCalleeParams = 0xffff_fffc, 0
	c.Load = func(uint64) (uint32, bool) { return 1, true }
	if _, ok := FPO(&WinRecord{}, c); ok {
		t.Error("esp runs over 32 bits")
	}
}

func FuzzWin(f *testing.F) {
	f.Add("$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =", uint32(0), uint32(4), uint32(8), false)
	f.Add("$T1 .raSearch = $T0 $T1 4 - 8 @ = =$x .undef =", uint32(1), uint32(1<<31), uint32(0xffff_ffff), true)
	f.Fuzz(func(t *testing.T, program string, params, saved, locals uint32, base bool) {
		record := &WinRecord{ParamSize: params, SavedRegsSize: saved, LocalsSize: locals, Program: program, AllocatesBasePointer: base}
		var e WinEvaluator
		a, ok := e.Program(record, waiting())
		if !ok && a.Set != 0 {
			t.Fatal("a program that fails gives registers")
		}
		if ok && a.Set&(1<<ESP) == 0 && !strings.Contains(program, ".undef") {
			t.Fatal("esp got lost")
		}
		if b, ok := FPO(record, waiting()); ok && b.Set&(1<<EIP|1<<ESP|1<<EBP) != 1<<EIP|1<<ESP|1<<EBP {
			t.Fatalf("FPO gives registers %b", b.Set)
		}
	})
}

func BenchmarkWin(b *testing.B) {
	record := &WinRecord{SavedRegsSize: 4, LocalsSize: 0x20, Program: "$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + ="}
	callee := waiting()
	var e WinEvaluator
	for b.Loop() {
		if _, ok := e.Program(record, callee); !ok {
			b.Fatal("program fails")
		}
	}
}
