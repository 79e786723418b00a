package format

// The header's signature and version; the upper half of the version word is
// free for the writer.
const (
	Signature   = 0x504d444d // "MDMP"
	Version     = 0xa793
	VersionMask = 0xffff
)

// Sizes in bytes of the records that are counted in lists, and of the header.
const (
	HeaderSize             = 32
	DirectorySize          = 12
	LocationSize           = 8
	ThreadSize             = 48
	ThreadNameSize         = 12
	ModuleSize             = 108
	MemoryDescriptorSize   = 16
	MemoryDescriptor64Size = 16
	MemoryInfoSize         = 48
	UnloadedModuleSize     = 24
	HandleSize             = 32
	Handle2Size            = 40
	ThreadInfoSize         = 64
	MaxExceptionParameters = 15
	MaxMacCrashRecords     = 20
)

// Header is MINIDUMP_HEADER, the first bytes of the file.
type Header struct {
	Signature, Version uint32
	StreamCount        uint32
	DirectoryRVA       uint32
	Checksum           uint32
	TimeDateStamp      uint32 // seconds since 1970, by the writer's clock
	Flags              uint64
}

// Location says where in the file something lies: MINIDUMP_LOCATION_DESCRIPTOR.
type Location struct{ Size, RVA uint32 }

// Directory is MINIDUMP_DIRECTORY, one stream's entry.
type Directory struct {
	Type     StreamType
	Location Location
}

// MemoryDescriptor is MINIDUMP_MEMORY_DESCRIPTOR.
type MemoryDescriptor struct {
	Start  uint64
	Memory Location
}

// MemoryDescriptor64 is MINIDUMP_MEMORY_DESCRIPTOR64: regions lie behind each
// other in the file.
type MemoryDescriptor64 struct{ Start, Size uint64 }

// Thread is what is used of MINIDUMP_THREAD; between id and TEB it has three
// words of priorities.
type Thread struct {
	ID      uint32
	TEB     uint64
	Stack   MemoryDescriptor
	Context Location
}

// ThreadName is MINIDUMP_THREAD_NAME; its RVA has 64 bits.
type ThreadName struct {
	ID  uint32
	RVA uint64
}

// The signature and structure version of a FixedFileInfo that is filled in.
const (
	FixedFileSignature = 0xfeef04bd
	FixedFileVersion   = 0x00010000
)

// FixedFileInfo is VS_FIXEDFILEINFO, the version resource of a module.
type FixedFileInfo struct {
	Signature, StructVersion           uint32
	FileVersionHi, FileVersionLo       uint32
	ProductVersionHi, ProductVersionLo uint32
	FileFlagsMask, FileFlags           uint32
	FileOS, FileType, FileSubtype      uint32
	FileDateHi, FileDateLo             uint32
}

// Module is MINIDUMP_MODULE.
type Module struct {
	Base          uint64
	Size          uint32
	Checksum      uint32
	TimeDateStamp uint32
	NameRVA       uint32
	Version       FixedFileInfo
	CodeView      Location
	Misc          Location
	Reserved      [4]uint32
}

// The first word of a CodeView record says which kind it is.
const (
	CodeViewPDB20 = 0x3031424e // "NB10": offset, timestamp, age, name
	CodeViewPDB70 = 0x53445352 // "RSDS": GUID, age, name
	CodeViewELF   = 0x4270454c // "LEpB" in the file: the build id fills the rest
)

// GUID is a Windows GUID; the first three fields have the file's byte order.
type GUID struct {
	Data1        uint32
	Data2, Data3 uint16
	Data4        [8]byte
}

// UnloadedModule is MINIDUMP_UNLOADED_MODULE.
type UnloadedModule struct {
	Base          uint64
	Size          uint32
	Checksum      uint32
	TimeDateStamp uint32
	NameRVA       uint32
}

// Exception is MINIDUMP_EXCEPTION_STREAM with the MINIDUMP_EXCEPTION in it.
type Exception struct {
	ThreadID       uint32
	_              uint32
	Code, Flags    uint32
	Record         uint64
	Address        uint64
	ParameterCount uint32
	_              uint32
	Parameters     [MaxExceptionParameters]uint64
	Context        Location
}

// SystemInfo is MINIDUMP_SYSTEM_INFO.
type SystemInfo struct {
	Architecture               uint16
	ProcessorLevel             uint16
	ProcessorRevision          uint16
	ProcessorCount             uint8
	ProductType                uint8
	MajorVersion, MinorVersion uint32
	BuildNumber                uint32
	Platform                   Platform
	CSDVersionRVA              uint32
	SuiteMask                  uint16
	_                          uint16
	CPU                        [24]byte // x86: vendor 12, version, features, AMD features; arm: cpuid, hwcaps; others: two feature words
}

// MemoryInfo is MINIDUMP_MEMORY_INFO.
type MemoryInfo struct {
	Base, AllocationBase uint64
	AllocationProtection uint32
	_                    uint32
	Size                 uint64
	State                uint32
	Protection           uint32
	Type                 uint32
	_                    uint32
}

// Handle is MINIDUMP_HANDLE_DESCRIPTOR; version 2 has two more words.
type Handle struct {
	Handle                uint64
	TypeRVA, ObjectRVA    uint32
	Attributes            uint32
	GrantedAccess         uint32
	HandleCount, Pointers uint32
}

// ThreadInfo is MINIDUMP_THREAD_INFO; times are in units of 100 ns.
type ThreadInfo struct {
	ID                     uint32
	DumpFlags, DumpError   uint32
	ExitStatus             uint32
	CreateTime, ExitTime   uint64
	KernelTime, UserTime   uint64
	StartAddress, Affinity uint64
}

// BreakpadInfo is MINIDUMP_BREAKPAD_INFO: which thread wrote the dump and
// which one asked for it.
type BreakpadInfo struct {
	Validity           uint32
	DumpThreadID       uint32
	RequestingThreadID uint32
}

// The bits of BreakpadInfo.Validity.
const (
	BreakpadDumpThreadValid       = 1
	BreakpadRequestingThreadValid = 2
)

// Assertion is MINIDUMP_ASSERTION_INFO; its texts are UTF-16 that ends in 0.
type Assertion struct {
	Expression, Function, File [128]uint16
	Line, Kind                 uint32
}

// MiscInfo is MINIDUMP_MISC_INFO, the part that every version has.
type MiscInfo struct {
	SizeOfInfo, Flags1   uint32
	ProcessID            uint32
	CreateTime           uint32 // seconds since 1970
	UserTime, KernelTime uint32 // seconds
}

// MiscInfo2 is what MINIDUMP_MISC_INFO_2 adds.
type MiscInfo2 struct {
	MaxMHz, CurrentMHz, MHzLimit uint32
	MaxIdleState, IdleState      uint32
}

// SystemTime is Windows' SYSTEMTIME.
type SystemTime struct{ Year, Month, DayOfWeek, Day, Hour, Minute, Second, Milliseconds uint16 }

// MiscInfo3 is what MINIDUMP_MISC_INFO_3 adds.
type MiscInfo3 struct {
	IntegrityLevel, ExecuteFlags uint32
	ProtectedProcess             uint32
	TimeZoneID                   uint32
	Bias                         int32
	StandardName                 [32]uint16
	StandardDate                 SystemTime
	StandardBias                 int32
	DaylightName                 [32]uint16
	DaylightDate                 SystemTime
	DaylightBias                 int32
}

// MiscInfo4 is what MINIDUMP_MISC_INFO_4 adds.
type MiscInfo4 struct {
	BuildString [260]uint16
	DebugString [40]uint16
}

// MiscInfo5 is what MINIDUMP_MISC_INFO_5 adds.
type MiscInfo5 struct {
	XStateSize, ContextSize uint32
	EnabledFeatures         uint64
	Features                [64]struct{ Offset, Size uint32 }
	ProcessCookie           uint32
}

// The bits of MiscInfo.Flags1 that say which fields are filled in.
const (
	MiscProcessID    = 0x0001
	MiscProcessTimes = 0x0002
	MiscPowerInfo    = 0x0004
	MiscIntegrity    = 0x0010
	MiscExecuteFlags = 0x0020
	MiscTimeZone     = 0x0040
	MiscProtected    = 0x0080
	MiscBuildString  = 0x0100
	MiscCookie       = 0x0200
)

// CrashpadInfo is MinidumpCrashpadInfo of Crashpad without the words that
// newer writers add behind it.
type CrashpadInfo struct {
	Version            uint32
	ReportID, ClientID GUID
	SimpleAnnotations  Location
	ModuleList         Location
}

// CrashpadModuleLink is MinidumpModuleCrashpadInfoLink: which module of the
// module list an annotation set belongs to.
type CrashpadModuleLink struct {
	ModuleIndex uint32
	Location    Location
}

// CrashpadModule is MinidumpModuleCrashpadInfo.
type CrashpadModule struct {
	Version           uint32
	ListAnnotations   Location
	SimpleAnnotations Location
	AnnotationObjects Location
}

// CrashpadAnnotation is MinidumpAnnotation; type 1 is a string, types from
// 0x8000 are the writer's own.
type CrashpadAnnotation struct {
	NameRVA  uint32
	Type     uint16
	_        uint16
	ValueRVA uint32
}

// The kinds of CrashpadAnnotation.Type.
const (
	CrashpadAnnotationInvalid = 0
	CrashpadAnnotationString  = 1
	CrashpadAnnotationUser    = 0x8000
)

// MacCrashInfo heads Mozilla's stream of the __crash_info sections.
type MacCrashInfo struct {
	StreamType      uint32
	RecordCount     uint32
	RecordStartSize uint32 // bytes of a record before its strings
	Records         [MaxMacCrashRecords]Location
}

// MacBootArgs leads to the kernel's boot arguments.
type MacBootArgs struct {
	StreamType uint32
	RVA        uint64
}
