package stackwalk

import (
	"context"
	"sync"

	"mayday/minidump"
	"mayday/minidump/format"
	"mayday/minidump/unwind"
	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/unwindinfo"
	"mayday/symbols/unwindinfo/rule"
)

// BinarySource finds the files of modules themselves: programs and libraries,
// whose exception handling tables tell how to unwind them.
type BinarySource interface {
	// Binary opens the file of a module for a processor, or returns an error of
	// kind NotFound when it is not at hand. It is called once for each module.
	Binary(ctx context.Context, id symbols.ModuleID, machine executable.Machine) (*executable.Image, error)
}

// machines are the processors of dumps as files name them.
var machines = map[format.CPU]executable.Machine{
	format.X86: executable.X86, format.AMD64: executable.AMD64, format.ARM: executable.ARM, format.ARM64: executable.ARM64,
	format.MIPS: executable.MIPS, format.MIPS64: executable.MIPS64, format.PPC: executable.PPC, format.PPC64: executable.PPC64,
	format.RISCV: executable.RISCV, format.RISCV64: executable.RISCV64,
}

// binaries finds the files of the modules of a dump for the walker.
type binaries struct {
	dump   *minidump.Dump
	source BinarySource

	mu     sync.Mutex // guards what follows
	opened map[int]*openBinary
}

// openBinary is the file of a module; done closes when it is there, or known not
// to be.
type openBinary struct {
	done chan struct{}
	file *moduleFile
}

// moduleFile implements unwind.Binary.
type moduleFile struct {
	image *executable.Image
	table *unwindinfo.Table
}

// Rules implements unwind.Binary.
func (f *moduleFile) Rules(q rule.Query) (rule.Set, bool) { return f.table.Rules(q) }

// Bytes implements unwind.Binary.
func (f *moduleFile) Bytes(offset uint64, n int) []byte { return f.image.Bytes(offset, n) }

// newBinaries returns nil when there is no source.
func newBinaries(d *minidump.Dump, source BinarySource) *binaries {
	if source == nil {
		return nil
	}
	return &binaries{dump: d, source: source, opened: map[int]*openBinary{}}
}

// Binary implements unwind.Binaries.
func (m *modules) Binary(ctx context.Context, module int) unwind.Binary {
	if m.binaries == nil {
		return nil
	}
	return m.binaries.file(ctx, module)
}

// file returns the file of a module, nil when it is not at hand.
func (b *binaries) file(ctx context.Context, module int) unwind.Binary {
	b.mu.Lock()
	o := b.opened[module]
	if o == nil {
		o = &openBinary{done: make(chan struct{})}
		b.opened[module] = o
		b.mu.Unlock()
		o.file = b.open(ctx, module)
		close(o.done)
	} else {
		b.mu.Unlock()
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil
	}
	if o.file == nil {
		return nil
	}
	return o.file
}

func (b *binaries) open(ctx context.Context, module int) *moduleFile {
	m := &b.dump.Modules[module]
	machine, ok := machines[b.dump.System.CPU]
	if !ok {
		return nil
	}
	id := symbols.ModuleID{DebugFile: m.DebugFile, DebugID: m.DebugID, CodeFile: m.Name, CodeID: m.CodeID}
	// Whatever the reason is for which there is no file: the walk does without.
	im, err := b.source.Binary(ctx, id, machine)
	if err != nil || im == nil || im.Machine != machine {
		return nil
	}
	return &moduleFile{im, unwindinfo.New(im)}
}

// used reports whether the file of a module was at hand and asked for.
func (b *binaries) used(module int) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.opened[module]
	return o != nil && o.file != nil
}
