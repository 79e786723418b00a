package format

// Platform is SystemInfo.PlatformId as written.
type Platform uint32

// The operating systems that writers use; those from 0x8000 are Breakpad's.
const (
	PlatformWindowsNT Platform = 2
	PlatformWindowsCE Platform = 3
	PlatformUnix      Platform = 0x8000
	PlatformMacOSX    Platform = 0x8101
	PlatformIOS       Platform = 0x8102
	PlatformLinux     Platform = 0x8201
	PlatformSolaris   Platform = 0x8202
	PlatformAndroid   Platform = 0x8203
	PlatformPS3       Platform = 0x8204
	PlatformNaCl      Platform = 0x8205
	PlatformFuchsia   Platform = 0x8206
)

// OS is the kind of operating system.
type OS uint8

// The kinds of operating system.
const (
	UnknownOS OS = iota
	Windows
	MacOS
	IOS
	Linux
	Solaris
	Android
	PS3
	NaCl
)

// OS says what p is.
func (p Platform) OS() OS {
	switch p {
	case PlatformWindowsNT, PlatformWindowsCE:
		return Windows
	case PlatformMacOSX:
		return MacOS
	case PlatformIOS:
		return IOS
	case PlatformLinux:
		return Linux
	case PlatformSolaris:
		return Solaris
	case PlatformAndroid:
		return Android
	case PlatformPS3:
		return PS3
	case PlatformNaCl:
		return NaCl
	}
	return UnknownOS
}

// Apple reports macOS and iOS, which share their exceptions and module ids.
func (o OS) Apple() bool { return o == MacOS || o == IOS }
