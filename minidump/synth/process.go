package synth

// OS is a VER_PLATFORM value of SYSTEM_INFO.
type OS uint32

// The systems, those from 0x8101 on being extensions of Breakpad.
const (
	Windows OS = 2
	MacOS   OS = 0x8101
	IOS     OS = 0x8102
	LinuxOS OS = 0x8201
	Solaris OS = 0x8202
	Android OS = 0x8203
	PS3     OS = 0x8204
	NaCl    OS = 0x8205
	Fuchsia OS = 0x8206
)

// System is the SystemInfoStream.
type System struct {
	CPU CPU
	// Architecture overrides the CPU's number when HasArchitecture is set.
	Architecture    uint16
	HasArchitecture bool
	Level, Revision uint16
	Processors      uint8
	ProductType     uint8
	OS              OS
	Major, Minor    uint32
	Build           uint32
	CSD             string // service pack; on Linux the text of uname
	CSDRVA          uint32 // overrides CSD when not 0
	Suite           uint16
	// Vendor, its version and features are the cpuid of x86; for arm the cpuid
	// and elf_hwcaps; others have two feature words.
	Vendor        string
	VersionInfo   uint32
	Features      uint32
	AMDFeatures   uint32
	CPUID, HWCaps uint32
	FeatureWords  [2]uint64
}

func (w *writer) system() Location {
	s := w.d.System
	csd := s.CSDRVA
	if csd == 0 {
		csd = w.PutString(s.CSD)
	}
	return w.compose(func(b *buffer) {
		arch := s.CPU.traits().architecture
		if s.HasArchitecture {
			arch = s.Architecture
		}
		b.u16(arch)
		b.u16(s.Level)
		b.u16(s.Revision)
		b.u8(s.Processors)
		b.u8(s.ProductType)
		b.u32s(s.Major, s.Minor, s.Build, uint32(s.OS), csd)
		b.u16(s.Suite)
		b.u16(0)
		switch s.CPU {
		case X86, AMD64:
			vendor := make([]byte, 12)
			copy(vendor, s.Vendor)
			if s.CPU == AMD64 && s.Vendor == "" {
				b.u64(s.FeatureWords[0])
				b.u64(s.FeatureWords[1])
				b.u64(0)
				return
			}
			b.bytes(vendor)
			b.u32s(s.VersionInfo, s.Features, s.AMDFeatures)
		case ARM:
			b.u32s(s.CPUID, s.HWCaps)
			b.zero(16)
		default:
			b.u64(s.FeatureWords[0])
			b.u64(s.FeatureWords[1])
			b.u64(0)
		}
	})
}

// Misc is the MiscInfoStream. Version 1 to 5 says how long the record is.
type Misc struct {
	Version                                               int
	Flags                                                 uint32
	PID, CreateTime, UserTime, KernelTime                 uint32
	MaxMHz, CurrentMHz, MHzLimit, MaxIdle, CurrentIdle    uint32
	Integrity, ExecuteFlags, ProtectedProcess, TimezoneID uint32
	Bias, StandardBias, DaylightBias                      int32
	StandardName, DaylightName                            string
	StandardDate, DaylightDate                            [8]uint16
	Build, DebugBuild                                     string
	XStateContextSize                                     uint32
	XStateEnabled                                         uint64
	XStateFeatures                                        [64][2]uint32 // offset, size
	ProcessCookie                                         uint32
}

// The flags of Misc that say which fields are valid.
const (
	MiscPID   uint32 = 1
	MiscTimes uint32 = 2
	MiscPower uint32 = 4
)

func (w *writer) misc() Location {
	m := w.d.Misc
	size := [6]uint32{24, 24, 44, 232, 832, 1364}[min(max(m.Version, 0), 5)]
	at := w.compose(func(b *buffer) {
		b.u32s(size, m.Flags, m.PID, m.CreateTime, m.UserTime, m.KernelTime)
		b.u32s(m.MaxMHz, m.CurrentMHz, m.MHzLimit, m.MaxIdle, m.CurrentIdle)
		b.u32s(m.Integrity, m.ExecuteFlags, m.ProtectedProcess, m.TimezoneID)
		b.u32(uint32(m.Bias))
		b.fixed16(m.StandardName, 32)
		for _, v := range m.StandardDate {
			b.u16(v)
		}
		b.u32(uint32(m.StandardBias))
		b.fixed16(m.DaylightName, 32)
		for _, v := range m.DaylightDate {
			b.u16(v)
		}
		b.u32(uint32(m.DaylightBias))
		b.fixed16(m.Build, 260)
		b.fixed16(m.DebugBuild, 40)
		b.u32s(16+8*64, m.XStateContextSize)
		b.u64(m.XStateEnabled)
		for _, f := range m.XStateFeatures {
			b.u32s(f[0], f[1])
		}
		b.u32(m.ProcessCookie)
		b.b = b.b[:size]
	})
	return at
}

// Breakpad is the BreakpadInfoStream. A nil id is marked as not valid.
type Breakpad struct {
	DumpThread, RequestingThread *uint32
}

func (w *writer) breakpad() Location {
	i := w.d.Breakpad
	var validity, dump, requesting uint32
	if i.DumpThread != nil {
		validity, dump = 1, *i.DumpThread
	}
	if i.RequestingThread != nil {
		validity, requesting = validity|2, *i.RequestingThread
	}
	return w.compose(func(b *buffer) { b.u32s(validity, dump, requesting) })
}

// Assertion is Breakpad's AssertionInfoStream.
type Assertion struct {
	Expression, Function, File string
	Line                       uint32
	Kind                       uint32 // 0 unknown, 1 invalid parameter, 2 pure virtual call
}

func (w *writer) assertion() Location {
	a := w.d.Assertion
	return w.compose(func(b *buffer) {
		b.fixed16(a.Expression, 128)
		b.fixed16(a.Function, 128)
		b.fixed16(a.File, 128)
		b.u32s(a.Line, a.Kind)
	})
}

// Handle is one MINIDUMP_HANDLE_DESCRIPTOR. An empty name has no string.
type Handle struct {
	Handle                    uint64
	Type, Object              string
	Attributes, Access        uint32
	HandleCount, PointerCount uint32
}

func (w *writer) handles() Location {
	const entry = 40 // HANDLE_DESCRIPTOR_2
	name := func(s string) uint32 {
		if s == "" {
			return 0
		}
		return w.PutString(s)
	}
	return w.compose(func(b *buffer) {
		b.u32s(16, entry, uint32(len(w.d.Handles)), 0)
		for _, h := range w.d.Handles {
			b.u64(h.Handle)
			b.u32s(name(h.Type), name(h.Object), h.Attributes, h.Access, h.HandleCount, h.PointerCount, 0, 0)
		}
	})
}
