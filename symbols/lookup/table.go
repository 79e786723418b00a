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
// What the readings share is packed in function.go and found by index.go; where
// they differ is in rules.go (within a function) and overlay.go (between them).
package lookup

import (
	"mayday/symbols"
	"mayday/symbols/sym"
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

	names, paths *dictionary // of packed names; nil: none are packed

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

// Call is the call site of an inlined call, in ids.
type Call struct{ Line, File, Origin uint32 }

// Hit is the answer of a lookup in ids of the symbol file. It may be used for
// many lookups, one after the other, which then allocate nothing.
type Hit struct {
	Address, Size uint64
	ParamSize     uint32
	Multiple      bool
	Public        bool
	HasLine       bool
	Line, File    uint32 // of the innermost code
	// Calls are the sites of inlined calls, outermost first.
	Calls []Call
	name  ref
}

func (h *Hit) setLine(line, file uint32) { h.HasLine, h.Line, h.File = true, line, file }

// setCall notes the call site at a depth.
func (h *Hit) setCall(depth uint32, c Call) {
	if depth > maxNesting {
		return
	}
	for uint32(len(h.Calls)) <= depth {
		h.Calls = append(h.Calls, Call{})
	}
	h.Calls[depth] = c
}

// setHead fills in what the front of a packed function says.
func (h *Hit) setHead(start uint64, hd head) {
	h.Address, h.Size, h.ParamSize, h.name = start, hd.size, hd.param, hd.name
	h.Multiple, h.Public = hd.flags&funcMultiple != 0, false
	h.HasLine, h.Line, h.File = false, 0, 0
	h.Calls = h.Calls[:0]
}

// evaluate answers for p by the records of the packed function b. It reports
// false where symbolic knows nothing: behind an inlined call, before the next
// line.
func (t *Table) evaluate(h *Hit, start uint64, b []byte, p uint64, parity bool) bool {
	d := decoder{b: b}
	hd := d.head()
	return answer(h, &d, hd, start, p, parity)
}

// answer is evaluate with the front of the function read.
func answer(h *Hit, d *decoder, hd head, start, p uint64, parity bool) bool {
	h.setHead(start, hd)
	switch {
	case d.bad:
		return false
	case hd.flags&funcOdd == 0:
		return quick(h, d, hd, start, p, parity)
	case parity:
		layOutParity(h, d, hd, start, p)
		return true
	}
	return layOut(h, d, hd, start, p)
}

// quick answers for p in a function whose records nest as they should. The
// answer changes at marks: the start of the function, of each line, and start
// and end of each INLINE range. Symbolic answers for the last mark at or
// before p, so that a gap between lines goes on with the line before;
// minidump-stackwalk answers for p itself.
func quick(h *Hit, d *decoder, hd head, start, p uint64, parity bool) bool {
	b, i := d.b, d.i
	mark, afterCall := start, false
	if hd.flags&funcInlines != 0 {
		i, mark, afterCall = quickCalls(h, b, i, start, p)
	}
	at, i := quickLine(b, i, start, p)
	switch {
	case i >= beyond:
		return false
	case at.size == 0:
	case parity:
		if p-at.start < at.size {
			h.setLine(at.line, at.file)
		}
	default:
		if at.start >= mark {
			mark, afterCall = at.start, false
		}
		if mark-at.start < at.size {
			h.setLine(at.line, at.file)
		}
	}
	return parity || !afterCall || h.HasLine || len(h.Calls) > 0
}

// quickCalls reads all INLINE ranges from i on, as spanReader does, and notes
// those that cover p. It returns the last mark at or before p and whether it
// is the end of a range.
func quickCalls(h *Hit, b []byte, i int, start, p uint64) (next int, mark uint64, end bool) {
	n, i := number(b, i)
	mark = start
	var depth, first uint32
	var c Call
	address := start
	begun := false
	for ; n > 0 && i < len(b); n-- {
		tag := b[i]
		i++
		var v, size uint64
		if depth += uint32(tag&inlineDepth) - 3; tag&inlineDepth == 7 {
			v, i = number(b, i)
			depth = uint32(v)
		}
		v, i = number(b, i)
		address += signed(v)
		size, i = number(b, i)
		if tag&inlineMore == 0 {
			v, i = number(b, i)
			c.Line = uint32(v)
			switch {
			case tag&inlineNoFile != 0:
				c.File = sym.NoFile
			case tag&inlineFirst != 0:
				c.File = first
			case tag&inlineSameFile == 0:
				v, i = number(b, i)
				c.File = uint32(v)
			}
			if !begun {
				begun, first = true, c.File
			}
			v, i = number(b, i)
			c.Origin = uint32(v)
		}
		switch {
		case p < address:
		case p-address < size:
			if address > mark {
				mark, end = address, false
			}
			h.setCall(depth, c)
		case address+size > mark:
			mark, end = address+size, true
		}
	}
	return i, mark, end
}

// quickLine reads the lines from i on, as lineReader does, up to the last that
// starts at or before p.
func quickLine(b []byte, i int, start, p uint64) (at srcLine, next int) {
	n, i := number(b, i)
	end := start
	var line, file, first uint32
	begun := false
	for ; n > 0 && i < len(b); n-- {
		tag := b[i]
		i++
		var v uint64
		from := end
		if tag&lineGap != 0 {
			v, i = number(b, i)
			from += signed(v)
		}
		size := uint64(tag >> lineSizeBit)
		if size == 0 {
			size, i = number(b, i)
		}
		v, i = number(b, i)
		line += uint32(signed(v))
		switch tag & lineFileMask {
		case lineFileFirst:
			file = first
		case lineFileGiven:
			v, i = number(b, i)
			file = uint32(v)
			if !begun {
				first = file
			}
		}
		begun = true
		if from > p {
			break
		}
		at = srcLine{from, size, line, file}
		end = from + size
	}
	return at, i
}

// public fills in the PUBLIC record at an address: the first of those that
// share it, or the last by parameter size and name.
func (t *Table) public(h *Hit, e entry, last bool) bool {
	d := decoder{b: t.store.from(ref(e.val))}
	found := false
	for n := d.uvarint(); n > 0; n-- {
		flags, param, name := d.byte(), uint32(d.uvarint()), ref(d.uint32())
		if d.bad {
			break
		}
		if found && (!last || !t.publicAfter(h, param, name)) {
			continue
		}
		h.setHead(e.key, head{flags: flags, param: param, name: name})
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
	return string(t.text(name)) >= string(t.text(h.name))
}

// symbolic finds what covers p by symbolic's rules. With functionsOnly a
// PUBLIC outside of functions does not count.
func (t *Table) symbolic(h *Hit, p uint64, functionsOnly bool) bool {
	if t.overlay.count > 0 {
		if run, _, ok := t.overlay.find(&t.store, p); ok && run.val != ownerDefault {
			return t.owner(h, run.val, p)
		}
	}
	f, _, haveFunc := t.funcs.find(&t.store, p)
	if haveFunc {
		d := decoder{b: t.store.from(ref(f.val))}
		hd := d.head()
		if d.bad {
			return false
		}
		if p-f.key < hd.size {
			return answer(h, &d, hd, f.key, p, false)
		}
		f.key += hd.size
	}
	if functionsOnly {
		return false
	}
	e, _, ok := t.publics.find(&t.store, p)
	return ok && (!haveFunc || e.key >= f.key) && t.public(h, e, false)
}

// owner answers for p by what an overlay names.
func (t *Table) owner(h *Hit, owner uint32, p uint64) bool {
	switch {
	case owner == ownerNobody:
		return false
	case owner&ownerPublic != 0:
		e, ok := t.publics.at(&t.store, int(owner&^ownerPublic))
		return ok && t.public(h, e, false)
	}
	e, ok := t.funcs.at(&t.store, int(owner))
	return ok && t.evaluate(h, e.key, t.store.from(ref(e.val)), p, false)
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
		d := decoder{b: t.store.from(ref(f.val))}
		hd := d.head()
		if d.bad {
			return false
		}
		if p-f.key < hd.size {
			if !linesToo {
				h.setHead(f.key, hd)
				return true
			}
			return answer(h, &d, hd, f.key, p, true)
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
	d := decoder{b: t.store.from(ref(e.val))}
	c := symbols.CFI{Start: e.key, Size: d.uvarint()}
	if d.bad || p-e.key >= c.Size {
		return symbols.CFI{}, false
	}
	c.Init = t.rule(d.uvarint())
	at := e.key
	sorted := true
	var rows []cfiRow
	for n := d.uvarint(); n > 0; n-- {
		before := at
		at += d.zigzag()
		rule := d.uvarint()
		if d.bad {
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
	d := decoder{b: t.store.from(ref(e.val))}
	covers := d.uvarint()
	w := &symbols.WinFrame{Address: e.key, Size: uint32(d.uvarint())}
	for _, v := range []*uint32{&w.Prolog, &w.Epilog, &w.ParamSize, &w.SavedRegsSize, &w.LocalsSize, &w.MaxStack} {
		*v = uint32(d.uvarint())
	}
	text := t.rule(d.uvarint())
	if d.bad {
		return nil, 0
	}
	if list == 1 {
		w.Type, w.HasProgram, w.Program = 4, true, text
	} else {
		w.AllocatesBasePointer = text == "1"
	}
	return w, covers
}
