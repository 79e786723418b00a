package lookup

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sync/atomic"
)

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

// Blocks is where a Builder puts the blocks of a table.
type Blocks interface {
	// Put takes the next block. One longer than BlockSize takes the places of
	// several. The bytes are the caller's.
	Put(b []byte) error
	// ReaderAt reads what was put: each block starts at a multiple of BlockSize.
	io.ReaderAt
}

// memory is Blocks in memory.
type memory struct{ blocks [][]byte }

// Put implements Blocks.
func (m *memory) Put(b []byte) error {
	m.blocks = append(m.blocks, bytes.Clone(b))
	for n := BlockSize; n < len(b); n += BlockSize {
		m.blocks = append(m.blocks, nil)
	}
	return nil
}

// ReadAt implements Blocks.
func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	k, off := int(at>>blockBits), int(at&(BlockSize-1))
	if k >= len(m.blocks) || off > len(m.blocks[k]) {
		return 0, io.EOF
	}
	n := copy(p, m.blocks[k][off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// blockWriter fills blocks.
type blockWriter struct {
	to   Blocks
	n    int    // how many were put
	cur  []byte // the last block, not put yet
	full bool   // the limit was reached; nothing more is kept
	err  error  // of to
}

// room is how much fits the present block.
func (w *blockWriter) room() int { return BlockSize - len(w.cur) }

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
	if w.n >= maxBlocks-len(b)>>blockBits-2 {
		w.full = true
		return 0
	}
	r := ref(w.n<<blockBits | len(w.cur))
	if len(b) > BlockSize {
		w.put(b)
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
	if len(w.cur) > 0 {
		w.put(w.cur)
		w.cur = w.cur[:0]
	}
}

func (w *blockWriter) put(b []byte) {
	w.n += (len(b) + BlockSize - 1) >> blockBits
	if w.err == nil {
		w.err = w.to.Put(b)
	}
}

// pieces reads back what a blockWriter has put.
type pieces struct {
	from io.ReaderAt
	at   int64 // of buf
	buf  []byte
}

// readAhead is how much is read at a time: pieces are mostly wanted in order.
const readAhead = 16 << 10

// piece returns the n bytes at r, valid until the next call.
func (p *pieces) piece(r ref, n int) ([]byte, error) {
	at := int64(r)
	if off := at - p.at; off >= 0 && off+int64(n) <= int64(len(p.buf)) {
		return p.buf[off:][:n], nil
	}
	p.at = at
	p.buf = slices.Grow(p.buf[:0], max(n, readAhead))[:max(n, readAhead)]
	got, err := p.from.ReadAt(p.buf, at)
	p.buf = p.buf[:got]
	if got < n {
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return p.buf[:n], nil
}
