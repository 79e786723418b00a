package reason

import (
	"fmt"

	"mayday/minidump"
	"mayday/minidump/format"
)

// Of names the reason of the exception in a dump; it reports false when the
// dump has no exception.
func Of(d *minidump.Dump) (string, bool) {
	if d.Exception == nil || d.System == nil {
		return "", false
	}
	e := &d.Exception.Raw
	name := ""
	switch os := d.System.OS; {
	case os == format.Windows:
		name = windows(e)
	case os.Apple():
		name = mac(e, d.System.CPU)
	case os == format.Linux || os == format.Android:
		name = linux(e)
	}
	if name == "" {
		name = fmt.Sprintf("unknown 0x%08x / 0x%08x", e.Code, e.Flags)
	}
	return name, true
}

// Address is the address the exception is about: of the memory that could not
// be reached where the system says so, else of the instruction. It reports
// false when the dump has no exception.
func Address(d *minidump.Dump) (uint64, bool) {
	if d.Exception == nil || d.System == nil {
		return 0, false
	}
	e := &d.Exception.Raw
	a := e.Address
	if d.System.OS == format.Windows && (e.Code == accessViolation || e.Code == inPageError) && e.ParameterCount >= 2 {
		a = e.Parameters[1]
	}
	// 32-bit addresses may come with their sign extended. Writers for RISC-V are
	// too new to do that.
	if cpu := d.System.CPU; cpu.PointerSize() == 4 && cpu != format.RISCV {
		a = uint64(uint32(a))
	}
	return a, true
}
