package dump

import (
	"debug/elf"
	"fmt"
	"strings"
)

// readSymbols collects the linker's names of code.
func (m *module) readSymbols(files ...*elf.File) {
	for _, f := range files {
		static, _ := f.Symbols() // a file without symbols has none
		dynamic, _ := f.DynamicSymbols()
		for _, list := range [][]elf.Symbol{static, dynamic} {
			for _, s := range list {
				m.addSymbol(f, s)
			}
		}
	}
	// What calls another module goes through stubs that have no names.
	for _, s := range m.binary.Sections {
		if strings.HasPrefix(s.Name, ".plt") && s.Flags&elf.SHF_EXECINSTR != 0 {
			m.publics = append(m.publics, public{s.Addr, 0, fmt.Sprintf("<%s section in %s>", s.Name, m.name), worstRank})
		}
	}
}

// worstRank is behind the ranks of all symbols.
const worstRank = 1 << 10

// addSymbol adds a symbol if it names code.
func (m *module) addSymbol(f *elf.File, s elf.Symbol) {
	kind := elf.ST_TYPE(s.Info)
	if s.Section == elf.SHN_UNDEF || s.Name == "" || kind != elf.STT_FUNC && kind != elf.STT_GNU_IFUNC && kind != elf.STT_NOTYPE {
		return
	}
	if f.Machine == elf.EM_ARM {
		s.Value &^= 1 // Thumb
	}
	// Mapping symbols ($a, $x) and assemblers' labels are no functions.
	if strings.HasPrefix(s.Name, "$") || strings.HasPrefix(s.Name, ".L") || !m.isCode(span{s.Value, s.Value + 1}) {
		return
	}
	rank := 0
	switch elf.ST_BIND(s.Info) {
	case elf.STB_WEAK:
		rank = 1
	case elf.STB_LOCAL:
		rank = 2
	}
	if kind == elf.STT_NOTYPE {
		rank += 4
	}
	// Of several names the one with the fewest underscores before it is the one
	// that programs use.
	rank = rank*16 + min(15, len(s.Name)-len(strings.TrimLeft(s.Name, "_")))
	m.publics = append(m.publics, public{s.Value, s.Size, s.Name, rank})
}
