package lookup

import "mayday/symbols"

// Who has many offsets to look up, of which each lies elsewhere in a large file,
// waits for memory most of the time. It is faster to take a step for all of them
// before the next one: a processor waits for several pieces of memory at a time.
// Seek, Touch and ResolveAt are such steps, and so are File, Origin, TouchText
// and AppendText.

// Place is where an offset may be answered for.
type Place struct {
	function entry
	have     bool // there is a function at or before the offset
	other    bool // functions overlap here: Resolve knows
}

// Seek is the first step of Resolve, under the symbolicate reading.
func (v View) Seek(offset uint64) (p Place) {
	t := v.t
	if t.overlay.count > 0 {
		run, _, ok := t.overlay.find(&t.store, offset)
		if p.other = ok && run.val != ownerDefault; p.other {
			return p
		}
	}
	p.function, _, p.have = t.funcs.find(&t.store, offset)
	return p
}

// Touch reads what ResolveAt will. What it returns means nothing.
func (v View) Touch(p Place) byte {
	if !p.have {
		return 0
	}
	return touch(v.t.store.from(ref(p.function.val)))
}

// touch reads the first two lines of a processor's cache.
func touch(b []byte) byte {
	switch {
	case len(b) > cacheLine:
		return b[0] ^ b[cacheLine]
	case len(b) > 0:
		return b[0]
	}
	return 0
}

// ResolveAt is Resolve for an offset that Seek gave a place.
func (v View) ResolveAt(p Place, offset uint64, h *Hit) bool {
	if p.other {
		return v.Resolve(offset, h)
	}
	return offset < 1<<32 && v.t.symbolicIn(h, offset, p.function, p.have, symbols.Symbolicate)
}

// Text is where a table keeps a text: the name of a function, as in Hit.Name, or
// what File and Origin find. It tells the same text again without reading it.
type Text uint32

// File finds the path of a FILE record.
func (v View) File(id uint32) (Text, bool) {
	at, ok := v.t.files.get(&v.t.store, uint64(id))
	return Text(at), ok
}

// Origin finds the name of an INLINE_ORIGIN record. In the old form of INLINE
// records a file number stands before it; see OldInlines.
func (v View) Origin(id uint32) (Text, bool) {
	at, ok := v.t.origins.get(&v.t.store, uint64(id))
	return Text(at), ok
}

// OldInlines reports whether the names of origins start with a file number,
// which WithoutFile cuts.
func (v View) OldInlines() bool { return v.t.oldInlines }

// AppendText appends a text to b as the symbol file has it, in any encoding.
func (v View) AppendText(b []byte, at Text) []byte {
	p, form := v.t.kept(ref(at))
	switch {
	case form == formName && v.t.names != nil:
		return v.t.names.AppendTo(b, p)
	case form == formPath && v.t.paths != nil:
		return v.t.paths.AppendTo(b, p)
	}
	return append(b, p...)
}

// TouchText reads what AppendText will. What it returns means nothing.
func (v View) TouchText(at Text) byte { return touch(v.t.store.from(ref(at))) }
