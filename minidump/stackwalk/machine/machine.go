// Package machine says what a minidump and the client that sent it know about
// the machine a process ran on, and about the process as a whole: operating
// system, processor, distribution, process id and resource limits.
//
// The values are those that Mozilla's minidump-stackwalk shows, read by its
// rules from the dump's system info and from the files of /proc and /etc that
// writers on Linux add. Stacks, modules and threads are not looked at.
package machine

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/unwind"
)

// Info describes the machine.
type Info struct {
	OS        string // Windows NT, Mac OS X, Linux …
	OSVersion string
	CPU       format.CPU
	CPUName   string
	CPUInfo   string // "" if unknown
	CPUCount  int
	Microcode *uint64
}

// KnownCPU reports whether reports name the processor.
func (s *Info) KnownCPU() bool { return s.CPUName != format.UnknownCPU.String() }

// AddressWidth is how many digits addresses have in JSON: of a processor that is
// not known as many as on 64-bit ones.
func (s *Info) AddressWidth() int {
	if !s.KnownCPU() {
		return 2 * format.UnknownCPU.PointerSize()
	}
	return 2 * s.CPU.PointerSize()
}

// Release names a Linux distribution.
type Release struct{ ID, Release, Codename, Description string }

// Limit is a resource limit of a Linux process.
type Limit struct {
	Name, Unit string
	Soft, Hard Bound
}

// Bound is a number or unlimited.
type Bound struct {
	Unlimited bool
	Value     uint64
}

// osNames are the operating systems as reports name them.
var osNames = map[format.OS]string{
	format.Windows: "Windows NT", format.MacOS: "Mac OS X", format.IOS: "iOS", format.Linux: "Linux",
	format.Solaris: "Solaris", format.Android: "Android", format.PS3: "PS3", format.NaCl: "NaCl",
}

// OSName is the name of a system in reports, "" if it has none.
func OSName(os format.OS) string { return osNames[os] }

// Read describes the machine of a dump that has system info.
func Read(d *minidump.Dump, h unwind.Heuristics, client Client) Info {
	raw := &d.System.Raw
	s := Info{OS: osNames[d.System.OS], CPU: d.System.CPU, CPUName: d.System.CPU.String(), CPUInfo: d.System.CPUInfo, CPUCount: int(raw.ProcessorCount)}
	if s.OS == "" {
		// Two prefixes: scripts that look for these numbers know them so.
		s.OS = fmt.Sprintf("0x0x%06x", uint32(raw.Platform))
	}
	if h == unwind.Parity && (s.CPU == format.RISCV || s.CPU == format.RISCV64) {
		s.CPUName = format.UnknownCPU.String()
	}
	s.OSVersion = d.System.Version()
	s.Microcode = microcode(d, client.Microcode)
	return s
}

// maxProcFile is how much is read of a file of /proc or /etc, and maxCPUInfo of
// /proc/cpuinfo, which has a kilobyte for each CPU: far more than they have.
const (
	maxProcFile = 64 << 10
	maxCPUInfo  = 1 << 20
)

// parseUint is strconv.ParseUint for numbers that may have a plus sign. What
// cannot be read is 0.
func parseUint(s string, base, bits int) (uint64, bool) {
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), base, bits)
	if err != nil {
		return 0, false
	}
	return v, true
}

func head(b []byte, n int) []byte { return b[:min(len(b), n)] }

// microcode is the version of the processor's microcode: from /proc/cpuinfo,
// else from what the crash reporter's client sent along.
func microcode(d *minidump.Dump, text string) *uint64 {
	for k, v := range minidump.KeyValues(head(d.Linux.CPUInfo, maxCPUInfo), ':') {
		if k == "microcode" && !strings.ContainsRune(v, utf8.RuneError) {
			text = v
			break
		}
	}
	digits, ok := strings.CutPrefix(text, "0x")
	v, good := parseUint(digits, 16, 64)
	if !ok || !good {
		return nil
	}
	return &v
}

// ProcessID is the process's id. The file of /proc counts only where nothing
// else says.
func ProcessID(d *minidump.Dump) *uint32 {
	if d.Misc != nil {
		if id, ok := d.Misc.ProcessID(); ok {
			return &id
		}
		return nil
	}
	if d.Linux.Status == nil {
		return nil
	}
	id := uint32(0)
	for k, v := range minidump.KeyValues(head(d.Linux.Status, maxProcFile), ':') {
		if k == "Pid" {
			n, _ := parseUint(v, 10, 32) // unreadable: 0
			id = uint32(n)
			break
		}
	}
	return &id
}

// ReadRelease reads /etc/lsb-release or /etc/os-release.
func ReadRelease(d *minidump.Dump) *Release {
	if d.Linux.LSBRelease == nil {
		return nil
	}
	r := &Release{}
	for k, v := range minidump.KeyValues(head(d.Linux.LSBRelease, maxProcFile), '=') {
		switch k {
		case "DISTRIB_ID", "ID":
			r.ID = v
		case "DISTRIB_RELEASE", "VERSION_ID":
			r.Release = v
		case "DISTRIB_CODENAME", "VERSION_CODENAME":
			r.Codename = v
		case "DISTRIB_DESCRIPTION", "PRETTY_NAME":
			r.Description = v
		}
	}
	return r
}

// ReadLimits reads /proc/<pid>/limits, a table whose columns stand at least two
// spaces apart.
func ReadLimits(d *minidump.Dump) []Limit {
	if d.Linux.Limits == nil {
		return nil
	}
	out := []Limit{}
	at := map[string]int{}
	first := true
	for line := range strings.SplitSeq(minidump.ValidText(head(d.Linux.Limits, maxProcFile)), "\n") {
		if line == "" || first {
			first = first && line == ""
			continue
		}
		var columns []string
		for c := range strings.SplitSeq(line, "  ") {
			if c != "" {
				columns = append(columns, strings.TrimSpace(c))
			}
		}
		if len(columns) < 3 {
			continue
		}
		l := Limit{Name: columns[0], Unit: "n/a", Soft: bound(columns[1]), Hard: bound(columns[2])}
		if len(columns) > 3 { // perhaps the one space that is left of an odd number
			l.Unit = columns[3]
		}
		if i, ok := at[l.Name]; ok {
			out[i] = l
			continue
		}
		at[l.Name] = len(out)
		out = append(out, l)
	}
	return out
}

func bound(text string) Bound {
	if text == "unlimited" {
		return Bound{Unlimited: true}
	}
	v, _ := parseUint(text, 10, 64) // unreadable: 0
	return Bound{Value: v}
}
