package sym

import (
	"bytes"
	"math"
	"unicode"
	"unicode/utf8"
)

// cursor reads the fields of one line. It takes more than the strict grammar
// does and notes that in loose; what it cannot take at all sets bad, after
// which all fields read as zero.
type cursor struct {
	b      []byte
	i      int
	bad    bool
	loose  bool
	ascii  bool // set by plain
	unread bool // the text is not looked at: any bytes are fine
}

// plain reports whether the bytes of the line are what the strict grammar
// takes: UTF-8 without a carriage return in the middle. Text that is not looked
// at may be no UTF-8.
func (c *cursor) plain() bool {
	var or byte
	for _, b := range c.b {
		or |= b
	}
	c.ascii = or < 0x80
	return (c.ascii || c.unread || utf8.Valid(c.b)) && bytes.IndexByte(c.b, '\r') < 0
}

// word steps over w if the line starts with it and a blank follows, or nothing.
func (c *cursor) word(w string) bool {
	n := len(w)
	if len(c.b) < n || string(c.b[:n]) != w {
		return false
	}
	if len(c.b) > n && c.b[n] != ' ' && c.b[n] != '\t' {
		return false
	}
	c.i = n
	return true
}

// space steps over the blanks before a field: one or more spaces or tabs.
func (c *cursor) space() {
	n := c.i
	for c.i < len(c.b) && (c.b[c.i] == ' ' || c.b[c.i] == '\t') {
		c.i++
	}
	if c.i == n {
		c.bad = true
	}
}

// done reports whether nothing but blanks is left. Blanks at the end of a
// record without free text break the strict grammar.
func (c *cursor) done() bool {
	for j := c.i; j < len(c.b); j++ {
		if c.b[j] != ' ' && c.b[j] != '\t' {
			return false
		}
	}
	if c.i < len(c.b) {
		c.loose = true
	}
	return true
}

// trim cuts other blanks than those of done off a record without free text.
func (c *cursor) trim() {
	if last := c.b[len(c.b)-1]; last > ' ' && last < utf8.RuneSelf {
		return
	}
	if b := bytes.TrimRightFunc(c.b, unicode.IsSpace); len(b) < len(c.b) {
		c.b, c.loose, c.i = b, true, min(c.i, len(b))
	}
}

// atEnd demands that nothing is left.
func (c *cursor) atEnd() {
	if !c.done() {
		c.bad = true
	}
}

// fields counts the fields from here on.
func (c *cursor) fields() int {
	n, blank := 0, true
	for _, b := range c.b[c.i:] {
		isBlank := b == ' ' || b == '\t'
		if blank && !isBlank {
			n++
		}
		blank = isBlank
	}
	return n
}

// multiple steps over the m flag.
func (c *cursor) multiple() bool {
	j := c.i
	for j < len(c.b) && (c.b[j] == ' ' || c.b[j] == '\t') {
		j++
	}
	if j > c.i && j+1 < len(c.b) && c.b[j] == 'm' && (c.b[j+1] == ' ' || c.b[j+1] == '\t') {
		c.i = j + 1
		return true
	}
	return false
}

// hex64 reads a field of up to 16 hex digits.
func (c *cursor) hex64() uint64 {
	c.space()
	return c.first64()
}

// first64 reads hex digits with no blank before them.
func (c *cursor) first64() uint64 {
	v, _ := c.digits(16)
	return v
}

// hex32of64 reads a number that the strict grammar holds in 32 bits and that
// may be larger otherwise.
func (c *cursor) hex32of64() uint64 {
	c.space()
	v, n := c.digits(16)
	if n > 8 {
		c.loose = true
	}
	return v
}

// hex32 reads a field of up to 8 hex digits.
func (c *cursor) hex32() uint32 {
	v := c.hex32of64()
	if v >= 1<<32 {
		c.bad = true
	}
	if c.bad {
		return 0
	}
	return uint32(v)
}

// paramSize reads the size of parameters, for which one that no function has
// stands for none.
func (c *cursor) paramSize() uint32 {
	v := c.hex32of64()
	if v >= 1<<32 {
		c.loose = true
		return 0
	}
	return uint32(v)
}

// digits reads at most limit hex digits and the blank, or end, behind them.
func (c *cursor) digits(limit int) (uint64, int) {
	if c.bad {
		return 0, 0
	}
	b := c.b
	if c.i+2 < len(b) && b[c.i] == '0' && b[c.i+1]|0x20 == 'x' {
		c.i += 2
		c.loose = true
	}
	n := c.i
	var v uint64
	for c.i < len(b) {
		d := hexDigit[b[c.i]]
		if d > 15 {
			break
		}
		v = v<<4 | uint64(d)
		c.i++
	}
	if c.i == n || c.i-n > limit || c.i < len(b) && b[c.i] != ' ' && b[c.i] != '\t' {
		c.bad = true
		return 0, 0
	}
	return v, c.i - n
}

// dec32 reads a decimal field of up to 32 bits.
func (c *cursor) dec32() uint32 {
	v := c.dec64()
	if v >= 1<<32 {
		c.bad = true
		return 0
	}
	return uint32(v)
}

// reference reads the number of a FILE or INLINE_ORIGIN record. No record has
// one of more than 32 bits.
func (c *cursor) reference() uint32 {
	v := c.dec64()
	if v >= 1<<32 {
		c.loose = true
		return noRecord
	}
	return uint32(v)
}

// noRecord is a number that no record has, or next to none.
const noRecord = NoFile - 1

// dec64 reads a decimal field.
func (c *cursor) dec64() uint64 {
	c.space()
	return c.decimal()
}

func (c *cursor) decimal() uint64 {
	if c.bad {
		return 0
	}
	b := c.b
	n := c.i
	var v uint64
	for c.i < len(b) {
		d := b[c.i] - '0'
		if d > 9 {
			break
		}
		if v > (math.MaxUint64-9)/10 {
			c.bad = true
			return 0
		}
		v = v*10 + uint64(d)
		c.i++
	}
	if c.i-n > 10 {
		c.loose = true
	}
	if c.i == n || c.i < len(b) && b[c.i] != ' ' && b[c.i] != '\t' {
		c.bad = true
		return 0
	}
	return v
}

// lineNumber reads a line number. Some writers put out negative ones, which
// stand for no line, as symbolic reads them too. Of larger ones it keeps the
// low 32 bits.
func (c *cursor) lineNumber() uint32 {
	c.space()
	if !c.bad && c.i < len(c.b) && c.b[c.i] == '-' {
		c.i++
		c.loose = true
		c.decimal()
		return 0
	}
	v := c.decimal()
	if v >= 1<<32 {
		c.loose = true
	}
	return uint32(v)
}

// digit reads a field of one digit of the base; the strict grammar takes no
// more.
func (c *cursor) digit(base uint64) uint32 {
	v, n := c.hex32(), c.i
	if !c.bad && (v >= uint32(base) || n < 2 || c.b[n-2] != ' ' && c.b[n-2] != '\t') {
		c.loose = true
	}
	return v
}

// field reads one field of any characters; tabs are some in the strict grammar.
func (c *cursor) field() []byte {
	c.space()
	if c.bad {
		return nil
	}
	n := c.i
	for c.i < len(c.b) && c.b[c.i] != ' ' && c.b[c.i] != '\t' {
		c.i++
	}
	c.loose = c.loose || c.i < len(c.b) && c.b[c.i] == '\t'
	return c.b[n:c.i]
}

// hexText reads a field that the strict grammar wants to be hex digits.
func (c *cursor) hexText() []byte {
	loose := c.loose
	b := c.field()
	c.loose = loose || bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf || hexDigit[r] > 15 })
	return b
}

// rest reads the text to the end of the line, which may be empty. Its blank
// may be missing where it is empty, but not for the strict grammar.
func (c *cursor) rest() []byte {
	if c.bad {
		return nil
	}
	if c.i == len(c.b) {
		c.loose = true
		return nil
	}
	c.space()
	return c.b[c.i:]
}
