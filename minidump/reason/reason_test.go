package reason

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mayday/minidump"
	"mayday/minidump/format"
)

func dump(platform format.Platform, cpu format.CPU, e format.Exception) *minidump.Dump {
	return &minidump.Dump{
		System:    &minidump.SystemInfo{CPU: cpu, OS: platform.OS()},
		Exception: &minidump.Exception{Raw: e},
	}
}

func TestOf(t *testing.T) {
	const lin, win, mac = format.PlatformLinux, format.PlatformWindowsNT, format.PlatformMacOSX
	exc := func(code, flags uint32, info ...uint64) format.Exception {
		e := format.Exception{Code: code, Flags: flags, ParameterCount: uint32(len(info))}
		copy(e.Parameters[:], info)
		return e
	}
	for _, c := range []struct {
		name string
		os   format.Platform
		cpu  format.CPU
		e    format.Exception
		want string
	}{
		{"fault", lin, format.AMD64, exc(11, 1), "SIGSEGV / SEGV_MAPERR"},
		{"bare signal", lin, format.AMD64, exc(11, 0), "SIGSEGV"},
		{"kernel", lin, format.AMD64, exc(11, 0x80), "SIGSEGV / SI_KERNEL"},
		{"tkill", lin, format.AMD64, exc(6, 0xfffffffa), "SIGABRT / SI_TKILL"},
		{"unknown code", lin, format.AMD64, exc(11, 77), "SIGSEGV / 0x0000004d"},
		{"requested", format.PlatformAndroid, format.ARM64, exc(0xffffffff, 0), "DUMP_REQUESTED"},
		{"unknown signal", lin, format.AMD64, exc(99, 3), "unknown 0x00000063 / 0x00000003"},
		{"read", win, format.AMD64, exc(accessViolation, 0, 0, 5), "EXCEPTION_ACCESS_VIOLATION_READ"},
		{"no parameters", win, format.AMD64, exc(accessViolation, 0), "EXCEPTION_ACCESS_VIOLATION"},
		{"strange access", win, format.AMD64, exc(accessViolation, 0, 3), "EXCEPTION_ACCESS_VIOLATION"},
		{"in page", win, format.AMD64, exc(inPageError, 0, 1, 5, 0xc000009c), "EXCEPTION_IN_PAGE_ERROR_WRITE / STATUS_DEVICE_DATA_ERROR"},
		{"fast fail", win, format.AMD64, exc(stackBufferOverrun, 0, 5), "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_INVALID_ARG"},
		{"unknown fast fail", win, format.AMD64, exc(stackBufferOverrun, 0, 5555), "EXCEPTION_STACK_BUFFER_OVERRUN / 0x000015b3"},
		{"overrun without reason", win, format.AMD64, exc(stackBufferOverrun, 0), "STATUS_STACK_BUFFER_OVERRUN"},
		{"c++", win, format.X86, exc(0xe06d7363, 0), "Unhandled C++ Exception"},
		{"error", win, format.X86, exc(2, 0), "ERROR_FILE_NOT_FOUND"},
		{"facility", win, format.X86, exc(0xc06d007e, 0), "FACILITY_VISUALCPP / ERROR_MOD_NOT_FOUND"},
		{"unknown facility", win, format.X86, exc(0x80070005, 0), "unknown 0x80070005"},
		{"kern", mac, format.ARM64, exc(1, 1), "EXC_BAD_ACCESS / KERN_INVALID_ADDRESS"},
		{"gpf", mac, format.AMD64, exc(1, 13), "EXC_BAD_ACCESS / EXC_I386_GPFLT"},
		{"gpf elsewhere", mac, format.ARM64, exc(1, 13), "EXC_BAD_ACCESS / 0x0000000d"},
		{"breakpoint", mac, format.ARM64, exc(6, 1), "EXC_BREAKPOINT / EXC_ARM_BREAKPOINT"},
		{"simulated", mac, format.ARM64, exc(0x43507378, 0), "Simulated Exception"},
		{"software", mac, format.AMD64, exc(5, 0x10002), "EXC_SOFTWARE / SIGABRT"},
		{"resource", mac, format.ARM64, exc(11, 3<<29, 0, 1<<58|300, 0), "EXC_RESOURCE / RESOURCE_TYPE_MEMORY / FLAVOR_HIGH_WATERMARK high watermark limit: 300MiB"},
		{"guard", mac, format.ARM64, exc(12, 2<<29, 0, 1<<32|9, 7), "EXC_GUARD / GUARD_TYPE_FD / GUARD_EXC_CLOSE file descriptor: 9 guard identifier: 7"},
		{"other system", format.PlatformSolaris, format.SPARC, exc(11, 1), "unknown 0x0000000b / 0x00000001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, _ := Of(dump(c.os, c.cpu, c.e)); got != c.want {
				t.Errorf("%s, code %#x flags %#x: got %q, want %q", c.cpu, c.e.Code, c.e.Flags, got, c.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	e := format.Exception{Code: accessViolation, Address: 0xffffffff80001000, ParameterCount: 2, Parameters: [15]uint64{0, 0xfffffffff0000010}}
	for _, c := range []struct {
		name string
		d    *minidump.Dump
		want uint64
	}{
		{"32-bit Windows", dump(format.PlatformWindowsNT, format.X86, e), 0xf0000010},
		{"64-bit Windows", dump(format.PlatformWindowsNT, format.AMD64, e), 0xfffffffff0000010},
		{"elsewhere the code means nothing", dump(format.PlatformLinux, format.AMD64, e), 0xffffffff80001000},
	} {
		if got, ok := Address(c.d); got != c.want || !ok {
			t.Errorf("%s: got %#x, want %#x", c.name, got, c.want)
		}
	}
	if _, ok := Address(&minidump.Dump{}); ok {
		t.Error("a dump without exception has an address")
	}
}

// Every name of the reference list is in the tables under its value.
func TestTablesAreComplete(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", "stackwalk", "reason_constants.tsv"))
	if err != nil {
		t.Skip("names are compared with a reference list of reason codes, which is not beside the repository")
	}
	defer f.Close()
	have := map[string]bool{}
	for _, n := range []names{linuxNames(), macNames(), windowsNames(), winErrorNames(), ntStatusNames()} {
		for _, section := range n {
			for v, name := range section {
				have[name+strconv.FormatUint(v, 16)] = true
			}
		}
	}
	lines := bufio.NewScanner(f)
	lines.Scan()
	n := 0
	for lines.Scan() {
		row := strings.Split(lines.Text(), "\t")
		v, err := strconv.ParseUint(row[2], 0, 64)
		if err != nil || !have[row[1]+strconv.FormatUint(v, 16)] {
			t.Errorf("%s is missing", lines.Text())
		}
		n++
	}
	if n < 6000 {
		t.Errorf("read %d names", n)
	}
}

func BenchmarkOfWindows(b *testing.B) {
	d := dump(format.PlatformWindowsNT, format.AMD64, format.Exception{Code: 0xc06d007e})
	for b.Loop() {
		Of(d)
	}
}
