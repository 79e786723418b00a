package gopclntab

import (
	"cmp"
	"slices"
)

// Inline is a call that was inlined.
type Inline struct {
	// Name is that of the function called, for NameAt.
	Name uint32
	// Depth is the number of inlined calls around it.
	Depth uint32
	// File and Line say where the call is; File is for FileAt.
	File, Line uint32
	// Code is what it became: offsets in the module, sorted. The Values say
	// nothing.
	Code []Piece
}

// treeEntry is a call in the tree of a function's inlined calls.
type treeEntry struct {
	name uint32
	// place is an offset in the module: an instruction that belongs to the call in
	// the caller.
	place  uint64
	parent int32 // the entry of the caller, -1 for the function itself
	inline *Inline
}

// Inlines are the inlined calls of a function, sorted by depth and place. What
// refers to itself, or to no call, is left out.
//
// The table says of each instruction which call it belongs to, and of each call
// an instruction that belongs to the caller: that tells the next call outwards,
// and the line of the call.
func (t *Table) Inlines(f *Function) []Inline {
	if !f.hasTree || f.inline == 0 {
		return nil
	}
	var pieces []Piece
	for c := t.cursor(f, f.inline); len(pieces) < maxCode && c.next(); {
		pieces = append(pieces, c.piece)
	}
	entries := t.entries(f, pieces)
	if len(entries) == 0 {
		return nil
	}
	t.locate(f, entries)
	for _, e := range sorted(entries) {
		deepen(entries, e)
	}
	left := maxCode
	for _, p := range pieces {
		if left -= cover(entries, p); left <= 0 {
			break
		}
	}
	var all []Inline
	for _, e := range entries {
		if e != nil && e.inline != nil && len(e.inline.Code) > 0 {
			all = append(all, *e.inline)
		}
	}
	slices.SortFunc(all, func(a, b Inline) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Code[0].Start, b.Code[0].Start), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// The layouts of a call in the tree.
const (
	treeSize118 = 20 // the name at 12, the place at 16
	treeSize120 = 16 // the name at 4, the place at 8
)

// treeEntry reads a call, nil if there is none.
func (t *Table) treeEntry(f *Function, number int32) *treeEntry {
	size, name, place := uint64(treeSize120), 4, 8
	if t.version == go118 {
		size, name, place = treeSize118, 12, 16
	}
	b := t.trees.bytes(uint64(f.tree)+uint64(number)*size, int(size))
	if b == nil {
		return nil
	}
	e := &treeEntry{name: t.order.Uint32(b[name:]), place: f.Start + uint64(t.order.Uint32(b[place:])), parent: -1}
	if e.place >= f.End {
		return nil
	}
	return e
}

// entries reads the calls that pieces of code belong to, and those around them.
// Calls whose code is all that of calls in them are only known by those.
func (t *Table) entries(f *Function, pieces []Piece) map[int32]*treeEntry {
	all := map[int32]*treeEntry{}
	var fresh []int32
	add := func(n int32) {
		if _, known := all[n]; n >= 0 && !known && len(all) < maxTree {
			all[n] = t.treeEntry(f, n)
			fresh = append(fresh, n)
		}
	}
	for _, p := range pieces {
		add(p.Value)
	}
	for len(fresh) > 0 {
		n := fresh[len(fresh)-1]
		fresh = fresh[:len(fresh)-1]
		e := all[n]
		if e == nil {
			continue
		}
		i, found := slices.BinarySearchFunc(pieces, e.place, func(p Piece, at uint64) int { return cmp.Compare(p.Start, at) })
		if !found {
			i--
		}
		if i >= 0 && e.place < pieces[i].End {
			e.parent = max(pieces[i].Value, -1)
			add(e.parent)
		}
	}
	return all
}

// locate finds the line of each call.
func (t *Table) locate(f *Function, entries map[int32]*treeEntry) {
	all := sorted(entries)
	slices.SortStableFunc(all, func(a, b *treeEntry) int { return cmp.Compare(a.place, b.place) })
	files, lines, units := t.cursor(f, f.file), t.cursor(f, f.line), unit{table: t}
	for _, e := range all {
		e.inline = &Inline{Name: e.name, File: NoFile}
		if n, ok := files.seek(e.place); ok {
			e.inline.File = units.file(f, n)
		}
		if n, ok := lines.seek(e.place); ok {
			e.inline.Line = uint32(max(n, 0))
		}
	}
}

// sorted are the calls that could be read, in a fixed order.
func sorted(entries map[int32]*treeEntry) (all []*treeEntry) {
	var numbers []int32
	for n, e := range entries {
		if e != nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		all = append(all, entries[n])
	}
	return all
}

// deepen counts the calls around one. What lies in a circle, or in a call that
// could not be read, is no inlined call.
func deepen(entries map[int32]*treeEntry, e *treeEntry) {
	if e.inline == nil {
		return
	}
	depth := uint32(0)
	for at := e; at.parent >= 0; depth++ {
		if at = entries[at.parent]; at == nil || at.inline == nil || depth+1 >= maxDepth {
			e.inline = nil
			return
		}
	}
	e.inline.Depth = depth
}

// cover gives a piece of code to the call that it belongs to and to those
// around. It returns for how many that made a piece more.
func cover(entries map[int32]*treeEntry, p Piece) (more int) {
	for n := p.Value; n >= 0; {
		e := entries[n]
		if e == nil || e.inline == nil {
			return more
		}
		code := e.inline.Code
		if last := len(code) - 1; last >= 0 && code[last].End == p.Start {
			code[last].End = p.End
		} else {
			e.inline.Code = append(code, Piece{Start: p.Start, End: p.End})
			more++
		}
		n = e.parent
	}
	return more
}
