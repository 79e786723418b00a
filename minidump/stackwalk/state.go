package stackwalk

import (
	"iter"
	"math/bits"
	"time"

	"mayday/minidump"
	"mayday/minidump/analysis"
	"mayday/minidump/format"
	"mayday/minidump/reason"
	"mayday/minidump/stackwalk/machine"
	"mayday/minidump/unwind"
	"mayday/symbols"
)

// State is everything that a dump and its symbols say about a process.
type State struct {
	System machine.Info
	Crash  CrashInfo
	// RequestingThread is the number of the thread that crashed or asked for the
	// dump, -1 when it is not known.
	RequestingThread int
	Threads          []Thread
	// ThreadCount is how many threads the dump has; more than Threads only where
	// Truncated says so.
	ThreadCount int
	Modules     []Module
	Unloaded    *minidump.UnloadedModules
	Handles     *minidump.Handles

	PID    *uint32
	Uptime *time.Duration
	// LSBRelease, Limits and MapCount come from files of a Linux system.
	LSBRelease *machine.Release
	Limits     []machine.Limit // nil when the dump has none
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

	size             uint64        // of the dump
	modulesByAddress iter.Seq[int] // numbers of Modules
}

// Frames is how many frames all stacks have together.
func (s *State) Frames() int {
	n := 0
	for i := range s.Threads {
		n += len(s.Threads[i].stack().Frames)
	}
	return n
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
	ID           uint32
	lastError    uint32
	hasLastError bool
	Name         *string
	// Stack may be shared by threads without frames; nil is one without any.
	*Stack
}

// LastError names the value of GetLastError on Windows, "" when it is not known.
func (t *Thread) LastError() string {
	if !t.hasLastError {
		return ""
	}
	return reason.WindowsError(t.lastError)
}

// Stack are the frames of a thread, innermost first. There may be very many:
// what frames have in common is kept once.
type Stack struct {
	Frames []Frame
	// Truncated says why the walk ended early, "" if it did not.
	Truncated string

	registers *[]uint64 // for each frame that has some: which are known, and their values
}

// stack is never nil.
func (t *Thread) stack() *Stack {
	if t.Stack == nil {
		return &Stack{}
	}
	return t.Stack
}

// Frame is one step of a call stack.
type Frame struct {
	// Instruction is the address that was looked up: within the call instruction
	// in all frames but the first.
	Instruction uint64
	// Place is what symbols say of Instruction; it is never nil.
	*Place
	// Module is the number of the module, unwind.NoModule if there is none.
	Module int32
	Trust  unwind.Trust

	back      uint8  // from Return to Instruction
	registers uint32 // where they begin in Stack.registers, plus one; 0 for none
}

// Return is the address at which the frame goes on.
func (f *Frame) Return() uint64 { return f.Instruction + uint64(f.back) }

// Place is what is known of an address in code.
type Place struct {
	// HasFunction says that symbols cover the address; the name may still be "".
	HasFunction, HasFile, HasLine bool
	Function                      string
	FunctionOffset                uint64
	File                          string
	Line                          uint32
	Inlines                       []symbols.Inline // innermost first
	Unloaded                      []UnloadedHit
}

// Registers are the known registers of a frame: their numbers as a set, and
// their values in the order of the numbers.
type Registers struct {
	Known  uint64
	Values []uint64
}

// Get returns the value of a register; it reports false when it is not known.
func (r Registers) Get(n format.Register) (uint64, bool) {
	if r.Known>>n&1 == 0 {
		return 0, false
	}
	return r.Values[bits.OnesCount64(r.Known&(1<<n-1))], true
}

// Registers are the registers of frame n: of the first one of the requesting
// thread, and of others when Options asked for them.
func (k *Stack) Registers(n int) Registers {
	at := k.Frames[n].registers
	if at == 0 {
		return Registers{}
	}
	values := (*k.registers)[at-1:]
	return Registers{values[0], values[1 : 1+bits.OnesCount64(values[0])]}
}

// appendRegisters appends the known registers of c.
func appendRegisters(b []uint64, c *format.Context) []uint64 {
	b = append(b, c.Valid)
	for known := c.Valid; known != 0; known &= known - 1 {
		b = append(b, c.Values[bits.TrailingZeros64(known)])
	}
	return b
}

// UnloadedHit is an unloaded module that had covered a frame's address.
type UnloadedHit struct {
	Name    string
	Offsets []uint64 // rising; a name may have been loaded at several addresses
}

// Module is a loaded module and what became of its symbols.
type Module struct {
	*minidump.Module
	Symbols *SymbolStats
	// Binary says that the module's own file was at hand and looked at.
	Binary bool
}
