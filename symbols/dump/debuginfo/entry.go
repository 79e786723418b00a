package debuginfo

import (
	"mayday/app/fault"
)

// entry is one entry, as far as it matters.
type entry struct {
	at       uint64 // in .debug_info
	tag      uint16
	children bool
	sibling  uint64 // 0 when not given

	name, linkageName       value
	lowPC, highPC, entryPC  value
	ranges                  value
	origin, declaration     value
	callFile, callLine      value
	stmtList, compDir       value
	textBase, addr, rnglist value
}

// slot is where the value of an attribute goes, nil when it does not matter.
func (e *entry) slot(name uint16) *value {
	switch name {
	case attrName:
		return &e.name
	case attrLinkageName, attrMIPSLinkageName:
		return &e.linkageName
	case attrLowPC:
		return &e.lowPC
	case attrHighPC:
		return &e.highPC
	case attrEntryPC:
		return &e.entryPC
	case attrRanges:
		return &e.ranges
	case attrAbstractOrigin:
		return &e.origin
	case attrSpecification:
		return &e.declaration
	case attrCallFile:
		return &e.callFile
	case attrCallLine:
		return &e.callLine
	case attrStmtList:
		return &e.stmtList
	case attrCompDir:
		return &e.compDir
	case attrStrOffsetsBase:
		return &e.textBase
	case attrAddrBase:
		return &e.addr
	case attrRnglistsBase:
		return &e.rnglist
	}
	return nil
}

// place is where the reader of entries stands.
type place struct {
	scope uint32
	// within is the name of a scope that is not in the list yet, since most
	// functions have no others in them.
	within       textRef
	first, count int    // of Info.Functions, the parts of the function around
	depth        uint32 // of inlined calls
	// passed says that the children do not matter; nested ones are counted.
	passed bool
	nested int
}

// entries reads all entries of a unit, the first of which is about itself. Head
// is how many bytes its length took.
func (u *unit) entries(head uint64) error {
	var around []place
	var e entry
	for first := true; u.c.rest() > 0; first = false {
		if err := u.meter.Step(); err != nil {
			return err
		}
		e = entry{at: u.start + head + uint64(u.c.at)}
		code := u.c.uleb()
		if code == 0 {
			if around = leave(around); len(around) == 0 {
				return nil
			}
			continue
		}
		a := u.table.find(code)
		if a == nil {
			return fault.New(fault.Malformed, "entry at %#x of unknown kind %d", e.at, code)
		}
		e.tag, e.children = a.tag, a.children
		inside := len(around) > 0 && around[len(around)-1].passed
		u.values(&e, a, inside || !a.matters)
		if u.c.broken {
			return fault.New(fault.Malformed, "the entry at %#x breaks off", e.at)
		}
		if inside {
			if e.children && !u.jump(&e, head) {
				around[len(around)-1].nested++
			}
			continue
		}
		within, err := place{passed: true}, error(nil)
		switch {
		case first:
			within, err = u.begin(&e)
		case a.matters:
			within, err = u.entry(&e, &around[len(around)-1])
		}
		if err != nil {
			return err
		}
		if !e.children {
			if first {
				return nil
			}
			continue
		}
		if within.passed && u.jump(&e, head) {
			continue
		}
		if len(around) == maxDepth {
			return fault.New(fault.Malformed, "the entry at %#x is in more than %d others", e.at, maxDepth)
		}
		around = append(around, within)
	}
	return nil
}

// leave ends a list of children.
func leave(around []place) []place {
	last := len(around) - 1
	if last >= 0 && around[last].nested > 0 {
		around[last].nested--
		return around
	}
	return around[:max(last, 0)]
}

// jump goes to the next sibling of an entry, where it says where that is.
func (u *unit) jump(e *entry, head uint64) bool {
	at := e.sibling - u.start - head
	if e.sibling < u.start+head || at <= uint64(u.c.at) || at > uint64(len(u.c.b)) {
		return false
	}
	u.c.at = int(at)
	return true
}

// values reads the values of an entry, of which only the sibling matters when
// pass.
func (u *unit) values(e *entry, a *abbreviation, pass bool) {
	if pass && a.fixed >= 0 && !a.sibling {
		u.c.skip(uint64(a.fixed))
		return
	}
	attributes := u.table.attributes[a.first : a.first+a.count]
	for i := range attributes {
		attr := &attributes[i]
		switch {
		case attr.name == attrSibling:
			if v := u.width.read(&u.c, attr.form, attr.constant, u.start); v.class == isReference {
				e.sibling = v.bits
			}
		case pass:
			u.pass(&u.c, attr.form)
		default:
			if v := e.slot(attr.name); v != nil {
				*v = u.width.read(&u.c, attr.form, attr.constant, u.start)
			} else {
				u.pass(&u.c, attr.form)
			}
		}
	}
}

// begin reads the entry about the unit.
func (u *unit) begin(e *entry) (place, error) {
	if e.tag != tagUnit && e.tag != tagPartial && e.tag != tagSkeleton {
		return place{passed: true}, nil
	}
	for _, b := range []struct {
		v  *value
		to *uint64
	}{{&e.textBase, &u.textBase}, {&e.addr, &u.addrBase}, {&e.rnglist, &u.listsBase}} {
		if b.v.class == isOffset || b.v.class == isNumber {
			*b.to = b.v.bits
		}
	}
	if a, ok := u.addressOf(&e.entryPC); ok {
		u.low = a
	} else if a, ok := u.addressOf(&e.lowPC); ok {
		u.low = a
	}
	if e.compDir.class != noValue {
		if e.compDir.text != nil {
			u.compDir = e.compDir.text
		} else if ref, err := u.textOf(&e.compDir); err != nil {
			return place{}, err
		} else if ref != 0 {
			u.compDir = u.bytes(ref, maxPath)
		}
	}
	if e.stmtList.class == isOffset || e.stmtList.class == isNumber {
		if err := u.readLines(e.stmtList.bits); err != nil {
			return place{}, err
		}
	}
	return place{}, nil
}

// entry reads one entry and says where its children stand.
func (u *unit) entry(e *entry, at *place) (place, error) {
	switch e.tag {
	case tagNamespace, tagStruct, tagClass, tagUnion, tagEnum, tagInterface:
		name, err := u.textOf(&e.name)
		if err != nil {
			return place{}, err
		}
		inner := place{}
		if e.tag == tagNamespace {
			inner = *at
			if name == 0 {
				name = anonymous
			}
		}
		inner.scope, err = u.scopeOf(at)
		inner.within = name
		return inner, err
	case tagSubprogram:
		return u.subprogram(e, at)
	case tagLexical, tagTry, tagCatch:
		return *at, nil
	case tagInlined:
		if at.count == 0 {
			return place{passed: true}, nil
		}
		if err := u.inlined(e, at); err != nil {
			return place{}, err
		}
		inner := *at
		inner.depth++
		return inner, nil
	}
	return place{passed: true}, nil
}

// scopeOf is the scope that children of a place are in.
func (u *unit) scopeOf(at *place) (uint32, error) {
	if at.within == 0 {
		return at.scope, nil
	}
	list, err := Append(u.meter, u.info.scopes, scope{at.scope, at.within})
	if err != nil {
		return 0, err
	}
	u.info.scopes = list
	at.scope, at.within = uint32(len(list)-1), 0
	return at.scope, nil
}

// subprogram notes the name of a function and, where it has code, the function.
func (u *unit) subprogram(e *entry, at *place) (place, error) {
	known := entity{at: e.at}
	var err error
	switch {
	case e.origin.class == isReference:
		known.of = e.origin.bits
	case e.declaration.class == isReference:
		known.of = e.declaration.bits
	}
	own, err := u.textOf(&e.name)
	if err != nil {
		return place{}, err
	}
	if known.of == 0 {
		if known.name = own; own == 0 {
			if known.name, err = u.textOf(&e.linkageName); err != nil {
				return place{}, err
			}
		}
		if known.scope, err = u.scopeOf(at); err != nil {
			return place{}, err
		}
	}
	if u.info.entities, err = Append(u.meter, u.info.entities, known); err != nil {
		return place{}, err
	}
	inner := *at // a copy without a name is no scope of its own
	if own != 0 {
		if inner.scope, err = u.scopeOf(at); err != nil {
			return place{}, err
		}
		inner.within = own
	}
	inner.first, inner.depth = len(u.info.Functions), 0
	spans, err := u.spans(e)
	if err != nil {
		return place{}, err
	}
	for _, s := range spans {
		if u.info.Functions, err = Append(u.meter, u.info.Functions, Function{Span: s, Entry: e.at}); err != nil {
			return place{}, err
		}
	}
	inner.count = len(spans)
	return inner, nil
}

// inlined notes an inlined call.
func (u *unit) inlined(e *entry, at *place) error {
	spans, err := u.spans(e)
	if err != nil || len(spans) == 0 {
		return err
	}
	in := Inline{Depth: at.depth, first: uint32(len(u.info.spans)), count: uint32(len(spans))}
	if e.origin.class == isReference {
		in.Entry = e.origin.bits
	}
	if e.callLine.class == isNumber && int64(e.callLine.bits) >= 0 {
		in.Line = uint32(e.callLine.bits)
	}
	if e.callFile.class == isNumber {
		if in.File, err = u.file(e.callFile.bits); err != nil {
			return err
		}
	}
	for _, s := range spans {
		if u.info.spans, err = Append(u.meter, u.info.spans, s); err != nil {
			return err
		}
	}
	functions := u.info.Functions[at.first : at.first+at.count]
	for i := range functions {
		f := &functions[i]
		for _, s := range spans {
			if err := u.meter.Step(); err != nil {
				return err
			}
			if _, ok := s.Overlap(f.Span); ok {
				if f.Inlines, err = Append(u.meter, f.Inlines, in); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}
