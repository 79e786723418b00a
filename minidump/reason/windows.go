package reason

import (
	"fmt"

	"mayday/minidump/format"
)

// The codes that say more in their parameters.
const (
	accessViolation    = 0xc0000005
	inPageError        = 0xc0000006
	stackBufferOverrun = 0xc0000409
)

// windows names an exception.
func windows(e *format.Exception) string {
	n := windowsNames()
	name, ok := n["exception"][uint64(e.Code)]
	if !ok {
		if e.Code == stackBufferOverrun && e.ParameterCount >= 1 {
			// Raised by __fastfail, which gives its reason as the first parameter.
			return "EXCEPTION_STACK_BUFFER_OVERRUN / " + orHex(n["fastfail"], uint64(uint32(e.Parameters[0])))
		}
		return WindowsError(e.Code)
	}
	switch {
	case e.Code == accessViolation && e.ParameterCount >= 1:
		if kind, ok := n["access"][e.Parameters[0]]; ok {
			return name + "_" + kind
		}
	case e.Code == inPageError && e.ParameterCount >= 3:
		if kind, ok := n["access"][e.Parameters[0]]; ok {
			return name + "_" + kind + " / " + orHex(ntStatusNames()["ntstatus"], uint64(uint32(e.Parameters[2])))
		}
	}
	switch name {
	case "OUT_OF_MEMORY":
		return "Out of Memory"
	case "UNHANDLED_CPP_EXCEPTION":
		return "Unhandled C++ Exception"
	case "SIMULATED":
		return "Simulated Exception"
	}
	return name
}

func orHex(section map[uint64]string, code uint64) string {
	if name, ok := section[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%08x", code)
}

// WindowsError names an error code such as GetLastError returns: an error of
// winerror.h, else an NTSTATUS, else an error within a facility.
func WindowsError(code uint32) string {
	errors := winErrorNames()["winerror"]
	if name, ok := errors[uint64(code)]; ok {
		return name
	}
	if name, ok := ntStatusNames()["ntstatus"][uint64(code)]; ok {
		return name
	}
	if code>>28 != 0 {
		facility, ok := windowsNames()["facility"][uint64(code>>16&0xfff)]
		name, ok2 := errors[uint64(code&0xffff)]
		if ok && ok2 {
			return facility + " / " + name
		}
	}
	return fmt.Sprintf("unknown 0x%08x", code)
}
