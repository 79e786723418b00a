package minidump

import "mayday/minidump/format"

// Handle is an open handle of a process on Windows.
type Handle struct {
	Raw format.Handle
	// Type and Object are names; HasType and HasObject tell an empty name from
	// none.
	Type, Object       string
	HasType, HasObject bool
}

func (d *Dump) readHandles(b []byte) *FormatError {
	entries, n, size, err := d.extendedList(b, format.HandleSize, format.Handle2Size)
	if err != nil {
		return err
	}
	d.Handles = make([]Handle, n)
	for i := range d.Handles {
		h := &d.Handles[i]
		format.NewCursor(entries[i*size:], d.Order).Record(&h.Raw)
		if h.Raw.TypeRVA != 0 {
			h.Type, h.HasType = d.utf16At(uint64(h.Raw.TypeRVA))
		}
		if h.Raw.ObjectRVA != 0 {
			h.Object, h.HasObject = d.utf16At(uint64(h.Raw.ObjectRVA))
		}
	}
	return nil
}
