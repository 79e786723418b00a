package cab

import "encoding/binary"

// LZX, as cabinets use it (Microsoft's "LZX Data Compression Format", MS-PATCH
// 2 and 3 with its names for things). The data of a folder is one stream of
// matches in a window of 2^15 to 2^21 bytes. It is cut into frames of 32 kB,
// each of which lies in a block of the cabinet and begins at a whole byte of
// it; blocks of LZX itself, with trees of their own, lie across frames as they
// like. Bits are taken from words of 16, lowest byte first, highest bit first.

const (
	minWindowBits, maxWindowBits = 15, 21

	// The kinds of blocks.
	lzxVerbatim     = 1
	lzxAligned      = 2
	lzxUncompressed = 3

	minMatch = 2
	// literals are the symbols of the main tree for bytes; behind them stand
	// eight for each position slot.
	literals   = 256
	maxMain    = literals + 8*50
	lengths    = 249 // symbols of the length tree
	longLength = 7   // in a main symbol: the length tree says more
	pretree    = 20
	alignedAll = 8
	maxCode    = 16 // bits

	// Calls are translated in the first frames only, and not in the last bytes
	// of a frame.
	maxCallFrames = 32768
	callTail      = 10
)

// slotsOf is how many position slots windows of 2^15 to 2^21 bytes have.
var slotsOf = [...]int{30, 32, 34, 36, 38, 42, 50}

// footer is how many bits of an offset follow its slot.
func footer(slot int) uint {
	switch {
	case slot < 4:
		return 0
	case slot < 36:
		return uint(slot/2 - 1)
	}
	return 17
}

// lzx unpacks the frames of a folder.
type lzx struct {
	window []byte // a ring
	at     int    // where the next byte goes
	filled bool   // the window was written around once
	slots  int
	bases  [50]uint32 // the least offset of a slot, with the two that offsets are off by
	recent [3]uint32

	begun    bool   // the stream's header was read
	callSize uint32 // size that calls were translated by; 0: they were not
	frames   int

	kind int    // of the block that is open
	left uint32 // bytes that it still unpacks to
	pad  bool   // a byte stands behind it, so that words go on

	mainLengths   [maxMain]byte
	lengthLengths [lengths]byte
	main, length  tree
	aligned       tree
	bits          bitReader
}

// newLZX makes an unpacker for a window of 2^bits bytes.
func newLZX(bits int) (*lzx, error) {
	if bits < minWindowBits || bits > maxWindowBits {
		return nil, malformed("an LZX window of 2^%d bytes", bits)
	}
	l := &lzx{window: make([]byte, 1<<bits), slots: slotsOf[bits-minWindowBits], recent: [3]uint32{1, 1, 1}}
	for s, base := 0, uint32(0); s < l.slots; s++ {
		l.bases[s] = base
		base += 1 << footer(s)
	}
	return l, nil
}

// frame unpacks one frame of size bytes, appending it to out.
func (l *lzx) frame(data, out []byte, size int) ([]byte, error) {
	if l.at%blockSize != 0 {
		return nil, malformed("an LZX frame behind one of less than %d bytes", blockSize)
	}
	l.bits = bitReader{data: data}
	if !l.begun {
		l.begun = true
		if l.bits.take(1) == 1 {
			l.callSize = l.bits.take(16)<<16 | l.bits.take(16)
		}
	}
	start := l.at
	for done := 0; done < size; {
		if l.left == 0 {
			if err := l.openBlock(); err != nil {
				return nil, err
			}
			continue // it may be empty
		}
		n := int(min(uint32(size-done), l.left))
		var err error
		if l.kind == lzxUncompressed {
			err = l.copyStored(n)
		} else {
			err = l.decode(n)
		}
		if err != nil {
			return nil, err
		}
		done += n
		l.left -= uint32(n)
	}
	if l.pad && l.left == 0 && l.bits.skipByte() {
		l.pad = false
	}
	if l.bits.short() {
		return nil, malformed("an LZX frame breaks off")
	}
	// A frame is a part of the window's size, so it never lies around its end.
	out = append(out, l.window[start:start+size]...)
	if l.at == len(l.window) {
		l.at, l.filled = 0, true
	}
	if l.callSize != 0 && l.frames < maxCallFrames {
		l.translate(out[len(out)-size:])
	}
	l.frames++
	return out, nil
}

// openBlock reads the head of a block.
func (l *lzx) openBlock() error {
	if l.pad {
		l.bits.skipByte()
		l.pad = false
	}
	l.kind = int(l.bits.take(3))
	l.left = l.bits.take(16)<<8 | l.bits.take(8)
	switch l.kind {
	case lzxUncompressed:
		head := l.bits.bytes(12, true)
		if head == nil {
			return malformed("an LZX block breaks off")
		}
		for i := range l.recent {
			l.recent[i] = binary.LittleEndian.Uint32(head[4*i:])
		}
		l.pad = l.left&1 == 1
		return nil
	case lzxAligned:
		var code [alignedAll]byte
		for i := range code {
			code[i] = byte(l.bits.take(3))
		}
		if err := l.aligned.build(code[:], false); err != nil {
			return err
		}
	case lzxVerbatim:
	default:
		return malformed("an LZX block of kind %d", l.kind)
	}
	mainSize := literals + 8*l.slots
	for _, part := range [][]byte{l.mainLengths[:literals], l.mainLengths[literals:mainSize], l.lengthLengths[:]} {
		if err := l.readLengths(part); err != nil {
			return err
		}
	}
	if err := l.main.build(l.mainLengths[:mainSize], false); err != nil {
		return err
	}
	return l.length.build(l.lengthLengths[:], true)
}

// readLengths changes the lengths of the codes of a tree, which are told by
// what they differ from those of the block before.
func (l *lzx) readLengths(list []byte) error {
	var code [pretree]byte
	for i := range code {
		code[i] = byte(l.bits.take(4))
	}
	var t tree
	if err := t.build(code[:], false); err != nil {
		return err
	}
	for i := 0; i < len(list); {
		s, err := t.read(&l.bits)
		if err != nil {
			return err
		}
		run := 1
		value := byte(0)
		switch s {
		case 17:
			run = 4 + int(l.bits.take(4))
		case 18:
			run = 20 + int(l.bits.take(5))
		case 19:
			run = 4 + int(l.bits.take(1))
			if s, err = t.read(&l.bits); err != nil {
				return err
			}
			if s > maxCode {
				return malformed("bad lengths of an LZX tree")
			}
			fallthrough
		default:
			value = byte((int(list[i]) - s + 17) % 17)
		}
		if run > len(list)-i {
			return malformed("lengths of an LZX tree go beyond its end")
		}
		for range run {
			list[i] = value
			i++
		}
	}
	return nil
}

// copyStored copies n bytes of an uncompressed block.
func (l *lzx) copyStored(n int) error {
	b := l.bits.bytes(n, false)
	if b == nil {
		return malformed("an LZX block breaks off")
	}
	l.at += copy(l.window[l.at:], b)
	return nil
}

// decode unpacks n bytes of a packed block, which no match goes beyond.
func (l *lzx) decode(n int) error {
	w, done := l.window, 0
	for done < n {
		s, err := l.main.read(&l.bits)
		if err != nil {
			return err
		}
		if s < literals {
			w[l.at] = byte(s)
			l.at++
			done++
			continue
		}
		size := s & 7
		if size == longLength {
			more, err := l.length.read(&l.bits)
			if err != nil {
				return err
			}
			size += more
		}
		size += minMatch
		offset, err := l.offset((s - literals) >> 3)
		if err != nil {
			return err
		}
		switch {
		case size > n-done:
			return malformed("an LZX match goes beyond its frame or block")
		case int(offset) > l.at && (!l.filled || int(offset) > len(w)) || offset == 0:
			return malformed("an LZX match %d bytes back at %d", offset, l.at)
		}
		from := l.at - int(offset)
		if from >= 0 && int(offset) >= size {
			copy(w[l.at:l.at+size], w[from:])
			l.at += size
		} else {
			for range size {
				w[l.at] = w[from&(len(w)-1)]
				l.at++
				from++
			}
		}
		done += size
		if l.bits.short() {
			return malformed("an LZX frame breaks off")
		}
	}
	return nil
}

// offset reads the rest of a match's offset, whose slot is known. The three
// latest offsets have slots of their own.
func (l *lzx) offset(slot int) (uint32, error) {
	switch slot {
	case 0:
		return l.recent[0], nil
	case 1, 2:
		l.recent[0], l.recent[slot] = l.recent[slot], l.recent[0]
		return l.recent[0], nil
	}
	bits := footer(slot)
	offset := l.bases[slot] - 2
	if l.kind == lzxAligned && bits >= 3 {
		offset += l.bits.take(bits-3) << 3
		low, err := l.aligned.read(&l.bits)
		if err != nil {
			return 0, err
		}
		offset += uint32(low)
	} else {
		offset += l.bits.take(bits)
	}
	l.recent = [3]uint32{offset, l.recent[0], l.recent[1]}
	return offset, nil
}

// translate makes the targets of x86 calls (E8) relative again: packers make
// them absolute, since equal ones then are equal bytes.
func (l *lzx) translate(frame []byte) {
	size, start := int64(int32(l.callSize)), int64(l.frames)*blockSize
	for i := 0; i < len(frame)-callTail; i++ {
		if frame[i] != 0xe8 {
			continue
		}
		here := start + int64(i)
		target := int64(int32(binary.LittleEndian.Uint32(frame[i+1:])))
		if target >= -here && target < size {
			if target >= 0 {
				target -= here
			} else {
				target += size
			}
			binary.LittleEndian.PutUint32(frame[i+1:], uint32(target))
		}
		i += 4
	}
}

// bitReader takes bits off the data of a frame. Behind its end are zeros, and
// short tells when they were used.
type bitReader struct {
	data []byte
	at   int // of the next word
	word uint64
	have uint // bits in word, which are its lowest
	over uint // bits in word that are not of the data
}

// need sees to it that at least n bits, at most 32, can be taken.
func (b *bitReader) need(n uint) {
	for b.have < n {
		var w uint64
		switch left := len(b.data) - b.at; {
		case left >= 2:
			w = uint64(b.data[b.at]) | uint64(b.data[b.at+1])<<8
		case left == 1:
			w = uint64(b.data[b.at])
		default:
			b.over += 16
		}
		b.at = min(b.at+2, len(b.data))
		b.word = b.word<<16 | w
		b.have += 16
	}
}

// take takes n bits, at most 17.
func (b *bitReader) take(n uint) uint32 {
	b.need(n)
	b.have -= n
	return uint32(b.word>>b.have) & (1<<n - 1)
}

// short reports whether more bits were taken than there are.
func (b *bitReader) short() bool { return b.over > b.have }

// bytes takes n whole bytes. When aligning, the bits of the word before them are
// left out, or else a whole word; no whole one is left behind the head of a
// block. Otherwise nothing but bytes was taken before.
func (b *bitReader) bytes(n int, align bool) []byte {
	if align {
		if b.have == 0 {
			b.need(1)
		}
		if b.short() {
			return nil
		}
		b.word, b.have, b.over = 0, 0, 0
	}
	if n > len(b.data)-b.at {
		return nil
	}
	out := b.data[b.at : b.at+n]
	b.at += n
	return out
}

// skipByte leaves out one byte behind others, if there is one.
func (b *bitReader) skipByte() bool { return b.bytes(1, false) != nil }

// fastBits is how many bits of a code are looked up at once.
const fastBits = 10

// tree is a canonical Huffman code.
type tree struct {
	fast    [1 << fastBits]uint16 // symbol<<5 | length, 0 for longer codes
	first   [maxCode + 2]uint32   // the first code of a length
	start   [maxCode + 2]int      // where the symbols of a length begin
	symbols [maxMain]uint16       // by length, then in order
	empty   bool
}

// build makes the code of lengths. It must be complete; where that is allowed,
// it may have no symbols at all.
func (t *tree) build(list []byte, mayBeEmpty bool) error {
	var counts [maxCode + 1]int
	for _, n := range list {
		counts[n]++
	}
	if t.empty = counts[0] == len(list); t.empty {
		if mayBeEmpty {
			return nil
		}
		return malformed("an LZX tree without symbols")
	}
	code, at := uint32(0), 0
	for n := 1; n <= maxCode; n++ {
		t.first[n], t.start[n] = code, at
		at += counts[n]
		code = (code + uint32(counts[n])) << 1
	}
	t.first[maxCode+1], t.start[maxCode+1] = code, at
	if code != 1<<(maxCode+1) {
		return malformed("an LZX tree that is not complete")
	}
	next := t.start
	clear(t.fast[:])
	for s, n := range list {
		if n == 0 {
			continue
		}
		i := next[n]
		next[n]++
		t.symbols[i] = uint16(s)
		if n <= fastBits {
			code := t.first[n] + uint32(i-t.start[n])
			from := code << (fastBits - n)
			for j := range uint32(1) << (fastBits - n) {
				t.fast[from+j] = uint16(s)<<5 | uint16(n)
			}
		}
	}
	return nil
}

// read takes one symbol.
func (t *tree) read(b *bitReader) (int, error) {
	if t.empty {
		return 0, malformed("an LZX tree without symbols is used")
	}
	b.need(maxCode)
	bits := uint32(b.word>>(b.have-maxCode)) & (1<<maxCode - 1)
	if e := t.fast[bits>>(maxCode-fastBits)]; e != 0 {
		b.have -= uint(e & 31)
		return int(e >> 5), nil
	}
	for n := uint(fastBits + 1); n <= maxCode; n++ {
		code := bits >> (maxCode - n)
		if i := int(code-t.first[n]) + t.start[n]; code >= t.first[n] && i < t.start[n+1] {
			b.have -= n
			return int(t.symbols[i]), nil
		}
	}
	return 0, malformed("bits that are no code of an LZX tree") // of a complete one all are
}
