package lookup

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
