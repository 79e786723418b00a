package sym

// Kind is the kind of a record.
type Kind uint8

// The kinds of records.
const (
	KindModule       Kind = iota + 1 // MODULE os arch id name
	KindInfo                         // INFO text
	KindFile                         // FILE id name
	KindInlineOrigin                 // INLINE_ORIGIN id name
	KindFunc                         // FUNC [m] address size paramsize name
	KindInline                       // INLINE depth line file origin (address size)+
	KindLine                         // address size line file
	KindPublic                       // PUBLIC [m] address paramsize name
	KindCFIInit                      // STACK CFI INIT address size rules
	KindCFI                          // STACK CFI address rules
	KindWin                          // STACK WIN type address size … program or flag
)

// NoFile stands for the call file of an INLINE record in the old form, which
// has none.
const NoFile = 1<<32 - 1

// Range is one range of an INLINE record.
type Range struct{ Address, Size uint64 }

// Record is one record of a symbol file. Which fields mean something depends
// on its kind. The byte slices belong to the Scanner and change with the next
// record.
type Record struct {
	Kind Kind

	Address, Size uint64 // FUNC, line, STACK; PUBLIC has no size
	ParamSize     uint32 // FUNC, PUBLIC
	Multiple      bool   // FUNC, PUBLIC: the m flag

	ID   uint32 // FILE, INLINE_ORIGIN
	Line uint32 // line; INLINE: the line of the call
	File uint32 // line; INLINE: the file of the call

	Depth, Origin uint32  // INLINE
	Ranges        []Range // INLINE
	OldInline     bool    // INLINE of the old form: no call file

	// Text is the name (FILE, INLINE_ORIGIN, FUNC, PUBLIC, MODULE), the rules
	// (STACK CFI), the program or the flag (STACK WIN), or what follows INFO.
	Text []byte
	// OS, Arch and ModuleID are of the MODULE record.
	OS, Arch, ModuleID []byte
	// Win is of STACK WIN.
	Win WinFields
}

// WinFields are the numbers of a STACK WIN record besides address and size.
type WinFields struct {
	Type       uint8
	HasProgram bool
	// Prolog, Epilog, Params, SavedRegs, Locals, MaxStack
	Sizes [6]uint32
}
