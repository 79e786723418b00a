package unwind

import (
	"context"

	"mayday/minidump/format"
	"mayday/symbols/unwindinfo/rule"
)

// Binary is the file of a module itself, where it is at hand. Symbols are made
// of it, but leave things out; the tables that its exception handling uses are
// what the program itself relies on.
type Binary interface {
	// Rules are the rules for leaving the function at a place.
	Rules(q rule.Query) (rule.Set, bool)
	// Bytes returns n bytes at an offset of the module, as the file has them; nil
	// when it has not.
	Bytes(offset uint64, n int) []byte
}

// Binaries finds the files of modules. Modules that are Binaries as well are asked
// for them, by the Best heuristics alone. It must be safe for as many goroutines
// as have walkers that share it.
type Binaries interface {
	// Binary returns the file of a module that Modules.Find returned, nil when it
	// is not at hand. It may take its time the first time a module is asked for.
	Binary(ctx context.Context, module int) Binary
}

// ruleCost is what the looking up of a rule counts for, beside the bytes of
// table that were read for it.
const ruleCost = 64

// binary is the file of the module of f, nil when it is not at hand.
func (k *walk) binary(f *frame) Binary {
	if f.module == NoModule || k.walker.binaries == nil {
		return nil
	}
	return k.walker.binaries.Binary(k.ctx, f.module)
}

// byBinary recovers the caller by the tables of the callee's own binary.
func byBinary(k *walk) bool {
	if _, ok := k.callee.Get(k.arch.sp); !ok {
		return false
	}
	b := k.binary(k.callee)
	if b == nil {
		return false
	}
	set, ok := b.Rules(rule.Query{Base: k.callee.base, Offset: k.callee.instruction - k.callee.base, Innermost: k.innermost()})
	k.eval.Work += ruleCost + uint64(set.Cost)
	if !ok {
		return false
	}
	k.forward()
	k.rules.Reset()
	k.eval.Work += uint64(len(set.CFI.Init))
	if !k.rules.Add(set.CFI.Init) {
		return false
	}
	k.ruleInit = k.callee.base + set.CFI.Start
	if !k.apply() {
		return false
	}
	k.unsign()
	if k.caller.interrupted = set.Interrupted; set.Interrupted {
		if sp := k.caller.SP(); sp <= k.callee.SP() || !k.stack.readable(sp) {
			return k.moveTo(sp) // a handler on a stack of its own
		}
	}
	return true
}

// innermost reports whether the callee stands at an instruction of its own, and
// not at a call.
func (k *walk) innermost() bool { return k.callee.trust == Context || k.callee.interrupted }

// unsign takes signatures off the caller's pointers.
func (k *walk) unsign() {
	if k.arch.cpu != format.ARM64 {
		return
	}
	k.caller.Values[k.arch.ip] &= k.pacMask // also if a rule made it unknown
	for _, r := range []format.Register{k.arch.lr, k.arch.fp} {
		if v, ok := k.caller.Get(r); ok {
			k.caller.Set(r, v&k.pacMask)
		}
	}
}

// codeBefore returns the n bytes before a return address, from the dump or else
// from the binary of the module; nil when neither has them.
func (k *walk) codeBefore(address uint64, n int) []byte {
	start := address&^k.thumb() - uint64(n)
	if k.process.Code != nil {
		if b := k.process.Code.Bytes(start, n); len(b) == n {
			return b
		}
	}
	if k.walker.binaries == nil {
		return nil
	}
	module, base, ok := k.process.Modules.Find(start)
	if !ok || start < base {
		return nil
	}
	b := k.walker.binaries.Binary(k.ctx, module)
	if b == nil {
		return nil
	}
	if code := b.Bytes(start-base, n); len(code) == n {
		return code
	}
	return nil
}
