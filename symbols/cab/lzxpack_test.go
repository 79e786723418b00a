package cab_test

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// packLZX packs data for a window of 2^bits bytes into the frames of a folder,
// with blocks of the kinds given (1 verbatim, 2 aligned, 3 uncompressed) in
// turn, each of blockSize bytes. calls has the targets of x86 calls translated.
func packLZX(data []byte, bits int, kinds []int, blockSize int, calls bool) (frames [][]byte) {
	p := &lzxPacker{data: slices.Clone(data), bits: bits, slots: [...]int{30, 32, 34, 36, 38, 42, 50}[bits-15], recent: [3]int{1, 1, 1}, chains: map[[3]byte][]int{}}
	if calls {
		p.put(1, 1)
		p.put(uint32(len(data))>>16, 16)
		p.put(uint32(len(data)), 16)
		absoluteCalls(p.data)
	} else {
		p.put(0, 1)
	}
	for n, at := 0, 0; at < len(data); n++ {
		end := min(at+blockSize, len(data))
		p.block(kinds[n%len(kinds)], at, end)
		at = end
	}
	p.flush()
	return p.frames
}

// absoluteCalls is the translation that unpacking takes back.
func absoluteCalls(data []byte) {
	size := int64(len(data))
	for start := 0; start < len(data); start += 32 << 10 {
		frame := data[start:min(start+32<<10, len(data))]
		for i := 0; i < len(frame)-10; i++ {
			if frame[i] != 0xe8 {
				continue
			}
			here := int64(start + i)
			target := int64(int32(binary.LittleEndian.Uint32(frame[i+1:])))
			switch {
			case target >= -here && target < size-here:
				target += here
			case target >= size-here && target < size:
				target -= size
			}
			binary.LittleEndian.PutUint32(frame[i+1:], uint32(target))
			i += 4
		}
	}
}

type lzxPacker struct {
	data        []byte
	bits, slots int
	recent      [3]int
	chains      map[[3]byte][]int

	mainOld   [256 + 8*50]int
	lengthOld [249]int

	frames [][]byte
	frame  []byte // under way
	done   int    // bytes packed
	word   uint32
	have   int
}

// put writes the lowest n bits of v.
func (p *lzxPacker) put(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		p.word = p.word<<1 | v>>i&1
		if p.have++; p.have == 16 {
			p.frame = append(p.frame, byte(p.word), byte(p.word>>8))
			p.word, p.have = 0, 0
		}
	}
}

func (p *lzxPacker) align() {
	if p.have > 0 {
		p.put(0, 16-p.have)
	}
}

func (p *lzxPacker) flush() {
	p.align()
	if len(p.frame) > 0 {
		p.frames = append(p.frames, p.frame)
		p.frame = nil
	}
}

// packed counts bytes that were written; frames end at 32 kB.
func (p *lzxPacker) packed(n int) {
	if p.done += n; p.done%(32<<10) == 0 {
		p.flush()
	}
}

// token is a literal or a match.
type token struct {
	main, length int // symbols; length -1: none
	footer       uint32
	bits         int
	size         int
}

func footerBits(slot int) int {
	switch {
	case slot < 4:
		return 0
	case slot < 36:
		return slot/2 - 1
	}
	return 17
}

// match finds the longest match at a place that ends before end.
func (p *lzxPacker) match(at, end int) (offset, size int) {
	try := func(off, least int) {
		if off > at || off > 1<<p.bits-3 {
			return
		}
		n := 0
		for n < 257 && at+n < end && p.data[at-off+n] == p.data[at+n] {
			n++
		}
		if n >= least && n > size {
			offset, size = off, n
		}
	}
	for _, off := range p.recent {
		try(off, 2)
	}
	if at+3 <= len(p.data) {
		chain := p.chains[[3]byte(p.data[at:])]
		for i := len(chain) - 1; i >= max(0, len(chain)-8); i-- {
			try(at-chain[i], 3)
		}
	}
	return offset, size
}

// tokens takes data apart; no match crosses a frame.
func (p *lzxPacker) tokens(at, end int) (out []token) {
	learn := func(i int) {
		if i+3 <= len(p.data) {
			k := [3]byte(p.data[i:])
			p.chains[k] = append(p.chains[k], i)
		}
	}
	for at < end {
		offset, size := p.match(at, min(end, at/(32<<10)*(32<<10)+32<<10))
		if size == 0 {
			out = append(out, token{main: int(p.data[at]), length: -1, size: 1})
			learn(at)
			at++
			continue
		}
		t := token{length: -1, size: size}
		slot := slices.Index(p.recent[:], offset)
		if slot >= 0 {
			p.recent[0], p.recent[slot] = p.recent[slot], p.recent[0]
		} else {
			base := 0
			for slot = 0; offset+2 >= base+1<<footerBits(slot); slot++ {
				base += 1 << footerBits(slot)
			}
			t.footer, t.bits = uint32(offset+2-base), footerBits(slot)
			p.recent = [3]int{offset, p.recent[0], p.recent[1]}
		}
		head := size - 2
		if head >= 7 {
			t.length, head = head-7, 7
		}
		t.main = 256 + slot*8 + head
		out = append(out, t)
		for i := range size {
			learn(at + i)
		}
		at += size
	}
	return out
}

func (p *lzxPacker) block(kind, at, end int) {
	header := func() {
		p.put(uint32(kind), 3)
		p.put(uint32(end-at)>>8, 16)
		p.put(uint32(end-at), 8)
	}
	if kind == 3 {
		header()
		if p.have == 0 {
			p.put(0, 16)
		}
		p.align()
		for _, r := range p.recent {
			p.frame = binary.LittleEndian.AppendUint32(p.frame, uint32(r))
		}
		for i := at; i < end; i++ {
			p.frame = append(p.frame, p.data[i])
			if i == end-1 && (end-at)%2 == 1 {
				p.frame = append(p.frame, 0)
			}
			p.packed(1)
		}
		return
	}
	list := p.tokens(at, end)
	var main [256 + 8*50]int
	var length [249]int
	var low [8]int
	for _, t := range list {
		main[t.main]++
		if t.length >= 0 {
			length[t.length]++
		}
		if t.bits >= 3 {
			low[t.footer&7]++
		}
	}
	mainSize := 256 + 8*p.slots
	mainLengths, lengthLengths, lowLengths := codeLengths(main[:mainSize], 16, false), codeLengths(length[:], 16, true), codeLengths(low[:], 7, false)
	header()
	if kind == 2 {
		for _, n := range lowLengths {
			p.put(uint32(n), 3)
		}
	}
	p.putLengths(p.mainOld[:256], mainLengths[:256])
	p.putLengths(p.mainOld[256:mainSize], mainLengths[256:])
	p.putLengths(p.lengthOld[:], lengthLengths)
	mainCodes, lengthCodes, lowCodes := codes(mainLengths), codes(lengthLengths), codes(lowLengths)
	for _, t := range list {
		p.put(mainCodes[t.main], mainLengths[t.main])
		if t.length >= 0 {
			p.put(lengthCodes[t.length], lengthLengths[t.length])
		}
		if kind == 2 && t.bits >= 3 {
			p.put(t.footer>>3, t.bits-3)
			p.put(lowCodes[t.footer&7], lowLengths[t.footer&7])
		} else {
			p.put(t.footer, t.bits)
		}
		p.packed(t.size)
	}
}

// putLengths writes the lengths of the codes of a tree, as what changed.
func (p *lzxPacker) putLengths(old, list []int) {
	type step struct{ symbol, extra, bits, second int }
	var steps []step
	var counts [20]int
	for i := 0; i < len(list); {
		run := 1
		for i+run < len(list) && list[i+run] == list[i] {
			run++
		}
		change := (old[i] - list[i] + 17) % 17
		s := step{symbol: change, second: -1}
		switch {
		case list[i] == 0 && run >= 20:
			run = min(run, 51)
			s = step{18, run - 20, 5, -1}
		case list[i] == 0 && run >= 4:
			run = min(run, 19)
			s = step{17, run - 4, 4, -1}
		case run >= 4:
			run = min(run, 5)
			s = step{19, run - 4, 1, change}
			counts[change]++
		default:
			run = 1
		}
		counts[s.symbol]++
		steps = append(steps, s)
		i += run
	}
	copy(old, list)
	lengths := codeLengths(counts[:], 15, false)
	codes := codes(lengths)
	for _, n := range lengths {
		p.put(uint32(n), 4)
	}
	for _, s := range steps {
		p.put(codes[s.symbol], lengths[s.symbol])
		p.put(uint32(s.extra), s.bits)
		if s.second >= 0 {
			p.put(codes[s.second], lengths[s.second])
		}
	}
}

// codeLengths are the lengths of a complete Huffman code for counts, of most
// bits at most.
func codeLengths(counts []int, most int, mayBeEmpty bool) []int {
	counts = slices.Clone(counts)
	used := 0
	for _, n := range counts {
		if n > 0 {
			used++
		}
	}
	if used == 0 && mayBeEmpty {
		return counts
	}
	for i := 0; used < 2; i++ {
		if counts[i] == 0 {
			counts[i] = 1
			used++
		}
	}
	for {
		type node struct {
			count   int
			symbols []int
		}
		var heap []node
		for s, n := range counts {
			if n > 0 {
				heap = append(heap, node{n, []int{s}})
			}
		}
		out, longest := make([]int, len(counts)), 0
		for len(heap) > 1 {
			slices.SortStableFunc(heap, func(a, b node) int { return cmp.Compare(a.count, b.count) })
			joined := node{heap[0].count + heap[1].count, append(heap[0].symbols, heap[1].symbols...)}
			for _, s := range joined.symbols {
				out[s]++
				longest = max(longest, out[s])
			}
			heap = append(heap[2:], joined)
		}
		if longest <= most {
			return out
		}
		for i, n := range counts { // flatter
			counts[i] = (n + 1) / 2
		}
	}
}

// codes are the canonical codes of lengths.
func codes(lengths []int) []uint32 {
	out := make([]uint32, len(lengths))
	code := uint32(0)
	for n := 1; n <= 16; n++ {
		for s, l := range lengths {
			if l == n {
				out[s] = code
				code++
			}
		}
		code <<= 1
	}
	return out
}
