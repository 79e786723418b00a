package executable

import (
	"bytes"
	"encoding/binary"

	"mayday/app/fault"
)

// Values of mach-o/loader.h and mach/machine.h.
const (
	loadSegment   = 1
	loadUUID      = 0x1b
	loadSegment64 = 0x19
	cpuX86        = 7
	cpuARM        = 12
	cpuPPC        = 18
	cpuWide       = 0x0100_0000
	protExecute   = 4
)

func machoMachine(kind uint32) Machine {
	switch kind {
	case cpuX86:
		return X86
	case cpuX86 | cpuWide:
		return AMD64
	case cpuARM:
		return ARM
	case cpuARM | cpuWide:
		return ARM64
	case cpuPPC:
		return PPC
	case cpuPPC | cpuWide:
		return PPC64
	}
	return UnknownMachine
}

// openFat chooses the architecture in a file of several.
func (im *Image) openFat(machine Machine) error {
	h := im.file.bytes(0, 8)
	if h == nil {
		return short("Mach-O header")
	}
	be := binary.BigEndian
	n, entry := uint64(be.Uint32(h[4:])), uint64(20)
	if be.Uint32(h) == 0xcafebabf {
		entry = 32
	}
	if n == 0 || n > maxFat { // a Java class begins likewise, with its version here
		return fault.New(fault.Malformed, "Mach-O file of %d architectures", n)
	}
	for b := im.table(8, entry, n); len(b) > 0; b = b[entry:] {
		off, size := uint64(be.Uint32(b[8:])), uint64(be.Uint32(b[12:]))
		if entry == 32 {
			off, size = be.Uint64(b[8:]), be.Uint64(b[16:])
		}
		if machine == UnknownMachine || machoMachine(be.Uint32(b)) == machine {
			if off > im.file.size {
				return short("Mach-O file")
			}
			return im.openMachO(off, min(size, im.file.size-off))
		}
	}
	return fault.New(fault.NotFound, "the Mach-O file has no code for this processor")
}

// openMachO reads the headers of the file of size bytes at off.
func (im *Image) openMachO(off, size uint64) error {
	im.Format = MachO
	h := im.file.bytes(off, 28)
	if h == nil {
		return short("Mach-O header")
	}
	start := uint64(28)
	switch binary.BigEndian.Uint32(h) {
	case 0xfeedface:
		im.Order = binary.BigEndian
	case 0xcefaedfe:
	case 0xfeedfacf:
		im.Order, im.wide = binary.BigEndian, true
	case 0xcffaedfe:
		im.wide = true
	default:
		return fault.New(fault.Malformed, "no Mach-O header at %d", off)
	}
	if im.wide {
		start = 32
	}
	o := im.Order
	im.Machine = machoMachine(o.Uint32(h[4:]))
	commands := im.file.bytes(off+start, int(min(uint64(o.Uint32(h[20:])), maxTable)))
	if commands == nil {
		return short("Mach-O load commands")
	}
	for i := uint32(0); i < min(o.Uint32(h[16:]), maxHeaders) && len(commands) >= 8; i++ {
		kind, n := o.Uint32(commands), uint64(o.Uint32(commands[4:]))
		if n < 8 || n > uint64(len(commands)) {
			return fault.New(fault.Malformed, "Mach-O load command %d of %d bytes", i, n)
		}
		c := commands[:n]
		commands = commands[n:]
		switch {
		case kind == loadUUID && n >= 24:
			im.BuildID = bytes.Clone(c[8:24])
		case kind == loadSegment && !im.wide && n >= 56, kind == loadSegment64 && im.wide && n >= 72:
			im.machoSegment(c, off, size)
		}
	}
	return nil
}

// machoSegment reads a segment and its sections; off is where the file of this
// architecture begins.
func (im *Image) machoSegment(c []byte, off, size uint64) {
	o := im.Order
	var s Segment
	var protection, count uint32
	head, entry := 56, 68
	if im.wide {
		head, entry = 72, 80
		s = Segment{Address: o.Uint64(c[24:]), Size: o.Uint64(c[32:]), Offset: o.Uint64(c[40:]), FileSize: o.Uint64(c[48:])}
		protection, count = o.Uint32(c[60:]), o.Uint32(c[64:])
	} else {
		s = Segment{Address: uint64(o.Uint32(c[24:])), Size: uint64(o.Uint32(c[28:])), Offset: uint64(o.Uint32(c[32:])), FileSize: uint64(o.Uint32(c[36:]))}
		protection, count = o.Uint32(c[44:]), o.Uint32(c[48:])
	}
	name := text(c[8:24])
	if name == "__TEXT" {
		im.Base = s.Address
	}
	if s.Offset > size {
		s.Offset, s.FileSize = size, 0
	}
	s.Offset += off
	s.Executable = protection&protExecute != 0
	im.addSegment(s)
	c = c[head:]
	for i := uint32(0); i < min(count, maxHeaders) && len(c) >= entry && len(im.Sections) < maxHeaders; i++ {
		x := Section{Name: text(c[:16]), Segment: text(c[16:32])}
		if im.wide {
			x.Address, x.Size, x.Offset = o.Uint64(c[32:]), o.Uint64(c[40:]), uint64(o.Uint32(c[48:]))
		} else {
			x.Address, x.Size, x.Offset = uint64(o.Uint32(c[32:])), uint64(o.Uint32(c[36:])), uint64(o.Uint32(c[40:]))
		}
		x.FileSize = x.Size
		x.Offset += off
		im.addSection(x)
		c = c[entry:]
	}
}
