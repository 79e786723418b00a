package minidump

import (
	"math"

	"mayday/minidump/format"
)

// Region is memory of the process that the dump holds.
type Region struct {
	Base, Size uint64
	off        uint64 // in the file
	d          *Dump
}

// regionOf is the region that an entry of the index stands for.
func (d *Dump) regionOf(r *addressRange) Region {
	return Region{Base: r.first, Size: r.last - r.first + 1, off: r.item, d: d}
}

// region makes a Region of a descriptor, nil when there is nothing to read.
func (d *Dump) region(m format.MemoryDescriptor) *Region {
	if !d.present(m.Memory) {
		return nil
	}
	return &Region{Base: m.Start, Size: uint64(m.Memory.Size), off: uint64(m.Memory.RVA), d: d}
}

// present reports whether there is memory at l.
func (d *Dump) present(l format.Location) bool {
	return l.RVA != 0 && l.Size != 0 && uint64(l.RVA)+uint64(l.Size) <= d.src.size
}

// Contains reports whether addr lies in the region.
func (r *Region) Contains(addr uint64) bool { return addr >= r.Base && addr-r.Base < r.Size }

// Bytes returns n bytes at addr, nil when they are not all in the region. They
// must not be changed.
func (r *Region) Bytes(addr, n uint64) []byte {
	if addr < r.Base || addr-r.Base > r.Size || n > r.Size-(addr-r.Base) {
		return nil
	}
	b, ok := r.d.src.slice(r.off+(addr-r.Base), n)
	if !ok {
		return nil
	}
	return b
}

// Uint reads a number of 1, 2, 4 or 8 bytes at addr in the dump's byte order.
func (r *Region) Uint(addr uint64, size int) (uint64, bool) {
	b := r.Bytes(addr, uint64(size))
	if b == nil {
		return 0, false
	}
	switch size {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(r.d.Order.Uint16(b)), true
	case 4:
		return uint64(r.d.Order.Uint32(b)), true
	case 8:
		return r.d.Order.Uint64(b), true
	}
	return 0, false
}

// All returns the bytes of the region; of one that is too large to hold, the
// first part.
func (r *Region) All() []byte {
	if b := r.Bytes(r.Base, r.Size); b != nil {
		return b
	}
	return r.Bytes(r.Base, maxPart)
}

func (d *Dump) readMemory(b []byte) *FormatError {
	if d.hasMemory {
		return nil // the 64-bit list is there and wins
	}
	entries, n, err := d.list(b, format.MemoryDescriptorSize)
	if err != nil {
		return err
	}
	ranges := make([]addressRange, 0, n)
	c := format.NewCursor(entries, d.Order)
	for range n {
		start, l := c.U64(), c.Location()
		if !d.present(l) {
			if len(d.Errors) < maxErrors {
				d.note(format.StreamMemoryList, uint64(l.RVA), "%d bytes of memory at %#x are not in the file", l.Size, start)
			}
			continue
		}
		if r, ok := spanOf(start, uint64(l.Size), uint64(l.RVA)); ok {
			ranges = append(ranges, r)
		}
	}
	d.memoryIdx, d.hasMemory = ranges, true
	return nil
}

// readMemory64 reads the list of full dumps: all regions lie behind each other.
func (d *Dump) readMemory64(b []byte) *FormatError {
	c := format.NewCursor(b, d.Order)
	n, rva := c.U64(), c.U64()
	if _, failed := c.Failed(); failed {
		return bad("a list header has 16 bytes, %d are there", len(b))
	}
	if n > math.MaxUint64/format.MemoryDescriptor64Size-1 || n*format.MemoryDescriptor64Size+16 != uint64(len(b)) {
		return bad("%d regions are claimed, the stream has %d bytes", n, len(b))
	}
	ranges := make([]addressRange, 0, n)
	for i := range n {
		start, size := c.U64(), c.U64()
		if size > d.src.left(rva) || rva > d.src.size {
			return &FormatError{Offset: rva, Detail: bad("region %d claims %d bytes, %d are left", i, size, d.src.left(rva)).Detail}
		}
		if r, ok := spanOf(start, size, rva); ok {
			ranges = append(ranges, r)
		}
		rva += size
	}
	d.memoryIdx, d.hasMemory = ranges, true
	return nil
}

// RegionAt returns the region of the memory list that covers addr, nil if none
// does.
func (d *Dump) RegionAt(addr uint64) *Region {
	if r := d.memoryIdx.find(addr); r != nil {
		at := d.regionOf(r)
		return &at
	}
	return nil
}

// Bytes returns n bytes of memory at addr, nil when the dump does not hold them
// in one region.
func (d *Dump) Bytes(addr, n uint64) []byte {
	if r := d.memoryIdx.find(addr); r != nil {
		at := d.regionOf(r)
		return at.Bytes(addr, n)
	}
	return nil
}

// Uint reads a number of 1, 2, 4 or 8 bytes from memory at addr.
func (d *Dump) Uint(addr uint64, size int) (uint64, bool) {
	if r := d.memoryIdx.find(addr); r != nil {
		at := d.regionOf(r)
		return at.Uint(addr, size)
	}
	return 0, false
}
