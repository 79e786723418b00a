package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"mayday/minidump/synth"
)

// Processed is what the processor would make of a crash, with about sixty
// fields and no dump, to fill an index for benchmarks without walking stacks.
func (c Crash) Processed() map[string]any {
	r := rand.New(rand.NewPCG(c.random, 3))
	a := c.Annotations
	pl := platforms[c.program.platform]
	at := c.Submitted.Format("2006-01-02T15:04:05.000000+00:00")
	signature, proto := c.signatures()
	p := map[string]any{
		"uuid": c.ID, "crash_id": c.ID, "date_processed": at, "submitted_timestamp": at, "success": true, "mdsw_status_string": "OK",
		"product": a["ProductName"], "version": a["Version"], "release_channel": a["ReleaseChannel"], "vendor": a["Vendor"], "build": a["BuildID"],
		"signature": signature, "proto_signature": proto, "report_type": "crash", "process_type": c.culprit.process, "submitted_from": a["SubmittedFrom"],
		"useragent_locale": a["useragent_locale"], "cpu_arch": cpuNames[pl.cpu], "cpu_info": "family 6 model 158 stepping 10", "cpu_count": 4 + 4*r.IntN(4),
		"address": fmt.Sprintf("0x%016x", r.Uint64N(1<<47)), "thread_count": 3 + r.IntN(60), "crashing_thread": 0, "crashing_thread_name": "main",
		"uptime": r.IntN(20000), "install_age": r.IntN(40 * 86400), "install_time": number(a["InstallTime"]), "startup_time": number(a["StartupTime"]),
		"crash_time": number(a["CrashTime"]), "total_physical_memory": number(a["TotalPhysicalMemory"]), "available_physical_memory": number(a["AvailablePhysicalMemory"]),
		"topmost_filenames": c.culprit.file, "modules_in_stack": strings.ToLower(c.program.product) + "/" + a["BuildID"], "distribution_id": "unknown",
		"startup_crash": a["StartupCrash"] == "1", "processor_notes": ">>> Start processing: " + at, "major_version": number(strings.SplitN(a["Version"], ".", 2)[0]),
	}
	s := systems[c.program.platform]
	p["os_name"], p["os_version"], p["os_pretty_version"], p["reason"] = s.name, s.version, s.pretty, s.reasons[c.culprit.fault]
	for field, annotation := range map[string]string{"user_comments": "Comments", "url": "URL", "adapter_vendor_id": "AdapterVendorID", "adapter_device_id": "AdapterDeviceID",
		"android_manufacturer": "Android_Manufacturer", "android_model": "Android_Model", "android_cpu_abi": "Android_CPU_ABI", "android_version": "Android_Version",
		"java_stack_trace": "JavaStackTrace", "moz_crash_reason": "MozCrashReason"} {
		if v := a[annotation]; v != "" {
			p[field] = v
		}
	}
	return p
}

// signatures are the signature and the proto signature of a crash.
func (c Crash) signatures() (signature, proto string) {
	switch c.culprit.fault {
	case "java":
		return c.culprit.calls[0] + ": at org.kite.browser." + strings.TrimSuffix(c.culprit.file, ".kt") + ".onEvent(" + c.culprit.file + ")", ""
	case "nodump":
		return "EMPTY: no frame data available", ""
	}
	var frames []string
	for _, f := range append(append([]string{}, c.culprit.calls...), loop...) {
		name, _, _ := strings.Cut(f, "(")
		frames = append(frames, name)
	}
	return frames[0], strings.Join(frames, " | ")
}

var cpuNames = map[synth.CPU]string{synth.AMD64: "amd64", synth.X86: "x86", synth.ARM64: "arm64"}

type system struct {
	name, version, pretty string
	reasons               map[string]string
}

var (
	windowsReasons = map[string]string{"null": "EXCEPTION_ACCESS_VIOLATION_READ", "read": "EXCEPTION_ACCESS_VIOLATION_READ", "write": "EXCEPTION_ACCESS_VIOLATION_WRITE",
		"stack": "EXCEPTION_STACK_OVERFLOW", "illegal": "EXCEPTION_ILLEGAL_INSTRUCTION", "divide": "EXCEPTION_INT_DIVIDE_BY_ZERO", "abort": "EXCEPTION_STACK_BUFFER_OVERRUN"}
	unixReasons = map[string]string{"null": "SIGSEGV / SEGV_MAPERR", "read": "SIGSEGV / SEGV_MAPERR", "write": "SIGSEGV / SEGV_ACCERR",
		"stack": "SIGSEGV / SEGV_MAPERR", "illegal": "SIGILL / ILL_ILLOPN", "divide": "SIGFPE / FPE_INTDIV", "abort": "SIGABRT"}
	macReasons = map[string]string{"null": "EXC_BAD_ACCESS / KERN_INVALID_ADDRESS", "read": "EXC_BAD_ACCESS / KERN_INVALID_ADDRESS", "write": "EXC_BAD_ACCESS / KERN_PROTECTION_FAILURE",
		"stack": "EXC_BAD_ACCESS / KERN_INVALID_ADDRESS", "illegal": "EXC_BAD_INSTRUCTION", "divide": "EXC_ARITHMETIC", "abort": "EXC_CRASH / SIGABRT"}
	systems = map[byte]system{
		'w': {"Windows", "10.0.22631", "Windows 11", windowsReasons},
		'x': {"Windows", "10.0.19045", "Windows 10", windowsReasons},
		'l': {"Linux", "6.1.0", "Linux", unixReasons},
		'm': {"Mac OS X", "15.1.0", "macOS 15", macReasons},
		'a': {"Android", "34", "Android 34", unixReasons},
	}
)

// number reads what an annotation holds; what is no number is 0.
func number(text string) int64 {
	var n int64
	_, _ = fmt.Sscan(text, &n) // 0 is what is wanted then
	return n
}
