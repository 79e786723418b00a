package lookup

import "sync/atomic"

// BlockSize is the size of the blocks that a table's data is cut into. What is
// looked up lies within one block, so that a compiled file is checked block by
// block as it is used.
const BlockSize = 1 << blockBits

const (
	blockBits = 16
	// maxBlocks bounds a table to 4 GiB of packed records, so that a reference
	// fits 32 bits; a symbol file of more than 12 GiB would be needed.
	maxBlocks = 1 << (32 - blockBits)
)

// ref is where a piece of data starts: the number of its block and the offset
// in it.
type ref uint32

// Block states of a blockStore.
const (
	blockUnknown = iota
	blockGood
	blockBad
)

// blockStore holds the blocks of a table. A piece of data longer than a block
// fills several: the first entry spans them all and the others are nil.
type blockStore struct {
	blocks [][]byte
	// check verifies one entry before its first use; nil for blocks made here.
	check func(k int) bool
	state []atomic.Uint32
	bad   atomic.Bool
}

// from returns the data from r to the end of its block, nil when r points
// nowhere or the block is damaged.
func (s *blockStore) from(r ref) []byte {
	k, off := int(r>>blockBits), int(r&(BlockSize-1))
	if k >= len(s.blocks) {
		return nil
	}
	b := s.blocks[k]
	if off > len(b) {
		return nil
	}
	if s.check != nil && s.state[k].Load() != blockGood && !s.verify(k) {
		return nil
	}
	return b[off:]
}

// verify checks a block that is used for the first time.
func (s *blockStore) verify(k int) bool {
	if s.state[k].Load() == blockBad {
		return false
	}
	if !s.check(k) {
		s.state[k].Store(blockBad)
		s.bad.Store(true)
		return false
	}
	s.state[k].Store(blockGood)
	return true
}

// blockWriter fills blocks.
type blockWriter struct {
	blocks [][]byte
	cur    []byte // the last block, not in blocks yet
	full   bool   // the limit was reached; nothing more is kept
}

// room is how much fits the present block.
func (w *blockWriter) room() int {
	if w.cur == nil {
		return BlockSize
	}
	return BlockSize - len(w.cur)
}

// align fills the present block up to a multiple of n.
func (w *blockWriter) align(n int) {
	if pad := -len(w.cur) & (n - 1); pad > 0 {
		w.add(make([]byte, pad))
	}
}

// add copies b into one block and returns where.
func (w *blockWriter) add(b []byte) ref {
	if len(b) > w.room() {
		w.flush()
	}
	if len(w.blocks) >= maxBlocks-len(b)>>blockBits-2 {
		w.full = true
		return 0
	}
	r := ref(len(w.blocks)<<blockBits | len(w.cur))
	if len(b) > BlockSize {
		w.blocks = append(w.blocks, append([]byte(nil), b...))
		for n := BlockSize; n < len(b); n += BlockSize {
			w.blocks = append(w.blocks, nil)
		}
		return r
	}
	if w.cur == nil {
		w.cur = make([]byte, 0, BlockSize)
	}
	w.cur = append(w.cur, b...)
	if len(w.cur) == BlockSize {
		w.flush()
	}
	return r
}

// flush ends the present block.
func (w *blockWriter) flush() {
	if len(w.cur) == 0 {
		return
	}
	if len(w.cur) < BlockSize/2 {
		w.cur = append([]byte(nil), w.cur...)
	}
	w.blocks = append(w.blocks, w.cur)
	w.cur = nil
}
