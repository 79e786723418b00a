package minidump

import (
	"cmp"
	"iter"
	"slices"

	"mayday/minidump/format"
)

// UnloadedModules are the libraries that had been unloaded before the dump was
// written. Their names are read when they are asked for: there may be very many
// that share one.
type UnloadedModules struct {
	d       *Dump
	entries []byte
	order   []span // by address and size
	// ends are the highest ends of the subtrees of order, as a tree whose root is
	// the middle of the list: so those that cover an address are found without
	// looking at those that do not.
	ends []uint64
}

// span is what an unloaded module covered, and its number.
type span struct {
	base       uint64
	size, item uint32
}

func (s *span) end() uint64 { return s.base + uint64(s.size) }

// UnloadedModule is one of them.
type UnloadedModule struct {
	Base, Size uint64
	Name       string
	CodeID     string
}

func (d *Dump) readUnloaded(b []byte) *FormatError {
	entries, n, err := d.extendedList(b, format.UnloadedModuleSize)
	if err != nil {
		return err
	}
	u := &UnloadedModules{d: d, entries: entries, order: make([]span, n), ends: make([]uint64, n)}
	for i := range n {
		base, size, rva := u.raw(i)
		if size == 0 || base+size < base {
			return bad("unloaded module %d has %d bytes at %#x", i, size, base)
		}
		if !d.isUTF16(rva) {
			e := bad("the name of unloaded module %d cannot be read", i)
			e.Offset = rva
			return e
		}
		u.order[i] = span{base, uint32(size), uint32(i)}
	}
	order := func(a, b span) int {
		switch { // most differ at once, and there may be a million
		case a.base < b.base:
			return -1
		case a.base > b.base:
			return 1
		case a.size != b.size:
			return cmp.Compare(a.size, b.size)
		}
		return cmp.Compare(a.item, b.item)
	}
	if !slices.IsSortedFunc(u.order, order) {
		slices.SortFunc(u.order, order)
	}
	u.measure(0, n)
	d.Unloaded = u
	return nil
}

// raw is entry i: where it was, how large, and where its name is.
func (u *UnloadedModules) raw(i int) (base, size, name uint64) {
	b, o := u.entries[i*format.UnloadedModuleSize:], u.d.Order
	return o.Uint64(b), uint64(o.Uint32(b[8:])), uint64(o.Uint32(b[20:]))
}

// measure fills ends for order[lo:hi]; it goes as deep as the logarithm of
// their number.
func (u *UnloadedModules) measure(lo, hi int) (end uint64) {
	if lo >= hi {
		return 0
	}
	m := (lo + hi) / 2
	end = max(u.order[m].end(), u.measure(lo, m), u.measure(m+1, hi))
	u.ends[m] = end
	return end
}

// Len is how many there are.
func (u *UnloadedModules) Len() int {
	if u == nil {
		return 0
	}
	return len(u.order)
}

// At is number i in file order.
func (u *UnloadedModules) At(i int) UnloadedModule {
	base, size, name := u.Range(i)
	stamp := u.d.Order.Uint32(u.entries[i*format.UnloadedModuleSize+16:])
	return UnloadedModule{Base: base, Size: size, Name: name, CodeID: peCodeID(stamp, uint32(size))}
}

// Range is where number i was, and its name.
func (u *UnloadedModules) Range(i int) (base, size uint64, name string) {
	base, size, at := u.raw(i)
	all := budget{^uint64(0)} // its name was paid for when the list was read
	name, _ = u.d.utf16From(at, &all)
	return base, size, name
}

// ByAddress yields the modules' numbers in the order of their addresses.
func (u *UnloadedModules) ByAddress() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range u.Len() {
			if !yield(int(u.order[i].item)) {
				return
			}
		}
	}
}

// Covering yields the numbers of the modules that covered addr, in the order of
// their addresses; their ranges may overlap, since addresses are used again.
func (u *UnloadedModules) Covering(addr uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		if u == nil {
			return
		}
		u.covering(addr, 0, len(u.order), yield)
	}
}

// covering looks through order[lo:hi]; it goes as deep as the logarithm of
// their number.
func (u *UnloadedModules) covering(addr uint64, lo, hi int, yield func(int) bool) bool {
	if lo >= hi {
		return true
	}
	m := (lo + hi) / 2
	if u.ends[m] <= addr {
		return true
	}
	if !u.covering(addr, lo, m, yield) {
		return false
	}
	s := &u.order[m]
	if s.base > addr {
		return true
	}
	if addr < s.end() && !yield(int(s.item)) {
		return false
	}
	return u.covering(addr, m+1, hi, yield)
}
