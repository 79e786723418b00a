package stackwalk

import (
	"fmt"
	"strconv"
	"strings"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/unwind"
)

// osNames are the operating systems as reports name them.
var osNames = map[format.OS]string{
	format.Windows: "Windows NT", format.MacOS: "Mac OS X", format.IOS: "iOS", format.Linux: "Linux",
	format.Solaris: "Solaris", format.Android: "Android", format.PS3: "PS3", format.NaCl: "NaCl",
}

func systemInfo(d *minidump.Dump, o *Options, e *extra) SystemInfo {
	raw := &d.System.Raw
	s := SystemInfo{OS: osNames[d.System.OS], CPU: d.System.CPU, CPUName: d.System.CPU.String(), CPUInfo: d.System.CPUInfo, CPUCount: int(raw.ProcessorCount)}
	if s.OS == "" {
		// Two prefixes: scripts that look for these numbers know them so.
		s.OS = fmt.Sprintf("0x0x%06x", uint32(raw.Platform))
	}
	if o.Heuristics == unwind.Parity && (s.CPU == format.RISCV || s.CPU == format.RISCV64) {
		s.CPUName = format.UnknownCPU.String()
	}
	version, build := d.System.Version()
	s.OSVersion = version
	if build != "" {
		s.OSVersion += " " + build
	}
	s.Microcode = microcode(d, e)
	return s
}

// maxProcFile is how much is read of a file of /proc or /etc, and maxCPUInfo of
// /proc/cpuinfo, which has a kilobyte for each CPU: far more than they have.
const (
	maxProcFile = 64 << 10
	maxCPUInfo  = 1 << 20
)

func head(b []byte, n int) []byte { return b[:min(len(b), n)] }

// microcode is the version of the processor's microcode: from /proc/cpuinfo,
// else from what the crash reporter's client sent along.
func microcode(d *minidump.Dump, e *extra) *uint64 {
	text := e.microcode
	for k, v := range minidump.KeyValues(head(d.Linux.CPUInfo, maxCPUInfo), ':') {
		if k == "microcode" {
			text = v
			break
		}
	}
	digits, ok := strings.CutPrefix(text, "0x")
	v, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return nil
	}
	return &v
}

// processID is the process's id. The file of /proc counts only where nothing
// else says.
func processID(d *minidump.Dump) *uint32 {
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
			n, _ := strconv.ParseUint(v, 10, 32) // unreadable: 0
			id = uint32(n)
		}
	}
	return &id
}

// lsbRelease reads /etc/lsb-release or /etc/os-release.
func lsbRelease(d *minidump.Dump) *LSBRelease {
	if d.Linux.LSBRelease == nil {
		return nil
	}
	r := &LSBRelease{}
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

// limits reads /proc/<pid>/limits, a table whose columns stand at least two
// spaces apart.
func limits(d *minidump.Dump) []Limit {
	if d.Linux.Limits == nil {
		return nil
	}
	out := []Limit{}
	at := map[string]int{}
	first := true
	for line := range strings.Lines(string(head(d.Linux.Limits, maxProcFile))) {
		if first {
			first = false
			continue
		}
		var columns []string
		for c := range strings.SplitSeq(line, "  ") {
			if c = strings.TrimSpace(c); c != "" {
				columns = append(columns, c)
			}
		}
		if len(columns) < 3 {
			continue
		}
		l := Limit{Name: columns[0], Unit: "n/a", Soft: bound(columns[1]), Hard: bound(columns[2])}
		if len(columns) > 3 {
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
	v, _ := strconv.ParseUint(text, 10, 64) // unreadable: 0
	return Bound{Value: v}
}
