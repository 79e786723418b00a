package synth

// Module is an entry of the module list.
type Module struct {
	Base      uint64
	Size      uint32
	Checksum  uint32
	TimeStamp uint32
	Name      string
	NameRVA   uint32 // overrides Name when not 0
	// Version is VS_FIXEDFILEINFO's file and product version, most significant
	// part first; nil stores zeros.
	Version *Version
	CV      CodeView // nil for none
	// CVLocation overrides CV when not zero.
	CVLocation Location
}

// Version is the version resource of a module.
type Version struct {
	File, Product [4]uint16
}

// CodeView is a module's CodeView record.
type CodeView interface{ record(b *buffer) }

// PDB70 is the record of current Windows, macOS and iOS modules ("RSDS").
type PDB70 struct {
	GUID [16]byte // in the order it is printed
	Age  uint32
	Path string
}

func (v PDB70) record(b *buffer) {
	b.bytes([]byte("RSDS"))
	b.guid(v.GUID)
	b.u32(v.Age)
	b.bytes([]byte(v.Path))
	b.u8(0)
}

// PDB20 is the record of modules linked before 2002 ("NB10").
type PDB20 struct {
	Offset, TimeStamp, Age uint32
	Path                   string
}

func (v PDB20) record(b *buffer) {
	b.bytes([]byte("NB10"))
	b.u32s(v.Offset, v.TimeStamp, v.Age)
	b.bytes([]byte(v.Path))
	b.u8(0)
}

// ELF is the record of ELF modules: the build id ("BpEL").
type ELF struct{ BuildID []byte }

func (v ELF) record(b *buffer) {
	b.u32(0x4270454c)
	b.bytes(v.BuildID)
}

// MachO is the record of Mach-O modules: a PDB70 whose GUID is LC_UUID, age 0
// and whose path is the module's leaf.
func MachO(uuid [16]byte, leaf string) PDB70 { return PDB70{GUID: uuid, Path: leaf} }

// RawCodeView is a record given as bytes.
type RawCodeView []byte

func (v RawCodeView) record(b *buffer) { b.bytes(v) }

func (w *writer) modules() Location {
	return w.list(len(w.d.Modules), func(b *buffer) {
		for i := range w.d.Modules {
			w.module(b, &w.d.Modules[i])
		}
	})
}

func (w *writer) module(b *buffer, m *Module) {
	name, cv := m.NameRVA, m.CVLocation
	if name == 0 {
		name = w.PutString(m.Name)
	}
	if cv == (Location{}) && m.CV != nil {
		cv = w.compose(m.CV.record)
	}
	b.u64(m.Base)
	b.u32s(m.Size, m.Checksum, m.TimeStamp, name)
	if v := m.Version; v != nil {
		pair := func(p [4]uint16) {
			b.u32s(uint32(p[0])<<16|uint32(p[1]), uint32(p[2])<<16|uint32(p[3]))
		}
		b.u32s(0xfeef04bd, 0x10000)
		pair(v.File)
		pair(v.Product)
		b.u32s(0x3f, 0, 0x40004, 1, 0, 0, 0)
	} else {
		b.zero(52)
	}
	b.location(cv)
	b.zero(8 + 16) // misc record, reserved
}

// UnloadedModule is an entry of the UnloadedModuleListStream.
type UnloadedModule struct {
	Base                uint64
	Size                uint32
	Checksum, TimeStamp uint32
	Name                string
}

func (w *writer) unloaded() Location {
	return w.compose(func(b *buffer) {
		b.u32s(12, 24, uint32(len(w.d.Unloaded)))
		for _, m := range w.d.Unloaded {
			b.u64(m.Base)
			b.u32s(m.Size, m.Checksum, m.TimeStamp, w.PutString(m.Name))
		}
	})
}
