package minidump

import (
	"iter"

	"mayday/minidump/format"
)

// Handles are the open handles of a process on Windows. Their names are read
// when they are asked for: there may be very many that share one.
type Handles struct {
	d       *Dump
	entries []byte
	n, size int
}

// Handle is an open handle.
type Handle struct {
	Raw format.Handle
	// Type and Object are names; HasType and HasObject tell an empty name from
	// none.
	Type, Object       string
	HasType, HasObject bool
}

func (d *Dump) readHandles(b []byte) *FormatError {
	h, err := d.listHead(b)
	switch {
	case err != nil:
		return err
	case h.count > 0 && h.entry != format.HandleSize && h.entry != format.Handle2Size:
		return bad("entries of %d bytes are unknown", h.entry)
	}
	d.Handles = &Handles{d, b[h.size:], int(h.count), int(h.entry)}
	return nil
}

// Len is how many there are.
func (h *Handles) Len() int {
	if h == nil {
		return 0
	}
	return h.n
}

// All yields the handles in file order. Names are left out once all of them
// together are longer than the dump.
func (h *Handles) All() iter.Seq[Handle] {
	return func(yield func(Handle) bool) {
		if h == nil {
			return
		}
		texts := h.d.newBudget()
		for i := range h.n {
			c := format.NewCursor(h.entries[i*h.size:], h.d.Order)
			v := Handle{Raw: format.Handle{Handle: c.U64(), TypeRVA: c.U32(), ObjectRVA: c.U32(),
				Attributes: c.U32(), GrantedAccess: c.U32(), HandleCount: c.U32(), Pointers: c.U32()}}
			if v.Raw.TypeRVA != 0 {
				v.Type, v.HasType = h.d.utf16From(uint64(v.Raw.TypeRVA), &texts)
			}
			if v.Raw.ObjectRVA != 0 {
				v.Object, v.HasObject = h.d.utf16From(uint64(v.Raw.ObjectRVA), &texts)
			}
			if !yield(v) {
				return
			}
		}
	}
}
