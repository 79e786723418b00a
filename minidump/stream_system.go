package minidump

import (
	"encoding/binary"
	"fmt"
	"strings"

	"mayday/minidump/format"
)

// SystemInfo says what kind of machine the process ran on.
type SystemInfo struct {
	Raw format.SystemInfo
	CPU format.CPU
	OS  format.OS
	// CSDVersion is the service pack on Windows, the build on macOS and what
	// uname says on Linux; HasCSDVersion is false when it cannot be read.
	CSDVersion    string
	HasCSDVersion bool
	// CPUInfo describes the processor: family, model and stepping, or the part
	// and its features; "" where nothing is known.
	CPUInfo string
}

func (d *Dump) readSystemInfo(b []byte) *FormatError {
	s := &SystemInfo{}
	c := format.NewCursor(b, d.Order)
	c.Record(&s.Raw)
	if _, failed := c.Failed(); failed {
		return bad("%d bytes are too few", len(b))
	}
	s.CPU, s.OS = format.CPUOf(s.Raw.Architecture), s.Raw.Platform.OS()
	s.CSDVersion, s.HasCSDVersion = d.utf16At(uint64(s.Raw.CSDVersionRVA))
	s.CPUInfo = s.describeCPU(d.Order)
	d.System = s
	return nil
}

// Version returns the version of the operating system, and behind a space its
// build if there is one.
//
// Breakpad and Crashpad on Linux may write 0.0.0 and put the output of
// "uname -srvmo" into the text: "Linux VERSION BUILD… ARCH [Linux/GNU]". Real
// systems end in GNU/Linux, and then the architecture stays part of the build.
func (s *SystemInfo) Version() string {
	version := fmt.Sprintf("%d.%d.%d", s.Raw.MajorVersion, s.Raw.MinorVersion, s.Raw.BuildNumber)
	_, rest, ok := strings.Cut(s.CSDVersion, " ")
	word, rest, _ := strings.Cut(rest, " ")
	if s.Raw.Platform != format.PlatformLinux || version != "0.0.0" || !ok || word == "0.0.0" {
		if build := strings.TrimSpace(s.CSDVersion); build != "" {
			version += " " + build
		}
		return version
	}
	rest, last := withoutLastWord(rest)
	if last == "Linux/GNU" {
		rest, _ = withoutLastWord(rest)
	}
	return word + " " + rest // the space even without a build
}

// withoutLastWord splits off what stands behind the last space.
func withoutLastWord(s string) (rest, last string) {
	i := strings.LastIndexByte(s, ' ')
	return s[:max(i, 0)], s[i+1:]
}

// describeCPU reads the part of the record that differs between processors.
func (s *SystemInfo) describeCPU(order binary.ByteOrder) string {
	family := fmt.Sprintf("family %d model %d stepping %d", s.Raw.ProcessorLevel, s.Raw.ProcessorRevision>>8, s.Raw.ProcessorRevision&0xff)
	switch s.CPU {
	case format.X86:
		var vendor []rune
		for i := range 3 {
			for v, n := order.Uint32(s.Raw.CPU[4*i:]), 0; n < 4; v, n = v>>8, n+1 {
				vendor = append(vendor, rune(v&0xff))
			}
		}
		return string(vendor) + " " + family
	case format.AMD64:
		return family
	case format.ARM:
		return describeARM(s.Raw.ProcessorLevel, order.Uint32(s.Raw.CPU[:]), order.Uint32(s.Raw.CPU[4:]))
	}
	return ""
}

// Names of ARM's main id register: implementer and part, and of the bits that
// Linux reports as hardware capabilities, lowest first.
var (
	armVendors = map[uint32]string{0x41: "ARM", 0x51: "Qualcomm", 0x56: "Marvell", 0x69: "Intel/Marvell"}
	armParts   = map[uint32]string{
		0x4100c050: "Cortex-A5", 0x4100c080: "Cortex-A8", 0x4100c090: "Cortex-A9", 0x4100c0f0: "Cortex-A15",
		0x4100c140: "Cortex-R4", 0x4100c150: "Cortex-R5", 0x4100b360: "ARM1136", 0x4100b560: "ARM1156",
		0x4100b760: "ARM1176", 0x4100b020: "ARM11-MPCore", 0x41009260: "ARM926", 0x41009460: "ARM946",
		0x41009660: "ARM966", 0x510006f0: "Krait", 0x510000f0: "Scorpion",
	}
	armFeatures = []string{"swp", "half", "thumb", "26bit", "fastmult", "fpa", "vfpv2", "edsp", "java", "iwmmxt",
		"crunch", "thumbee", "neon", "vfpv3", "vfpv3d16", "tls", "vfpv4", "idiva", "idivt"}
)

func describeARM(level uint16, cpuid, features uint32) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ARMv%d", level)
	if cpuid != 0 {
		vendor, part := cpuid>>24, cpuid&0xff00fff0
		if name, ok := armVendors[vendor]; ok {
			b.WriteString(" " + name)
		} else {
			fmt.Fprintf(&b, " vendor(%#x)", vendor)
		}
		if name, ok := armParts[part]; ok {
			b.WriteString(" " + name)
		} else {
			fmt.Fprintf(&b, " part(%#x)", part)
		}
	}
	before := " features: "
	for i, name := range armFeatures {
		if features>>i&1 != 0 {
			b.WriteString(before + name)
			before = ","
		}
	}
	return b.String()
}
