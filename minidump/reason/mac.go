package reason

import (
	"fmt"

	"mayday/minidump/format"
)

// mac names a Mach exception, whose first code are the flags; "" if it knows
// no such exception.
func mac(e *format.Exception, cpu format.CPU) string {
	n := macNames()
	name, ok := n["exception"][uint64(e.Code)]
	if !ok {
		return ""
	}
	code := uint64(e.Flags)
	switch name {
	case "SIMULATED":
		return "Simulated Exception"
	case "EXC_RESOURCE":
		if kind, ok := n["resource"][code>>29&7]; ok {
			return "EXC_RESOURCE / " + kind + " / " + resource(n[kind], kind, e.Parameters[1], e.Parameters[2])
		}
	case "EXC_GUARD":
		if kind, ok := n["guard"][code>>29&7]; ok {
			return "EXC_GUARD / " + kind + guard(n[kind], kind, e.Parameters[1], e.Parameters[2])
		}
	case "EXC_BAD_ACCESS":
		if kern, ok := n["kern_return"][code]; ok {
			return name + " / " + kern
		}
	case "EXC_SOFTWARE":
		if kind, ok := n[name][code]; ok {
			return name + " / " + kind
		}
	}
	if kind, ok := n[name+macCPU(cpu)][code]; ok {
		return name + " / " + kind
	}
	return fmt.Sprintf("%s / 0x%08x", name, code)
}

// macCPU is the part of a section's name that stands for a processor. Codes of
// 32-bit arm are not told apart.
func macCPU(cpu format.CPU) string {
	switch cpu {
	case format.ARM64:
		return " arm"
	case format.PPC:
		return " ppc"
	case format.X86, format.AMD64:
		return " x86"
	}
	return " none"
}

// resource describes EXC_RESOURCE: bit fields of the code and the subcode by
// kind (kern/exc_resource.h).
func resource(flavors map[uint64]string, kind string, code, subcode uint64) string {
	flavor, ok := flavors[code>>58&7]
	if !ok {
		return fmt.Sprintf("0x%016x / 0x%016x", code, subcode)
	}
	switch kind {
	case "RESOURCE_TYPE_CPU":
		return fmt.Sprintf("%s interval: %ds CPU limit: %d%% CPU consumed: %d%%", flavor, code>>7&0x1ffffff, code&7, subcode&7)
	case "RESOURCE_TYPE_WAKEUPS":
		return fmt.Sprintf("%s interval: %ds wakeups permitted: %d wakeups observed: %d", flavor, code>>20&0xfffff, code&0xfff, subcode&0xfff)
	case "RESOURCE_TYPE_MEMORY":
		return fmt.Sprintf("%s high watermark limit: %dMiB", flavor, code&0x1fff)
	case "RESOURCE_TYPE_IO":
		return fmt.Sprintf("%s interval: %ds I/O limit: %d%% I/O observed: %d%%", flavor, code>>15&0x1ffff, code&0x7fff, subcode&0x7fff)
	}
	return fmt.Sprintf("%s high watermark limit: %d", flavor, code&0x7fff) // threads
}

// guard describes EXC_GUARD: bit fields of the code by kind (kern/exc_guard.h).
func guard(flavors map[uint64]string, kind string, code, subcode uint64) string {
	switch kind {
	case "GUARD_TYPE_NONE":
		return ""
	case "GUARD_TYPE_USER":
		// The missing space is how the text has always been written.
		return fmt.Sprintf("/ namespace: %d guard identifier: %d", code&0xffffffff, subcode)
	}
	flavor, ok := flavors[code>>32&0x1fffffff]
	if !ok {
		return fmt.Sprintf(" / 0x%016x / 0x%016x", code, subcode)
	}
	target := code & 0xfffffff
	switch kind {
	case "GUARD_TYPE_MACH_PORT":
		if subcode != 0 {
			return fmt.Sprintf(" / %s port name: %d subcode: %d", flavor, target, subcode)
		}
		return fmt.Sprintf(" / %s port name: %d", flavor, target)
	case "GUARD_TYPE_FD":
		return fmt.Sprintf(" / %s file descriptor: %d guard identifier: %d", flavor, target, subcode)
	case "GUARD_TYPE_VN":
		return fmt.Sprintf(" / %s pid: %d guard identifier: %d", flavor, target, subcode)
	case "GUARD_TYPE_VIRT_MEMORY":
		return fmt.Sprintf(" / %s offset: %d", flavor, subcode)
	}
	return fmt.Sprintf(" / %s syscall: %d", flavor, subcode) // rejected system call
}
