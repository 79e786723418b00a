package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"mayday/app/fault"
	"mayday/minidump"
	"mayday/minidump/stackwalk"
	"mayday/roles/processor/rules"
	"mayday/symbols"
)

// InProcess walks dumps in this process, bounded in time and memory. Memory is
// watched from outside: a walk during which the heap grows past the budget of
// all running walks is ended.
type InProcess struct {
	// Symbols gives the symbols for one walk and what to call when nothing of
	// them is used any more; nil names nothing.
	Symbols func() (source stackwalk.SymbolSource, release func())
	// Binaries finds the files of modules, for unwinding by their own tables; nil
	// for none.
	Binaries stackwalk.BinarySource
	Timeout  time.Duration
	Memory   int64  // bytes of heap that each walk may add; 0 is no bound
	Version  string // recorded with each result
	Log      *zap.Logger
	// Patience is how long after its deadline a walk that does not end is left
	// behind; 0 is DefaultPatience.
	Patience time.Duration

	running atomic.Int64
}

// DefaultPatience is how long after its deadline a walk may go on. After that
// it is left behind: Go cannot end it, and the crash must not wait.
const DefaultPatience = 5 * time.Second

// heldWhole is the size up to which package minidump holds a dump whole.
const heldWhole = 256 << 20

// Dumps with more frames or threads than these are made up, or of a stack that
// ran over.
const (
	hugeFrames  = 32 << 10
	hugeThreads = 8 << 10
)

// watchEvery is how often the heap is looked at during a walk.
const watchEvery = 50 * time.Millisecond

var (
	errMemory  = errors.New("the memory budget is used up")
	errAbandon = errors.New("the walk does not end")
)

// Walk implements rules.Walker.
func (w *InProcess) Walk(ctx context.Context, d rules.Dump, annotations map[string]any) rules.WalkResult {
	began := time.Now()
	w.running.Add(1)
	defer w.running.Add(-1)
	walkCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	deadline, cancel := context.WithTimeout(walkCtx, w.Timeout)
	defer cancel()
	base := heap()
	done := make(chan rules.WalkResult, 1)
	if w.Memory > 0 && min(d.Size, heldWhole) > w.Memory {
		stop(errMemory) // reading it alone would take more
		done <- rules.WalkResult{}
	} else {
		go func() { done <- w.walk(deadline, d, annotations) }()
	}
	r := w.watch(ctx, stop, base, done)
	if r.Exit == rules.ExitOK && deadline.Err() != nil && ctx.Err() == nil {
		r.Exit = rules.ExitKilled // what was found by then is kept
	}
	if errors.Is(context.Cause(walkCtx), errMemory) {
		r = rules.WalkResult{Exit: rules.ExitAbort}
		// What the walk held is garbage now; the next one needs the room.
		runtime.GC()
	}
	r.Version = w.Version
	countWalk(r.Exit, time.Since(began))
	return r
}

// watch waits for the walk, ends it when it takes too much memory, and leaves
// it behind when it does not end.
func (w *InProcess) watch(ctx context.Context, stop context.CancelCauseFunc, base int64, done <-chan rules.WalkResult) rules.WalkResult {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	patience := w.Patience
	if patience <= 0 {
		patience = DefaultPatience
	}
	late := time.NewTimer(w.Timeout + patience)
	defer late.Stop()
	ended := ctx.Done()
	for {
		select {
		case r := <-done:
			return r
		case <-ended:
			// The program stops; the walk is given a moment to notice.
			ended = nil
			late.Reset(patience)
		case <-late.C:
			if w.Log != nil {
				w.Log.Error("a walk is left behind", zap.Error(errAbandon), zap.Duration("timeout", w.Timeout))
			}
			return rules.WalkResult{Exit: rules.ExitKilled}
		case <-tick.C:
			if grown := heap() - base; w.Memory > 0 && grown > w.Memory*w.running.Load() {
				runtime.GC() // garbage of others is no fault of this walk
				if heap()-base > w.Memory*w.running.Load() {
					stop(errMemory)
				}
			}
		}
	}
}

// heap is how many bytes live and dead objects take.
func heap() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s[0].Value.Uint64())
}

func (w *InProcess) walk(ctx context.Context, d rules.Dump, annotations map[string]any) (r rules.WalkResult) {
	defer func() {
		if v := recover(); v != nil {
			r = walkFailed("Panic", fmt.Errorf("%v\n%s", v, debug.Stack()))
		}
	}()
	dump, err := minidump.Read(d.Reader, d.Size)
	if err != nil {
		return unreadable(err)
	}
	extra, err := json.Marshal(annotations)
	if err != nil {
		extra = nil // annotations only add detail
	}
	var source stackwalk.SymbolSource
	if w.Symbols != nil {
		var release func()
		source, release = w.Symbols()
		defer release()
	}
	asked := &askedSource{source: source}
	if source != nil {
		source = asked
	}
	state, err := stackwalk.Walk(ctx, dump, source, stackwalk.Options{Extra: extra, Binaries: w.Binaries, Workers: 1}) // other crashes have the other processors
	if err != nil {
		return unreadable(err)
	}
	huge := state.Frames() > hugeFrames || state.ThreadCount > hugeThreads
	if huge {
		dump.Threads = nil // the state has what counts of them
		runtime.GC()       // what the walk left behind would wait beside the document
	}
	outline := state.Outline()
	if huge {
		runtime.GC() // neither dump nor state are used any more
	}
	return rules.WalkResult{Output: outline.Document(), NoAnswer: asked.noAnswer.Load()}
}

// askedSource notices when symbols could not be asked for.
type askedSource struct {
	source   stackwalk.SymbolSource
	noAnswer atomic.Bool
}

// Symbols implements stackwalk.SymbolSource.
func (a *askedSource) Symbols(ctx context.Context, id symbols.ModuleID) (*stackwalk.Loaded, error) {
	l, err := a.source.Symbols(ctx, id)
	if fault.Is(err, fault.Unavailable) {
		a.noAnswer.Store(true)
	}
	return l, err
}

// unreadable names what is wrong with a dump by the name of its error.
func unreadable(err error) rules.WalkResult {
	var f *minidump.FormatError
	if errors.As(err, &f) && f.Name != "" {
		return walkFailed(f.Name, f)
	}
	if fault.Is(err, fault.Internal) {
		return walkFailed("Panic", err)
	}
	return walkFailed("Unreadable", err)
}
