package minidump

import (
	"cmp"
	"slices"

	"mayday/app/fault"
	"mayday/minidump/format"
)

// Thread is one thread of the process.
type Thread struct {
	Raw format.Thread
	// Name is the name the program gave the thread; HasName tells an empty name
	// from none.
	Name    string
	HasName bool
}

// ID is the thread's id in the system.
func (t *Thread) ID() uint32 { return t.Raw.ID }

func (d *Dump) readThreads(b []byte) *FormatError {
	entries, n, err := d.list(b, format.ThreadSize)
	if err != nil {
		return err
	}
	d.Threads = make([]Thread, n)
	d.threadsByID = make([]uint32, n)
	c := format.NewCursor(entries, d.Order)
	for i := range d.Threads {
		t := &d.Threads[i].Raw
		t.ID = c.U32()
		c.Skip(3 * 4)
		t.TEB, t.Stack.Start = c.U64(), c.U64()
		t.Stack.Memory, t.Context = c.Location(), c.Location()
		d.threadsByID[i] = uint32(i)
	}
	order := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(d.Threads[a].Raw.ID, d.Threads[b].Raw.ID), cmp.Compare(a, b))
	}
	if !slices.IsSortedFunc(d.threadsByID, order) {
		slices.SortFunc(d.threadsByID, order)
	}
	return nil
}

func (d *Dump) readThreadNames(b []byte) *FormatError {
	entries, n, err := d.list(b, format.ThreadNameSize)
	if err != nil {
		return err
	}
	c := format.NewCursor(entries, d.Order)
	for range n {
		id, rva := c.U32(), c.U64()
		name, ok := d.utf16At(rva)
		if !ok {
			d.note(format.StreamThreadNames, rva, "the name of thread %d cannot be read", id)
			continue
		}
		if i, known := d.ThreadByID(id); known {
			d.Threads[i].Name, d.Threads[i].HasName = name, true
		}
	}
	d.shareNames()
	return nil
}

// shareNames gives threads that share an id the same name.
func (d *Dump) shareNames() {
	for n := len(d.threadsByID) - 2; n >= 0; n-- {
		t, last := &d.Threads[d.threadsByID[n]], &d.Threads[d.threadsByID[n+1]]
		if t.Raw.ID == last.Raw.ID {
			t.Name, t.HasName = last.Name, last.HasName
		}
	}
}

func (d *Dump) readThreadInfo(b []byte) *FormatError {
	entries, _, err := d.extendedList(b, format.ThreadInfoSize)
	if err != nil {
		return err
	}
	d.threadInfo = entries
	return nil
}

// ThreadInfo has the times and the start address of the thread with that id,
// where the dump lists them.
func (d *Dump) ThreadInfo(id uint32) (info format.ThreadInfo, ok bool) {
	for b := d.threadInfo; len(b) > 0; b = b[format.ThreadInfoSize:] {
		if d.Order.Uint32(b) == id {
			format.NewCursor(b, d.Order).Record(&info)
			return info, true
		}
	}
	return info, false
}

// ThreadByID returns the number of the thread with that id; the last one if
// several have it.
func (d *Dump) ThreadByID(id uint32) (int, bool) {
	end, _ := slices.BinarySearchFunc(d.threadsByID, id, func(n, id uint32) int {
		if d.Threads[n].Raw.ID > id {
			return 1
		}
		return -1
	})
	if end == 0 || d.Threads[d.threadsByID[end-1]].Raw.ID != id {
		return 0, false
	}
	return int(d.threadsByID[end-1]), true
}

// Context decodes the registers at l as the dump's processor has them.
func (d *Dump) Context(l format.Location) (*format.Context, error) {
	if d.System == nil {
		return nil, fault.New(fault.Malformed, "context: no system info says which processor it is of")
	}
	b, ok := d.location(l)
	if !ok {
		return nil, fault.New(fault.Malformed, "context: %d bytes at %#x are not in the dump", l.Size, l.RVA)
	}
	return format.DecodeContext(d.System.Raw.Architecture, b, d.Order)
}

// StackOf returns the region that a thread names as its stack, or where that
// cannot be read (Windows writes null locations) the one that covers the
// address the thread names; nil when the dump has neither.
func (d *Dump) StackOf(t *Thread) *Region {
	if s := d.region(t.Raw.Stack); s != nil {
		return s
	}
	return d.RegionAt(t.Raw.Stack.Start)
}

// ThreadStack returns the region that holds the stack of a thread: StackOf, or
// if a word at the stack pointer is not in it, the region that covers the stack
// pointer. It returns nil when no such region is in the dump.
func (d *Dump) ThreadStack(t *Thread, sp uint64, word int) *Region {
	s := d.StackOf(t)
	if s != nil {
		if _, ok := s.Uint(sp, word); ok {
			return s
		}
	}
	if at := d.RegionAt(sp); at != nil {
		return at
	}
	return s
}

// LastErrorAddress is where Windows keeps GetLastError's value of a thread:
// thirteen pointers into its environment block, on every processor.
func (d *Dump) LastErrorAddress(t *Thread) (uint64, bool) {
	if d.System == nil || d.System.CPU == format.UnknownCPU {
		return 0, false
	}
	a := t.Raw.TEB + 13*uint64(d.System.CPU.PointerSize())
	return a, a >= t.Raw.TEB
}
