package lookup

import (
	"encoding/binary"
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

// decoder reads packed numbers; after the first one that is not there all read
// as zero.
type decoder struct {
	b   []byte
	i   int
	bad bool
}

func (d *decoder) byte() byte {
	if d.i >= len(d.b) {
		d.bad = true
		return 0
	}
	d.i++
	return d.b[d.i-1]
}

func (d *decoder) uvarint() uint64 {
	if d.i < len(d.b) {
		if v := d.b[d.i]; v < 0x80 {
			d.i++
			return uint64(v)
		}
	}
	v, n := binary.Uvarint(d.b[d.i:])
	if n <= 0 {
		d.bad = true
		d.i = len(d.b)
		return 0
	}
	d.i += n
	return v
}

func (d *decoder) uint32() uint32 {
	if len(d.b)-d.i < 4 {
		d.bad = true
		d.i = len(d.b)
		return 0
	}
	d.i += 4
	return binary.LittleEndian.Uint32(d.b[d.i-4:])
}

// zigzag reads a signed difference.
func (d *decoder) zigzag() uint64 {
	return signed(d.uvarint())
}

// number reads a packed number at i and returns where the next one is. Past
// the end it reads 0 and returns a place far beyond, where all reads give 0.
func number(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longNumber(b, i)
}

// beyond is past the end of any block.
const beyond = 1 << 40

func longNumber(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) {
		if i+1 < len(b) && b[i+1] < 0x80 {
			return uint64(b[i]&0x7f) | uint64(b[i+1])<<7, i + 2
		}
		if v, n := binary.Uvarint(b[i:]); n > 0 {
			return v, i + n
		}
	}
	return 0, beyond
}

// signed turns a packed number into the difference it stands for.
func signed(v uint64) uint64 { return v>>1 ^ -(v & 1) }

// appendZigzag appends the signed difference v; it may wrap around.
func appendZigzag(b []byte, v uint64) []byte {
	return binary.AppendUvarint(b, v<<1^uint64(int64(v)>>63))
}
