package format

// StreamType is the number that a directory entry gives its stream.
type StreamType uint32

// The streams of Microsoft's MINIDUMP_STREAM_TYPE.
const (
	StreamUnused           StreamType = 0
	StreamThreadList       StreamType = 3
	StreamModuleList       StreamType = 4
	StreamMemoryList       StreamType = 5
	StreamException        StreamType = 6
	StreamSystemInfo       StreamType = 7
	StreamThreadExList     StreamType = 8
	StreamMemory64List     StreamType = 9
	StreamCommentA         StreamType = 10
	StreamCommentW         StreamType = 11
	StreamHandleData       StreamType = 12
	StreamFunctionTable    StreamType = 13
	StreamUnloadedModules  StreamType = 14
	StreamMiscInfo         StreamType = 15
	StreamMemoryInfoList   StreamType = 16
	StreamThreadInfoList   StreamType = 17
	StreamHandleOperations StreamType = 18
	StreamToken            StreamType = 19
	StreamJavaScriptData   StreamType = 20
	StreamSystemMemoryInfo StreamType = 21
	StreamProcessVMCounter StreamType = 22
	StreamIptTrace         StreamType = 23
	StreamThreadNames      StreamType = 24
)

// The streams that Breakpad, Crashpad and Mozilla add.
const (
	StreamBreakpadInfo     StreamType = 0x47670001
	StreamAssertionInfo    StreamType = 0x47670002
	StreamLinuxCPUInfo     StreamType = 0x47670003
	StreamLinuxProcStatus  StreamType = 0x47670004
	StreamLinuxLSBRelease  StreamType = 0x47670005
	StreamLinuxCmdLine     StreamType = 0x47670006
	StreamLinuxEnviron     StreamType = 0x47670007
	StreamLinuxAuxv        StreamType = 0x47670008
	StreamLinuxMaps        StreamType = 0x47670009
	StreamLinuxDSODebug    StreamType = 0x4767000A
	StreamCrashpadInfo     StreamType = 0x43500001
	StreamMacCrashInfo     StreamType = 0x4D7A0001
	StreamMacBootArgs      StreamType = 0x4D7A0002
	StreamLinuxProcLimits  StreamType = 0x4D7A0003
	StreamSoftErrors       StreamType = 0x4D7A0004
	StreamBreakpadReserved StreamType = 0x4767FFFF
)

// streamNames holds the names shown in messages; a number not in it is
// printed as hexadecimal.
var streamNames = map[StreamType]string{
	StreamThreadList: "thread list", StreamModuleList: "module list", StreamMemoryList: "memory list",
	StreamException: "exception", StreamSystemInfo: "system info", StreamMemory64List: "memory 64 list",
	StreamCommentA: "comment", StreamCommentW: "wide comment", StreamHandleData: "handle data",
	StreamUnloadedModules: "unloaded modules", StreamMiscInfo: "misc info", StreamMemoryInfoList: "memory info list",
	StreamThreadInfoList: "thread info list", StreamThreadNames: "thread names",
	StreamBreakpadInfo: "breakpad info", StreamAssertionInfo: "assertion info", StreamLinuxCPUInfo: "linux cpu info",
	StreamLinuxProcStatus: "linux proc status", StreamLinuxLSBRelease: "linux lsb release",
	StreamLinuxCmdLine: "linux command line", StreamLinuxEnviron: "linux environ", StreamLinuxAuxv: "linux auxv",
	StreamLinuxMaps: "linux maps", StreamLinuxDSODebug: "linux dso debug", StreamCrashpadInfo: "crashpad info",
	StreamMacCrashInfo: "mac crash info", StreamMacBootArgs: "mac boot args",
	StreamLinuxProcLimits: "linux proc limits", StreamSoftErrors: "soft errors",
}

// String is the stream's name in messages.
func (t StreamType) String() string {
	if n, ok := streamNames[t]; ok {
		return n
	}
	const hex = "0123456789abcdef"
	b := []byte("stream 0x00000000")
	for i := range 8 {
		b[len(b)-1-i] = hex[t>>(4*i)&15]
	}
	return string(b)
}
