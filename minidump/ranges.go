package minidump

import (
	"cmp"
	"slices"
)

// rangeIndex finds which of a list's address ranges covers an address. Ranges
// that overlap one that starts before them are left out, as other readers of
// minidumps do: a broken list must not make a lookup ambiguous.
type rangeIndex []addressRange

type addressRange struct {
	first, last uint64 // both belong to the range
	item        uint64 // what lies there: a number in a list, an offset in the file
}

// newRangeIndex sorts ranges and drops those that overlap.
func newRangeIndex(ranges []addressRange) rangeIndex {
	order := func(a, b addressRange) int {
		if c := cmp.Compare(a.first, b.first); c != 0 {
			return c
		}
		return cmp.Compare(a.last, b.last)
	}
	if !slices.IsSortedFunc(ranges, order) {
		slices.SortStableFunc(ranges, order)
	}
	kept := ranges[:0]
	for _, r := range ranges {
		if n := len(kept); n == 0 || r.first > kept[n-1].last {
			kept = append(kept, r)
		}
	}
	return kept
}

// find returns the range that covers addr, nil if none does.
func (x rangeIndex) find(addr uint64) *addressRange {
	lo, hi := 0, len(x)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		switch r := &x[m]; {
		case addr < r.first:
			hi = m
		case addr > r.last:
			lo = m + 1
		default:
			return r
		}
	}
	return nil
}

// spanOf is the range of size bytes from base; it reports false when it is
// empty or leaves the address space.
func spanOf(base, size, item uint64) (addressRange, bool) {
	if size == 0 || base+(size-1) < base || base+size < base {
		return addressRange{}, false
	}
	return addressRange{base, base + (size - 1), item}, true
}
