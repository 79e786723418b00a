// Package pcsp makes rules for leaving functions of Go from what the table of
// its runtime says (package symbols/gopclntab): the distance of the stack pointer
// from where it was when the function was entered, at each instruction.
//
// What else there is to know follows from how Go's compiler and assembler build
// frames (src/runtime/stack.go and traceback.go, src/cmd/internal/obj):
//
//   - x86 and amd64: the return address lies above the frame; amd64 pushes the
//     frame pointer first.
//   - arm and arm64: the link register lies at the bottom of the frame; arm64
//     stores the frame pointer below.
//   - The runtime's own unwinding ends at functions that are flagged as outermost,
//     and at those that move the stack pointer elsewhere, unless the thread stands
//     in them: then they most likely have not done so yet.
//   - A fault becomes a call of runtime.sigpanic, and a preemption one of
//     runtime.asyncPreempt, as if the instruction had called it.
//
// Stacks are not followed from the system stack of a thread to that of its
// goroutine: where they go on is in memory that the table says nothing of.
package pcsp

import (
	"iter"
	"strconv"

	"mayday/symbols"
	"mayday/symbols/executable"
	"mayday/symbols/gopclntab"
	"mayday/symbols/unwindinfo/dwarf"
	"mayday/symbols/unwindinfo/rule"
)

// Frames are the functions of one binary. They are safe for concurrent use.
type Frames struct {
	image *executable.Image
	table *gopclntab.Table
	frame frame
}

// New returns nil when the binary has no table, or is for a processor whose frames
// are not known.
func New(im *executable.Image) *Frames {
	table, err := gopclntab.Open(im)
	if err != nil { // whatever the reason is: there are no rules
		return nil
	}
	return Of(im, table)
}

// Of is New with a table that was found already.
func Of(im *executable.Image, table *gopclntab.Table) *Frames {
	frame, ok := frames[im.Machine]
	if !ok {
		return nil
	}
	return &Frames{im, table, frame}
}

// frame is how frames look on a processor.
type frame struct {
	sp   string
	word int64 // size of an address
	// link is the register that holds the return address until it is saved at the
	// bottom of the frame; "" where calls push it.
	link string
	// fp is the frame pointer, "" where frames have none.
	fp string
	// injected is how much the runtime pushes before a call that it makes up, where
	// there is a link register to be saved.
	injected int64
}

var frames = map[executable.Machine]frame{
	executable.X86:   {sp: "$esp", word: 4},
	executable.AMD64: {sp: "$rsp", word: 8, fp: "$rbp"},
	executable.ARM:   {sp: "$r13", word: 4, link: "$r14", injected: 4},
	executable.ARM64: {sp: "$sp", word: 8, link: "$x30", fp: "$x29", injected: 16},
}

// findCost is what finding a function reads.
const findCost = 512

// Rules are the rules at a place, if it lies in a function of Go.
func (f *Frames) Rules(q rule.Query) (rule.Set, bool) {
	set := rule.Set{Cost: findCost}
	fn, ok := f.table.Find(q.Offset)
	if !ok {
		return set, false
	}
	kind := f.kind(&fn)
	if kind == outermost || kind == switching && !q.Innermost {
		set.CFI = symbols.CFI{Start: fn.Start, Size: fn.End - fn.Start, Init: f.end(rule.Undefined)}
		return set, true
	}
	at, taken, ok := f.table.Depth(&fn, q.Offset)
	set.Cost += taken
	if !ok {
		return set, false
	}
	set.Interrupted = kind == injected
	set.CFI = symbols.CFI{Start: fn.Start, Size: fn.End - fn.Start, Init: f.text(&fn, kind, at)}
	return set, true
}

// kind is what the runtime knows of a function.
type kind uint8

const (
	usual     kind = iota
	outermost      // nothing called it
	switching      // it moves the stack pointer elsewhere
	injected       // it was not called by the instruction that it returns to
)

// named are the functions whose flags do not say what they are, or say it for the
// runtime's needs alone: threads go through mstart and signal handlers through
// sigtramp, and what called them is on the stack. Both stacks of a call from C hold
// a frame of cgocallback.
var named = map[string]kind{
	"runtime.mstart": usual, "runtime.sigtramp": usual, "runtime.cgocallback": usual,
	"runtime.sigpanic": injected, "runtime.asyncPreempt": injected, "runtime.debugCallV2": injected, "runtime.debugCallV1": injected,
	// Those of Go 1.16, which has no flags.
	"runtime.goexit": outermost, "runtime.rt0_go": outermost,
	"runtime.mcall": switching, "runtime.gogo": switching, "runtime.systemstack": switching, "runtime.morestack": switching, "runtime.asmcgocall": switching,
}

func (f *Frames) kind(fn *gopclntab.Function) kind {
	if !fn.Special && fn.Flags&(gopclntab.TopFrame|gopclntab.WritesSP) == 0 {
		return usual
	}
	if k, ok := named[f.table.Name(fn)]; ok {
		return k
	}
	switch {
	case fn.Flags&gopclntab.TopFrame != 0:
		return outermost
	case fn.Flags&gopclntab.WritesSP != 0:
		return switching
	}
	return usual
}

// end are the rules of a function that has no caller.
func (f *Frames) end(address string) string {
	var out rule.Record
	out.Add(rule.CFA, rule.Plus(f.frame.sp, f.frame.word))
	out.Add(".ra", address)
	return out.Text()
}

// nowhere is a return address at which all walkers end a stack. Most of them take
// one that is undefined for one that they must look for.
const nowhere = "0"

// text are the rules of a part of a function.
func (f *Frames) text(fn *gopclntab.Function, k kind, at gopclntab.Piece) string {
	depth := int64(at.Value)
	var out rule.Record
	if f.frame.link == "" {
		out.Add(rule.CFA, f.frame.sp+" "+strconv.FormatInt(depth+f.frame.word, 10)+" +")
		out.Add(".ra", rule.Load(rule.Plus(rule.CFA, -f.frame.word)))
		if f.frame.fp != "" && depth > 0 && f.keepsFP(fn) {
			out.Add(f.frame.fp, rule.Load(rule.Plus(rule.CFA, -2*f.frame.word)))
		}
		return out.Text()
	}
	extra := int64(0)
	if k == injected {
		extra = f.frame.injected
	}
	out.Add(rule.CFA, rule.Plus(f.frame.sp, depth+extra))
	if depth == 0 {
		out.Add(".ra", f.frame.link)
	} else {
		out.Add(".ra", rule.Load(rule.Plus(rule.CFA, -depth-extra)))
		if f.frame.fp != "" {
			out.Add(f.frame.fp, rule.Load(rule.Plus(rule.CFA, -depth-extra-f.frame.word)))
		}
	}
	if k == injected { // what the link register held is pushed below
		out.Add(f.frame.link, rule.Load(rule.Plus(rule.CFA, -extra)))
	}
	return out.Text()
}

// keepsFP reports whether a function of amd64 with a frame has saved the frame
// pointer on top of it: all that are compiled do, and those in assembly whose
// first growth of the stack is the push.
func (f *Frames) keepsFP(fn *gopclntab.Function) bool {
	if fn.Flags&gopclntab.Assembly == 0 {
		return true
	}
	for p := range f.table.Depths(fn) {
		if p.Value == 0 {
			continue
		}
		const push = 0x55
		code := f.image.Bytes(p.Start-1, 1)
		return int64(p.Value) == f.frame.word && code != nil && code[0] == push
	}
	return false
}

// All yields the rows of each function, with the code that it describes. Rules
// that hold only where a thread stands are not among them, and functions that
// nothing called return to 0.
func (f *Frames) All() iter.Seq2[executable.Range, []dwarf.Row] {
	return func(yield func(executable.Range, []dwarf.Row) bool) {
		for i := range f.table.Len() {
			fn, ok := f.table.Function(i)
			if !ok {
				continue
			}
			rows, end := f.rows(&fn)
			if len(rows) > 0 && !yield(executable.Range{Offset: rows[0].Offset, Size: end - rows[0].Offset}, rows) {
				return
			}
		}
	}
}

// maxRows is how many rows of one function are made; those that initialise the
// largest tables have some thousands.
const maxRows = 64 << 10

// rows are the rows of a function, which end where its table does. The first
// instruction of a function that moves the stack pointer elsewhere has not done so.
func (f *Frames) rows(fn *gopclntab.Function) (rows []dwarf.Row, end uint64) {
	kind := f.kind(fn)
	if kind == outermost {
		return []dwarf.Row{{Offset: fn.Start, Rules: f.end(nowhere)}}, fn.End
	}
	for p := range f.table.Depths(fn) {
		if len(rows) == maxRows {
			break
		}
		rows, end = append(rows, dwarf.Row{Offset: p.Start, Rules: f.text(fn, kind, p)}), p.End
		if kind == switching && p.End-p.Start > 1 {
			return append(rows[:1], dwarf.Row{Offset: fn.Start + 1, Rules: f.end(nowhere)}), fn.End
		}
	}
	return rows, end
}
