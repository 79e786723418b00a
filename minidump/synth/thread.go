package synth

// Thread is an entry of the thread list.
type Thread struct {
	ID       uint32
	Suspends uint32
	Class    uint32
	Priority uint32
	TEB      uint64
	// Stack without bytes stores its start alone, as full dumps do.
	Stack Memory
	// Context nil stores no context.
	Context *Context
	// RawContext is stored instead of Context when not nil.
	RawContext []byte
}

func (w *writer) threads() Location {
	return w.list(len(w.d.Threads), func(b *buffer) {
		w.stacks = make([]Location, len(w.d.Threads))
		for i := range w.d.Threads {
			t := &w.d.Threads[i]
			if t.Stack.Data != nil {
				w.stacks[i] = w.Put(t.Stack.Data)
			}
			context := w.context(t.Context, t.RawContext)
			w.contexts[t.ID] = context
			b.u32s(t.ID, t.Suspends, t.Class, t.Priority)
			b.u64(t.TEB)
			b.u64(t.Stack.Start)
			b.location(w.stacks[i])
			b.location(context)
		}
	})
}

func (w *writer) context(c *Context, raw []byte) Location {
	if raw != nil {
		return w.Put(raw)
	}
	if c == nil {
		return Location{}
	}
	return w.Put(c.encode(w.order))
}

// ThreadName is an entry of the ThreadNamesStream.
type ThreadName struct {
	ID   uint32
	Name string
}

func (w *writer) threadNames() Location {
	return w.compose(func(b *buffer) { // this list is never padded
		b.u32(uint32(len(w.d.ThreadNames)))
		for _, n := range w.d.ThreadNames {
			b.u32(n.ID)
			b.u64(uint64(w.PutString(n.Name)))
		}
	})
}

// Exception is the ExceptionStream.
type Exception struct {
	Thread      uint32
	Code, Flags uint32
	Record      uint64
	Address     uint64
	Information []uint64 // up to 15
	// Count overrides the number of parameters when HasCount is set.
	Count    uint32
	HasCount bool
	// Context nil shares the context of the thread.
	Context    *Context
	RawContext []byte
}

func (w *writer) exception() Location {
	e := w.d.Exception
	at := w.contexts[e.Thread]
	if e.Context != nil || e.RawContext != nil {
		at = w.context(e.Context, e.RawContext)
	}
	return w.compose(func(b *buffer) {
		b.u32s(e.Thread, 0, e.Code, e.Flags)
		b.u64(e.Record)
		b.u64(e.Address)
		n := uint32(len(e.Information))
		if e.HasCount {
			n = e.Count
		}
		b.u32s(n, 0)
		for i := range 15 {
			if i < len(e.Information) {
				b.u64(e.Information[i])
				continue
			}
			b.u64(0)
		}
		b.location(at)
	})
}

// Memory is a piece of the process's memory.
type Memory struct {
	Start uint64
	Data  []byte
}

func (w *writer) memory() Location {
	var stacks []int
	if w.d.StackInMemory {
		for i := range w.d.Threads {
			if w.d.Threads[i].Stack.Data != nil {
				stacks = append(stacks, i)
			}
		}
	}
	return w.list(len(stacks)+len(w.d.Memory), func(b *buffer) {
		for _, i := range stacks {
			b.u64(w.d.Threads[i].Stack.Start)
			b.location(w.stacks[i])
		}
		for _, m := range w.d.Memory {
			b.u64(m.Start)
			b.location(w.Put(m.Data))
		}
	})
}

func (w *writer) memory64() Location {
	w.align()
	at := uint64(len(w.b))
	for _, m := range w.d.Memory64 {
		w.bytes(m.Data)
	}
	return w.compose(func(b *buffer) {
		b.u64(uint64(len(w.d.Memory64)))
		b.u64(at)
		for _, m := range w.d.Memory64 {
			b.u64(m.Start)
			b.u64(uint64(len(m.Data)))
		}
	})
}

// MemoryInfo is one MINIDUMP_MEMORY_INFO: a run of pages alike.
type MemoryInfo struct {
	Base, AllocationBase       uint64
	AllocationProtect          uint32
	Size                       uint64
	State, Protect, MemoryKind uint32
}

// Values of MemoryInfo as VirtualQuery gives them.
const (
	MemCommit  uint32 = 0x1000
	MemReserve uint32 = 0x2000
	MemFree    uint32 = 0x10000
	MemPrivate uint32 = 0x20000
	MemMapped  uint32 = 0x40000
	MemImage   uint32 = 0x1000000

	PageNoAccess         uint32 = 1
	PageReadOnly         uint32 = 2
	PageReadWrite        uint32 = 4
	PageExecuteRead      uint32 = 0x20
	PageExecuteReadWrite uint32 = 0x40
	PageGuard            uint32 = 0x100
)

func (w *writer) memoryInfo() Location {
	return w.compose(func(b *buffer) {
		b.u32s(16, 48)
		b.u64(uint64(len(w.d.MemoryInfo)))
		for _, m := range w.d.MemoryInfo {
			b.u64(m.Base)
			b.u64(m.AllocationBase)
			b.u32s(m.AllocationProtect, 0)
			b.u64(m.Size)
			b.u32s(m.State, m.Protect, m.MemoryKind, 0)
		}
	})
}
