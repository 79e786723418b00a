package unwind

import (
	"context"

	"mayday/symbols"
)

// Symbols answers, for one module, what the walker needs of its symbols.
// Offsets count from the start of the module. The views of symbols/sym and
// symbols/cache implement it; which reading of the file they follow is theirs.
type Symbols interface {
	// Function is the FUNC or PUBLIC that covers offset. A word on the stack
	// that points where there is none, or one without a name, is not taken for
	// a return address.
	Function(offset uint64) (symbols.Function, bool)
	// CFI is the STACK CFI information for offset. It is not used any more when
	// CFI is called again.
	CFI(offset uint64) (symbols.CFI, bool)
	// Win is the STACK WIN information for offset.
	Win(offset uint64) (symbols.Win, bool)
}

// Starts is implemented by Symbols that can tell sooner than by Function whether
// a function, and no PUBLIC, starts at offset.
type Starts interface {
	Starts(offset uint64) bool
}

// Modules finds the modules of the process. It must be safe for as many
// goroutines as have walkers that share it.
type Modules interface {
	// Find returns the number of the module that covers address and where that
	// module starts. Modules that overlap are the implementer's to sort out.
	Find(address uint64) (module int, base uint64, ok bool)
	// Symbols returns the symbols of a module that Find returned, nil when there
	// are none or they cannot be used. It may take its time the first time a
	// module is asked for; the walker asks for modules that a frame or a possible
	// return address lies in and for no others.
	Symbols(ctx context.Context, module int) Symbols
	// End is the end of the highest module, 0 if there is none. Address bits
	// above it that sign pointers on arm64 are removed.
	End() uint64
}

// Code tells what a dump knows about memory outside the stack. It is used by
// the Best heuristics alone.
type Code interface {
	// Bytes returns n bytes at address, or nil when the dump does not hold
	// them all.
	Bytes(address uint64, n int) []byte
	// Executable says whether the memory at address may be executed; known is
	// false when the dump has no memory map that covers it.
	Executable(address uint64) (executable, known bool)
}
