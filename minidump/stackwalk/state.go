package stackwalk

import (
	"time"

	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// State is everything that a dump and its symbols say about a process.
type State struct {
	System SystemInfo
	Crash  CrashInfo
	// RequestingThread is the number of the thread that crashed or asked for the
	// dump, -1 when it is not known.
	RequestingThread int
	Threads          []Thread
	Modules          []Module
	Unloaded         []minidump.UnloadedModule
	UnloadedOrder    []int // numbers of Unloaded by address
	Handles          []minidump.Handle

	PID    *uint32
	Uptime *time.Duration
	// LSBRelease, Limits and MapCount come from files of a Linux system.
	LSBRelease *LSBRelease
	Limits     []Limit // nil when the dump has none
	MapCount   *int
	// MacCrashInfo and MacBootArgs come from macOS.
	MacCrashInfo []minidump.MacCrashRecord
	MacBootArgs  *string
	// SoftErrors is the JSON the dump's writer left, nil if there is none or it is
	// no JSON.
	SoftErrors []byte
	// CertSubjects says who signed a module, by its leaf name.
	CertSubjects map[string]string
	Assertion    *minidump.Assertion
	Crashpad     *minidump.CrashpadInfo
	// Errors says which parts of the dump were broken.
	Errors []*minidump.FormatError
	// Truncated says why stacks were cut short, "" when they were not.
	Truncated string
	// Comments are texts that the dump's writer added.
	Comments []string

	mainBase  uint64
	moduleIdx []int // numbers of Modules by address
}

// SystemInfo describes the machine.
type SystemInfo struct {
	OS        string // Windows NT, Mac OS X, Linux …
	OSVersion string
	CPU       format.CPU
	CPUName   string
	CPUInfo   string // "" if unknown
	CPUCount  int
	Microcode *uint64
}

// CrashInfo says what happened.
type CrashInfo struct {
	// Reason is the name of the signal or exception, "" when there was none.
	Reason  string
	Address *uint64
	analysis.Result
}

// Thread is one thread and its call stack.
type Thread struct {
	ID        uint32
	Name      *string
	LastError string // "" when it cannot be read
	Frames    []Frame
	// Truncated says why the walk ended early, "" if it did not.
	Truncated string
}

// Frame is one step of a call stack, innermost first.
type Frame struct {
	// Instruction is the address that was looked up: within the call instruction
	// in all frames but the first. Return is where the frame goes on.
	Instruction, Return uint64
	Trust               unwind.Trust
	// Module is the number of the module, unwind.NoModule if there is none;
	// ModuleOffset is the offset of Instruction in it.
	Module       int
	ModuleOffset uint64
	// HasFunction says that symbols cover Instruction; the name may still be "".
	HasFunction, HasFile, HasLine bool
	Function                      string
	FunctionOffset                uint64
	File                          string
	Line                          uint32
	Inlines                       []symbols.Inline // innermost first
	Unloaded                      []UnloadedHit
	// Registers are those of the first frame of the requesting thread, and of
	// others when Options asked for them.
	Registers *format.Context
}

// UnloadedHit is an unloaded module that had covered a frame's address.
type UnloadedHit struct {
	Name    string
	Offsets []uint64 // rising; a name may have been loaded at several addresses
}

// Module is a loaded module and what became of its symbols.
type Module struct {
	*minidump.Module
	Symbols SymbolStats
	// Binary says that the module's own file was at hand and looked at.
	Binary bool
}

// LSBRelease names a Linux distribution.
type LSBRelease struct{ ID, Release, Codename, Description string }

// Limit is a resource limit of a Linux process.
type Limit struct {
	Name, Unit string
	Soft, Hard Bound
}

// Bound is a number or unlimited.
type Bound struct {
	Unlimited bool
	Value     uint64
}
