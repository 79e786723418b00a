package lookup

import (
	"encoding/binary"
	"sort"
)

// maxChunk is how many entries of an index one block holds.
const maxChunk = BlockSize / 8

// chunk is a run of entries of an index within one block: count keys of four
// bytes, counted from base, and then as many values of four bytes.
type chunk struct {
	base  uint64
	first uint32 // position of its first entry in the index
	count uint32
	at    ref
}

// index maps sorted keys to values: addresses or ids to references. A key may
// stand several times.
type index struct {
	chunks []chunk
	count  uint32
}

// entry is one entry of an index.
type entry struct {
	key uint64
	val uint32
}

// find returns the last entry whose key is not above key, and its position.
func (x *index) find(s *blockStore, key uint64) (e entry, pos int, ok bool) {
	lo, hi := 0, len(x.chunks)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if x.chunks[m].base <= key {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return entry{}, 0, false
	}
	c := &x.chunks[lo-1]
	keys, vals := c.data(s)
	if keys == nil {
		return entry{}, 0, false
	}
	want := uint32(min(key-c.base, 1<<32-1))
	i := search(keys, int(c.count), want)
	if i == 0 {
		return entry{}, 0, false
	}
	return entry{c.base + uint64(key32(keys, i-1)), key32(vals, i-1)}, int(c.first) + i - 1, true
}

// search counts the n sorted keys that are not above want. Ids are mostly
// dense, and addresses spread so evenly that the place of one is known nearly:
// the search starts there, which touches far less memory than halving does.
func search(keys []byte, n int, want uint32) int {
	last := key32(keys, n-1)
	switch {
	case want >= last:
		return n
	case want < key32(keys, 0):
		return 0
	case int(last) == n-1:
		return int(want) + 1
	}
	at := int(uint64(want) * uint64(n-1) / uint64(last))
	end := n - 1 // keys[at] <= want < keys[end]
	if step := 16; key32(keys, at) <= want {
		for at+step < end && key32(keys, at+step) <= want {
			at += step
			step *= 2
		}
		end = min(end, at+step)
	} else {
		end = at
		for at = max(end-step, 0); at > 0 && key32(keys, at) > want; at = max(end-step, 0) {
			end = at
			step *= 2
		}
	}
	for n := end - at; n > 1; { // without branches on the keys, which nobody can predict
		half := n >> 1
		if key32(keys, at+half) <= want {
			at += half
		}
		n -= half
	}
	return at + 1
}

// get returns the last entry whose key is key.
func (x *index) get(s *blockStore, key uint64) (uint32, bool) {
	e, _, ok := x.find(s, key)
	return e.val, ok && e.key == key
}

// at returns the entry at a position.
func (x *index) at(s *blockStore, pos int) (entry, bool) {
	if pos < 0 || uint64(pos) >= uint64(x.count) {
		return entry{}, false
	}
	n := sort.Search(len(x.chunks), func(i int) bool { return uint64(x.chunks[i].first) > uint64(pos) })
	if n == 0 {
		return entry{}, false
	}
	c := &x.chunks[n-1]
	keys, vals := c.data(s)
	i := pos - int(c.first)
	if keys == nil || i >= int(c.count) {
		return entry{}, false
	}
	return entry{c.base + uint64(key32(keys, i)), key32(vals, i)}, true
}

// all calls f for each entry in order until it returns false.
func (x *index) all(s *blockStore, f func(pos int, e entry) bool) {
	for i := range x.chunks {
		c := &x.chunks[i]
		keys, vals := c.data(s)
		if keys == nil {
			continue
		}
		for j := range int(c.count) {
			if !f(int(c.first)+j, entry{c.base + uint64(key32(keys, j)), key32(vals, j)}) {
				return
			}
		}
	}
}

// data returns the keys and the values of a chunk, nil when they are damaged.
func (c *chunk) data(s *blockStore) (keys, vals []byte) {
	b := s.from(c.at)
	n := uint64(c.count) * 4
	if n == 0 || uint64(len(b)) < 2*n {
		return nil, nil
	}
	return b[:n:n], b[n : 2*n : 2*n]
}

func key32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i*4:]) }

// addIndex writes the entries, which are sorted by key, as an index.
func (w *blockWriter) addIndex(entries []entry) index {
	x := index{count: uint32(len(entries))}
	var buf []byte
	for done := 0; done < len(entries); {
		limit := w.room() / 8
		if limit < maxChunk/8 {
			limit = maxChunk
		}
		rest := entries[done:]
		n := 0
		for n < len(rest) && n < limit && rest[n].key-rest[0].key < 1<<32 {
			n++
		}
		buf = buf[:0]
		for _, e := range rest[:n] {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(e.key-rest[0].key))
		}
		for _, e := range rest[:n] {
			buf = binary.LittleEndian.AppendUint32(buf, e.val)
		}
		x.chunks = append(x.chunks, chunk{base: rest[0].key, first: uint32(done), count: uint32(n), at: w.add(buf)})
		done += n
	}
	return x
}
