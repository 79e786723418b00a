// Package symbols holds the words that everything about debug symbols shares:
// which module symbols belong to (ModuleID), and what a lookup answers
// (Function, Location, CFI, Win). It holds no parser and no store: the text
// format is in symbols/sym, the compiled lookup file in symbols/cache.
//
// Offsets are always relative to the start of the module, the way the Breakpad
// .sym format counts them.
package symbols

// Reading chooses the rules by which the records of one symbol file are
// interpreted where records overlap, leave gaps or break the grammar.
type Reading uint8

// The readings.
const (
	// Best skips bad lines and uses all the rest; what the product does.
	Best Reading = iota
	// Parity follows minidump-stackwalk: one line that breaks the grammar makes
	// the whole file corrupt, overlapping records are dropped.
	Parity
	// Symbolicate follows the symbolication API: ranges as symbolic lays them
	// out, paths normalised, the module id checked.
	Symbolicate
)

// String is the reading's name in settings and messages.
func (r Reading) String() string {
	switch r {
	case Best:
		return "best"
	case Parity:
		return "parity"
	case Symbolicate:
		return "symbolicate"
	}
	return "unknown"
}

// Function is the FUNC or PUBLIC record that covers an offset.
type Function struct {
	Name string
	// Address is where it starts, Size how far it reaches; the size of a PUBLIC
	// is 0, since the record has none.
	Address, Size uint64
	// ParamSize is the size of the parameters on the stack as the FUNC or PUBLIC
	// record itself has it; STACK WIN may know better.
	ParamSize uint32
	Public    bool // it is a PUBLIC record
	Multiple  bool // the m flag: several symbols share the address
}

// Location is what source says about an offset: the function that covers it,
// the line, and the calls that were inlined there.
type Location struct {
	Function
	// File and Line are of the function itself: where calls were inlined, this
	// is the outermost call site. HasFile and HasLine tell an empty name and a
	// line 0 from nothing known.
	File    string
	Line    uint32
	HasFile bool
	HasLine bool
	// Inlines are the inlined calls, innermost first.
	Inlines []Inline
}

// Inline is one inlined call.
type Inline struct {
	Function string // "" when its origin is not known
	File     string
	Line     uint32
	HasFile  bool
	HasLine  bool
}

// CFI is the STACK CFI information that covers an offset.
type CFI struct {
	// Start and Size are the range of the STACK CFI INIT record.
	Start, Size uint64
	// Init holds the rules of the INIT record, Deltas those of the STACK CFI
	// records that apply at the offset, in the order they apply: a later rule
	// for a register replaces an earlier one.
	Init   string
	Deltas []string
}

// Win is the STACK WIN information that covers an offset; x86 on Windows only.
// A nil part is absent.
type Win struct {
	FrameData *WinFrame // type 4, with a program
	FPO       *WinFrame // type 0
}

// WinFrame is one STACK WIN record.
type WinFrame struct {
	Type                                                           uint8
	Address                                                        uint64
	Size                                                           uint32
	Prolog, Epilog, ParamSize, SavedRegsSize, LocalsSize, MaxStack uint32
	HasProgram                                                     bool
	Program                                                        string // when HasProgram
	AllocatesBasePointer                                           bool   // when not HasProgram
}

// Verdict is what reading a symbol file said about the file as a whole.
type Verdict struct {
	// Strict is the number of the first line, counted from 1, that the strict
	// grammar of minidump-stackwalk refuses; 0 when there is none.
	Strict uint64
	// Symbolic is the first line for which symbolic refuses the whole file, and
	// SymbolicReason why; 0 and "" when it accepts it.
	Symbolic       uint64
	SymbolicReason string
	// Skipped counts the lines that could not be used, SkippedLines are the
	// numbers of the first ten.
	Skipped      uint64
	SkippedLines []uint64
	// Lines counts all lines.
	Lines uint64
}

// Module is what the head of a symbol file says about its module. All fields
// are as written.
type Module struct {
	OS, Arch, ID, Name string
	// Found says that there was a MODULE record, on whatever line.
	Found bool
	// CodeID and CodeFile are of INFO CODE_ID, Generator of INFO GENERATOR, URL
	// of the last INFO URL.
	CodeID, CodeFile, Generator, URL string
}
