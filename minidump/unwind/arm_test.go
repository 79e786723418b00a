package unwind

import (
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

func armThread(registers map[string]uint64, words map[uint64]uint64) Thread {
	all := map[string]uint64{"pc": 0x41000, "sp": 0x8000}
	for name, v := range registers {
		all[name] = v
	}
	return thread(format.ARM, all, 0x8000, 0x1000, words)
}

func TestARM(t *testing.T) {
	bare := program{{base: 0x40000, size: 0x10000}}
	linux := Process{Modules: bare, Heuristics: Parity}
	ios := Process{Modules: bare, Heuristics: Parity, Platform: IOS}
	first := "41000 8000 context 0+1000"
	rules := func(platform Platform, init ...string) Process {
		tab := &table{functions: []symbols.Function{{Name: "f", Address: 0, Size: 0x10000}}}
		for i, r := range init {
			tab.cfi = append(tab.cfi, symbols.CFI{Start: 0x1000 + 0x1000*uint64(i), Size: 0x100, Init: r})
		}
		return Process{Modules: program{{base: 0x40000, size: 0x10000, symbols: tab}}, Heuristics: Parity, Platform: platform}
	}
	record := map[uint64]uint64{0x8100: 0x8200, 0x8104: 0x42010, 0x8200: 0, 0x8204: 0x43010}
	saved := map[string]uint64{"r4": 4, "r5": 5, "r10": 10, "fp": 11, "lr": 0x42010, "r0": 1}
	runCases(t, []walkCase{
		{"Linux has no frame pointer", linux, armThread(map[string]uint64{"fp": 0x8100}, record),
			lines(first, "4200e 8108 scan 0+200e")},
		{"iOS has, down to 0", ios, armThread(map[string]uint64{"fp": 0x8100}, record),
			lines(first, "4200e 8108 frame_pointer 0+200e fp=8200", "4300e 8208 frame_pointer 0+300e fp=0")},
		{"iOS: fp 0 ends the walk without a scan", ios, armThread(nil, map[uint64]uint64{0x8000: 0x42010}), lines(first)},
		{"iOS: outside the stack: scan", ios, armThread(map[string]uint64{"fp": 0x9000}, map[uint64]uint64{0x8000: 0x42010}),
			lines(first, "4200e 8004 scan 0+200e")},
		{"iOS: anything is believed", ios, armThread(map[string]uint64{"fp": 0x8100}, map[uint64]uint64{0x8100: 3, 0x8104: 0x10000000}),
			lines(first, "ffffffe 8108 frame_pointer fp=3")},
		{"iOS: fp at the end of memory", ios, armThread(map[string]uint64{"fp": 0xffff_fffc}, nil), lines(first)},
		{"leaf", rules(OtherPlatform, ".cfa: sp .ra: lr"), armThread(saved, nil),
			lines(first, "4200e 8000 cfi 0+200e r4=4 r5=5 r6=0 r7=0 r8=0 r9=0 r10=a fp=b")},
		{"a leaf that is not innermost ends the walk", rules(OtherPlatform, ".cfa: sp .ra: lr lr: lr", ".cfa: sp .ra: lr"), armThread(saved, nil),
			lines(first, "4200e 8000 cfi 0+200e r4=4 r5=5 r6=0 r7=0 r8=0 r9=0 r10=a fp=b lr=42010")},
		{"other names", rules(OtherPlatform, ".cfa: r13 8 + .ra: r14 r11: .cfa r4: r15"), armThread(saved, nil),
			lines(first, "4200e 8008 cfi 0+200e r4=41000 r5=5 r6=0 r7=0 r8=0 r9=0 r10=a fp=8008")},
		{"iOS: the frame pointer of a frame record is not forwarded, lr not known",
			rules(IOS, "", ".cfa: r7 16 + .ra: lr", ".cfa: sp 16 + .ra: 278544"), armThread(map[string]uint64{"fp": 0x8100}, map[uint64]uint64{
				0x8100: 0x8200, 0x8104: 0x43010, 0x8200: 0x8300, 0x8204: 0x42010, 0x8300: 0, 0x8304: 0x43010}),
			lines(first, "4300e 8108 frame_pointer 0+300e fp=8200", "4400e 8118 cfi 0+400e", "4200e 8208 scan 0+200e")},
	})
}
