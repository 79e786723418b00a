package synth

// Crashpad is the CrashpadInfo stream: what a client and its modules told
// Crashpad to keep. Version 1.
type Crashpad struct {
	Report, Client [16]byte // GUIDs in the order they are printed
	Simple         []Pair
	Modules        []CrashpadModule
	// Extended appends the reserved word and the address mask of newer writers.
	Extended    bool
	AddressMask uint64
}

// Pair is a simple annotation.
type Pair struct{ Key, Value string }

// CrashpadModule holds the annotations of the module at Index of the module
// list.
type CrashpadModule struct {
	Index   uint32
	List    []string
	Simple  []Pair
	Objects []Annotation
}

// Annotation is an annotation object. Kind 1 is a string; 0x8000 and up are
// the user's own.
type Annotation struct {
	Name  string
	Kind  uint16
	Value []byte
}

func (w *writer) crashpad() Location {
	c := w.d.Crashpad
	simple := w.dictionary(c.Simple)
	var modules Location
	if c.Modules != nil {
		modules = w.compose(func(b *buffer) {
			b.u32(uint32(len(c.Modules)))
			for i := range c.Modules {
				b.u32(c.Modules[i].Index)
				b.location(w.crashpadModule(&c.Modules[i]))
			}
		})
	}
	return w.compose(func(b *buffer) {
		b.u32(1)
		b.guid(c.Report)
		b.guid(c.Client)
		b.location(simple)
		b.location(modules)
		if c.Extended {
			b.u32(0)
			b.u64(c.AddressMask)
		}
	})
}

func (w *writer) dictionary(pairs []Pair) Location {
	if pairs == nil {
		return Location{}
	}
	return w.compose(func(b *buffer) {
		b.u32(uint32(len(pairs)))
		for _, p := range pairs {
			b.u32s(w.PutUTF8(p.Key), w.PutUTF8(p.Value))
		}
	})
}

func (w *writer) crashpadModule(m *CrashpadModule) Location {
	var list, objects Location
	if m.List != nil {
		list = w.compose(func(b *buffer) {
			b.u32(uint32(len(m.List)))
			for _, s := range m.List {
				b.u32(w.PutUTF8(s))
			}
		})
	}
	simple := w.dictionary(m.Simple)
	if m.Objects != nil {
		objects = w.compose(func(b *buffer) {
			b.u32(uint32(len(m.Objects)))
			for _, o := range m.Objects {
				b.u32(w.PutUTF8(o.Name))
				b.u16(o.Kind)
				b.u16(0)
				value := w.compose(func(b *buffer) {
					b.u32(uint32(len(o.Value)))
					b.bytes(o.Value)
				})
				b.u32(value.RVA)
			}
		})
	}
	return w.compose(func(b *buffer) {
		b.u32(1)
		b.location(list)
		b.location(simple)
		b.location(objects)
	})
}
