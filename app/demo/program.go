package demo

import (
	"fmt"
	"hash/fnv"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	"mayday/minidump/synth"
)

// program is a release of a product on one platform.
type program struct {
	product  string
	release  release
	platform byte
}

// platform says how programs look on one of the five platforms.
type platform struct {
	os     synth.OS
	cpu    synth.CPU
	dir    func(product string) string
	exe    string // endings
	lib    string
	system string // a system library that nobody has symbols for
	frame  synth.FrameKind
}

var platforms = map[byte]platform{
	'w': {synth.Windows, synth.AMD64, func(p string) string { return `C:\Program Files\` + p + `\` }, ".exe", ".dll", `C:\Windows\System32\ntdll.dll`, synth.CFI},
	'x': {synth.Windows, synth.X86, func(p string) string { return `C:\Program Files (x86)\` + p + `\` }, ".exe", ".dll", `C:\Windows\SysWOW64\ntdll.dll`, synth.FramePointer},
	'l': {synth.LinuxOS, synth.AMD64, func(p string) string { return "/opt/" + strings.ReplaceAll(strings.ToLower(p), " ", "-") + "/" }, "", ".so", "/usr/lib/x86_64-linux-gnu/libc.so.6", synth.CFI},
	'm': {synth.MacOS, synth.ARM64, func(p string) string { return "/Applications/" + p + ".app/Contents/MacOS/" }, "", ".dylib", "/usr/lib/system/libsystem_kernel.dylib", synth.FramePointer},
	'a': {synth.Android, synth.ARM64, func(p string) string { return "/data/app/org." + strings.ToLower(p) + "/lib/arm64/" }, "", ".so", "/apex/com.android.runtime/lib64/bionic/libc.so", synth.FramePointer},
}

// SymbolFile is the symbol file of one module of one release.
type SymbolFile struct {
	Path string // as symbol stores name it
	Text []byte
}

// Symbols generates the symbol files of every release in use.
func (m Month) Symbols() iter.Seq[SymbolFile] {
	return func(yield func(SymbolFile) bool) {
		names := []string{}
		for name := range products {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			for _, rel := range products[name].releases {
				for _, p := range []byte("wxlma") {
					built := build(program{name, rel, p})
					for _, b := range []*synth.Binary{built.exe, built.library} {
						if !yield(SymbolFile{b.SymPath(), b.Sym()}) {
							return
						}
					}
				}
			}
		}
	}
}

// built is a program's modules.
type built struct {
	exe, library, system *synth.Binary
}

// loop are the calls that end every stack: the program's main loop.
var loop = []string{"run_main_loop(Application&)", "Application::start(int, char**)", "main"}

// idle is what threads that wait stand in.
const idle = "Worker::wait(Queue&)"

var cache sync.Map // of program → *built: a release is built once

func build(p program) *built {
	if b, ok := cache.Load(p); ok {
		return b.(*built)
	}
	pl, pr := platforms[p.platform], products[p.product]
	base, spread := uint64(0x140000000), uint64(0x7ff000000000)
	switch {
	case pl.cpu == synth.X86:
		base, spread = 0x400000, 0x60000000
	case pl.os != synth.Windows:
		base = 0x555500000000
	}
	b := &built{
		exe:     module(p, pl, pl.dir(p.product)+pr.exe+pl.exe, base, append(slices.Clone(loop), idle)),
		library: module(p, pl, pl.dir(p.product)+libraryName(pl, pr.library), spread, functionsOf(p.product)),
		system:  module(p, pl, pl.system, spread+0x10000000, []string{"wait", "raise", "start_thread"}),
	}
	b.system.NoSymbols = true
	cache.Store(p, b)
	return b
}

func libraryName(pl platform, name string) string {
	if pl.os == synth.Windows {
		return name + pl.lib
	}
	return "lib" + name + pl.lib
}

// functionsOf are the functions of a product's library: all that its culprits
// call.
func functionsOf(product string) []string {
	var out []string
	for _, c := range culprits() {
		if c.product != product || c.fault == "java" || c.fault == "nodump" {
			continue
		}
		for _, f := range c.calls {
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// functionSize is the code size of every made-up function.
const functionSize = 0x200

func module(p program, pl platform, file string, base uint64, functions []string) *synth.Binary {
	h := fnv.New128a()
	fmt.Fprint(h, p.product, p.release.version, string(p.platform), file)
	b := &synth.Binary{CPU: pl.cpu, OS: pl.os, Path: file, Base: base, TimeStamp: 0x60000000 + uint32(h.Sum(nil)[3])<<8}
	copy(b.ID[:], h.Sum(nil))
	if pl.os == synth.Windows {
		leaf := file[strings.LastIndexByte(file, '\\')+1:]
		b.Age = 1
		b.Debug = strings.TrimSuffix(strings.TrimSuffix(leaf, ".exe"), ".dll") + ".pdb"
	}
	for i, name := range functions {
		f := synth.Function{Name: name, Address: uint32(0x1000 + i*functionSize), Size: functionSize, File: sourceOf(p.product, name), Line: 20 + i*37%400,
			Frame: pl.frame, Locals: 32}
		if i%4 == 1 && !crashes(p.product, name) {
			f.Inlines = []synth.Inline{{Name: "std::span<unsigned char>::operator[](unsigned long)", File: "include/span.h", Line: 71,
				CallFile: f.File, CallLine: f.Line + 3, Address: f.Address + 0x30, Size: 0x20}}
		}
		b.Functions = append(b.Functions, f)
	}
	// Half of a module is code, the rest data.
	b.Size = uint32(2*(0x1000+(len(functions)+1)*functionSize) + 0x2000)
	return b
}

// crashes reports whether a function is the innermost call of some crash; what
// is inlined into it would stand before it in the signature.
func crashes(product, function string) bool {
	return slices.ContainsFunc(culprits(), func(c culprit) bool {
		return c.product == product && len(c.calls) > 0 && c.calls[0] == function
	})
}

// sourceOf is the file a function is in: that of its culprit, or one named for
// its class.
func sourceOf(product, function string) string {
	for _, c := range culprits() {
		if c.product == product && len(c.calls) > 0 && c.calls[0] == function {
			return c.file
		}
	}
	name, _, _ := strings.Cut(function, "(")
	parts := strings.Split(name, "::")
	if len(parts) < 2 {
		return "src/main.cpp"
	}
	if product == "packrat" {
		return path.Join("src", strings.ToLower(parts[len(parts)-2])+".rs")
	}
	return path.Join(strings.ToLower(parts[max(0, len(parts)-3)]), strings.ToLower(parts[len(parts)-2])+".cpp")
}
