package signature

import (
	"strings"

	"mayday/signature/frame"
	"mayday/signature/python"
)

// normalizer names the frames of one crash.
type normalizer struct {
	*frame.Normalizer
	lists        *Lists
	lowerModules bool
	improve      Improvements // zero for upstream's frames
}

func newNormalizer(lists *Lists, lowerModules bool) normalizer {
	return normalizer{Normalizer: frame.Borrow(lists.lineNumbers), lists: lists, lowerModules: lowerModules}
}

// NormalizeFrame is the text of a frame as the lists see it. With lowerModules
// the module's name is made lower case, as for crashes of Windows.
func NormalizeFrame(f Frame, lowerModules bool, lists *Lists) string {
	if lists == nil {
		lists = defaults()
	}
	n := newNormalizer(lists, lowerModules)
	defer n.Return()
	return n.frame(&f).text
}

func (n normalizer) frame(f *Frame) named {
	if f.Function != "" {
		return n.function(f.Function, f.File, f.Line, f.lineTruth)
	}
	return named{text: n.place(f.File, f.Line, f.lineTruth, f)}
}

func (n normalizer) inline(f *Frame, i *Inline) named {
	if i.Function != "" {
		return n.function(i.Function, i.File, i.Line, i.lineTruth)
	}
	outer := Frame{Module: f.Module, ModuleOffset: f.ModuleOffset, Offset: f.Offset}
	return named{text: n.place(i.File, i.Line, i.lineTruth, &outer)}
}

// function names a frame by its function, from the cache if it can.
func (n normalizer) function(name, file, line string, t truth) named {
	var kind nameKind
	if path := frame.RustPath(file); path != "" {
		name = frame.RustOrigin(path, name)
		kind = rustName
	}
	if line == "" && t == byValue {
		line = "None"
	}
	cache := n.lists.cache
	if cache == nil && !n.improve.Names {
		return named{text: n.treat(name, kind, line)}
	}
	if n.improve.Names {
		kind |= improvedName
	}
	key := cacheKey{name, kind}
	var hash uint64
	if cache != nil {
		hash = cache.hash(key)
		if f, ok := cache.get(hash, key); ok {
			return f
		}
	}
	n.Lined = false
	f := named{text: n.treat(name, kind, line)}
	f.says = n.lists.judge(f.text)
	if n.improve.Names {
		if shown := n.improvedName(name, line); shown != "" && shown != f.text {
			f.says |= n.lists.judge(shown)
			f.better = &better{shown: strings.Clone(shown)}
		}
	}
	if cache != nil && !n.Lined {
		cache.put(hash, key, f)
	}
	return f
}

func (n normalizer) treat(name string, kind nameKind, line string) string {
	if kind&rustName != 0 {
		return n.Rust(name, line)
	}
	return n.Cpp(name, line)
}

// place names a frame without a function by the first of source line, module,
// unloaded module and address that is known.
func (n normalizer) place(file, line string, t truth, f *Frame) string {
	if file != "" && lineKnown(line, t) {
		return frame.BaseName(file) + "#" + line
	}
	if f.Module != "" {
		module := f.Module
		if n.lowerModules {
			module = python.Lower(module)
		}
		return strings.Trim(module, "[]")
	}
	if len(f.UnloadedModules) > 0 {
		return "(unloaded " + f.UnloadedModules[0] + ")"
	}
	if f.Offset != "" {
		return "@" + frame.Address(f.Offset)
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
