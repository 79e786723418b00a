package signature

import (
	"strings"
	"sync"
)

// normalizer turns frames into the text that the lists are matched against.
// It holds the buffers that this takes; one goroutine uses it at a time.
type normalizer struct {
	lists        *Lists
	lowerModules bool
	improve      Improvements // zero for upstream's frames
	lined        bool         // a line number was added, so the text holds for that line alone

	// Two buffers that the steps of a function name write in turn.
	text, next []byte
	// brackets holds the open brackets while a name is cut into words.
	brackets []byte
	// slices and spots serve nested template parameters that are kept.
	slices []open
	spots  []int
	closes []int
	opened []int
}

var normalizers = sync.Pool{New: func() any { return new(normalizer) }}

func newNormalizer(lists *Lists, lowerModules bool) *normalizer {
	n := normalizers.Get().(*normalizer)
	n.lists, n.lowerModules, n.improve = lists, lowerModules, Improvements{}
	return n
}

// maxKeptBuffer is the size in bytes from which a buffer is not kept for the
// next crash: names of a megabyte are rare, and so must their buffers be.
const maxKeptBuffer = 1 << 16

func (n *normalizer) release() {
	if cap(n.text) > maxKeptBuffer || cap(n.next) > maxKeptBuffer || cap(n.brackets) > maxKeptBuffer || cap(n.slices) > maxKeptBuffer {
		return
	}
	n.lists = nil
	normalizers.Put(n)
}

// NormalizeFrame is the text of a frame as the lists see it. With lowerModules
// the module's name is made lower case, as for crashes of Windows.
func NormalizeFrame(f Frame, lowerModules bool, lists *Lists) string {
	if lists == nil {
		lists = defaults()
	}
	n := newNormalizer(lists, lowerModules)
	defer n.release()
	return n.frame(&f).text
}

func (n *normalizer) frame(f *Frame) frame {
	if f.Function != "" {
		return n.function(f.Function, f.File, f.Line, f.lineTruth)
	}
	return frame{text: n.place(f.File, f.Line, f.lineTruth, f)}
}

func (n *normalizer) inline(f *Frame, i *Inline) frame {
	if i.Function != "" {
		return n.function(i.Function, i.File, i.Line, i.lineTruth)
	}
	outer := Frame{Module: f.Module, ModuleOffset: f.ModuleOffset, Offset: f.Offset}
	return frame{text: n.place(i.File, i.Line, i.lineTruth, &outer)}
}

// function names a frame by its function, from the cache if it can.
func (n *normalizer) function(name, file, line string, t truth) frame {
	var kind nameKind
	if path := rustPath(file); path != "" {
		name = rustOrigin(path, name)
		kind = rustName
	}
	if line == "" && t == byValue {
		line = "None"
	}
	cache := n.lists.cache
	if cache == nil {
		return frame{text: n.treat(name, kind, line)}
	}
	if n.improve.Names {
		kind |= improvedName
	}
	key := cacheKey{name, kind}
	hash := cache.hash(key)
	if f, ok := cache.get(hash, key); ok {
		return f
	}
	n.lined = false
	f := frame{text: n.treat(name, kind, line)}
	f.says = n.lists.judge(f.text)
	if !n.lined {
		cache.put(hash, key, f)
	}
	return f
}

func (n *normalizer) treat(name string, kind nameKind, line string) string {
	if kind&rustName != 0 {
		return n.rust(name, line)
	}
	return n.cpp(name, line)
}

// place names a frame without a function by the first of source line, module,
// unloaded module and address that is known.
func (n *normalizer) place(file, line string, t truth, f *Frame) string {
	if file != "" && lineKnown(line, t) {
		return baseName(file) + "#" + line
	}
	if f.Module != "" {
		module := f.Module
		if n.lowerModules {
			module = lower(module)
		}
		return strings.Trim(module, "[]")
	}
	if len(f.UnloadedModules) > 0 {
		return "(unloaded " + f.UnloadedModules[0] + ")"
	}
	if f.Offset != "" {
		return "@" + address(f.Offset)
	}
	return ""
}

func lineKnown(line string, t truth) bool {
	switch t {
	case always:
		return true
	case never:
		return false
	}
	return line != "" && line != "0"
}

// baseName is the last part of a path of either kind of system.
func baseName(file string) string {
	file = strings.TrimRight(file, `/\`)
	if i := strings.LastIndexByte(file, '\\'); i >= 0 {
		return file[i+1:]
	}
	return file[strings.LastIndexByte(file, '/')+1:]
}

// rustPath is the source path of a Rust file, empty for all others.
func rustPath(file string) string {
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

// rustOrigin gives the bare names of Rust 1.34's panic functions their paths
// back, which that compiler left out.
func rustOrigin(path, function string) string {
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

// address writes a hexadecimal number the way Python's hex(int(text, 16))
// does; what is no number stays as it is.
func address(text string) string {
	s := trimSpace(text)
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
	return decimalDigit(r)
}
