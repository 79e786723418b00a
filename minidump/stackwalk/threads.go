package stackwalk

import (
	"cmp"
	"fmt"
	"math/bits"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"mayday/minidump/format"
	"mayday/minidump/unwind"
)

// Limits on what frames repeat of the dump: modules can have names of
// megabytes, and any number of unloaded modules can have covered an address.
const (
	maxFrameNames   = 32 << 20 // bytes; the names of modules under 256 Ki frames of paths of 128 bytes
	maxUnloadedHits = 64 << 10

	truncatedNames    = "more than 33554432 bytes of module names under frames"
	truncatedUnloaded = "more than 65536 unloaded modules under frames"
	truncatedThreads  = "more than 65536 threads"
)

const (
	// maxThreads is how many threads of a dump are looked at; Linux allows a
	// process some 32,000 unless told otherwise.
	maxThreads = 64 << 10
	// maxTogether is how many threads a dump may have for several to be walked at
	// a time. Programs have some hundred; more are made up to cost time.
	maxTogether = 4096
	// maxWorkers bounds the goroutines that one dump keeps busy.
	maxWorkers = 8
)

// allowance is what the frames of all threads together may still cost.
type allowance struct {
	unwind.Budget
	names, hits int64 // of maxFrameNames and maxUnloadedHits
}

func newAllowance() allowance {
	return allowance{unwind.NewBudget(), maxFrameNames, maxUnloadedHits}
}

// less is what is left of a when as much is used as between before and after.
func (a allowance) less(before, after allowance) allowance {
	a.Frames -= before.Frames - after.Frames
	a.Words -= before.Words - after.Words
	a.Programs -= before.Programs - after.Programs
	a.names -= before.names - after.names
	a.hits -= before.hits - after.hits
	return a
}

// unlimited reports that no walk that left this much can have met a limit.
func (a allowance) unlimited() bool {
	return a.Spent() == "" && a.names >= 0 && a.hits >= 0
}

// walked is the outcome of walking one thread.
type walked struct {
	frames        []Frame
	registers     []uint64
	truncated     string // the stack, by this
	note          string // what else was cut short
	asked         []int  // the modules whose symbols were asked for
	before, after allowance
}

// walkThreads walks the threads one after the other, or several at a time. The
// outcome is the same: limits count what was used by the threads before, and a
// thread that was walked with another allowance than it turns out to have, and
// met its limits or would meet them, is walked again.
func (w *walker) walkThreads() {
	w.listThreads()
	// The crashed thread comes first: if a limit ends the walk, not there. What
	// the other walker says about modules of one name depends on the order.
	first := w.state.RequestingThread
	if w.options.Heuristics == unwind.Parity && w.options.each == nil {
		first = -1
	}
	t := w.newThreadWalker()
	var ahead []*walked
	if n := w.workers(); n > 1 {
		ahead = w.walkAhead(n, first)
	}
	if first >= 0 {
		w.thread(t, first, ahead)
	}
	for i := range w.state.Threads {
		if i != first {
			w.thread(t, i, ahead)
		}
	}
	if len(w.state.Threads) < w.state.ThreadCount && w.state.Truncated == "" {
		w.state.Truncated = truncatedThreads
	}
}

// listThreads makes room for the threads and finds the one that crashed. Of too
// many the first ones count, and the one that crashed, last of them.
func (w *walker) listThreads() {
	d, s := w.dump, &w.state
	requesting, known := d.RequestingThread()
	for i := range d.Threads {
		if known && requesting == d.Threads[i].ID() && !w.dumper(d.Threads[i].ID()) {
			s.RequestingThread, w.crashed = i, i
		}
	}
	s.ThreadCount = len(d.Threads)
	s.Threads = make([]Thread, min(len(d.Threads), maxThreads))
	s.RequestingThread = min(s.RequestingThread, len(s.Threads)-1)
}

// number is which thread of the dump is thread i of the state.
func (w *walker) number(i int) int {
	if i == w.state.RequestingThread {
		return w.crashed
	}
	return i
}

// workers is how many threads are walked at a time.
func (w *walker) workers() int {
	n := w.options.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	threads := len(w.state.Threads)
	if threads > maxTogether || w.options.each != nil || w.options.Heuristics == unwind.Parity {
		return 1 // texts have one thread in memory; parity loads symbols in order
	}
	return min(n, threads, maxWorkers)
}

// walkAhead walks threads on several goroutines until the allowance is used up.
func (w *walker) walkAhead(workers, first int) []*walked {
	out := make([]*walked, len(w.state.Threads))
	var (
		next   atomic.Int64
		wait   sync.WaitGroup
		mu     sync.Mutex // guards what follows
		left   = w.left
		failed string
	)
	walk := func() {
		defer func() {
			if r := recover(); r != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = fmt.Sprintf("%v\n%s", r, debug.Stack())
			}
		}()
		t := w.newThreadWalker()
		for {
			n := int(next.Add(1) - 1)
			mu.Lock()
			now := left
			mu.Unlock()
			if n >= len(out) || !now.unlimited() {
				return
			}
			i := n
			if first >= 0 { // it is first in turn, those before it come one later
				switch {
				case n == 0:
					i = first
				case n <= first:
					i = n - 1
				}
			}
			r := t.walk(i, now)
			r.frames, r.registers = slices.Clone(r.frames), slices.Clone(r.registers)
			mu.Lock()
			left = left.less(r.before, r.after)
			mu.Unlock()
			out[i] = &r
		}
	}
	for range workers {
		wait.Go(walk)
	}
	wait.Wait()
	if failed != "" {
		panic(failed)
	}
	return out
}

// thread describes a thread and takes its stack from those that were walked
// ahead, or walks it.
func (w *walker) thread(t *threadWalker, i int, ahead []*walked) {
	d, from, to := w.dump, &w.dump.Threads[w.number(i)], &w.state.Threads[i]
	to.ID, to.Stack = from.ID(), w.none
	if !w.dumper(to.ID) {
		if from.HasName {
			name := from.Name // so that the dump's list of threads can go
			to.Name = &name
		}
		if a, ok := d.LastErrorAddress(from); ok && w.state.System.KnownCPU() {
			if v, ok := d.Uint(a, 4); ok {
				to.lastError, to.hasLastError = uint32(v), true
			}
		}
		spent := w.left.Spent()
		switch {
		case spent != "" && i != w.state.RequestingThread:
			to.Stack = w.cut(spent)
		case ahead != nil && ahead[i] != nil && ahead[i].after.unlimited() && w.left.less(ahead[i].before, ahead[i].after).unlimited():
			w.take(to, ahead[i], true)
		default:
			r := t.walk(i, w.left)
			w.take(to, &r, false)
		}
	}
	if w.options.each != nil {
		w.options.each(&w.state, i)
		to.Stack = w.none
	}
}

// dumper reports whether a thread is the one that wrote the dump: it has
// nothing to tell.
func (w *walker) dumper(id uint32) bool {
	b := w.dump.Breakpad
	return b != nil && b.HasDumpThread && b.DumpThread == id
}

// cut is a stack of no frames that was truncated; threads share it.
func (w *walker) cut(truncated string) *Stack {
	switch {
	case truncated == "":
		return w.none
	case w.spent.Truncated != truncated:
		w.spent = &Stack{Truncated: truncated}
	}
	if w.state.Truncated == "" {
		w.state.Truncated = truncated
	}
	return w.spent
}

// take makes r the stack of a thread; own says that its memory is nobody
// else's.
func (w *walker) take(to *Thread, r *walked, own bool) {
	w.left = w.left.less(r.before, r.after)
	w.modules.wereAsked(r.asked)
	if r.note != "" && w.state.Truncated == "" {
		w.state.Truncated = r.note
	}
	if len(r.frames) == 0 {
		to.Stack = w.cut(r.truncated)
		return
	}
	if !own {
		r.frames, r.registers = slices.Clone(r.frames), slices.Clone(r.registers)
	}
	to.Stack = &Stack{Frames: r.frames, Truncated: r.truncated}
	if len(r.registers) > 0 {
		to.Stack.registers = &r.registers
	}
	if r.truncated != "" && w.state.Truncated == "" {
		w.state.Truncated = fmt.Sprintf("thread %d: %s", to.ID, r.truncated)
	}
}

// threadWalker walks threads one after the other.
type threadWalker struct {
	*walker
	unwinder *unwind.Walker
	seen     *seenModules
	left     allowance // but for what unwinder has left
	note     string

	frames    []Frame  // room for those of the thread that is being walked
	registers []uint64 // and for theirs
}

func (w *walker) newThreadWalker() *threadWalker {
	t := &threadWalker{walker: w, seen: w.modules.newSeen()}
	t.unwinder = unwind.NewWalker(unwind.Process{
		Modules: t.seen, Code: code{w.dump, w.mappings}, Stacks: code{w.dump, w.mappings}, Platform: platform(w.dump.System.OS),
		Heuristics: w.options.Heuristics, Registers: w.options.Registers,
	})
	return t
}

// walk walks thread i. The frames and registers of what it returns are valid
// until it is called again.
func (t *threadWalker) walk(i int, left allowance) walked {
	d, from := t.dump, &t.dump.Threads[t.number(i)]
	c, _ := d.Context(from.Raw.Context)
	if id, known := d.RequestingThread(); known && id == from.ID() {
		if e := t.exceptionContext(); e != nil {
			c = e
		}
	}
	out := walked{before: left, after: left}
	if c == nil || t.dumper(from.ID()) {
		return out
	}
	stack := unwind.Stack{Order: d.Order}
	// Eight bytes, on every processor: so the region is chosen elsewhere too.
	if r := d.ThreadStack(from, c.SP(), 8); r != nil {
		stack.Base, stack.Bytes = r.Base, r.All()
	}
	t.seen.begin()
	t.left, t.note, t.unwinder.Left = left, "", left.Budget
	// Frames are gathered where there is room, and kept without any.
	frames, registers := t.frames[:0], t.registers[:0]
	crashed, full := i == t.state.RequestingThread, false
	out.truncated = t.unwinder.Each(t.ctx, unwind.Thread{Context: c, Stack: stack}, func(f *unwind.Frame) bool {
		if full = !t.affordable(f); full {
			return false
		}
		at := uint32(0)
		if f.Registers != nil && (t.options.Registers || crashed && len(frames) == 0) {
			registers = appendRegisters(registers, f.Registers)
			at = uint32(len(registers) - bits.OnesCount64(f.Registers.Valid))
		}
		frames = append(frames, Frame{Instruction: f.Instruction, Place: t.place(f), Module: int32(f.Module), Trust: f.Trust,
			back: uint8(f.Return - f.Instruction), registers: at})
		return true
	})
	if full {
		out.truncated = truncatedNames
	}
	t.frames, t.registers = frames, registers
	t.left.Budget = t.unwinder.Left
	out.frames, out.registers, out.note, out.asked, out.after = frames, registers, t.note, slices.Clone(t.seen.asked), t.left
	return out
}

// exceptionContext are the registers at the exception; nil when they cannot be
// read.
func (w *walker) exceptionContext() *format.Context {
	if w.dump.Exception == nil {
		return nil
	}
	c, _ := w.dump.Context(w.dump.Exception.Raw.Context)
	return c
}

// affordable charges the name of a frame's module.
func (t *threadWalker) affordable(f *unwind.Frame) bool {
	if f.Module == unwind.NoModule {
		return true
	}
	t.left.names -= int64(len(t.dump.Modules[f.Module].Name))
	return t.left.names >= 0
}

// place looks up the function and line of a frame.
func (t *threadWalker) place(f *unwind.Frame) *Place {
	if f.Module == unwind.NoModule {
		return t.unloadedAt(f.Instruction)
	}
	if s := t.seen.of(t.ctx, f.Module); s != nil {
		if found := s.at(f.Offset()); found != nil {
			return &found.place
		}
	}
	return t.nowhere
}

// unloadedAt lists the unloaded modules that had covered addr, by name.
func (t *threadWalker) unloadedAt(addr uint64) *Place {
	type covering struct {
		name   string
		offset uint64
	}
	var found []covering
	for i := range t.dump.Unloaded.Covering(addr) {
		if t.left.hits--; t.left.hits < 0 || t.left.names < 0 {
			t.note = truncatedUnloaded
			break
		}
		base, _, name := t.dump.Unloaded.Range(i)
		t.left.names -= int64(len(name))
		found = append(found, covering{name, addr - base})
	}
	if found == nil {
		return t.nowhere
	}
	slices.SortFunc(found, func(a, b covering) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.offset, b.offset))
	})
	p := &Place{}
	for _, u := range found {
		if n := len(p.Unloaded); n == 0 || p.Unloaded[n-1].Name != u.name {
			p.Unloaded = append(p.Unloaded, UnloadedHit{Name: u.name})
		}
		h := &p.Unloaded[len(p.Unloaded)-1]
		if n := len(h.Offsets); n == 0 || h.Offsets[n-1] != u.offset {
			h.Offsets = append(h.Offsets, u.offset)
		}
	}
	return p
}
