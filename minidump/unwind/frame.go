package unwind

import (
	"encoding/binary"

	"mayday/minidump/format"
)

// Trust says how a frame was found, least trusted last.
type Trust uint8

// The ways to find a frame.
const (
	Context      Trust = iota // the registers of the thread itself
	CFI                       // call frame information
	FramePointer              // the chain of frame pointers
	Scan                      // a word on the stack that could be a return address
)

// String is the trust as stackwalk output spells it.
func (t Trust) String() string {
	switch t {
	case Context:
		return "context"
	case CFI:
		return "cfi"
	case FramePointer:
		return "frame_pointer"
	case Scan:
		return "scan"
	}
	return "non"
}

// Description is the trust in words, for people.
func (t Trust) Description() string {
	switch t {
	case Context:
		return "given as instruction pointer in context"
	case CFI:
		return "call frame info"
	case FramePointer:
		return "previous frame's frame pointer"
	case Scan:
		return "stack scanning"
	}
	return "unknown"
}

// NoModule is the module of a frame that lies in none.
const NoModule = -1

// Frame is one step of a call stack.
type Frame struct {
	// Instruction is the address to look up: of the crashed instruction in the
	// first frame, and in the others an address within the call instruction,
	// which lies before the return address.
	Instruction uint64
	// Return is the address at which the frame goes on; in the first frame the
	// same as Instruction.
	Return uint64
	// StackPointer is the frame's stack pointer.
	StackPointer uint64
	// Module is the number of the module that covers Instruction, NoModule if
	// none does; Base is where it starts.
	Module int
	Base   uint64
	Trust  Trust
	// Registers are the registers that are known. The first frame has those of
	// the thread, the others have theirs when Process.Registers says so; else it
	// is nil.
	Registers *format.Context
}

// Offset is the offset of Instruction within the frame's module.
func (f *Frame) Offset() uint64 { return f.Instruction - f.Base }

// Stack is the one region of memory that is read while a thread is walked:
// the one that holds its stack.
type Stack struct {
	Base  uint64
	Bytes []byte
	Order binary.ByteOrder
}

// Stacks finds the memory of stacks that no thread of the dump runs on: a signal
// handler may have a stack of its own, and then the stack pointer of the thread
// leads to that alone. It is used by the Best heuristics alone.
type Stacks interface {
	// Stack is the region of memory that covers address, one without bytes when
	// the dump has none.
	Stack(address uint64) Stack
}

// Thread is what a walk starts from.
type Thread struct {
	// Context holds the registers; without it there are no frames.
	Context *format.Context
	// Stack may be empty, and then there is only the context frame.
	Stack Stack
}

// CallStack is what a walk yields, innermost frame first.
type CallStack struct {
	Frames []Frame
	// Truncated says why the walk was ended although it could go on, "" when it
	// came to an end by itself.
	Truncated string
}

// Heuristics selects the set of rules.
type Heuristics uint8

// The sets of rules.
const (
	Best   Heuristics = iota // the most true frames
	Parity                   // the frames of minidump-stackwalk 0.27
)

// Platform is the operating system, as far as walking stacks differs.
type Platform uint8

// The platforms that differ.
const (
	OtherPlatform Platform = iota
	Windows                // frame pointers may lie some words off
	IOS                    // 32-bit arm code keeps frame pointers
)

// Process is what all threads of a dump share.
type Process struct {
	Modules    Modules
	Code       Code   // may be nil
	Stacks     Stacks // may be nil
	Platform   Platform
	Heuristics Heuristics
	// Registers keeps the known registers of every frame and not just the first
	// one's.
	Registers bool
}
