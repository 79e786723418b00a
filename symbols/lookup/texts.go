package lookup

import "hash/maphash"

const (
	// maxTexts and maxRules bound the tables of texts and of unwind rules that are
	// known to be packed already, to 16 MiB and 1 MiB. Those beyond are packed
	// again each time they come.
	maxTexts   = 1 << 20
	maxRules   = 1 << 16
	firstSlots = 1 << 10
)

// known numbers texts by their hashes: of 96 bits and with seeds of its own, so
// that two texts are never taken for one, however many somebody makes up. It
// does not need the texts themselves, which may be on a disk by then.
type known struct {
	seeds [2]maphash.Seed
	slots []slot
	used  int
	limit int // of slots
}

// slot is a text; one whose value is 0 is free.
type slot struct {
	hash  uint64
	more  uint32
	value uint32 // plus 1
}

func newKnown(limit int) known {
	return known{limit: limit, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: make([]slot, firstSlots)}
}

// find returns the value of a text, or else where set is to put it.
func (k *known) find(t []byte) (value uint32, place slot, found bool) {
	place = slot{hash: maphash.Bytes(k.seeds[0], t), more: uint32(maphash.Bytes(k.seeds[1], t))}
	s := &k.slots[k.at(place)]
	return s.value - 1, place, s.value != 0
}

// at is the place of a text in the table, or the free one it would take.
func (k *known) at(s slot) uint64 {
	mask := uint64(len(k.slots) - 1)
	i := s.hash & mask
	for k.slots[i].value != 0 && (k.slots[i].hash != s.hash || k.slots[i].more != s.more) {
		i = (i + 1) & mask
	}
	return i
}

// set gives a text that find did not know a value, below 1<<32 − 1.
func (k *known) set(s slot, value uint32) {
	if k.used*4 >= len(k.slots)*3 {
		if len(k.slots) >= k.limit {
			return
		}
		old := k.slots
		k.slots = make([]slot, 2*len(old))
		for _, o := range old {
			if o.value != 0 {
				k.slots[k.at(o)] = o
			}
		}
	}
	s.value = value + 1
	k.slots[k.at(s)] = s
	k.used++
}
