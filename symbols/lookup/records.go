package lookup

import (
	"mayday/app/fault"
	"mayday/symbols"
	"mayday/symbols/lookup/function"
	"mayday/symbols/lookup/packed"
	"mayday/symbols/sym"
)

// Records calls f for each record of the table, in the order of a symbol file:
// FILE and INLINE_ORIGIN by id, FUNC by address with its INLINE records and
// then its lines, PUBLIC, STACK WIN, STACK CFI. Lines that could not be read
// are not in a table. It stops at the first error of f. The record changes with
// each call.
func (t *Table) Records(f func(*sym.Record) error) error {
	w := recordWriter{t: t, f: f}
	if m := t.module; m.Found {
		w.r = sym.Record{Kind: sym.KindModule, OS: []byte(m.OS), Arch: []byte(m.Arch), ModuleID: []byte(m.ID), Text: []byte(m.Name)}
		w.put()
	}
	for _, s := range []struct {
		kind sym.Kind
		x    *index
	}{{sym.KindInfo, &t.infos}, {sym.KindFile, &t.files}, {sym.KindInlineOrigin, &t.origins}} {
		s.x.all(&t.store, func(_ int, e entry) bool {
			w.r = sym.Record{Kind: s.kind, ID: uint32(e.key), Text: t.text(ref(e.val))}
			return w.put()
		})
	}
	merge(t, &t.funcs, &t.idleFuncs, w.function)
	t.publics.all(&t.store, w.publics)
	for i := range t.win {
		t.win[i].all(&t.store, func(_ int, e entry) bool { return w.win(i, e) })
	}
	merge(t, &t.cfi, &t.idleCFI, w.cfi)
	if w.err == nil && t.Damaged() {
		w.err = damaged(t.module)
	}
	return w.err
}

// recordWriter hands out records until there is an error.
type recordWriter struct {
	t   *Table
	f   func(*sym.Record) error
	r   sym.Record
	err error
}

func (w *recordWriter) put() bool {
	if w.err == nil {
		w.err = w.f(&w.r)
	}
	return w.err == nil
}

// merge goes through two indexes in the order of their keys.
func merge(t *Table, a, b *index, f func(entry) bool) {
	n := 0
	a.all(&t.store, func(_ int, e entry) bool {
		for ; n < int(b.count); n++ {
			o, ok := b.at(&t.store, n)
			if !ok || o.key > e.key {
				break
			}
			if !f(o) {
				return false
			}
		}
		return f(e)
	})
	for ; n < int(b.count); n++ {
		if o, ok := b.at(&t.store, n); !ok || !f(o) {
			return
		}
	}
}

// function hands out a FUNC with its INLINE and line records.
func (w *recordWriter) function(e entry) bool {
	f, ok := w.t.function(e.key, ref(e.val))
	w.r = sym.Record{Kind: sym.KindFunc, Address: e.key, Size: f.Size, ParamSize: f.ParamSize, Multiple: f.Flags&function.Multiple != 0, Text: w.t.text(ref(f.Name))}
	if !ok || !w.put() {
		return false
	}
	spans, lines := f.Records()
	for i := 0; i < len(spans); {
		s := spans[i]
		w.r = sym.Record{Kind: sym.KindInline, Depth: s.Depth, Line: s.Line, File: s.File, Origin: s.Origin, OldInline: s.File == sym.NoFile}
		for first := i; i < len(spans) && (i == first || spans[i].More); i++ {
			w.r.Ranges = append(w.r.Ranges, sym.Range{Address: spans[i].Start, Size: spans[i].Size})
		}
		if !w.put() {
			return false
		}
	}
	for _, l := range lines {
		w.r = sym.Record{Kind: sym.KindLine, Address: l.Start, Size: l.Size, Line: l.Line, File: l.File}
		if !w.put() {
			return false
		}
	}
	return true
}

// publics hands out the PUBLIC records of one address.
func (w *recordWriter) publics(_ int, e entry) bool {
	d := packed.Decoder{B: w.t.store.from(ref(e.val))}
	for n := d.Uvarint(); n > 0; n-- {
		flags, param, name := d.Byte(), uint32(d.Uvarint()), ref(d.Uint32())
		if d.Bad {
			break
		}
		w.r = sym.Record{Kind: sym.KindPublic, Address: e.key, ParamSize: param, Multiple: flags&function.Multiple != 0, Text: w.t.text(name)}
		if !w.put() {
			return false
		}
	}
	return true
}

func (w *recordWriter) win(list int, e entry) bool {
	f, _ := w.t.winRecord(list, e)
	if f == nil {
		return true
	}
	text := f.Program
	if !f.HasProgram {
		text = "0"
		if f.AllocatesBasePointer {
			text = "1"
		}
	}
	w.r = sym.Record{Kind: sym.KindWin, Address: e.key, Size: uint64(f.Size), Text: []byte(text), Win: sym.WinFields{Type: f.Type, HasProgram: f.HasProgram,
		Sizes: [6]uint32{f.Prolog, f.Epilog, f.ParamSize, f.SavedRegsSize, f.LocalsSize, f.MaxStack}}}
	return w.put()
}

// cfi hands out a STACK CFI INIT record and those that follow it.
func (w *recordWriter) cfi(e entry) bool {
	d := packed.Decoder{B: w.t.store.from(ref(e.val))}
	w.r = sym.Record{Kind: sym.KindCFIInit, Address: e.key, Size: d.Uvarint()}
	w.r.Text = []byte(w.t.rule(d.Uvarint()))
	if d.Bad || !w.put() {
		return false
	}
	at := e.key
	for n := d.Uvarint(); n > 0; n-- {
		at += d.Zigzag()
		rule := d.Uvarint()
		if d.Bad {
			break
		}
		w.r = sym.Record{Kind: sym.KindCFI, Address: at, Text: []byte(w.t.rule(rule))}
		if !w.put() {
			return false
		}
	}
	return true
}

// damaged is the error for a table whose blocks failed their checks.
func damaged(m symbols.Module) error {
	return fault.New(fault.Malformed, "compiled symbols of %s %s: a block is damaged", m.Name, m.ID)
}
