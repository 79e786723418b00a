package unwindinfo

import (
	"encoding/binary"
	"slices"
	"testing"

	"mayday/symbols/executable"
	"mayday/symbols/sample"
	"mayday/symbols/unwindinfo/rule"
)

// compactEntry is a function in __unwind_info.
type compactEntry struct {
	start uint32
	word  uint32
}

// unwindInfoSection writes __unwind_info of one page, which ends at end. In a
// compressed page the words of even entries are common ones.
func unwindInfoSection(entries []compactEntry, end uint32, compressed bool) []byte {
	le := binary.LittleEndian
	const header, index = 28, 28
	b := make([]byte, header+2*12)
	var common, own []uint32
	page := []byte{}
	if compressed {
		at := 12
		page = le.AppendUint32(page, compactCompressed)
		page = le.AppendUint16(page, uint16(at))
		page = le.AppendUint16(page, uint16(len(entries)))
		page = le.AppendUint16(page, uint16(at+4*len(entries)))
		for i, e := range entries {
			if i%2 == 0 {
				common = append(common, e.word)
			} else {
				own = append(own, e.word)
			}
		}
		page = le.AppendUint16(page, uint16(len(own)))
		for i, e := range entries {
			n := i / 2
			if i%2 == 1 {
				n += len(common)
			}
			page = le.AppendUint32(page, e.start-entries[0].start|uint32(n)<<24)
		}
		for _, w := range own {
			page = le.AppendUint32(page, w)
		}
	} else {
		page = le.AppendUint32(page, compactRegular)
		page = le.AppendUint16(page, 8)
		page = le.AppendUint16(page, uint16(len(entries)))
		for _, e := range entries {
			page = le.AppendUint32(le.AppendUint32(page, e.start), e.word)
		}
	}
	le.PutUint32(b, 1)
	le.PutUint32(b[4:], uint32(len(b)))
	le.PutUint32(b[8:], uint32(len(common)))
	le.PutUint32(b[20:], index)
	le.PutUint32(b[24:], 2)
	le.PutUint32(b[index:], entries[0].start)
	le.PutUint32(b[index+4:], uint32(len(b)+4*len(common)))
	le.PutUint32(b[index+12:], end)
	for _, w := range common {
		b = le.AppendUint32(b, w)
	}
	return append(b, page...)
}

const ehFrameAt = 0x40000

// machoBinary makes an image of functions.
func machoBinary(machine executable.Machine, text, info, ehFrame []byte) *sample.Binary {
	b := &sample.Binary{Format: executable.MachO, Machine: machine, Base: 0x1_0000_0000, ID: []byte("0123456789abcdef"), Sections: []sample.Section{
		{Name: "__text", Offset: textAt, Data: text, Executable: true}, {Name: "__unwind_info", Offset: xdataAt, Data: info}}}
	if ehFrame != nil {
		b.Sections = append(b.Sections, sample.Section{Name: "__eh_frame", Offset: ehFrameAt, Data: ehFrame})
	}
	return b
}

// permutation encodes which registers were pushed; the last pushed comes
// first.
func permutation(registers []int) uint32 {
	code := uint32(0)
	for i, r := range registers {
		rank := uint32(r - 1)
		for _, before := range registers[:i] {
			if before < r {
				rank--
			}
		}
		radix := uint32(1)
		for j := i + 1; j < len(registers); j++ {
			radix *= uint32(6 - j)
		}
		code += rank * radix
	}
	return code
}

// All ways to push some of six registers are told apart.
func TestCompactPermutations(t *testing.T) {
	var try func(chosen []int)
	count := 0
	try = func(chosen []int) {
		got, ok := permuted(permutation(chosen), len(chosen))
		if !ok || !slices.Equal(got, chosen) {
			t.Fatalf("%v: code %d gives %v", chosen, permutation(chosen), got)
		}
		count++
		for r := 1; r <= 6; r++ {
			if !slices.Contains(chosen, r) {
				try(append(slices.Clone(chosen), r))
			}
		}
	}
	try(nil)
	if count != 1957 {
		t.Errorf("%d arrangements", count)
	}
}

var unixPreserved = []string{"rbx", "rbp", "r12", "r13", "r14", "r15"}

func movBP() step {
	return step{[]byte{0x48, 0x89, 0xe5}, func(m *machine) { m.registers["rbp"] = m.registers["rsp"] }}
}

// compactCase is a function and its word.
type compactCase struct {
	name  string
	steps []step
	word  uint32
}

func compactAMD64Cases() []compactCase {
	framed := []step{push("rbp"), movBP(), push("r15"), push("r14"), push("rbx"), sub(0x28), spoil("rbx"), spoil("r14"), callAMD64(), add(0x28), pop("rbx"), pop("r14"), pop("r15"), pop("rbp"), ret()}
	plain := []step{push("rbx"), sub(0x20), spoil("rbx"), callAMD64(), add(0x20), pop("rbx"), ret()}
	pushes := []step{push("r15"), push("r12"), push("rbx"), spoil("r12"), callAMD64(), pop("rbx"), pop("r12"), pop("r15"), ret()}
	large := []step{push("r14"), push("rbx"), sub(0x12348), spoil("rbx"), callAMD64(), add(0x12348), pop("rbx"), pop("r14"), ret()}
	return []compactCase{
		// Three words below rbp: rbx, r14, r15.
		{"frame pointer", framed, x86Frame | 3<<16 | 1 | 4<<3 | 5<<6},
		{"frameless", plain, x86Stack | (0x20+16)/8<<16 | 1<<10 | permutation([]int{1})},
		{"pushes alone", pushes, x86Stack | 4<<16 | 3<<10 | permutation([]int{1, 2, 5})},
		{"large", large, x86Indirect | uint32(length(large, 2)+3)<<16 | 3<<13 | 2<<10 | permutation([]int{1, 4})},
		{"leaf", []step{spoil("rax"), ret()}, x86Stack | 1<<16},
	}
}

func TestCompactAMD64(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		var text []byte
		var entries []compactEntry
		cases := compactAMD64Cases()
		for _, c := range cases {
			entries = append(entries, compactEntry{textAt + uint32(len(text)), c.word})
			text = append(text, code(c.steps)...)
		}
		tab := table(t, machoBinary(executable.AMD64, text, unwindInfoSection(entries, textAt+uint32(len(text)), compressed), nil))
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				runFunction(t, tab, uint64(entries[i].start), newAMD64(), c.steps, unixPreserved, isCallAMD64)
			})
		}
	}
}

func TestCompactARM64(t *testing.T) {
	framed := []step{storePair(20, 19, -0x20, true), storePair(29, 30, 0x10, false), setFP(0x10), moveSP(-0x40), spoilARM64(19), spoilARM64(20), callARM64(),
		moveSP(0x40), loadPair(29, 30, 0x10, false), loadPair(20, 19, 0x20, true), retARM64()}
	many := []step{none(0xd503237f), moveSP(-0x60), storePair(24, 23, 0x20, false), storePair(22, 21, 0x30, false), storePair(20, 19, 0x40, false), storePair(29, 30, 0x50, false), setFP(0x50),
		spoilARM64(19), spoilARM64(24), callARM64(), loadPair(29, 30, 0x50, false), loadPair(20, 19, 0x40, false), loadPair(22, 21, 0x30, false), loadPair(24, 23, 0x20, false), moveSP(0x60), none(0xd65f0fff)}
	room := []step{moveSP(-0x30), none(0xd503201f), moveSP(0x30), retARM64()}
	cases := []compactCase{{"record and a pair", framed, arm64Record | 1}, {"record and pairs", many, arm64Record | 7}, {"frameless", room, arm64Frameless | 3<<12}, {"leaf", []step{none(0xd503201f), retARM64()}, arm64Frameless}}
	for _, compressed := range []bool{false, true} {
		var text []byte
		var entries []compactEntry
		for _, c := range cases {
			entries = append(entries, compactEntry{textAt + uint32(len(text)), c.word})
			text = append(text, code(c.steps)...)
		}
		tab := table(t, machoBinary(executable.ARM64, text, unwindInfoSection(entries, textAt+uint32(len(text)), compressed), nil))
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				runFunction(t, tab, uint64(entries[i].start), newARM64(), c.steps, arm64Preserved, isCallARM64)
			})
		}
	}
}

// ehFrame is a table with one CIE and one FDE for amd64, whose start is relative
// to its place.
func ehFrame(address, start, size uint64, program ...byte) []byte {
	le := binary.LittleEndian
	cie := []byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x10, 0x0c, 7, 8, 0x90, 1} // data factor -8, rip in column 16; CFA rsp+8, rip at -8
	for len(cie)%4 != 0 {
		cie = append(cie, 0)
	}
	b := append(le.AppendUint32(nil, uint32(len(cie))), cie...)
	at := len(b)
	fde := le.AppendUint32(nil, uint32(at+4))
	fde = le.AppendUint64(fde, start-(address+uint64(at)+8))
	fde = le.AppendUint64(fde, size)
	fde = append(append(fde, 0), program...)
	for len(fde)%4 != 0 {
		fde = append(fde, 0)
	}
	b = append(append(b, le.AppendUint32(nil, uint32(len(fde)))...), fde...)
	return append(b, 0, 0, 0, 0)
}

// What compact unwind has no words for is in __eh_frame.
func TestCompactFallsThrough(t *testing.T) {
	const base = 0x1_0000_0000
	frames := ehFrame(base+ehFrameAt, base+textAt, 0x40, 0x0e, 0x58) // CFA rsp+88
	at := 4 + binary.LittleEndian.Uint32(frames)                     // behind the CIE
	info := unwindInfoSection([]compactEntry{{textAt, x86DWARF | at}}, textAt+0x40, false)
	want := ".cfa: $rsp 88 + .ra: .cfa -8 + ^"
	q := rule.Query{Base: 0x5000_0000, Offset: textAt + 0x20}
	if s, ok := table(t, machoBinary(executable.AMD64, make([]byte, 0x40), info, frames)).Rules(q); !ok || s.CFI.Init != want || s.CFI.Start != textAt || s.CFI.Size != 0x40 {
		t.Errorf("got %+v, %v", s, ok)
	}
	// So is a function that it does not list, and one that has a word for none.
	info = unwindInfoSection([]compactEntry{{textAt, 0}}, textAt+0x40, true)
	if s, ok := table(t, machoBinary(executable.AMD64, make([]byte, 0x40), info, frames)).Rules(q); !ok || s.CFI.Init != want {
		t.Errorf("without a word: %+v, %v", s, ok)
	}
	// The number of an entry that is not there is no answer.
	info = unwindInfoSection([]compactEntry{{textAt, x86DWARF | 0x123456}}, textAt+0x40, false)
	if s, ok := table(t, machoBinary(executable.AMD64, make([]byte, 0x40), info, nil)).Rules(q); ok {
		t.Errorf("without a table: %+v", s)
	}
}
