package dump

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"mayday/app/fault"
	"mayday/symbols/dump/debuginfo"
	"mayday/symbols/executable"
)

// readSymbols collects the linker's names of code.
func (m *module) readSymbols(files ...*executable.Image) error {
	for _, im := range files {
		for _, table := range [][2]string{{".symtab", ".strtab"}, {".dynsym", ".dynstr"}} {
			list, names := im.Section(table[0]), im.Section(table[1])
			if list == nil || names == nil || list.FileSize == 0 || names.FileSize == 0 {
				continue
			}
			if err := m.readTable(im, list, names); err != nil {
				return err
			}
		}
	}
	// What calls another module goes through stubs that have no names.
	for i := range m.binary.Sections {
		if s := &m.binary.Sections[i]; strings.HasPrefix(s.Name, ".plt") && s.Executable {
			m.publics = append(m.publics, public{s.Address, 0, fmt.Sprintf("<%s section in %s>", debuginfo.Clean(s.Name), m.name), worstRank})
		}
	}
	return nil
}

// symbol is an entry of a symbol table (gABI).
type symbol struct {
	name        uint32 // in the table of names
	info        uint8
	section     uint16
	value, size uint64
}

// The kinds of symbols, and how they bind.
const (
	kindNone     = 0
	kindFunction = 2
	kindIndirect = 10
	bindLocal    = 0
	bindWeak     = 2
)

// readTable reads one symbol table.
func (m *module) readTable(im *executable.Image, list, names *executable.Section) error {
	text, err := im.Content(names, m.meter.Left())
	if err != nil {
		return err
	}
	if err := m.meter.Take(int64(len(text))); err != nil {
		return err
	}
	defer m.meter.Give(int64(len(text)))
	const most = 1 << 40
	r, size, err := im.Stream(list, most)
	if err != nil {
		return err
	}
	defer r.Close()
	o, entry := im.Order, make([]byte, 16)
	wide := im.Machine.PointerSize() == 8
	if wide {
		entry = make([]byte, 24)
	}
	for range size / uint64(len(entry)) {
		if _, err := io.ReadFull(r, entry); err != nil {
			return fault.As(fault.Malformed, err, "section %s", list.Name)
		}
		s := symbol{name: o.Uint32(entry)}
		if wide {
			s.info, s.section, s.value, s.size = entry[4], o.Uint16(entry[6:]), o.Uint64(entry[8:]), o.Uint64(entry[16:])
		} else {
			s.value, s.size, s.info, s.section = uint64(o.Uint32(entry[4:])), uint64(o.Uint32(entry[8:])), entry[12], o.Uint16(entry[14:])
		}
		if err := m.addSymbol(im, s, text); err != nil {
			return err
		}
	}
	return nil
}

const (
	// worstRank is behind the ranks of all symbols.
	worstRank = 1 << 10
	// maxName is the most of a symbol's name that counts.
	maxName = 16 << 10
)

// addSymbol adds a symbol if it names code.
func (m *module) addSymbol(im *executable.Image, s symbol, text []byte) error {
	if err := m.meter.Step(); err != nil {
		return err
	}
	kind := s.info & 0xf
	if s.section == 0 || uint64(s.name) >= uint64(len(text)) || kind != kindFunction && kind != kindIndirect && kind != kindNone {
		return nil
	}
	if im.Machine == executable.ARM {
		s.value &^= 1 // Thumb
	}
	text = text[s.name:min(uint64(len(text)), uint64(s.name)+maxName)]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	// Mapping symbols ($a, $x) and assemblers' labels are no functions.
	if len(text) == 0 || text[0] == '$' || bytes.HasPrefix(text, []byte(".L")) || !m.isCode(s.value) {
		return nil
	}
	rank := 0
	switch s.info >> 4 {
	case bindWeak:
		rank = 1
	case bindLocal:
		rank = 2
	}
	if kind == kindNone {
		rank += 4
	}
	// Of several names the one with the fewest underscores before it is the one
	// that programs use.
	rank = rank*16 + min(15, len(text)-len(bytes.TrimLeft(text, "_")))
	if err := m.meter.Take(int64(len(text))); err != nil {
		return err
	}
	var err error
	m.publics, err = debuginfo.Append(m.meter, m.publics, public{s.value, s.size, debuginfo.Clean(string(text)), rank})
	return err
}

// isCode says whether an address lies in a section of code.
func (m *module) isCode(address uint64) bool {
	for _, c := range m.code {
		if address >= c.Start && address < c.End {
			return true
		}
	}
	return false
}
