package analysis

import (
	"mayday/minidump"
	"mayday/minidump/format"
)

// Input is what is looked at.
type Input struct {
	Dump *minidump.Dump
	// Mappings are those of the dump.
	Mappings *minidump.Mappings
	// Address is the crash address as reported.
	Address uint64
	// Best finds what minidump-stackwalk does not: it decodes arm64 too.
	Best bool
}

// Result is what was found. Its zero value says nothing.
type Result struct {
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
	Kind            string // Read, Write, ReadWrite, or "" when it is not known
	LikelyGuardPage bool

	null bool // the base was a null pointer
}

// The kinds of Access.
const (
	Read      = "read"
	Write     = "write"
	ReadWrite = "readwrite"
)

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
	Register        string  // that held the spoiled address, "" if none did
	Confidence      float32 // between 0 and 1
	WasNonCanonical bool
	IsNull, WasLow  bool
	NearbyRegisters int
	PoisonRegisters bool
}

// scene is what the steps of Analyze share.
type scene struct {
	in        *Input
	exception *format.Exception
	os        format.OS
	cpu       format.CPU
	context   *format.Context // nil when it cannot be read
	fault     fault
	code      *instruction // nil when it is not known
	jump      jumpKind
	result    Result
}

// Analyze looks at the exception of a dump; without one the result is empty.
func Analyze(in Input) Result {
	d := in.Dump
	if d.Exception == nil || d.System == nil {
		return Result{}
	}
	s := &scene{in: &in, exception: &d.Exception.Raw, os: d.System.OS, cpu: d.System.CPU}
	s.fault = faultOf(s.exception, s.os, s.cpu)
	// Others do not know the registers of mips64.
	if c, err := d.Context(s.exception.Context); err == nil && (in.Best || s.cpu != format.MIPS64) {
		s.context = c
		s.instruction()
	}
	s.adjust()
	s.bitFlips()
	s.guardPages()
	s.inconsistencies()
	return s.result
}

// instruction decodes the instruction and works out what it does.
func (s *scene) instruction() {
	if s.cpu != format.AMD64 && (s.cpu != format.ARM64 || !s.in.Best) {
		return
	}
	ip := s.context.IP()
	r := s.in.Dump.RegionAt(ip)
	if r == nil {
		return
	}
	bytes := r.Bytes(ip, min(maxInstruction, r.Size-(ip-r.Base)))
	if s.cpu == format.ARM64 {
		s.arm64(bytes)
		return
	}
	code := decode(bytes, s.in.Best)
	if code == nil {
		return
	}
	s.code = code
	s.result.Instruction = code.text
	s.result.Accesses = s.accesses(code)
	s.jumps(code)
}

// adjust finds a better address than the reported one.
func (s *scene) adjust() {
	if s.code == nil || s.result.Accesses == nil {
		return
	}
	addresses := s.result.Accesses
	if j := s.result.Jump; j != nil {
		addresses = append(addresses[:len(addresses):len(addresses)], Access{Address: j.Address, null: j.Address == 0})
	}
	for _, a := range addresses {
		if a.null {
			s.result.Adjusted = &Adjusted{NullPointer: true, Address: a.Address}
			return
		}
	}
	if s.cpu != format.AMD64 || !s.protectionFault() {
		return
	}
	for _, a := range addresses {
		if nonCanonical(a.Address) {
			s.result.Adjusted = &Adjusted{Address: a.Address}
			return
		}
	}
}

// nonCanonical reports whether x86-64 refuses an address with 48 bits as none
// at all, by a general protection fault instead of a page fault.
func nonCanonical(a uint64) bool { return a >= 0x0000_8000_0000_0000 && a <= 0xffff_7fff_ffff_ffff }

// protectionFault reports whether the system reports a general protection
// fault, each in its way: the address is then not that of the access.
func (s *scene) protectionFault() bool {
	switch s.os {
	case format.Windows:
		return s.fault == accessRead && s.in.Address == ^uint64(0)
	case format.MacOS:
		return s.fault == machProtection && s.in.Address == 0
	case format.Linux:
		return s.fault == kernelSignal && s.in.Address == 0
	}
	return false
}
