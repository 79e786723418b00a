package debuginfo

import "mayday/app/fault"

// maxListed bounds how much of a list is read, with what the linker dropped.
const maxListed = 16 * maxParts

// spans are the code of an entry, in u.found: linkers leave 0 behind for what
// they dropped, which is no code. A list that is broken ends there.
func (u *unit) spans(e *entry) ([]Span, error) {
	found, listed, failed := u.found[:0], 0, error(nil)
	add := func(s Span) bool {
		if u.isCode(s) {
			found = append(found, s)
		}
		listed++
		failed = u.meter.Step()
		return failed == nil && len(found) <= maxParts && listed < maxListed
	}
	if low, ok := u.addressOf(&e.lowPC); ok {
		switch e.highPC.class {
		case isNumber:
			add(Span{low, low + e.highPC.bits})
		case isAddress, isAddressIndex:
			if high, ok := u.addressOf(&e.highPC); ok {
				add(Span{low, high})
			}
		}
	}
	switch v := e.ranges; {
	case u.version >= 5 && v.class == isListIndex:
		c := cursor{b: u.rangeLists, big: u.big()}
		c.skip(u.listsBase)
		if v.bits > uint64(len(u.rangeLists)) {
			break
		}
		c.skip(v.bits * uint64(u.width.offset()))
		if at := c.offset(u.wide); !c.broken {
			u.rangeList(u.listsBase+at, add)
		}
	case u.version >= 5 && (v.class == isOffset || v.class == isNumber):
		u.rangeList(v.bits, add)
	case v.class == isOffset || v.class == isNumber:
		u.oldRanges(v.bits, add)
	}
	u.found = found
	if failed == nil && len(found) > maxParts {
		failed = fault.New(fault.Malformed, "an entry with more than %d pieces of code", maxParts)
	}
	return found, failed
}

// oldRanges reads a list of .debug_ranges (DWARF 4, section 2.17.3).
func (u *unit) oldRanges(at uint64, add func(Span) bool) {
	c := cursor{b: u.reader.ranges, big: u.big()}
	c.skip(at)
	base, highest := u.low, ^uint64(0)>>(64-8*uint(u.address))
	for c.rest() > 0 {
		low, high := c.uint(int(u.address)), c.uint(int(u.address))
		switch {
		case c.broken || low == 0 && high == 0:
			return
		case low == highest:
			base = high
			if !add(Span{}) {
				return
			}
		case !add(Span{base + low, base + high}):
			return
		}
	}
}

// The kinds of entries of .debug_rnglists (DWARF 5, section 7.25).
const (
	listEnd = iota
	listBaseIndex
	listIndexes
	listIndexLength
	listOffsets
	listBase
	listAddresses
	listAddressLength
)

// rangeList reads a list of .debug_rnglists.
func (u *unit) rangeList(at uint64, add func(Span) bool) {
	c := cursor{b: u.rangeLists, big: u.big()}
	c.skip(at)
	base, ok := u.low, true
	for more := true; more && !c.broken; {
		var s Span
		switch c.u8() {
		case listBaseIndex:
			if base, ok = u.indexed(c.uleb()); !ok {
				return
			}
		case listBase:
			base = c.uint(int(u.address))
		case listIndexes:
			if s.Start, ok = u.indexed(c.uleb()); ok {
				s.End, ok = u.indexed(c.uleb())
			}
		case listIndexLength:
			s.Start, ok = u.indexed(c.uleb())
			s.End = s.Start + c.uleb()
		case listOffsets:
			s.Start = base + c.uleb()
			s.End = base + c.uleb()
		case listAddresses:
			s.Start = c.uint(int(u.address))
			s.End = c.uint(int(u.address))
		case listAddressLength:
			s.Start = c.uint(int(u.address))
			s.End = s.Start + c.uleb()
		default:
			return
		}
		if !ok || c.broken {
			return
		}
		more = add(s) // what only sets a base is no code
	}
}
