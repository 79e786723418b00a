package rawtext

import (
	"encoding/hex"
	"strconv"

	"mayday/minidump/format"
)

// place is a field of a context record that package format does not decode.
type place struct {
	name         string
	offset, size int
}

// The fields of contexts that people look at besides the general registers
// (winnt.h; Breakpad's minidump_cpu_arm.h).
var places = map[format.CPU][]place{
	format.AMD64: {
		{"p1_home", 0, 8}, {"p2_home", 8, 8}, {"p3_home", 16, 8}, {"p4_home", 24, 8}, {"p5_home", 32, 8}, {"p6_home", 40, 8}, {"mx_csr", 0x34, 4},
		{"cs", 0x38, 2}, {"ds", 0x3a, 2}, {"es", 0x3c, 2}, {"fs", 0x3e, 2}, {"gs", 0x40, 2}, {"ss", 0x42, 2},
		{"dr0", 0x48, 8}, {"dr1", 0x50, 8}, {"dr2", 0x58, 8}, {"dr3", 0x60, 8}, {"dr6", 0x68, 8}, {"dr7", 0x70, 8},
	},
	format.X86: {
		{"dr0", 4, 4}, {"dr1", 8, 4}, {"dr2", 12, 4}, {"dr3", 16, 4}, {"dr6", 20, 4}, {"dr7", 24, 4},
		{"float_save.control_word", 28, 4}, {"float_save.status_word", 32, 4}, {"float_save.tag_word", 36, 4}, {"float_save.error_offset", 40, 4},
		{"float_save.error_selector", 44, 4}, {"float_save.data_offset", 48, 4}, {"float_save.data_selector", 52, 4}, {"float_save.cr0_npx_state", 136, 4},
		{"gs", 0x8c, 4}, {"fs", 0x90, 4}, {"es", 0x94, 4}, {"ds", 0x98, 4}, {"cs", 0xbc, 4}, {"ss", 0xc8, 4},
	},
	format.ARM:   {{"cpsr", 0x44, 4}},
	format.ARM64: {{"cpsr", 4, 4}},
}

// newARM64 is the size of the context of arm64 in winnt.h; Breakpad's older one
// has other places.
const newARM64 = 912

// context prints the registers at a location.
func (p *printer) context(l format.Location) {
	if l.Size == 0 {
		return
	}
	b, why := p.at(l, maxContext)
	if b == nil {
		p.line("  (context) = %s", why)
		return
	}
	c, err := p.d.Context(l)
	if err != nil {
		p.line("  (context) = (%s)", clean(err.Error()))
		p.hexdump(uint64(l.RVA), b)
		return
	}
	p.line("  (context), %s", c.CPU)
	all := []pair{{"  context_flags", hexNumber(c.Flags)}}
	for r := range format.Register(format.MaxRegisters) {
		if name := c.CPU.RegisterName(r); name != "" {
			if _, ok := c.Get(r); ok {
				all = append(all, pair{"  " + name, c.Hex(r)})
			}
		}
	}
	for _, f := range places[c.CPU] {
		if f.offset+f.size <= len(b) && (c.CPU != format.ARM64 || l.Size >= newARM64) {
			all = append(all, pair{"  " + f.name, p.number(b[f.offset : f.offset+f.size])})
		}
	}
	p.pairs(all)
	if !p.brief {
		p.line("  (context record)")
		p.hexdump(uint64(l.RVA), b)
	}
}

// number is one of 2, 4 or 8 bytes.
func (p *printer) number(b []byte) string {
	switch len(b) {
	case 2:
		return hexNumber(uint64(p.d.Order.Uint16(b)))
	case 4:
		return hexNumber(uint64(p.d.Order.Uint32(b)))
	case 8:
		return hexNumber(p.d.Order.Uint64(b))
	}
	return strconv.Quote(hex.EncodeToString(b))
}

// maxContext is the most of a context that is looked at: that of amd64 with all
// extended state has some 11 KB.
const maxContext = 16 << 10
