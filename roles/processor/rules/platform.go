package rules

import (
	"context"
	"strconv"
	"strings"
)

// CPUInfo says what processor the crash ran on.
func CPUInfo(_ context.Context, _ *Env, c *Crash) error {
	info := at(c.walked(), "system_info")
	c.Processed["cpu_info"] = orText(textAt(info, "cpu_info"), "unknown")
	c.Processed["cpu_arch"] = orText(textAt(info, "cpu_arch"), "unknown")
	count, _ := toInt64(at(info, "cpu_count"))
	c.Processed["cpu_count"] = count
	switch v := at(info, "cpu_microcode_version").(type) {
	case nil:
	case string:
		c.Processed["cpu_microcode_version"] = v
	default:
		if n, ok := toInt64(v); ok {
			c.Processed["cpu_microcode_version"] = "0x" + strconv.FormatInt(n, 16)
		}
	}
	return nil
}

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// AndroidCPUInfo takes the instruction set from what Android says where the
// dump does not tell.
func AndroidCPUInfo(_ context.Context, env *Env, c *Crash) error {
	abi, ok := c.annotation("Android_CPU_ABI")
	if !ok || c.Processed["cpu_arch"] != "unknown" {
		return nil
	}
	c.Processed["cpu_arch"] = orText(env.Tables.AndroidABIs[abi], abi)
	return nil
}

// OSInfo says what operating system the crash ran on.
func OSInfo(_ context.Context, _ *Env, c *Crash) error {
	info := at(c.walked(), "system_info")
	c.Processed["os_name"] = orText(strings.TrimSpace(textAt(info, "os")), "Unknown")
	c.Processed["os_version"] = strings.TrimSpace(textAt(info, "os_ver"))
	return nil
}

// AndroidOSInfo takes the system from what Android says where the dump does
// not tell.
func AndroidOSInfo(_ context.Context, _ *Env, c *Crash) error {
	name, _ := c.Processed["os_name"].(string)
	version, ok := c.annotation("Android_Version")
	if name = strings.ToLower(name); !ok || name != "unknown" && name != "android" {
		return nil
	}
	c.Processed["os_name"] = "Android"
	if words := strings.Fields(version); len(words) > 0 {
		if _, fits, _ := parseInt(words[0]); fits {
			c.Processed["os_version"] = words[0]
		}
	}
	return nil
}

// PlatformInfo fills from annotations what no dump has told: the way of
// reports without one.
func PlatformInfo(_ context.Context, _ *Env, c *Crash) error {
	for _, row := range []struct{ field, unknown, annotation string }{
		{"cpu_arch", "unknown", "CPUArchitecture"}, {"cpu_info", "unknown", "CPUInfo"},
		{"os_name", "Unknown", "OS"}, {"os_version", "", "OSVersion"},
	} {
		text, ok := c.annotation(row.annotation)
		if ok && c.Processed[row.field] == row.unknown {
			c.Processed[row.field] = strings.TrimSpace(text)
		}
	}
	return nil
}

// OSPrettyVersion names the system and its version as people do.
func OSPrettyVersion(_ context.Context, env *Env, c *Crash) error {
	name, _ := c.Processed["os_name"].(string)
	version, _ := c.Processed["os_version"].(string)
	pretty := name
	switch {
	case strings.HasPrefix(name, "Windows"):
		pretty = env.Tables.windows(name, version)
	case name == "Mac OS X":
		pretty = macOS(version)
	case name == "Linux":
		pretty = textAt(c.walked(), "lsb_release", "description")
		if pretty == "" {
			pretty, _ = c.annotation("LinuxLSBDescription")
		}
		pretty = orText(pretty, "Linux")
	case name == "Android":
		pretty = strings.TrimSpace("Android " + version)
	}
	c.Processed["os_pretty_version"] = pretty
	return nil
}

// windows names a Windows version by major, minor and build number.
func (t *Tables) windows(name, version string) string {
	numbers, ok := leadingNumbers(version)
	if !ok {
		return name
	}
	key := strconv.Itoa(numbers[0]) + "." + strconv.Itoa(numbers[1])
	pretty, ok := t.WindowsVersions[key]
	if !ok {
		return "Windows Unknown"
	}
	for _, b := range t.WindowsBuilds {
		if b.Version == key && numbers[2] >= b.Build {
			pretty = b.Name
		}
	}
	return pretty
}

func macOS(version string) string {
	numbers, ok := leadingNumbers(version)
	switch {
	case ok && numbers[0] >= 11:
		return "macOS " + strconv.Itoa(numbers[0])
	case ok && numbers[0] == 10 && numbers[1] >= 0:
		return "OS X 10." + strconv.Itoa(numbers[1])
	}
	return "OS X Unknown"
}

// leadingNumbers reads major, minor and build of a version; ok is false unless
// major and minor are numbers. What stands behind a space is not looked at.
func leadingNumbers(version string) (n [3]int, ok bool) {
	version, _, _ = strings.Cut(strings.TrimSpace(version), " ")
	parts := strings.SplitN(version, ".", 4)
	for i := 0; i < len(parts) && i < 3; i++ {
		x, err := strconv.ParseUint(parts[i], 10, 31)
		if err != nil {
			return n, i == 2
		}
		n[i] = int(x)
	}
	return n, len(parts) >= 2
}
