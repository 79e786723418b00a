package unwind

import "encoding/binary"

// memory is the region that holds the stack, read as words of the CPU's size.
type memory struct {
	base    uint64
	bytes   []byte
	pointer int
	big     bool
}

func newMemory(s Stack, pointer int) memory {
	m := memory{base: s.Base, bytes: s.Bytes, pointer: pointer, big: s.Order == binary.BigEndian}
	if m.base+uint64(len(m.bytes)) < m.base {
		m.bytes = nil // wraps around the end of the address space: made up
	}
	return m
}

func (m *memory) empty() bool { return len(m.bytes) == 0 }

// beyond reports whether address lies past the end of the region. One past the
// last byte is still the stack pointer of a stack with nothing on it.
func (m *memory) beyond(address uint64) bool { return address > m.base+uint64(len(m.bytes)) }

// word reads a pointer.
func (m *memory) word(address uint64) (uint64, bool) {
	offset := address - m.base
	if address < m.base || offset >= uint64(len(m.bytes)) || uint64(len(m.bytes))-offset < uint64(m.pointer) {
		return 0, false
	}
	b := m.bytes[offset:]
	switch {
	case m.pointer == 8 && m.big:
		return binary.BigEndian.Uint64(b), true
	case m.pointer == 8:
		return binary.LittleEndian.Uint64(b), true
	case m.big:
		return uint64(binary.BigEndian.Uint32(b)), true
	}
	return uint64(binary.LittleEndian.Uint32(b)), true
}

// readable reports whether a pointer can be read at address.
func (m *memory) readable(address uint64) bool {
	_, ok := m.word(address)
	return ok
}
