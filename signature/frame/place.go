package frame

import (
	"strings"

	"mayday/signature/python"
)

// BaseName is the last part of a path of either kind of system.
func BaseName(file string) string {
	file = strings.TrimRight(file, `/\`)
	if i := strings.LastIndexByte(file, '\\'); i >= 0 {
		return file[i+1:]
	}
	return file[strings.LastIndexByte(file, '/')+1:]
}

// RustPath is the source path of a Rust file, empty for all others.
func RustPath(file string) string {
	const ext = ".rs"
	if !strings.HasSuffix(file, ext) && !strings.HasSuffix(file[:max(0, strings.LastIndexByte(file, ':'))], ext) {
		return "" // neither the path nor the part before the revision
	}
	if path := sourcePath(file); strings.HasSuffix(path, ext) {
		return path
	}
	return ""
}

// sourcePath is the path within the source tree: the third part of
// "hg:host/repository:path:revision", the second of "host:path", or an
// absolute path as it is; empty for all others.
func sourcePath(file string) string {
	if file == "" {
		return ""
	}
	switch strings.Count(file, ":") {
	case 3:
		_, file, _ = strings.Cut(file, ":")
		_, file, _ = strings.Cut(file, ":")
		file, _, _ = strings.Cut(file, ":")
		return file
	case 1:
		_, file, _ = strings.Cut(file, ":")
		return file
	}
	if file[0] == '/' {
		return file
	}
	return ""
}

// RustOrigin gives the bare names of Rust 1.34's panic functions their paths
// back, which that compiler left out.
func RustOrigin(path, function string) string {
	switch path {
	case "src/liballoc/raw_vec.rs":
		if function == "capacity_overflow" {
			return "alloc::raw_vec::capacity_overflow"
		}
	case "src/libcore/option.rs":
		if function == "expect_failed" {
			return "core::option::expect_failed"
		}
	case "src/libcore/panicking.rs":
		switch function {
		case "panic_bounds_check", "panic_fmt", "panic":
			return "core::panicking::" + function
		}
	case "src/libcore/slice/mod.rs":
		if function == "slice_index_order_fail" {
			return "core::slice::slice_index_order_fail"
		}
	case "src/libstd/panicking.rs":
		switch function {
		case "begin_panic_fmt", "continue_panic_fmt", "rust_panic_with_hook":
			return "std::panicking::" + function
		}
	}
	return function
}

// Address writes a hexadecimal number the way Python's hex(int(text, 16))
// does; what is no number stays as it is.
func Address(text string) string {
	s := python.TrimSpace(text)
	sign := ""
	if s != "" && (s[0] == '+' || s[0] == '-') {
		if s[0] == '-' {
			sign = "-"
		}
		s = s[1:]
	}
	digitBefore := false
	if len(s) >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
		digitBefore = true // int() allows an underscore right after 0x
	}
	out := make([]byte, 0, len(s)+3)
	digits := 0
	for _, r := range s {
		if r == '_' {
			if !digitBefore {
				return text
			}
			digitBefore = false
			continue
		}
		d := hexDigit(r)
		if d < 0 {
			return text
		}
		digitBefore = true
		digits++
		if d != 0 || len(out) > 0 {
			out = append(out, "0123456789abcdef"[d])
		}
	}
	switch {
	case digits == 0 || !digitBefore:
		return text
	case len(out) == 0:
		return "0x0"
	}
	return sign + "0x" + string(out)
}

func hexDigit(r rune) int {
	switch {
	case r >= 'a' && r <= 'f':
		return int(r-'a') + 10
	case r >= 'A' && r <= 'F':
		return int(r-'A') + 10
	}
	return python.Digit(r)
}
