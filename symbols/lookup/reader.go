package lookup

import (
	"unsafe"

	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/lookup/packed"
)

// Reader is a View for one goroutine that asks for many offsets, as walking
// stacks does. Its answers are those of the view; they share memory, and what
// is thrown away in between is used again.
type Reader struct {
	View
	texts Scratch
	hit   Hit
	rules *rules // nil until CFI is asked for
}

// rules are answers about unwinding: calls that go round in circles ask for the
// same ones, and most functions have the same few texts.
type rules struct {
	answers [64]struct {
		offset       uint64
		known, found bool
		cfi          symbols.CFI
	}
	texts [256]struct { // by number
		number uint64
		text   string // "" if none is kept
	}
}

// Reader returns a new reader.
func (v View) Reader() *Reader { return &Reader{View: v, texts: Scratch{keep: true}} }

// Function is View.Function.
func (r *Reader) Function(offset uint64) (symbols.Function, bool) {
	if !r.head(offset, &r.hit) {
		return symbols.Function{}, false
	}
	return r.function(&r.hit, &r.texts), true
}

// Locate is View.Locate.
func (r *Reader) Locate(offset uint64) (symbols.Location, bool) {
	if !r.Resolve(offset, &r.hit) {
		return symbols.Location{}, false
	}
	return r.location(&r.hit, &r.texts), true
}

// CFI is View.CFI. What it returns may be used until the next call, and while
// the table is open.
func (r *Reader) CFI(offset uint64) (symbols.CFI, bool) {
	if r.unusable() {
		return symbols.CFI{}, false
	}
	if r.rules == nil {
		r.rules = &rules{}
	}
	slot := &r.rules.answers[(offset^offset>>6)%uint64(len(r.rules.answers))]
	if !slot.known || slot.offset != offset {
		slot.known, slot.offset = true, offset
		slot.found = r.cfi(offset, &slot.cfi)
	}
	return slot.cfi, slot.found
}

// Starts reports whether a function, and no PUBLIC, starts at offset by what
// Function answers.
func (r *Reader) Starts(offset uint64) bool {
	t := r.t
	if r.reading == symbols.Parity || t.overlay.count > 0 || t.parityOverlay.count > 0 {
		return r.head(offset, &r.hit) && r.hit.Address == offset && !r.hit.Public
	}
	e, _, ok := t.funcs.find(&t.store, offset)
	if !ok || e.key != offset {
		return false
	}
	f, ok := function.At(t.store.from(ref(e.val)), e.key)
	return ok && f.Size > 0
}

// head finds the function that covers offset.
func (v View) head(offset uint64, h *Hit) bool {
	if v.reading == symbols.Parity {
		return !v.unusable() && v.t.walker(h, offset, false)
	}
	return v.Resolve(offset, h)
}

// cfi is View.CFI with the memory of c.
func (r *Reader) cfi(p uint64, c *symbols.CFI) bool {
	t, byText := r.t, r.reading == symbols.Parity
	*c = symbols.CFI{Deltas: c.Deltas[:0]}
	e, _, ok := t.cfi.find(&t.store, p)
	if !ok {
		return false
	}
	d := packed.Decoder{B: t.store.from(ref(e.val))}
	c.Start, c.Size = e.key, d.Uvarint()
	if d.Bad || p-e.key >= c.Size {
		return false
	}
	c.Init = r.rule(d.Uvarint())
	at := e.key
	for n := d.Uvarint(); n > 0; n-- {
		before := at
		at += d.Zigzag()
		rule := d.Uvarint()
		if d.Bad {
			break
		}
		if at < before || at == before && byText { // not in order
			*c, ok = t.cfiAt(p, byText)
			return ok
		}
		if at <= p {
			c.Deltas = append(c.Deltas, r.rule(rule))
		}
	}
	return true
}

// rule is Table.rule without a copy where the table holds the text as it is.
func (r *Reader) rule(n uint64) string {
	slot := &r.rules.texts[n%uint64(len(r.rules.texts))]
	if slot.number == n && slot.text != "" {
		return slot.text
	}
	at, ok := r.t.rules.get(&r.t.store, n)
	if !ok {
		return ""
	}
	b := r.t.text(ref(at))
	slot.number, slot.text = n, unsafe.String(unsafe.SliceData(b), len(b)) // nobody writes to b
	return slot.text
}
