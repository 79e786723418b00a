package debuginfo

import (
	"cmp"
	"slices"

	"mayday/app/fault"
)

// attribute is one of a form of entries.
type attribute struct {
	name, form uint16
	constant   int64 // of formImplicitConst
}

// abbreviation is a form of entries.
type abbreviation struct {
	code     uint64
	tag      uint16
	children bool
	matters  bool // a tag that is read
	sibling  bool // has attrSibling
	// fixed is the size of all attributes, -1 when that depends on the values.
	fixed        int32
	first, count uint32 // of table.attributes
}

// table is a table of abbreviations, as a unit of some width sees it.
type table struct {
	list       []abbreviation
	attributes []attribute
	dense      bool // the code of list[i] is i+1
}

type tableKey struct {
	offset uint64
	width  width
}

// matters says whether entries of a tag are read.
func matters(tag uint16) bool {
	switch tag {
	case tagUnit, tagPartial, tagSkeleton, tagNamespace, tagClass, tagStruct, tagUnion, tagEnum, tagInterface, tagSubprogram, tagInlined, tagLexical, tagTry, tagCatch:
		return true
	}
	return false
}

// maxAttributes bounds those of one entry: compilers write some twenty.
const maxAttributes = 256

// table finds the table of abbreviations at an offset. Tables are kept, since
// units share them.
func (r *reader) table(at uint64, w width) (*table, error) {
	key := tableKey{at, w}
	if t := r.tables[key]; t != nil {
		return t, nil
	}
	if at > uint64(len(r.abbrev)) {
		return nil, fault.New(fault.Malformed, "abbreviations at %#x of %#x bytes", at, len(r.abbrev))
	}
	const overhead = 256 // of a table and its place in the map
	if err := r.meter.Take(overhead); err != nil {
		return nil, err
	}
	t := &table{dense: true}
	c := &cursor{b: r.abbrev[at:], big: r.big()}
	for c.rest() > 0 {
		code := c.uleb()
		if code == 0 {
			break
		}
		a := abbreviation{code: code, tag: uint16(min(c.uleb(), 0xffff)), children: c.u8() != 0, first: uint32(len(t.attributes))}
		if err := r.attributes(c, t, &a, w); err != nil {
			return nil, err
		}
		a.matters = matters(a.tag)
		t.dense = t.dense && code == uint64(len(t.list))+1
		var err error
		if t.list, err = Append(r.meter, t.list, a); err != nil {
			return nil, err
		}
	}
	if c.broken {
		return nil, fault.New(fault.Malformed, "the abbreviations at %#x break off", at)
	}
	if !t.dense {
		slices.SortStableFunc(t.list, func(a, b abbreviation) int { return cmp.Compare(a.code, b.code) })
	}
	r.tables[key] = t
	return t, nil
}

// attributes reads those of one abbreviation.
func (r *reader) attributes(c *cursor, t *table, a *abbreviation, w width) (err error) {
	for ; ; a.count++ {
		name, form := c.uleb(), c.uleb()
		attr := attribute{name: uint16(min(name, 0xffff)), form: uint16(min(form, 0xffff))}
		if attr.form == formImplicitConst {
			attr.constant = c.sleb()
		}
		if name == 0 && form == 0 || c.broken {
			return r.meter.Step()
		}
		if a.count == maxAttributes {
			return fault.New(fault.Malformed, "an entry with more than %d attributes", maxAttributes)
		}
		a.sibling = a.sibling || attr.name == attrSibling
		if n := w.size(attr.form); n < 0 || a.fixed < 0 {
			a.fixed = -1
		} else {
			a.fixed += int32(n)
		}
		if t.attributes, err = Append(r.meter, t.attributes, attr); err != nil {
			return err
		}
	}
}

// find finds an abbreviation by its code.
func (t *table) find(code uint64) *abbreviation {
	if t.dense {
		if code == 0 || code > uint64(len(t.list)) {
			return nil
		}
		return &t.list[code-1]
	}
	i, ok := slices.BinarySearchFunc(t.list, code, func(a abbreviation, code uint64) int { return cmp.Compare(a.code, code) })
	if !ok {
		return nil
	}
	return &t.list[i]
}
