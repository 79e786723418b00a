package minidump

import (
	"iter"

	"mayday/minidump/format"
)

// Mapping is a range of the address space and what could be done with it.
type Mapping struct {
	// First and Last belong to the range.
	First, Last                    uint64
	Readable, Writable, Executable bool
}

func (d *Dump) readMemoryInfo(b []byte) *FormatError {
	entries, _, err := d.extendedList(b, format.MemoryInfoSize)
	if err != nil {
		return err
	}
	d.memoryInfo = entries
	return nil
}

// MemoryInfo yields Windows' map of the address space in file order.
func (d *Dump) MemoryInfo() iter.Seq[format.MemoryInfo] {
	return func(yield func(format.MemoryInfo) bool) {
		for b := d.memoryInfo; len(b) > 0; b = b[format.MemoryInfoSize:] {
			c := format.NewCursor(b, d.Order)
			m := format.MemoryInfo{Base: c.U64(), AllocationBase: c.U64(), AllocationProtection: c.U32()}
			c.U32()
			m.Size, m.State, m.Protection, m.Type = c.U64(), c.U32(), c.U32(), c.U32()
			if !yield(m) {
				return
			}
		}
	}
}

// HasMappings reports whether the dump says how the address space was laid out.
func (d *Dump) HasMappings() bool { return d.memoryInfo != nil || d.MemoryMaps != nil }

// Mappings finds the mapping of an address: from Windows' list if the dump has
// it, else from Linux'.
type Mappings struct{ idx rangeIndex }

// What a mapping allows, as items of its index.
const (
	mayRead = 1 << iota
	mayWrite
	mayExecute
)

// NewMappings sorts the mappings of a dump for lookup.
func (d *Dump) NewMappings() *Mappings {
	var ranges []addressRange
	if d.memoryInfo != nil {
		ranges = make([]addressRange, 0, len(d.memoryInfo)/format.MemoryInfoSize)
		for m := range d.MemoryInfo() {
			var allowed uint64
			if m.Protection&(format.PageReadOnly|format.PageReadWrite|format.PageExecuteRead|format.PageExecuteReadWrite) != 0 {
				allowed |= mayRead
			}
			if m.Protection&(format.PageReadWrite|format.PageWriteCopy|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0 {
				allowed |= mayWrite
			}
			if m.Protection&(format.PageExecute|format.PageExecuteRead|format.PageExecuteReadWrite|format.PageExecuteWriteCopy) != 0 {
				allowed |= mayExecute
			}
			if r, ok := spanOf(m.Base, m.Size, allowed); ok {
				ranges = append(ranges, r)
			}
		}
	} else if d.MemoryMaps != nil {
		ranges = make([]addressRange, 0, d.MemoryMaps.n)
		for l := range d.MemoryMaps.lines() {
			var allowed uint64
			for i, c := range []byte("rwx") {
				if l.has(c) {
					allowed |= 1 << i
				}
			}
			if l.start < l.end {
				ranges = append(ranges, addressRange{l.start, l.end - 1, allowed})
			}
		}
	}
	return &Mappings{newRangeIndex(ranges)}
}

func (r *addressRange) mapping() Mapping {
	return Mapping{r.first, r.last, r.item&mayRead != 0, r.item&mayWrite != 0, r.item&mayExecute != 0}
}

// At returns the mapping that covers addr.
func (x *Mappings) At(addr uint64) (Mapping, bool) {
	if r := x.idx.find(addr); r != nil {
		return r.mapping(), true
	}
	return Mapping{}, false
}

// All calls yield for each mapping that can be found, lowest address first.
func (x *Mappings) All(yield func(Mapping) bool) {
	for i := range x.idx {
		if !yield(x.idx[i].mapping()) {
			return
		}
	}
}
