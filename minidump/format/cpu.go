package format

// CPU is the kind of processor a dump was taken on.
type CPU uint8

// The processors whose contexts are understood.
const (
	UnknownCPU CPU = iota
	X86
	AMD64
	ARM
	ARM64
	PPC
	PPC64
	SPARC
	MIPS
	MIPS64
	RISCV
	RISCV64
	cpuCount
)

// cpuNames are the names as stackwalk output and register tables spell them.
var cpuNames = [cpuCount]string{"unknown", "x86", "amd64", "arm", "arm64", "ppc", "ppc64", "sparc", "mips", "mips64", "riscv", "riscv64"}

// String is the name of the CPU in stackwalk output.
func (c CPU) String() string {
	if c >= cpuCount {
		c = UnknownCPU
	}
	return cpuNames[c]
}

// The values of MINIDUMP_SYSTEM_INFO.ProcessorArchitecture that have a context
// record; those from 0x8001 on are extensions of Breakpad and Crashpad.
const (
	ArchitectureX86      uint16 = 0
	ArchitectureMIPS     uint16 = 1
	ArchitecturePPC      uint16 = 3
	ArchitectureARM      uint16 = 5
	ArchitectureAMD64    uint16 = 9
	ArchitectureWOW64    uint16 = 10 // a 32-bit process on 64-bit Windows
	ArchitectureARM64    uint16 = 12
	ArchitectureSPARC    uint16 = 0x8001
	ArchitecturePPC64    uint16 = 0x8002
	ArchitectureARM64Old uint16 = 0x8003 // Breakpad's layout before Windows had one
	ArchitectureMIPS64   uint16 = 0x8004
	ArchitectureRISCV    uint16 = 0x8005
	ArchitectureRISCV64  uint16 = 0x8006
)

// CPUOf is the CPU that a processor architecture stands for.
func CPUOf(architecture uint16) CPU {
	if l := layoutOf(architecture); l != nil {
		return l.cpu
	}
	return UnknownCPU
}

// PointerSize is the size of an address in bytes; an unknown CPU counts as a
// 64-bit one.
func (c CPU) PointerSize() int {
	switch c {
	case X86, ARM, PPC, SPARC, MIPS, RISCV:
		return 4
	}
	return 8
}
