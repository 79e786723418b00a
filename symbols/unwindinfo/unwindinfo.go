// Package unwindinfo answers how to leave a function, from what the binary of a
// module says itself: the tables that its exception handling uses. They are in
// every stripped binary, and describe each instruction or at least each call.
//
//   - ELF: .eh_frame, by way of .eh_frame_hdr where there is one, .debug_frame
//     (DWARF 5, section 6.4, and the Linux Standard Base), and .ARM.exidx
//     (ARM IHI 0038, "Exception handling ABI for the Arm architecture").
//   - PE: .pdata of x64 (Microsoft's "x64 exception handling") and of ARM64
//     ("ARM64 exception handling", packed and unpacked).
//   - Mach-O: __unwind_info (mach-o/compact_unwind_encoding.h), which refers to
//     __eh_frame for what it cannot say.
//   - All of them: the table of Go's runtime, which describes what Go compiled
//     (package symbols/unwindinfo/pcsp).
//
// The answer has the form that symbol files have it in: the postfix rules of a
// STACK CFI record (package minidump/cfi), so that whoever walks stacks or
// writes symbol files needs no second notion of it. What that notation lacks
// is worked out where it is constant at the place asked for.
//
// Tables that describe calls alone (compact unwind, .ARM.exidx) are wrong in
// the first and last instructions of a function. Where the thread stands at such
// an instruction, which only the innermost frame does, the code is looked at.
//
// Binaries come from strangers. Every table is read in pieces that are checked
// against the size of the file, chains and loops have limits, and what makes no
// sense is an answer not given.
package unwindinfo

import (
	"sync"

	"mayday/symbols/executable"
	"mayday/symbols/gopclntab"
	"mayday/symbols/unwindinfo/dwarf"
	"mayday/symbols/unwindinfo/pcsp"
	"mayday/symbols/unwindinfo/rule"
)

// Table is the unwind information of one binary. It is safe for concurrent use.
type Table struct {
	image   *executable.Image
	sources []source

	mu   sync.Mutex
	kept map[rule.Query]answer // guarded by mu
}

type answer struct {
	rules rule.Set
	ok    bool
}

// source is one of the tables that a binary has.
type source interface {
	Rules(q rule.Query) (rule.Set, bool)
}

// maxKept bounds the answers that are remembered: recursion asks the same again
// and again.
const maxKept = 1024

// New finds the tables of a binary. It reads nothing of them yet.
func New(im *executable.Image) *Table {
	t := &Table{image: im, kept: map[rule.Query]answer{}}
	switch im.Format {
	case executable.ELF:
		t.elf()
	case executable.PE:
		t.pe()
	case executable.MachO:
		t.macho()
	}
	return t
}

// golang adds the table of Go's runtime, which is looked for once it is asked.
func (t *Table) golang() {
	if gopclntab.Possible(t.image) {
		t.sources = append(t.sources, &golang{open: sync.OnceValue(func() *pcsp.Frames { return pcsp.New(t.image) })})
	}
}

// golang is a table of Go's runtime, if there is one.
type golang struct{ open func() *pcsp.Frames }

func (g *golang) Rules(q rule.Query) (rule.Set, bool) {
	if f := g.open(); f != nil {
		return f.Rules(q)
	}
	return rule.Set{}, false
}

func (t *Table) elf() {
	if f := dwarf.New(t.image, ".eh_frame", ".eh_frame_hdr"); f != nil {
		t.sources = append(t.sources, f)
	}
	t.golang() // .debug_frame does not say where stacks of Go end
	if f := dwarf.New(t.image, ".debug_frame", ""); f != nil {
		t.sources = append(t.sources, f)
	}
	if s := t.image.Section(".ARM.exidx"); s != nil && t.image.Machine == executable.ARM {
		t.sources = append(t.sources, &exidx{image: t.image, index: s})
	}
}

func (t *Table) pe() {
	t.golang() // .pdata of Go leaves functions out
	switch t.image.Machine {
	case executable.AMD64:
		t.sources = append(t.sources, &pdataAMD64{t.image})
	case executable.ARM64:
		t.sources = append(t.sources, &pdataARM64{t.image})
	case executable.X86: // what GCC and Clang leave there
		if f := dwarf.New(t.image, ".eh_frame", ""); f != nil {
			t.sources = append(t.sources, f)
		}
	}
}

func (t *Table) macho() {
	t.golang()
	f := dwarf.New(t.image, "__eh_frame", "")
	if s := t.image.Section("__unwind_info"); s != nil {
		t.sources = append(t.sources, &compact{image: t.image, info: s, frames: f})
	}
	if f != nil {
		t.sources = append(t.sources, f)
	}
}

// Empty reports whether the binary has no tables.
func (t *Table) Empty() bool { return len(t.sources) == 0 }

// Rules are the rules in force at a place; false when the binary says nothing
// of it.
func (t *Table) Rules(q rule.Query) (rule.Set, bool) {
	t.mu.Lock()
	a, ok := t.kept[q]
	t.mu.Unlock()
	if ok {
		return a.rules, a.ok
	}
	cost := 0
	for _, s := range t.sources {
		a.rules, a.ok = s.Rules(q)
		cost += a.rules.Cost
		if a.ok {
			break
		}
	}
	a.rules.Cost = cost
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxKept {
		clear(t.kept)
	}
	free := a
	free.rules.Cost = 0
	t.kept[q] = free
	return a.rules, a.ok
}
