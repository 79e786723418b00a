package analysis

import (
	"mayday/minidump/format"
)

// nearby is how close to an address a register's value must be to support it;
// below lowAddress everything is close to something.
const (
	nearby     = 1 << 12
	lowAddress = 2 * nearby
)

// bitFlips looks for addresses one bit away from the crash address, and from
// the registers it was made of, where the access would have been right.
func (s *scene) bitFlips() {
	if s.cpu.PointerSize() != 8 || s.cpu == format.ARM64 || s.cpu == format.UnknownCPU || s.cpu == format.RISCV64 {
		return
	}
	f := flipSearch{scene: s, from: 0, to: 64}
	address := s.in.Address
	switch a := s.result.Adjusted; {
	case a != nil && a.NullPointer:
		return
	case a != nil:
		address, f.from, f.nonCanonical = a.Address, 48, true
	case s.cpu == format.AMD64:
		f.to = 48
	}
	for _, a := range s.result.Accesses {
		if within(a.Address, a.Size, s.in.Address) {
			address, f.size = a.Address, uint64(a.Size)
			break
		}
	}
	f.try(address, "")
	if s.context == nil || s.code == nil {
		return
	}
	for _, name := range s.code.addressRegisters() {
		if v, ok := fullRegister(s.context, name); ok {
			f.try(v, name)
		}
	}
}

// within reports whether addr lies in size bytes from base; a range that would
// leave the address space ends there.
func within(base uint64, size int, addr uint64) bool {
	end := base + uint64(size)
	if end < base {
		end = ^uint64(0)
	}
	return addr >= base && addr < end
}

type flipSearch struct {
	*scene
	from, to     int    // bits to flip
	size         uint64 // of the access that faulted, 0 if unknown
	nonCanonical bool
}

func (f *flipSearch) try(address uint64, register string) {
	maps := f.in.Mappings
	if m, ok := maps.At(address); ok && f.fault.allows(m) {
		return
	}
	// Right beside memory it is more likely off by one.
	if near, ok := f.distance(address); ok && f.size > 0 && near < f.size {
		return
	}
	for bit := f.from; bit < f.to; bit++ {
		candidate := address ^ 1<<bit
		if candidate == 0 {
			f.add(candidate, address, register)
		}
		if m, ok := maps.At(candidate); ok && f.fault.allows(m) {
			f.add(candidate, address, register)
		}
	}
}

// distance is how far address is from the closest mapping that allows the
// access.
func (f *flipSearch) distance(address uint64) (nearest uint64, ok bool) {
	for m := range f.in.Mappings.All {
		if !f.fault.allows(m) {
			continue
		}
		d := uint64(0)
		switch {
		case address < m.First:
			d = m.First - address
		case address > m.Last:
			d = address - m.Last
		}
		if !ok || d < nearest {
			nearest, ok = d, true
		}
	}
	return nearest, ok
}

func (f *flipSearch) add(candidate, original uint64, register string) {
	b := BitFlip{Address: candidate, Register: register, WasNonCanonical: f.nonCanonical, IsNull: candidate == 0}
	b.WasLow = b.IsNull && original <= lowAddress
	if c := f.context; c != nil {
		for r := range c.CPU.RegisterCount() {
			v, ok := c.Get(format.Register(r))
			if !ok {
				continue
			}
			if candidate > lowAddress && max(candidate, v)-min(candidate, v) <= nearby {
				b.NearbyRegisters++
			}
			b.PoisonRegisters = b.PoisonRegisters || poison(v)
		}
	}
	b.Confidence = b.confidence()
	f.result.BitFlips = append(f.result.BitFlips, b)
}

// poison reports whether v is one byte over and over that allocators and
// debuggers fill freed memory with.
func poison(v uint64) bool {
	if v != v&0xff*0x0101010101010101 {
		return false
	}
	switch byte(v) {
	case 0x2b, 0x2d, 0x2f, 0x49, 0x4b, 0x4d, 0x4f, 0x6b, 0x8b, 0x9b, 0x9f, 0xa5, 0xbb, 0xcc, 0xcd, 0xce, 0xdb, 0xe5:
		return true
	}
	return false
}

// confidence weighs the hints as if they were independent: it is the chance
// that not all of them are wrong. The arithmetic is in 32 bits, whose rounding
// others compare.
func (b *BitFlip) confidence() float32 {
	const high, medium, low float32 = 0.9, 0.5, 0.25
	miss := 1 - low
	if b.WasNonCanonical {
		miss *= 1 - high
	}
	if b.IsNull {
		v := medium
		if b.WasLow {
			v *= medium
		}
		miss *= 1 - v
	}
	if n := b.NearbyRegisters; n > 0 {
		hints := [...]float32{medium, medium + 0.05, medium + 0.1, medium + 0.15}
		miss *= 1 - hints[min(n, len(hints))-1]
	}
	v := 1 - miss
	if b.PoisonRegisters {
		v *= medium
	}
	return v
}
