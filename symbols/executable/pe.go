package executable

import (
	"encoding/binary"

	"mayday/app/fault"
)

// Values of the PE/COFF specification.
const (
	peExceptions  = 3 // number of the directory
	peSectionCode = 0x2000_0000
)

func (im *Image) openPE() error {
	im.Format = PE
	le := binary.LittleEndian
	dos := im.file.bytes(0, 64)
	if dos == nil {
		return short("DOS header")
	}
	at := uint64(le.Uint32(dos[60:]))
	h := im.file.bytes(at, 24)
	if h == nil || string(h[:4]) != "PE\x00\x00" {
		return fault.New(fault.Malformed, "no PE header at %d", at)
	}
	switch le.Uint16(h[4:]) {
	case 0x14c:
		im.Machine = X86
	case 0x8664:
		im.Machine = AMD64
	case 0x1c0, 0x1c4:
		im.Machine = ARM
	case 0xaa64:
		im.Machine = ARM64
	}
	im.TimeStamp = le.Uint32(h[8:])
	sections, optional := uint64(le.Uint16(h[6:])), uint64(le.Uint16(h[20:]))
	b := im.file.bytes(at+24, int(optional))
	if len(b) < 96 {
		return short("PE optional header")
	}
	directories := 96
	if im.wide = le.Uint16(b) == 0x20b; im.wide {
		if directories = 112; len(b) < directories {
			return short("PE optional header")
		}
		im.Base = le.Uint64(b[24:])
	} else {
		im.Base = uint64(le.Uint32(b[28:]))
	}
	im.SizeOfImage = le.Uint32(b[56:])
	if headers := uint64(le.Uint32(b[60:])); headers > 0 {
		im.addSegment(Segment{Address: im.Base, Size: headers, FileSize: headers})
	}
	if d := directories + peExceptions*8; d+8 <= len(b) && le.Uint32(b[directories-4:]) > peExceptions {
		im.Exceptions = Range{uint64(le.Uint32(b[d:])), uint64(le.Uint32(b[d+4:]))}
	}
	for t := im.table(at+24+optional, 40, sections); len(t) >= 40; t = t[40:] {
		address := im.Base + uint64(le.Uint32(t[12:]))
		virtual, raw := uint64(le.Uint32(t[8:])), uint64(le.Uint32(t[16:]))
		if virtual == 0 {
			virtual = raw
		}
		offset := uint64(le.Uint32(t[20:]))
		im.addSection(Section{Name: text(t[:8]), Address: address, Size: virtual, Offset: offset, FileSize: min(raw, virtual)})
		im.addSegment(Segment{Address: address, Size: virtual, Offset: offset, FileSize: raw, Executable: le.Uint32(t[36:])&peSectionCode != 0})
	}
	return nil
}
