package analysis

import (
	"mayday/minidump"
	"mayday/minidump/format"
)

// fault is the sort of exception, as far as this package tells them apart.
type fault uint8

const (
	otherFault fault = iota
	accessRead
	accessWrite
	accessExec
	stackOverflow
	divideByZero
	privileged
	machProtection // EXC_I386_GPFLT
	kernelSignal   // SIGSEGV or SIGBUS raised by the kernel without an address
)

// The codes that faultOf knows.
const (
	windowsAccessViolation = 0xc0000005
	windowsIntDivideByZero = 0xc0000094
	windowsPrivileged      = 0xc0000096
	windowsStackOverflow   = 0xc00000fd
	machBadAccess          = 1
	machArithmetic         = 3
	machGPFault            = 13
	machDivide             = 1 // EXC_I386_DIV
	machPPCZeroDivide      = 2
	sigBus                 = 7
	sigFPE                 = 8
	sigSegv                = 11
	fpeIntDiv              = 1
	siKernel               = 0x80
)

func faultOf(e *format.Exception, os format.OS, cpu format.CPU) fault {
	switch {
	case os == format.Windows:
		return windowsFault(e)
	case os.Apple():
		return machFault(e, cpu)
	case os == format.Linux || os == format.Android:
		switch {
		case e.Code == sigFPE && e.Flags == fpeIntDiv:
			return divideByZero
		case (e.Code == sigSegv || e.Code == sigBus) && e.Flags == siKernel:
			return kernelSignal
		}
	}
	return otherFault
}

func windowsFault(e *format.Exception) fault {
	switch e.Code {
	case windowsAccessViolation:
		if e.ParameterCount < 1 {
			break
		}
		switch e.Parameters[0] {
		case 0:
			return accessRead
		case 1:
			return accessWrite
		case 8:
			return accessExec
		}
	case windowsIntDivideByZero:
		return divideByZero
	case windowsPrivileged:
		return privileged
	case windowsStackOverflow:
		return stackOverflow
	}
	return otherFault
}

func machFault(e *format.Exception, cpu format.CPU) fault {
	x86 := cpu == format.X86 || cpu == format.AMD64
	switch {
	case e.Code == machBadAccess && e.Flags == machGPFault && x86:
		return machProtection
	case e.Code == machArithmetic && (x86 && e.Flags == machDivide || cpu == format.PPC && e.Flags == machPPCZeroDivide):
		return divideByZero
	}
	return otherFault
}

// allows reports whether a mapping allows what the exception says was tried;
// what is not known is taken for allowed.
func (f fault) allows(m minidump.Mapping) bool {
	switch f {
	case accessRead:
		return m.Readable
	case accessWrite:
		return m.Writable
	case accessExec:
		return m.Executable
	}
	return true
}
