package packed

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Names are most of a symbol file and much alike. They are packed with a
// dictionary of up to 127 short texts that is made from the first names of
// the file: a byte below 128 stands for itself, one from 128 on for a text of
// the dictionary, and escape for the byte that follows it. Packing looks at
// each byte once or twice, unpacking copies.
const (
	firstCode = 128
	escape    = 255
	maxCodes  = escape - firstCode
	// maxText is the longest text of a dictionary: what fits a word.
	maxText = 8
	// sampleSize is how much is looked at to make a dictionary, and how much a
	// file has to have before it gets one.
	sampleSize = 64 << 10
	// trainRounds is how often the dictionary is refined: each round joins the
	// texts of the round before.
	trainRounds = 6
	// hashBits is the size of the table of texts of three bytes and more.
	hashBits = 12
)

// Dictionary packs names.
type Dictionary struct {
	texts []string
	// long finds a text by the hash of its first three bytes, short by its
	// first two; a code of 0 is none.
	long  []dictText
	short []uint8
	// words and sizes are what each byte of a packed name stands for; nothing
	// for escape and codes that are not used.
	words [256]uint64
	sizes [256]uint8
}

// dictText is a text of a dictionary as a word of its bytes.
type dictText struct {
	word uint64
	size uint8
	code uint8
}

func hash3(word uint64) uint64 {
	return (word & 0xffffff) * 0x9E3779B97F4A7C15 >> (64 - hashBits)
}

// newDictionary makes a dictionary of texts; of two that share a place in a
// table the first counts.
func newDictionary(texts []string) *Dictionary {
	d := &Dictionary{long: make([]dictText, 1<<hashBits), short: make([]uint8, 1<<16)}
	for _, t := range texts {
		if len(t) < 2 || len(t) > maxText || len(d.texts) == maxCodes {
			continue
		}
		var b [8]byte
		copy(b[:], t)
		e := dictText{word: binary.LittleEndian.Uint64(b[:]), size: uint8(len(t)), code: uint8(firstCode + len(d.texts))}
		if e.size == 2 {
			if d.short[uint16(e.word)] != 0 {
				continue
			}
			d.short[uint16(e.word)] = e.code
		} else {
			p := &d.long[hash3(e.word)]
			if p.code != 0 {
				continue
			}
			*p = e
		}
		d.texts = append(d.texts, t)
	}
	d.fill()
	return d
}

// match finds the code for the start of word, of which n bytes count, and how
// many bytes it stands for. Code 0 is none.
func (d *Dictionary) match(word uint64, n int) (code, size uint8) {
	if e := d.long[hash3(word)]; e.code != 0 && int(e.size) <= n && word&(1<<(8*e.size)-1) == e.word {
		return e.code, e.size
	}
	if c := d.short[uint16(word)]; c != 0 && n >= 2 {
		return c, 2
	}
	return 0, 1
}

// pack appends the packed form of t to b.
func (d *Dictionary) pack(b, t []byte) []byte {
	for len(t) > 0 {
		var word uint64
		if len(t) >= 8 {
			word = binary.LittleEndian.Uint64(t)
		} else {
			for i, c := range t {
				word |= uint64(c) << (8 * i)
			}
		}
		code, size := d.match(word, len(t))
		switch {
		case code != 0:
			b = append(b, code)
		case t[0] < firstCode:
			b = append(b, t[0])
		default:
			b = append(b, escape, t[0])
		}
		t = t[size:]
	}
	return b
}

// fill prepares unpacking: each byte stands for a word of so many bytes.
func (d *Dictionary) fill() {
	for c := range firstCode {
		d.words[c], d.sizes[c] = uint64(c), 1
	}
	for i, t := range d.texts {
		var b [8]byte
		copy(b[:], t)
		d.words[firstCode+i], d.sizes[firstCode+i] = binary.LittleEndian.Uint64(b[:]), uint8(len(t))
	}
}

// Unpack returns the text of a packed form.
func (d *Dictionary) Unpack(p []byte) []byte { return d.UnpackTo(make([]byte, d.Room(p)), p) }

// AppendTo appends the text of a packed form to b.
func (d *Dictionary) AppendTo(b, p []byte) []byte {
	n := len(b)
	b = slices.Grow(b, maxText*(len(p)+1))
	return b[:n+len(d.UnpackTo(b[n:cap(b)], p))]
}

// Room is how many bytes UnpackTo needs for a packed form.
func (d *Dictionary) Room(p []byte) int {
	n := maxText // words are written whole: the last one needs room behind its text
	for _, c := range p {
		n += int(d.sizes[c])
	}
	return n + bytes.Count(p, []byte{escape})
}

// Most is Room for any packed form of n bytes.
func Most(n int) int { return maxText * (n + 1) }

// UnpackTo writes the text of a packed form to b, which has Room for it, and
// returns it.
func (d *Dictionary) UnpackTo(b, p []byte) []byte {
	j := 0
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == escape {
			if i++; i < len(p) {
				b[j] = p[i]
				j++
			}
			continue
		}
		binary.LittleEndian.PutUint64(b[j:], d.words[c])
		j += int(d.sizes[c])
	}
	return b[:j:j]
}

// train makes a dictionary for texts like the sample.
func train(sample []byte) *Dictionary {
	d := newDictionary(nil)
	for range trainRounds {
		counts := map[string]int{}
		last := ""
		for t := sample; len(t) > 0; {
			var w [8]byte
			n := copy(w[:], t)
			_, size := d.match(binary.LittleEndian.Uint64(w[:]), n)
			cur := string(t[:size])
			t = t[size:]
			if cur == "\n" { // names end here: nothing spans two
				last = ""
				continue
			}
			if len(cur) > 1 {
				counts[cur] += len(cur) - 1
			}
			if joined := last + cur; last != "" && len(joined) <= maxText {
				counts[joined] += len(joined) - 1
			}
			last = cur
		}
		texts := make([]string, 0, len(counts))
		for t := range counts {
			texts = append(texts, t)
		}
		slices.SortFunc(texts, func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
		d = newDictionary(texts)
	}
	return d
}

// Names packs the names of one kind: as they are until enough of them were seen
// to make a dictionary. The zero value is ready.
type Names struct {
	dict   *Dictionary
	sample []byte
	buf    []byte
}

// Pack returns the bytes to keep of t, valid until the next call, and whether
// they are packed with the dictionary.
func (n *Names) Pack(t []byte) (b []byte, packed bool) {
	if n.dict == nil {
		n.sample = append(append(n.sample, t[:min(len(t), 1024)]...), '\n')
		if len(n.sample) >= sampleSize {
			n.dict = train(n.sample)
			n.sample = nil
		}
		return t, false
	}
	n.buf = n.dict.pack(n.buf[:0], t)
	return n.buf, true
}

// Dictionary is what the names are packed with, nil when none are.
func (n *Names) Dictionary() *Dictionary { return n.dict }

// Append writes the texts of a dictionary, of which there may be none.
func (d *Dictionary) Append(b []byte) []byte {
	if d == nil {
		return append(b, 0)
	}
	b = append(b, byte(len(d.texts)))
	for _, t := range d.texts {
		b = append(b, byte(len(t)))
		b = append(b, t...)
	}
	return b
}

// Dictionary reads the texts of a dictionary. It is good for unpacking alone.
func (d *Decoder) Dictionary() *Dictionary {
	var x Dictionary
	for n := d.Byte(); n > 0 && !d.Bad; n-- {
		t := d.Text(maxText)
		if len(x.texts) == maxCodes {
			d.Bad = true
			break
		}
		x.texts = append(x.texts, t)
	}
	x.fill()
	return &x
}
