package unwind

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing"

	"mayday/minidump/format"
	"mayday/symbols"
)

// signalled is a thread in a signal handler: function b, which the kernel's
// trampoline called, which no symbols cover. The signal hit function c at its
// first instruction; a called it.
type signalled struct {
	name  string
	cpu   format.CPU
	text  uint64
	frame map[uint64]uint64 // what the kernel left, by distance from the trampoline's sp
	spoil []uint64          // words of it without which it is not one
}

const interruptedSP, handlerSP, trampolineSP = 0x8800, 0x8000, 0x8010

// registersAt are words from a distance on, numbered from 0x100, but for those
// named.
func registersAt(frame map[uint64]uint64, at, size uint64, order []string, named map[string]uint64) {
	for i, n := range order {
		v, ok := named[n]
		if !ok {
			v = 0x100 + uint64(i)
		}
		frame[at+uint64(i)*size] = v
	}
}

func signalledThreads() []signalled {
	const c = 0x3000
	arm64 := map[uint64]uint64{arm64SignalState: 0x6000_1000, arm64SignalRecords: arm64FloatRecord}
	registersAt(arm64, arm64SignalRegisters, 8, arm64SignalOrder, map[string]uint64{"sp": interruptedSP, "pc": arm64Text + c, "x30": arm64Text + 0x1010, "x29": 0})
	arm := map[uint64]uint64{0: armSignalMagic, armSignalState: 0x6000_0010}
	registersAt(arm, armSignalRegisters, 4, armSignalOrder, map[string]uint64{"sp": interruptedSP, "pc": 0x400000 + c, "lr": 0x401010})
	info := map[uint64]uint64{0: 11, armSignalInfo + armSignalState: 0x6000_0030 &^ 0x20}
	registersAt(info, armSignalInfo+armSignalRegisters, 4, armSignalOrder, map[string]uint64{"sp": interruptedSP, "pc": 0x400000 + c, "lr": 0x401010})
	return []signalled{
		{"arm64", format.ARM64, arm64Text, arm64, []uint64{arm64SignalState, arm64SignalRecords, arm64SignalRegisters + 31*8, arm64SignalRegisters + 32*8}},
		{"arm", format.ARM, 0x400000, arm, []uint64{0, armSignalState, armSignalRegisters + 13*4, armSignalRegisters + 15*4}},
		{"arm with siginfo", format.ARM, 0x400000, info, []uint64{0, armSignalInfo + armSignalState}},
	}
}

func (s signalled) walk(frame map[uint64]uint64) string {
	ra := ".cfa 8 - ^"
	leaf := ".cfa: sp 0 + .ra: lr"
	if s.cpu != format.ARM64 {
		ra = ".cfa 4 - ^"
	}
	sp := s.cpu.RegisterName(s.cpu.SPRegister())
	tab := &table{functions: functions("a", "b", "c"), cfi: []symbols.CFI{{Start: 0x2000, Size: 0x1000, Init: fmt.Sprintf(".cfa: %s 16 + .ra: %s", sp, ra)}, {Start: 0x3000, Size: 0x100, Init: leaf}}}
	words := map[uint64]uint64{}
	if s.cpu == format.ARM64 {
		words[handlerSP+8] = s.text + 0xf010 // where the trampoline is
	} else {
		words[handlerSP+12] = s.text + 0xf010
	}
	for distance, v := range frame {
		words[trampolineSP+distance] = v
	}
	th := thread(s.cpu, map[string]uint64{s.cpu.RegisterName(s.cpu.IPRegister()): s.text + 0x2040, sp: handlerSP}, handlerSP, 0x1000, words)
	th.Stack.Order = binary.LittleEndian
	p := Process{Modules: program{{base: s.text, size: 0x10000, symbols: tab}}}
	var b strings.Builder
	for _, f := range NewWalker(p).Walk(context.Background(), th).Frames {
		fmt.Fprintf(&b, "%x %s\n", f.Offset(), f.Trust)
	}
	return b.String()
}

func TestSignalFramesOfCPUs(t *testing.T) {
	for _, s := range signalledThreads() {
		t.Run(s.name, func(t *testing.T) {
			back := uint64(0xf010) - archOf(s.cpu).adjust
			want := fmt.Sprintf("2040 context\n%x cfi\n3000 cfi\n%x cfi\n", back, 0x1010-archOf(s.cpu).adjust)
			if got := s.walk(s.frame); !strings.HasPrefix(got, want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			for _, at := range s.spoil {
				broken := maps.Clone(s.frame)
				broken[at] = 0x7fff_ffff
				if got := s.walk(broken); strings.Contains(got, "3000 cfi") {
					t.Errorf("taken for a signal's frame with %#x spoiled:\n%s", at, got)
				}
			}
		})
	}
}

// Where the handler was left by its frame record, the kernel's frame lies
// somewhat above.
func TestSignalFrameAboveARecord(t *testing.T) {
	s := signalledThreads()[0]
	words := map[uint64]uint64{0x8000: 0x8900, 0x8008: arm64Text + 0xf010}
	for distance, v := range s.frame {
		words[0x8080+distance] = v
	}
	th := arm64Thread(map[string]uint64{"pc": arm64Text + 0x2040, "fp": 0x8000}, words)
	p := Process{Modules: program{{base: arm64Text, size: 0x10000, symbols: &table{functions: functions("a", "b", "c")}}}}
	c := NewWalker(p).Walk(context.Background(), th)
	if len(c.Frames) < 3 || c.Frames[2].Offset() != 0x3000 || c.Frames[2].StackPointer != interruptedSP {
		t.Errorf("got\n%s", summary(c))
	}
}
