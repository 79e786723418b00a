package stackwalk

// Analysis is what looking at the crashing instruction tells.
type Analysis struct {
	// Instruction is the text of the crashing instruction, "" when it is not
	// known.
	Instruction string
	// Accesses is what memory it touched; nil when it is not known.
	Accesses []Access
	// Adjusted replaces the crash address where the system reported a wrong one.
	Adjusted *Adjusted
	// Jump is where the instruction would have led, nil if it was no jump.
	Jump *Jump
	// BitFlips are addresses that one flipped bit of memory may have spoiled.
	BitFlips []BitFlip
	// Inconsistencies name contradictions between exception and instruction.
	Inconsistencies []string
}

// Access is memory touched by an instruction.
type Access struct {
	Address         uint64
	Size            int    // in bytes, 0 when it is not known
	Kind            string // read, write, readwrite, or "" when it is not known
	LikelyGuardPage bool
}

// Adjusted is an address that is nearer to the truth than the reported one.
type Adjusted struct {
	NullPointer bool // Address is an offset from a null pointer; else it is non-canonical
	Address     uint64
}

// Jump is a new instruction pointer.
type Jump struct {
	Address         uint64
	LikelyGuardPage bool
}

// BitFlip is an address that was perhaps meant.
type BitFlip struct {
	Address         uint64
	Register        string // that held the spoiled address, "" if none did
	Confidence      float32
	WasNonCanonical bool
	IsNull, WasLow  bool
	NearbyRegisters int
	PoisonRegisters bool
}
