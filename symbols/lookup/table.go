// Package lookup finds what a symbol file says about an offset: the function,
// the line, the calls inlined there, the rules to unwind it.
//
// A Builder packs the records of symbols/sym into a Table; Read does so for a
// whole stream. The table keeps the records as they are, in blocks of 64 KiB
// that can lie in a mapped file as well as in memory (symbols/cache), and it
// decides nothing about records that overlap. That is up to the reading, chosen
// with Table.View:
//
//   - symbols.Parity does as minidump-stackwalk: one bad line and the file is
//     corrupt, overlapping records are dropped;
//   - symbols.Symbolicate does as symbolic, which Mozilla's symbolication API is
//     made of: later functions cut earlier ones, paths are normalised;
//   - symbols.Best lays functions out as symbolic does, and finds PUBLIC records
//     as the walker needs them.
//
// Functions are packed by package function, which also knows how the readings
// differ within one; where they differ between functions is in overlay.go.
package lookup

import (
	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/lookup/packed"
)

// Counts are how many records of each kind were read.
type Counts struct {
	Funcs, Lines, Inlines, Publics, Files, Origins, CFIInits, CFI, Wins uint64
}

// Table holds the records of one symbol file in a compact form and finds what
// covers an offset. It decides nothing about records that overlap or break
// rules: that is up to the reading, chosen with View. A Table is not changed
// by lookups and may be used from several goroutines.
type Table struct {
	store   blockStore
	module  symbols.Module
	verdict symbols.Verdict
	counts  Counts
	// oldInlines says that INLINE records have the form without call file,
	// where INLINE_ORIGIN records carry a file number before the name.
	oldInlines bool

	names, paths *packed.Dictionary // of packed names; nil: none are packed

	funcs, idleFuncs       index // address → packed function
	publics                index // address → packed PUBLIC records of the address
	cfi, idleCFI           index // address → packed STACK CFI records
	win                    [2]index
	files, origins         index // id → text
	infos, rules           index // number → text
	overlay, parityOverlay index // address → owner
}

// Module is what the head of the file says.
func (t *Table) Module() symbols.Module { return t.module }

// Verdict is what reading the file said about it.
func (t *Table) Verdict() symbols.Verdict { return t.verdict }

// Counts are how many records of each kind the file has.
func (t *Table) Counts() Counts { return t.counts }

// Damaged reports whether a block failed its check since the table was opened.
// What lookups answered is right nevertheless, but some found nothing.
func (t *Table) Damaged() bool { return t.store.bad.Load() }

// View is the table under one reading.
func (t *Table) View(r symbols.Reading) View { return View{t: t, reading: r} }

// Hit is the answer of a lookup in ids of the symbol file. It may be used for
// many lookups, one after the other, which then allocate nothing.
type Hit = function.Hit

// Call is the call site of an inlined call, in ids.
type Call = function.Call

// function reads the front of the function that starts at an address and is
// packed at r.
func (t *Table) function(start uint64, r ref) (function.Function, bool) {
	return function.At(t.store.from(r), start)
}

// public fills in the PUBLIC record at an address: the first of those that
// share it, or the last by parameter size and name.
func (t *Table) public(h *Hit, e entry, last bool) bool {
	d := packed.Decoder{B: t.store.from(ref(e.val))}
	found := false
	for n := d.Uvarint(); n > 0; n-- {
		flags, param, name := d.Byte(), uint32(d.Uvarint()), ref(d.Uint32())
		if d.Bad {
			break
		}
		if found && (!last || !t.publicAfter(h, param, name)) {
			continue
		}
		h.SetHead(e.key, &function.Head{Flags: flags, ParamSize: param, Name: uint32(name)})
		h.Public, found = true, true
		if !last {
			break
		}
	}
	return found
}

// publicAfter reports whether a PUBLIC sorts behind the one in h.
func (t *Table) publicAfter(h *Hit, param uint32, name ref) bool {
	if param != h.ParamSize {
		return param > h.ParamSize
	}
	return string(t.text(name)) >= string(t.text(ref(h.Name)))
}

// symbolic finds what covers p by symbolic's rules. In the best reading a
// PUBLIC outside of functions does not count.
func (t *Table) symbolic(h *Hit, p uint64, r symbols.Reading) bool {
	if t.overlay.count > 0 {
		if run, _, ok := t.overlay.find(&t.store, p); ok && run.val != ownerDefault {
			return t.owner(h, run.val, p, r)
		}
	}
	f, _, haveFunc := t.funcs.find(&t.store, p)
	return t.symbolicIn(h, p, f, haveFunc, r)
}

// symbolicIn is symbolic where functions do not overlap; f is the last one that
// starts at or before p, if there is one.
func (t *Table) symbolicIn(h *Hit, p uint64, f entry, haveFunc bool, r symbols.Reading) bool {
	if haveFunc {
		fn, ok := t.function(f.key, ref(f.val))
		if !ok {
			return false
		}
		if p-f.key < fn.Size {
			return fn.Answer(h, p, r)
		}
		f.key += fn.Size
	}
	if r == symbols.Best {
		return false
	}
	e, _, ok := t.publics.find(&t.store, p)
	return ok && (!haveFunc || e.key >= f.key) && t.public(h, e, false)
}

// owner answers for p by what an overlay names.
func (t *Table) owner(h *Hit, owner uint32, p uint64, r symbols.Reading) bool {
	switch {
	case owner == ownerNobody:
		return false
	case owner&ownerPublic != 0:
		e, ok := t.publics.at(&t.store, int(owner&^ownerPublic))
		return ok && t.public(h, e, false)
	}
	e, ok := t.funcs.at(&t.store, int(owner))
	if !ok {
		return false
	}
	fn, ok := t.function(e.key, ref(e.val))
	return ok && fn.Answer(h, p, r)
}

// walker finds what covers p by the rules of minidump-stackwalk: a FUNC, or
// the PUBLIC before p unless a FUNC starts after it.
func (t *Table) walker(h *Hit, p uint64, linesToo bool) bool {
	f, _, haveFunc := t.funcs.find(&t.store, p)
	if t.parityOverlay.count > 0 {
		if run, _, ok := t.parityOverlay.find(&t.store, p); ok && run.val != ownerDefault {
			f, haveFunc = t.funcs.at(&t.store, int(run.val))
		}
	}
	if haveFunc {
		fn, ok := t.function(f.key, ref(f.val))
		if !ok {
			return false
		}
		if p-f.key < fn.Size {
			if !linesToo {
				h.SetHead(f.key, &fn.Head)
				return true
			}
			return fn.Answer(h, p, symbols.Parity)
		}
	}
	return t.walkerPublic(h, p, f.key, haveFunc)
}

// walkerPublic finds the PUBLIC before p that no function starts after.
func (t *Table) walkerPublic(h *Hit, p, funcStart uint64, haveFunc bool) bool {
	e, _, ok := t.publics.find(&t.store, p)
	return ok && (!haveFunc || e.key > funcStart) && t.public(h, e, true)
}

// cfiAt returns the STACK CFI records that cover p. With byText, records of one
// address apply in the order of their texts, as minidump-stackwalk sorts them,
// and not in that of the file.
func (t *Table) cfiAt(p uint64, byText bool) (symbols.CFI, bool) {
	e, _, ok := t.cfi.find(&t.store, p)
	if !ok {
		return symbols.CFI{}, false
	}
	d := packed.Decoder{B: t.store.from(ref(e.val))}
	c := symbols.CFI{Start: e.key, Size: d.Uvarint()}
	if d.Bad || p-e.key >= c.Size {
		return symbols.CFI{}, false
	}
	c.Init = t.rule(d.Uvarint())
	at := e.key
	sorted := true
	var rows []cfiRow
	for n := d.Uvarint(); n > 0; n-- {
		before := at
		at += d.Zigzag()
		rule := d.Uvarint()
		if d.Bad {
			break
		}
		sorted = sorted && (at > before || at == before && !byText)
		if at <= p {
			rows = append(rows, cfiRow{at, t.rule(rule)})
		}
	}
	if !sorted {
		sortRows(rows, byText)
	}
	for _, r := range rows {
		c.Deltas = append(c.Deltas, r.rule)
	}
	return c, true
}

// rule is the text with a number.
func (t *Table) rule(n uint64) string {
	at, ok := t.rules.get(&t.store, n)
	if !ok {
		return ""
	}
	return string(t.text(ref(at)))
}

// winAt returns the STACK WIN record of one list that covers p.
func (t *Table) winAt(list int, p uint64) *symbols.WinFrame {
	e, _, ok := t.win[list].find(&t.store, p)
	if !ok {
		return nil
	}
	w, covers := t.winRecord(list, e)
	if w == nil || p-e.key >= covers {
		return nil
	}
	return w
}

// winRecord unpacks a STACK WIN record and tells how much of its range counts.
func (t *Table) winRecord(list int, e entry) (*symbols.WinFrame, uint64) {
	d := packed.Decoder{B: t.store.from(ref(e.val))}
	covers := d.Uvarint()
	w := &symbols.WinFrame{Address: e.key, Size: uint32(d.Uvarint())}
	for _, v := range []*uint32{&w.Prolog, &w.Epilog, &w.ParamSize, &w.SavedRegsSize, &w.LocalsSize, &w.MaxStack} {
		*v = uint32(d.Uvarint())
	}
	text := t.rule(d.Uvarint())
	if d.Bad {
		return nil, 0
	}
	if list == 1 {
		w.Type, w.HasProgram, w.Program = 4, true, text
	} else {
		w.AllocatesBasePointer = text == "1"
	}
	return w, covers
}
